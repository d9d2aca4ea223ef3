"""`python -m benchmarks`: starts every contender, measures them in turn, prints the table."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import cases, machine
from benchmarks.cases import FULL, GRAPH, HANDLER, QUICK, READY, RECORDED, SAVER, Effort
from benchmarks.figures import OURS, Results, evaluate, render
from benchmarks.jobs import Job, Measured

RESULTS = Path(__file__).parent / "results"
SETTLE_SECONDS = 1.0


class Bench:
    """One whole measurement, with all servers up."""

    def __init__(self, directory: Path, effort: Effort, servers: dict[str, machine.Server]) -> None:
        self._directory = directory
        self._effort = effort
        self._servers = servers
        self._round = 0
        self.results = Results()
        self.raw: list[dict[str, object]] = []
        self.warnings: list[str] = []

    def run(self) -> None:
        """Measure everything, as often as there are rounds."""
        self._memory("after_start")
        self._add("", "", "warm-up", self._call(OURS, cases.WARM_UP_JOB))
        time.sleep(SETTLE_SECONDS)
        self._memory("after_run")
        self._record()
        for number in range(self._effort.rounds):
            self._round = number
            self._say(f"round {number + 1}: fixed loop {machine.calibrate():.1f} ms")
            self._one_round()
        self._memory("at_end")

    def _one_round(self) -> None:
        with self._section(cases.FIRST):
            self._add(cases.FIRST, "run snapshot", OURS, first := self._call(OURS, cases.FIRST_JOB))
            self._add(cases.FIRST, "event of the graph", OURS, first)
        with self._section(cases.STREAMS):
            for case, job in cases.STREAM_JOBS.items():
                for contender in self._in_turn(OURS, RECORDED, READY, HANDLER):
                    measured = self._call(contender, job, replay=f"{contender}: {_name(job)}")
                    self._add(cases.STREAMS, case, contender, measured)
        with self._section(cases.NOOP):
            for case, job in cases.NOOP_JOBS.items():
                for contender in self._in_turn(OURS, HANDLER):
                    measured = self._call(contender, job)
                    self._add(cases.NOOP, case, contender, measured)
                    for key in ("p50_ms", "p99_ms"):
                        self._add(cases.NOOP, f"{case}, {key}", contender, {key: measured[key]})
        with self._section("in process"):
            self._measure_graphs()
        with self._section(cases.TURNS):
            for case, job in cases.TURN_JOBS.items():
                for contender in self._in_turn(OURS, SAVER):
                    self._add(cases.TURNS, case, contender, self._call(contender, job))
        with self._section(cases.NAPS):
            for case in cases.NAP_CASES:
                self._add(cases.NAPS, case, OURS, self._call(case, cases.NAP_JOB))
        with self._section(cases.CANCEL):
            measured = self._call(OURS, cases.CANCEL_JOB)
            self._add(cases.CANCEL, "async node", OURS, measured)

    def _measure_graphs(self) -> None:
        """Measure the graphs without a server, all in one process: its start takes seconds."""
        everything = [(cases.STREAMS, case, job) for case, job in cases.STREAM_JOBS.items()]
        everything += [(cases.NOOP, case, job) for case, job in cases.NOOP_JOBS.items()]
        short = replace(self._effort, seconds=self._effort.seconds / 2)
        jobs = [short.spend(job) for _, _, job in everything]
        measured = machine.run_jobs("benchmarks.in_process", *jobs)
        for (section, case, _), one in zip(everything, measured, strict=True):
            self._add(section, case, GRAPH, one)

    def _record(self) -> None:
        """Have the replaying server know what ours sends, in each case of streams."""
        for job in cases.STREAM_JOBS.values():
            path = self._directory / f"{_name(job)}.json"
            self._call(OURS, replace(job, kind="record", path=str(path)))

    def _call(self, contender: str, job: Job, replay: str = "") -> Measured:
        """Do a job in a fresh process."""
        job = self._effort.spend(job)
        if contender == SAVER:
            return machine.run_jobs("benchmarks.in_process", job)[0]
        server = self._servers[contender]
        job = replace(job, port=server.port, pid=server.pid, replay=replay)
        return machine.run_jobs("benchmarks.caller", job)[0]

    def _add(self, section: str, case: str, contender: str, measured: Measured) -> None:
        self.results.add(section, case, contender, measured)
        place = {"round": self._round, "section": section, "case": case, "contender": contender}
        self.raw.append({**place, **measured})

    def _memory(self, key: str) -> None:
        case = {"after_start": "after start", "after_run": "after a first run"}
        rss = {key: self._servers[OURS].rss_mb}
        self._add(cases.MEMORY, case.get(key, "after everything"), OURS, rss)

    def _in_turn(self, *contenders: str) -> list[str]:
        """Return the contenders, another one first in each round."""
        first = self._round % len(contenders)
        return [*contenders[first:], *contenders[:first]]

    @contextmanager
    def _section(self, name: str) -> Iterator[None]:
        if (busy := machine.busy_percent()) > machine.BUSY_PERCENT:
            self.warnings.append(f"the machine was {busy:.0f} % busy by itself before: {name}")
        start = time.perf_counter()
        yield
        self._say(f"  {time.perf_counter() - start:5.1f} s  {name}")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _name(job: Job) -> str:
    return f"{job.graph}-{job.callers}-{job.input.get('pause', 0)}"


@contextmanager
def _contenders(directory: Path) -> Iterator[dict[str, machine.Server]]:
    """Start every server, and stop them at the end."""
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> machine.Server:
            return stack.enter_context(machine.serving(directory / f"{name}.log", *arguments))

        replaying = start("replay", "benchmarks.bare", "replay", str(directory))
        servers = {
            RECORDED: replaying,
            READY: replaying,
            HANDLER: start("handler", "benchmarks.bare", "graphs"),
        }
        for i, (case, flags) in enumerate(cases.NAP_CASES.items()):
            path = directory / f"runwire-{i}.db"
            servers[case] = start(f"runwire-{i}", *machine.runwire(path, *flags))
        servers[OURS] = servers[next(iter(cases.NAP_CASES))]
        time.sleep(SETTLE_SECONDS)
        yield servers


def _report(bench: Bench, seconds: float) -> None:
    lines = list(evaluate(cases.FIGURES, bench.results))
    print(render(lines))
    for warning in bench.warnings:
        print(f"warning: {warning}")
    judged = [line.met for line in lines if line.met is not None]
    print(f"\n{sum(judged)} of {len(judged)} aims met, {seconds:.0f} s, {machine.describe()}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    rows = [{"machine": machine.describe()}, *bench.raw, *(asdict(line) for line in lines)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"every value: {path.relative_to(machine.ROOT)}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, within a minute")
    effort = QUICK if parser.parse_args().quick else FULL
    start = time.perf_counter()
    with TemporaryDirectory(prefix="runwire-bench-") as name:
        directory = Path(name)
        with _contenders(directory) as servers:
            bench = Bench(directory, effort, servers)
            bench.run()
    _report(bench, time.perf_counter() - start)


if __name__ == "__main__":
    main()
