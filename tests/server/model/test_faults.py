"""Faults: what can be armed, in which words, and what happens then."""

import time
from pathlib import Path

import pytest

import runwire.server
from runwire.server.model import faults
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.model.faults import POINTS, Fault, armed, fault, parse_faults

POINT = "create.after_commit"


def test_nothing_happens_unless_a_point_is_armed() -> None:
    fault(POINT)
    with armed(parse_faults("")):
        fault(POINT)
    with armed(parse_faults("put.before_commit:raise")):
        fault(POINT)


def test_a_fault_that_raises_lets_the_database_seem_away() -> None:
    with armed(parse_faults(f"{POINT}:raise")), pytest.raises(DatabaseUnavailable):
        fault(POINT)
    fault(POINT)


def test_a_fault_that_sleeps_takes_its_time() -> None:
    with armed(parse_faults(f"{POINT}:sleep=0.05")):
        begun = time.monotonic()
        fault(POINT)
        assert time.monotonic() - begun >= 0.05


def test_several_faults_may_strike_at_one_point() -> None:
    with armed(parse_faults(f"{POINT}:sleep=0, {POINT}:raise")), pytest.raises(DatabaseUnavailable):
        fault(POINT)


@pytest.mark.parametrize(("action", "signal"), [("kill", "SIGKILL"), ("stop", "SIGSTOP")])
def test_a_fault_may_end_or_halt_the_process(
    action: str, signal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(faults.os, "kill", lambda pid, number: sent.append((pid, number.name)))
    with armed(parse_faults(f"{POINT}:{action}")):
        fault(POINT)
    assert sent == [(faults.os.getpid(), signal)]


def test_chances_come_from_the_seed() -> None:
    def strikes(seed: int) -> list[bool]:
        struck = []
        with armed(parse_faults(f"seed={seed}, {POINT}:raise:0.5")):
            for _ in range(64):
                try:
                    fault(POINT)
                except DatabaseUnavailable:
                    struck.append(True)
                else:
                    struck.append(False)
        return struck

    assert strikes(1) == strikes(1) != strikes(2)
    assert 10 < sum(strikes(1)) < 54


def test_a_star_is_every_point() -> None:
    assert {each.point for each in parse_faults("*:kill:0.25").faults} == POINTS


def test_what_is_said_is_understood() -> None:
    assert parse_faults(f" {POINT}:sleep=2.5:0.1 , seed=7 ") == (
        (Fault(POINT, "sleep", seconds=2.5, probability=0.1),),
        7,
    )
    assert parse_faults("") == ((), None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("create", "is not POINT:ACTION"),
        ("create:kill", "no point 'create': there are cancel.after_commit, "),
        (f"{POINT}:burn", "no action 'burn': there are raise, sleep, kill, stop"),
        (f"{POINT}:kill=3", "only sleep takes seconds"),
        (f"{POINT}:kill:1.5", "at most 1"),
        (f"{POINT}:kill:-1", "is not POINT:ACTION"),
        ("seed=x", "a whole number, not 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_faults(text)


def test_every_point_is_somewhere_in_the_code() -> None:
    sources = Path(next(iter(runwire.server.__path__))).rglob("*.py")
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert [point for point in sorted(POINTS) if f'"{point}"' not in code] == []
