"""Crons: creating, reading and changing them, and firing those that are due."""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from runwire.server.core.assistants import merged, resolve
from runwire.server.core.creation import Rules, hold_thread
from runwire.server.core.firing import Look, fire, give_up, look, next_fire_time
from runwire.server.core.requests import remember, replay
from runwire.server.core.runs import Runs
from runwire.server.model.crons import Cron, CronError
from runwire.server.model.errors import (
    CronNotFound,
    InvalidField,
    RunwireError,
    StorageFull,
    Unavailable,
)
from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, Page, RequestKey
from runwire.server.model.runs import RunSpec
from runwire.server.storage import crons
from runwire.server.storage.clock import current_time
from runwire.server.storage.crons import CronFilter, DueCron
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.notifications import Kind, notify

_logger = logging.getLogger(__name__)

FIRED_AT_ONCE = 16
"""Crons whose transactions are begun together, so that they may share a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronDraft:
    """What a caller wants a cron to be."""

    spec: RunSpec
    schedule: str
    time_zone: str
    enabled: bool = True
    end_time: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronChange:
    """What to change of a cron; None leaves a part as it is. `spec` has the fields of the
    specification to replace, `metadata` is merged: a key whose value is None goes away, and with
    `unlabels` all keys that were there. With `ends` the new end is `end_time`, none if that is
    None."""

    spec: dict[str, Any] = field(default_factory=dict)
    schedule: str | None = None
    time_zone: str | None = None
    enabled: bool | None = None
    ends: bool = False
    end_time: datetime | None = None
    metadata: dict[str, Any] | None = None
    unlabels: bool = False


class Crons:
    """What can be done with crons."""

    def __init__(self, database: Database, runs: Runs, rules: Rules) -> None:
        self._database = database
        self._runs = runs
        self._rules = rules
        self.woken = asyncio.Event()
        """Set when there may be something to fire sooner than was known."""

    async def create(
        self, draft: CronDraft, request: RequestKey | None, principal: str = ""
    ) -> Cron:
        """Return a new cron of `principal`, or that of a repeated request.

        Raises `AssistantNotFound`, `AssistantVersionNotFound`, `GraphNotFound`, `ThreadNotFound`,
        `InvalidField`, `RequestIdReused`; `CronNotFound` when the request came before and its cron
        has been deleted since.
        """
        cron = await self._database.write(
            lambda connection: _create(connection, draft, request, principal, self._rules)
        )
        self.wake()
        return cron

    async def get(self, cron_id: str) -> Cron:
        """Return a cron. Raises `CronNotFound`."""
        return await self._database.read(
            lambda connection: _found(cron_id, crons.get_cron(connection, cron_id))
        )

    async def list(
        self,
        wanted: CronFilter,
        order: Order,
        *,
        limit: int,
        cursor: str | None,
        count_total: bool = False,
    ) -> Page[Cron]:
        """Return the crons that are `wanted`, a page at a time."""

        def read_page(connection: Connection) -> Page[Cron]:
            page = crons.list_crons(connection, wanted, order, limit=limit, cursor=cursor)
            total = crons.count_crons(connection, wanted) if count_total else None
            return replace(page, total=total)

        return await self._database.read(read_page)

    async def update(self, cron_id: str, change: CronChange) -> Cron:
        """Change a cron. Raises `CronNotFound`, `AssistantVersionNotFound`, `GraphNotFound`,
        `InvalidField`, `PayloadTooLarge`."""
        graph_ids = self._rules.graph_ids
        cron = await self._database.write(
            lambda connection: _update(connection, cron_id, change, graph_ids)
        )
        self.wake()
        return cron

    async def delete(self, cron_id: str) -> None:
        """Delete a cron; its runs stay. Raises `CronNotFound`."""

        def delete(connection: Connection) -> None:
            if not crons.delete_cron(connection, cron_id):
                raise CronNotFound(cron_id)

        await self._database.write(delete)

    # ------------------------------------------------------------------ firing

    def wake(self) -> None:
        """Look soon what there is to fire."""
        self.woken.set()

    async def look(self) -> Look:
        """Return what this server has to fire now, or when."""
        return await self._database.read(lambda connection: look(connection, self._rules.graph_ids))

    async def fire(self, due: Sequence[DueCron]) -> int:
        """Fire crons, those that nobody else fires meanwhile; return how many are moved on now."""
        # Servers that fire at the same time begin at different ends.
        order = random.sample(due, len(due))
        fired = 0
        for start in range(0, len(order), FIRED_AT_ONCE):
            chunk = order[start : start + FIRED_AT_ONCE]
            # All of them come to their end, also when one has no database any more.
            tries = (self._fire(cron) for cron in chunk)
            for result in await asyncio.gather(*tries, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
                fired += result
        return fired

    async def _fire(self, due: DueCron) -> bool:
        try:
            creation = await self._runs.create_by(
                lambda connection, slots: fire(connection, due, self._rules, slots=slots), 1
            )
        except (Unavailable, StorageFull):
            raise  # this is the database's trouble, not the cron's
        except RunwireError as error:
            return await self._give_up(due, CronError(reason=error.reason, message=error.message))
        except Exception:
            _logger.exception("a cron failed to fire", extra={"cron_id": due.cron_id})
            message = "internal error; the server's log has it under the cron's id"
            return await self._give_up(due, CronError(reason="INTERNAL", message=message))
        return bool(creation.runs)

    async def _give_up(self, due: DueCron, error: CronError) -> bool:
        was_due = await self._database.write(lambda connection: give_up(connection, due, error))
        if was_due:
            extra = {"cron_id": due.cron_id, "reason": error.reason, "why": error.message}
            _logger.warning("a cron made no run", extra=extra)
        return was_due


def _create(
    connection: Connection,
    draft: CronDraft,
    request: RequestKey | None,
    principal: str,
    rules: Rules,
) -> Cron:
    now = current_time(connection)
    if request is not None:
        known = replay(connection, request, since=now - rules.request_retention)
        if known is not None:
            return _found(known[0], crons.get_cron(connection, known[0]))
    spec = draft.spec
    pin = (spec.assistant_id, spec.assistant_version, rules.graph_ids)
    resolve(connection, *pin)  # what is wrong is told before a thread is made
    if spec.thread_id is not None:
        hold_thread(connection, spec.thread_id, spec.if_thread_missing, rules.thread_ttl, now)
    # Kept only now: locks of threads come first.
    assistant = resolve(connection, *pin, keep=True)
    _check_end(draft.end_time, now)
    cron = Cron(
        cron_id=new_id(),
        assistant_id=assistant.assistant_id,
        thread_id=spec.thread_id,
        principal=principal,
        spec=spec,
        schedule=draft.schedule,
        time_zone=draft.time_zone,
        enabled=draft.enabled,
        end_time=draft.end_time,
        metadata=draft.metadata,
        create_time=now,
        update_time=now,
    )
    cron = replace(cron, next_fire_time=next_fire_time(cron, now))
    crons.add_cron(connection, cron)
    if request is not None:
        remember(connection, request, [cron.cron_id], now)
    notify(connection, Kind.CRONS)
    return cron


def _update(
    connection: Connection, cron_id: str, change: CronChange, graph_ids: Sequence[str]
) -> Cron:
    cron = _found(cron_id, crons.lock_cron(connection, cron_id))
    now = current_time(connection)
    spec = replace(cron.spec, **change.spec)
    if spec.assistant_version != cron.spec.assistant_version:
        resolve(connection, cron.assistant_id, spec.assistant_version, graph_ids)
    if change.ends:
        _check_end(change.end_time, now)
    changed = replace(
        cron,
        spec=spec,
        schedule=cron.schedule if change.schedule is None else change.schedule,
        time_zone=cron.time_zone if change.time_zone is None else change.time_zone,
        enabled=cron.enabled if change.enabled is None else change.enabled,
        end_time=change.end_time if change.ends else cron.end_time,
        metadata=merged({} if change.unlabels else cron.metadata, change.metadata or {}),
    )
    if changed == cron:
        return cron
    changed = replace(changed, next_fire_time=_moved(cron, changed, now), update_time=now)
    crons.set_cron(connection, changed)
    notify(connection, Kind.CRONS)
    return changed


def _moved(old: Cron, new: Cron, now: datetime) -> datetime | None:
    """Return when a cron that was changed fires next. What it has to fire for already, it still
    has, unless the change is about when it fires."""
    same = (old.schedule, old.time_zone, old.enabled) == (new.schedule, new.time_zone, new.enabled)
    kept = old.next_fire_time
    if same and kept is not None and (new.end_time is None or kept < new.end_time):
        return kept
    return next_fire_time(new, now)


def _check_end(end_time: datetime | None, now: datetime) -> None:
    if end_time is not None and end_time <= now:
        raise InvalidField("end_time", "must be in the future")


def _found(cron_id: str, cron: Cron | None) -> Cron:
    if cron is None:
        raise CronNotFound(cron_id)
    return cron
