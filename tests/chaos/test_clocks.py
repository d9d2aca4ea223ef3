"""A server whose clock is a minute off, either way: no run is lost, or taken from it early."""

import asyncio
import importlib.util
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.history import of_kind
from tests.chaos.load import Load, Plan
from tests.support.serving import ServerProcess

SECONDS = 60


def skewed(seconds: int) -> dict[str, str]:
    """Return the environment in which a process's clock is that far off; its monotonic clock is
    not, as on a machine whose time somebody has set wrong."""
    package = importlib.util.find_spec("libfaketime")
    assert package is not None
    assert package.origin is not None
    library = Path(package.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    assert library.exists(), f"the package libfaketime has nothing for this machine: {library}"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{seconds:+}s",
        "DONT_FAKE_MONOTONIC": "1",
    }


@pytest.mark.skipif(
    importlib.util.find_spec("libfaketime") is None,
    reason="the package libfaketime, which sets clocks wrong, is for Linux on x86-64 alone",
)
@pytest.mark.parametrize("seconds", [SECONDS, -SECONDS], ids=["ahead", "behind"])
@pytest.mark.chaos
@pytest.mark.timeout(120)
async def test_a_wrong_clock_is_nobody_s_problem(
    tmp_path: Path, postgres_url: str, seconds: int, figure: Figure
) -> None:
    async with cluster("clocks", tmp_path, replicas=1, database_url=postgres_url) as servers:
        wrong = await servers.add(environment=skewed(seconds))
        await servers.start(wrong)
        await work(servers, 6)
        await servers.judge()
        runs = of_kind(servers.history.lines, "run")
        # Any server may cancel; what a busy one gives up by itself its clock has no part in.
        taken = [
            row
            for row in of_kind(servers.history.lines, "row")
            if row["table"] == "runs"
            and row["owner"] not in (None, row["by"])
            and row["state"] != "cancelling"
        ]
        figure(f"clock {seconds:+} s: runs taken from a server", len(taken), f"0 of {len(runs)}")
        assert taken == []
        assert by_pid(servers, wrong) > 0
        assert by_pid(servers, servers.replicas[0]) > 0


async def work(servers: Cluster, seconds: float) -> None:
    load = Load(servers, Plan(callers=4, pause=0.2, threads=30, steps=3, seconds=0.2))
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(seconds)
    load.end()
    await loading


def by_pid(servers: Cluster, replica: ServerProcess) -> int:
    """Return how many supersteps a replica executed."""
    notes = of_kind(servers.history.lines, "note")
    return sum(note["pid"] == replica.pid for note in notes if note["what"] == "begin")
