"""`runwire queue`, through a real server."""

import time

import pytest
from tests.commands.conftest import Commands

from runwire.client import SyncRunwireClient


def test_the_queue_and_the_servers(runwire: Commands, client: SyncRunwireClient) -> None:
    run = client.runs.create(None, "echo", after_seconds=3600)
    try:
        seen = runwire("queue", "--json").document
        tables = runwire("queue").output
    finally:
        client.runs.cancel(None, run["run_id"])

    assert seen["queue"]["delayed_runs"] == 1
    assert [graph["graph_id"] for graph in seen["queue"]["graphs"]] == ["echo"]
    assert seen["servers"][0]["address"] == runwire.address
    runs, graphs, servers = tables.split("\n\n")
    assert runs.split()[:4] == ["pending", "delayed", "running", "cancelling"]
    assert graphs.splitlines()[1].split() == ["echo", "0", "1", "0", "0"]
    assert runwire.address in servers


def test_watching_looks_again_until_ctrl_c(
    runwire: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = iter([2.0, 2.0])

    def sleep(seconds: float) -> None:
        assert seconds == 2.0
        if next(pauses, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    said = runwire("queue", "--watch", "--json")

    assert said.exit_code == 130
    assert len(said.lines) == 3
