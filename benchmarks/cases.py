"""What is measured, of whom, and what is aimed at."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from benchmarks.figures import OURS, Figure
from benchmarks.jobs import Job, Kind

STREAMS = "streams, events/s"
NOOP = "no-op stateless RunWait, runs/s"
LATENCY = "no-op stateless RunWait, ms"
TURNS = "chat on threads that grow, turns/s"
NAPS = "500 background runs of one second, s until all have ended"
FIRST = "first event of an idle server, median ms"
CANCEL = "CancelRun until the run is CANCELLED, ms"
MEMORY = "resident memory, MB"

RECORDED = "replayed as recorded"
MADE_UP = "made up by a bare handler"
HANDLER = "graph in a bare handler"
DURABLE = "graph and database, bare"
GRAPH = "graph in process"
SAVER = "in process, AsyncSqliteSaver"
WIDE = "runwire, 512 runs at once"


class Case(NamedTuple):
    """One job, done to each of several contenders in turn."""

    section: str
    name: str
    job: Job
    contenders: tuple[str, ...] = (OURS,)


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
        return replace(
            job, seconds=self.seconds, turns=self.turns if job.kind == "turns" else self.samples
        )


FULL = Effort()
QUICK = Effort(rounds=1, seconds=0.25, turns=4, samples=20)


def _job(kind: Kind, graph: str, callers: int = 1, **given: Any) -> Job:
    recording = f"{graph}-{callers}-{given.get('pause', 0)}"
    return Job(kind=kind, graph=graph, callers=callers, input=given, recording=recording)


def _streams(name: str, job: Job) -> Case:
    return Case(STREAMS, f"{name}, {job.callers} at once", job, (OURS, RECORDED, MADE_UP, HANDLER))


TURN = {"messages": [{"role": "user", "content": "x" * 500}]}
NAP = _job("naps", "slow", 500, seconds=1.0)
WARM_UP = _job("stream", "tokens", n=5, pause=0)

CASES = [
    Case(FIRST, "", _job("first_event", "tokens", n=1, pause=-1)),
    *(_streams("tokens", _job("stream", "tokens", c, n=500, pause=0)) for c in (1, 8, 32)),
    _streams("tokens in bursts", _job("stream", "tokens", 8, n=500, pause=-1)),
    *(_streams("messages", _job("stream", "messages", c, n=200)) for c in (1, 8)),
    *(
        Case(NOOP, f"{c} at once", _job("wait", "noop", c, x=1), (OURS, HANDLER, DURABLE))
        for c in (1, 16, 64)
    ),
    Case(TURNS, "1 thread", _job("turns", "chat", 1, **TURN), (OURS, SAVER)),
    Case(TURNS, "50 threads", _job("turns", "chat", 50, **TURN), (OURS, SAVER)),
    Case(NAPS, "", NAP, (OURS, WIDE)),
    Case(CANCEL, "async node", _job("cancel", "slow", seconds=60.0)),
]


def _figures(case: Case) -> list[Figure]:
    """Return the figures of a case of streams or no-op runs."""
    aims = {RECORDED: 0.5, MADE_UP: 0.5} if case.section == STREAMS else {HANDLER: 0.5}
    return [
        Figure(case.section, case.name, "rate", against=against, aim=aims.get(against))
        for against in (*case.contenders[1:], GRAPH)
    ]


FIGURES = [
    *(figure for case in CASES if case.section in (STREAMS, NOOP) for figure in _figures(case)),
    *(
        Figure(NOOP, case.name, key, against=HANDLER, lower_is_better=True, title=LATENCY)
        for case in CASES
        if case.section == NOOP
        for key in ("p50_ms", "p99_ms")
    ),
    Figure(TURNS, "1 thread", "rate", against=SAVER),
    Figure(TURNS, "50 threads", "rate", against=SAVER, aim=1.0),
    Figure(NAPS, "", "wall_s", aim=2.5, lower_is_better=True),
    Figure(NAPS, "", "wall_s", aim=2.5, lower_is_better=True, ours=WIDE),
    Figure(FIRST, "", "snapshot_p50_ms", aim=10.0, lower_is_better=True),
    Figure(FIRST, "", "graph_p50_ms", aim=10.0, lower_is_better=True),
    Figure(CANCEL, "async node", "p50_ms"),
    Figure(MEMORY, "after start", "mb", aim=130.0, lower_is_better=True),
    Figure(MEMORY, "after start", "mb", against=HANDLER, lower_is_better=True),
    Figure(MEMORY, "after a first run", "mb", aim=130.0, lower_is_better=True),
    Figure(MEMORY, "after everything", "mb"),
]
