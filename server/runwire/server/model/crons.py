"""Crons: what to run, and when, again and again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runwire.server.model.runs import RunSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CronError:
    """Why a cron made no run when it fired. `reason` is the wire's `ErrorReason` without its
    prefix."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A cron as stored.

    `schedule` is as its caller wrote it. `next_fire_time` is None when it does not fire again: it
    is not enabled, or nothing is due before `end_time`. `last_fire_time` is what `next_fire_time`
    was when it fired last; `last_error` says why that made no run. `missed_fires` counts what
    was due while nobody could fire. `principal` is who created it, and who its runs are for.
    """

    cron_id: str
    assistant_id: str
    thread_id: str | None
    spec: RunSpec
    schedule: str
    time_zone: str
    enabled: bool
    end_time: datetime | None
    metadata: dict[str, Any]
    create_time: datetime
    update_time: datetime
    next_fire_time: datetime | None = None
    last_fire_time: datetime | None = None
    last_run_id: str | None = None
    last_error: CronError | None = None
    missed_fires: int = 0
    principal: str = ""
