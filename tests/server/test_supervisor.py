"""Several servers on one port: kept alive, told to stop once, never left behind."""

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.supervised import PATIENCE_SECONDS, supervised, wait_gone

from runwire.server.ports import held_port
from runwire.server.settings import Settings, split_address
from runwire.server.signals import ONE_SIGNAL_SECONDS
from runwire.server.supervisor import MAX_FAILED_STARTS, Supervisor


def heard(directory: Path, number: int) -> int:
    """Return how many signals a server got."""
    file = directory / f"heard-{number}"
    return len(file.read_text().splitlines()) if file.exists() else 0


def starts(directory: Path, number: int) -> int:
    """Return how often a server was started."""
    file = directory / f"starts-{number}"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_servers_come_up_on_one_port_and_that_is_said_once(tmp_path: Path) -> None:
    with supervised(tmp_path, processes=3) as supervisor:
        serving = supervisor.wait_for("serving")
        pids = supervisor.pids()
        assert supervisor.terminate() == 0

    assert len(serving) == len(supervisor.lines("serving")) == 1
    assert serving[0]["processes"] == 3
    bind, alone = serving[0]["flags"]
    assert bind.startswith("--bind=127.0.0.1:")
    assert not bind.endswith(":0")
    assert alone == "--processes=1"
    assert sorted(pids) == [1, 2, 3]
    assert len({*pids.values(), supervisor.process.pid}) == 4


def test_a_server_that_dies_is_started_again_and_the_others_stay(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        supervisor.wait_for("serving")
        before = supervisor.pids()
        for count in (3, 4, 5):
            os.kill(supervisor.pids()[2], signal.SIGKILL)
            supervisor.wait_for("a server process is up", count)
        after = supervisor.pids()
        died = supervisor.lines("a server process died")
        assert supervisor.terminate() == 0

    assert after[1] == before[1]
    assert after[2] != before[2]
    assert [(line["server_process"], line["status"]) for line in died] == [(2, -signal.SIGKILL)] * 3
    pauses = [line["restart_seconds"] for line in died]
    assert pauses[0] == 0
    assert pauses[1] < pauses[2], "what dies young again and again is started ever more slowly"
    assert len(supervisor.lines("serving")) == 1


def test_a_server_that_never_comes_up_is_not_tried_again(tmp_path: Path) -> None:
    with supervised(tmp_path, "never") as supervisor:
        assert supervisor.wait() == 1

    reasons = [line["reason"] for line in supervisor.lines("cannot start")]
    assert reasons == ["server process 1 ended with 3 before it was up"]
    assert (starts(tmp_path, 1), starts(tmp_path, 2)) == (1, 0), "it says why only once"


def test_a_server_that_has_died_before_the_stop_makes_no_failure_of_it(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        supervisor.wait_for("serving")
        for count in range(1, 7):
            os.kill(supervisor.pids()[2], signal.SIGKILL)
            died = supervisor.wait_for("a server process died", count)
            if count < 6:
                supervisor.wait_for("a server process is up", 2 + count)
        assert died[-1]["restart_seconds"] > 0.5, "it is not started again before the stop"
        assert supervisor.terminate() == 0


async def test_a_server_that_starts_while_the_others_are_told_to_stop_is_told_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    start = asyncio.create_subprocess_exec

    async def start_during_a_stop(*arguments: Any, **options: Any) -> Process:
        process = await start(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        while "stopping" not in caplog.messages:  # noqa: ASYNC110 - a log sets no event
            await asyncio.sleep(0)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_during_a_stop)
    monkeypatch.setattr("runwire.server.supervisor.CLOSE_SECONDS", 0)
    settings = Settings.model_construct(processes=1, drain_grace=timedelta(seconds=1))
    command = [sys.executable, "-c", "import signal; signal.pause()"]

    assert await Supervisor(settings, command).run() == 0
    assert "servers that do not stop are killed" not in caplog.messages


def test_a_port_in_use_is_said_before_any_server_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with supervised(tmp_path, bind=address) as supervisor:
            assert supervisor.wait() == 1

    (line,) = supervisor.lines("cannot start")
    assert line["reason"] == f"cannot listen on {address}: the address is in use"
    assert starts(tmp_path, 1) == 0


def test_servers_that_cannot_come_up_again_end_all(tmp_path: Path) -> None:
    with supervised(tmp_path, "once") as supervisor:
        supervisor.wait_for("serving")
        pids = supervisor.pids()
        os.kill(pids[2], signal.SIGKILL)
        assert supervisor.wait() == 1

    assert starts(tmp_path, 2) == 1 + MAX_FAILED_STARTS
    [said] = supervisor.lines("cannot start")
    assert said["reason"] == (
        "5 server processes in a row ended before they were up, the last one with 3"
    )
    assert heard(tmp_path, 1) == 1, "what still worked was told to stop, and not killed"
    wait_gone(pids[1])


def test_a_signal_before_servers_are_up_ends_all(tmp_path: Path) -> None:
    with supervised(tmp_path, "silent") as supervisor:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not starts(tmp_path, 1):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert supervisor.terminate() == 0

    assert (starts(tmp_path, 1), starts(tmp_path, 2)) == (1, 0)
    assert supervisor.lines("serving") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_all_are_waited_for(
    tmp_path: Path, number: signal.Signals
) -> None:
    with supervised(tmp_path, "slow") as supervisor:
        supervisor.wait_for("serving")
        supervisor.process.send_signal(number)
        supervisor.process.send_signal(number)
        assert supervisor.wait() == 0

    assert (heard(tmp_path, 1), heard(tmp_path, 2)) == (1, 1)
    assert [line["event"] for line in supervisor.lines()][-2:] == ["stopping", "stopped"]


def test_a_second_signal_is_passed_on_too(tmp_path: Path) -> None:
    with supervised(tmp_path, "insisting") as supervisor:
        supervisor.wait_for("serving")
        supervisor.process.terminate()
        supervisor.wait_for("stopping")
        time.sleep(ONE_SIGNAL_SECONDS)
        assert supervisor.terminate() == 1

    assert (heard(tmp_path, 1), heard(tmp_path, 2)) == (2, 2)


def test_servers_that_never_stop_are_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, "deaf", drain_seconds=0.05) as supervisor:
        supervisor.wait_for("serving")
        pids = supervisor.pids()
        assert supervisor.terminate() == 1

    for pid in pids.values():
        wait_gone(pid)


def test_servers_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with supervised(tmp_path) as supervisor:
        supervisor.wait_for("serving")
        pids = supervisor.pids()
        supervisor.process.kill()
        for pid in pids.values():
            wait_gone(pid)

    assert (heard(tmp_path, 1), heard(tmp_path, 2)) == (1, 1), "they stopped in order"


# ------------------------------------------------------------------------------------ the port


def listening(place: tuple[str, int]) -> socket.socket:
    """Listen as a server does that shares its port."""
    sharing = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        sharing.setsockopt(socket.SOL_SOCKET, option, 1)
    sharing.bind(place)
    sharing.listen()
    return sharing


def test_servers_share_a_port_that_is_held_and_nobody_else_gets_it() -> None:
    with held_port("127.0.0.1:0") as address:
        place = split_address(address)
        with listening(place), listening(place), pytest.raises(OSError, match="in use"):
            socket.create_server(place)
        with pytest.raises(OSError, match="in use"), held_port(address):
            pass


def test_a_port_whose_connections_linger_can_be_held() -> None:
    with held_port("127.0.0.1:0") as address:
        place = split_address(address)
        with listening(place) as server, socket.create_connection(place):
            server.accept()[0].close()
    with held_port(address) as again:
        assert again == address


@pytest.mark.parametrize("bind", ["localhost:0", "0.0.0.0:0"])
def test_the_host_stays_as_it_was_written(bind: str) -> None:
    with held_port(bind) as address:
        host, port = split_address(address)

    assert host == split_address(bind)[0]
    assert port > 0
