"""`python -m benchmarks`: starts every contender, measures them in turn, prints the table."""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import cases, machine
from benchmarks.cases import (
    CASES,
    DURABLE,
    FULL,
    GRAPH,
    HANDLER,
    MADE_UP,
    QUICK,
    RECORDED,
    SAVER,
    WIDE,
)
from benchmarks.figures import OURS, Results, render
from benchmarks.jobs import Job, Measured

RESULTS = Path(__file__).parent / "results"
SETTLE_SECONDS = 1.0


class Bench:
    """One whole measurement, with all servers up."""

    def __init__(
        self, directory: Path, effort: cases.Effort, servers: dict[str, machine.Server]
    ) -> None:
        self._directory = directory
        self._effort = effort
        self._servers = servers
        self._round = 0
        self.results = Results()
        self.raw: list[dict[str, object]] = []
        self.busy: dict[str, float] = {}
        """How busy the machine was by itself before a section, at worst, in percent."""

    def run(self) -> None:
        """Measure everything, as often as there are rounds."""
        self._weigh("after start")
        self._call(OURS, cases.WARM_UP)
        time.sleep(SETTLE_SECONDS)
        self._weigh("after a first run")
        self._record()
        for self._round in range(self._effort.rounds):  # noqa: B020 - the attribute counts
            _say(f"round {self._round + 1}: a fixed loop takes {machine.calibrate():.1f} ms")
            for section, of_section in itertools.groupby(CASES, key=lambda case: case.section):
                self._measure(section, list(of_section))
            self._measure_graphs()
        self._weigh("after everything")

    def _measure(self, section: str, of_section: list[cases.Case]) -> None:
        """Measure the cases of a section, another contender first in each round."""
        self.busy[section] = max(self.busy.get(section, 0.0), machine.busy_percent())
        start = time.perf_counter()
        for case in of_section:
            first = self._round % len(case.contenders)
            for contender in case.contenders[first:] + case.contenders[:first]:
                self._add(case.section, case.name, contender, self._call(contender, case.job))
        _say(f"  {time.perf_counter() - start:5.1f} s  {section}")

    def _measure_graphs(self) -> None:
        """Measure the graphs without a server, all in one process: its start takes seconds."""
        served = [case for case in CASES if case.section in (cases.STREAMS, cases.NOOP)]
        short = replace(self._effort, seconds=self._effort.seconds / 2)
        jobs = [short.spend(case.job) for case in served]
        measured = machine.run_jobs("benchmarks.in_process", *jobs)
        for case, one in zip(served, measured, strict=True):
            self._add(case.section, case.name, GRAPH, one)

    def _record(self) -> None:
        """Have the replaying server know what ours sends, in each case of streams."""
        for case in CASES:
            if case.section == cases.STREAMS:
                self._call(OURS, replace(case.job, kind="record", directory=str(self._directory)))

    def _call(self, contender: str, job: Job) -> Measured:
        """Do a job in a fresh process."""
        job = self._effort.spend(job)
        if contender == SAVER:
            return machine.run_jobs("benchmarks.in_process", job)[0]
        server = self._servers[contender]
        job = replace(job, port=server.port, pid=server.pid)
        return machine.run_jobs("benchmarks.caller", job)[0]

    def _weigh(self, when: str) -> None:
        for contender in (OURS, cases.HANDLER):
            self._add(cases.MEMORY, when, contender, {"mb": self._servers[contender].rss_mb})

    def _add(self, section: str, case: str, contender: str, measured: Measured) -> None:
        self.results.add(section, case, contender, measured)
        place = {"round": self._round, "section": section, "case": case, "contender": contender}
        self.raw.append({**place, **measured})


@contextmanager
def _contenders(directory: Path) -> Iterator[dict[str, machine.Server]]:
    """Start every server, and stop them at the end."""
    wide = ("--max-concurrent-runs", "512")
    commands: dict[str, tuple[str, ...]] = {
        RECORDED: ("benchmarks.bare", "replay", str(directory)),
        MADE_UP: ("benchmarks.bare", "made-up"),
        HANDLER: ("benchmarks.bare", "graphs"),
        DURABLE: ("benchmarks.bare", "durable", str(directory / "durable.db")),
        OURS: machine.runwire(directory / "runwire.db"),
        WIDE: machine.runwire(directory / "wide.db", *wide),
    }
    with ExitStack() as stack:
        launched = {
            name: stack.enter_context(machine.launched(directory / f"{name}.log", *command))
            for name, command in commands.items()
        }
        servers = {name: wait_up() for name, wait_up in launched.items()}
        time.sleep(SETTLE_SECONDS)
        yield servers


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _report(bench: Bench, seconds: float) -> None:
    lines = list(bench.results.lines(cases.FIGURES))
    print(render(lines))
    for section, percent in bench.busy.items():
        if percent > machine.BUSY_PERCENT:
            print(f"warning: the machine was {percent:.0f} % busy by itself before: {section}")
    judged = [line.met for line in lines if line.met is not None]
    print(f"\n{sum(judged)} of {len(judged)} aims met; {seconds:.0f} s; {machine.describe()}")
    rows = [{"machine": machine.describe()}, *bench.raw]
    rows += [
        {**line.figure._asdict(), **line._asdict(), "figure": line.figure.label} for line in lines
    ]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"every value: {path.relative_to(machine.ROOT)}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, within a minute")
    effort = QUICK if parser.parse_args().quick else FULL
    start = time.perf_counter()
    with TemporaryDirectory(prefix="runwire-bench-") as name:
        with _contenders(Path(name)) as servers:
            bench = Bench(Path(name), effort, servers)
            bench.run()
        _report(bench, time.perf_counter() - start)


if __name__ == "__main__":
    main()
