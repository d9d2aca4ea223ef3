"""Faults that a test lets strike a server: what a crash, a stall or a lost answer does, and where.

A point is a place in the code, just before a transaction commits or just after. Nothing happens
there, and it costs next to nothing, until the point is armed.
"""

import logging
import os
import random
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from runwire.server.model.errors import DatabaseUnavailable

_logger = logging.getLogger(__name__)

_COMMITS = (
    "cancel",
    "claim",
    "create",
    "finish",
    "flush",
    "put",
    "put_writes",
    "release",
    "renew",
    "sweep",
)

SHARED_POINTS = frozenset({"notifications.send"})
"""Points that a server only comes by when it may share its database with others."""

WEBHOOK_POINTS = frozenset(
    {f"{commit}.{side}_commit" for commit in ("deliver", "send") for side in ("before", "after")}
)
"""Points that a server only comes by when runs have webhooks."""

POINTS = (
    SHARED_POINTS
    | WEBHOOK_POINTS
    | frozenset(
        {f"{commit}.{side}_commit" for commit in _COMMITS for side in ("before", "after")}
        | {"drain.before_release", "drain.after_release"}
    )
)
"""Every point there is, named after the transaction that it stands at."""

ACTIONS = ("raise", "sleep", "kill", "stop")

SLEEP_SECONDS = 1.0

_ITEM = re.compile(
    r"(?P<point>[a-z_.]+|\*):(?P<action>[a-z]+)(?:=(?P<seconds>\d+(?:\.\d+)?))?"
    r"(?::(?P<probability>\d+(?:\.\d+)?))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What may happen at one point: `raise` lets the database seem away, `sleep` keeps the thread
    for `seconds`, `kill` ends the process as SIGKILL does, `stop` halts it until SIGCONT."""

    point: str
    action: str
    seconds: float = SLEEP_SECONDS
    probability: float = 1.0


class Faults(NamedTuple):
    """Faults, and the seed that the chances among them come from; None: another each time."""

    faults: tuple[Fault, ...]
    seed: int | None = None


class _Armed(NamedTuple):
    faults: tuple[Fault, ...]
    chance: random.Random


_armed: Mapping[str, _Armed] = {}


def fault(point: str) -> None:
    """Let the faults strike that `point` is armed with. Raises `DatabaseUnavailable` for one."""
    if point in _armed:
        _strike(_armed[point])


def parse_faults(text: str) -> Faults:
    """Return the faults that "create.after_commit:kill:0.1, put.before_commit:sleep=2, seed=7"
    means; `*` is every point. Raises ValueError, saying what is wrong."""
    faults: list[Fault] = []
    seed = None
    for item in filter(None, map(str.strip, text.split(","))):
        name, separator, number = item.partition("=")
        if separator and name == "seed":
            if not number.isdecimal():
                raise ValueError(f"a seed is a whole number, not {number!r}")
            seed = int(number)
        else:
            faults += _parse_item(item)
    return Faults(tuple(faults), seed)


def _parse_item(item: str) -> list[Fault]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(f"{item!r} is not POINT:ACTION[=SECONDS][:PROBABILITY]")
    point, action, seconds, probability = match.groups()
    if point != "*" and point not in POINTS:
        raise ValueError(f"there is no point {point!r}: there are {', '.join(sorted(POINTS))}")
    if action not in ACTIONS:
        raise ValueError(f"there is no action {action!r}: there are {', '.join(ACTIONS)}")
    if seconds is not None and action != "sleep":
        raise ValueError(f"only sleep takes seconds, {action} does not")
    chance = float(probability or 1)
    if chance > 1:
        raise ValueError(f"a probability is at most 1, not {probability}")
    points = sorted(POINTS) if point == "*" else [point]
    return [Fault(each, action, float(seconds or SLEEP_SECONDS), chance) for each in points]


@contextmanager
def armed(faults: Faults) -> Iterator[None]:
    """Arm points of this process for the length of a block."""
    global _armed
    if not faults.faults:
        yield
        return
    _logger.warning("faults are armed: this server is to be hurt", extra={"seed": faults.seed})
    before = _armed
    chance = random.Random(faults.seed)
    points = {each.point for each in faults.faults}
    _armed = {
        point: _Armed(tuple(each for each in faults.faults if each.point == point), chance)
        for point in points
    }
    try:
        yield
    finally:
        _armed = before


def _strike(armed: _Armed) -> None:
    for each in armed.faults:
        if armed.chance.random() < each.probability:
            extra = {"point": each.point, "action": each.action}
            _logger.warning("a fault strikes", extra=extra)
            _act(each)


def _act(fault: Fault) -> None:
    match fault.action:
        case "raise":
            raise DatabaseUnavailable
        case "sleep":
            time.sleep(fault.seconds)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
