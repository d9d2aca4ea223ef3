"""What is measured, and what is aimed at."""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.figures import Figure
from benchmarks.jobs import Job, Kind

STREAMS = "streams, events/s"
NOOP = "no-op stateless RunWait, runs/s"
TURNS = "chat of 20 turns, turns/s"
NAPS = "500 background runs of one second, s until all have ended"
FIRST = "first event of an idle server, median ms"
CANCEL = "CancelRun of a running run until CANCELLED, median ms"
MEMORY = "resident memory, MB"

RECORDED = "replayed as recorded"
READY = "replayed when ready"
HANDLER = "graph in a bare handler"
GRAPH = "graph in process"
SAVER = "in process, AsyncSqliteSaver"

ONE_TURN = {"messages": [{"role": "user", "content": "x" * 500}]}


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: rounds, seconds per measurement, turns per thread, samples of what is
    measured one by one."""

    rounds: int = 3
    seconds: float = 1.0
    turns: int = 20
    samples: int = 50

    def spend(self, job: Job) -> Job:
        """Return the job with as much effort as this."""
        turns = self.turns if job.kind == "turns" else self.samples
        return replace(job, seconds=self.seconds, turns=turns)


FULL = Effort()
QUICK = Effort(rounds=1, seconds=0.4, turns=4, samples=20)


def _job(kind: Kind, graph: str, callers: int = 1, **given: Any) -> Job:
    return Job(kind=kind, graph=graph, callers=callers, input=given)


STREAM_JOBS = {
    **{f"tokens, {c} at once": _job("stream", "tokens", c, n=500, pause=0) for c in (1, 8, 32)},
    "tokens in bursts, 8 at once": _job("stream", "tokens", 8, n=500, pause=-1),
    **{f"messages, {c} at once": _job("stream", "messages", c, n=200) for c in (1, 8)},
}
NOOP_JOBS = {f"{c} at once": _job("wait", "noop", c, x=1) for c in (1, 16, 64)}
TURN_JOBS = {f"{c} threads": _job("turns", "chat", c, **ONE_TURN) for c in (1, 50)}
NAP_JOB = _job("naps", "slow", 500, seconds=1.0)
FIRST_JOB = _job("first_event", "tokens", n=1, pause=-1)
CANCEL_JOB = _job("cancel", "slow", seconds=60.0)
WARM_UP_JOB = _job("stream", "tokens", n=5, pause=0)

NAP_CASES = {"256 at once (default)": (), "512 at once": ("--max-concurrent-runs", "512")}
"""Flags of the server by case."""

FIGURES = [
    *(
        Figure(STREAMS, case, "rate", against=against, aim=aim)
        for case in STREAM_JOBS
        for against, aim in ((RECORDED, 0.5), (READY, 0.5), (HANDLER, None), (GRAPH, None))
    ),
    *(
        Figure(NOOP, case, "rate", against=against, aim=aim)
        for case in NOOP_JOBS
        for against, aim in ((HANDLER, 0.5), (GRAPH, None))
    ),
    *(
        Figure(NOOP, f"{case}, {key}", key, against=HANDLER, lower_is_better=True)
        for case in NOOP_JOBS
        for key in ("p50_ms", "p99_ms")
    ),
    Figure(TURNS, "1 threads", "rate", against=SAVER),
    Figure(TURNS, "50 threads", "rate", against=SAVER, aim=1.0),
    *(Figure(NAPS, case, "wall_s", aim=2.5, lower_is_better=True) for case in NAP_CASES),
    Figure(FIRST, "run snapshot", "snapshot_p50_ms", aim=10.0, lower_is_better=True),
    Figure(FIRST, "event of the graph", "graph_p50_ms", aim=10.0, lower_is_better=True),
    Figure(CANCEL, "async node", "p50_ms"),
    Figure(MEMORY, "after start", "after_start", aim=130.0, lower_is_better=True),
    Figure(MEMORY, "after a first run", "after_run", aim=130.0, lower_is_better=True),
    Figure(MEMORY, "after everything", "at_end"),
]
