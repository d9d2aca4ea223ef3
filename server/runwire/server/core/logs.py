"""The output of runs that this process executes, while it is being made.

A `RunLog` holds the newest entries of one run in memory; older ones are in the database. Readers
are cursors over it: a slow one costs no memory and slows nobody, it falls back to the database.
The runner's thread appends, the gRPC loop reads and flushes.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice

from runwire.server.model.errors import AttemptLost
from runwire.server.model.events import (
    SEGMENT_BYTES,
    Event,
    EventId,
    LogEntry,
)
from runwire.server.model.runs import Run

Encode = Callable[[str, EventId, datetime, Event], bytes]
"""Serializes an event of a run: run id, event id, time, event."""

TAIL_BYTES = 256 * 1024
"""What a log keeps in memory of entries that the database has, for readers that keep up."""

HOT_SECONDS = 0.002
"""Wakes of the gRPC loop for one run are at least this far apart: a burst is one wake, and an
event that comes alone is delivered at once."""


class RunLog:
    """The log of one run."""

    def __init__(self, run_id: str, encode: Encode, loop: asyncio.AbstractEventLoop) -> None:
        self.run_id = run_id
        self.live = False
        """Whether this process executes the run: new entries will show up here."""
        self.complete = False
        """Whether the run has ended and its last entry is in memory."""
        self.ended: asyncio.Future[Run] = loop.create_future()
        """Resolved with the run when it has ended in this process."""
        self._encode = encode
        self._loop = loop
        self._lock = threading.Lock()
        self._entries: deque[LogEntry] = deque()
        self._bytes = 0
        self._base = EventId(0, 0)
        self._last = EventId(0, 0)
        self._taken = EventId(0, 0)
        self._stored = EventId(0, 0)
        self._writable = False
        self.unstored_bytes = 0
        """Bytes that are not in the database yet, as far as is known here."""
        self._wake_scheduled = False
        self._quiet_until = 0.0
        self._readers: set[asyncio.Future[None]] = set()
        self._patient: set[asyncio.Future[None]] = set()
        self.wakes = 0
        """How often readers were woken: tells a reader what it missed while it looked elsewhere."""
        self.on_wake: Callable[[RunLog], None] = lambda log: None
        """Called on the gRPC loop after readers were woken for new entries."""
        self.on_lost: Callable[[BaseException], None] = lambda error: None
        """Called on the gRPC loop when entries could not be stored: the attempt must end."""

    def begin(self, attempt: int) -> None:
        """Start an attempt: from here on, its entries show up here. What earlier ones left is read
        from the database, which may know of others in between."""
        with self._lock:
            self._entries.clear()
            self._bytes = self.unstored_bytes = 0
            self._base = self._last = self._taken = self._stored = EventId(attempt, 0)
            self.live = self._writable = True

    def append(self, attempt: int, event: Event) -> None:
        """Serialize an event of an attempt, give it its place, and let readers know.

        Only the thread that executes the attempt may call this. Raises `AttemptLost` when the
        attempt's part of the log is closed.
        """
        event_id = EventId(attempt, self._last.index + 1)
        data = self._encode(self.run_id, event_id, datetime.now(UTC), event)
        with self._lock:
            if not self._writable or self._last.attempt != attempt:
                raise AttemptLost(self.run_id, attempt)
            self._add(LogEntry(event_id, data))
        self._schedule_wake()

    def _add(self, entry: LogEntry) -> None:
        self._entries.append(entry)
        self._bytes += len(entry.data)
        self.unstored_bytes += len(entry.data)
        self._last = entry.id

    def seal(self) -> None:
        """Take no more from the attempt: code that was left behind may still be talking, and must
        not take the place of the run's last event."""
        with self._lock:
            self._writable = False

    def end(self, entries: Sequence[LogEntry], run: Run) -> None:
        """Say that the run has ended. `entries` are its last ones, which are stored already; none
        if the run was not executed here."""
        with self._lock:
            for entry in entries:
                self._add(entry)
            self.complete = bool(entries)
            self.live = self._writable = False
            self._note_stored(self._last)
        if not self.ended.done():
            self.ended.set_result(run)
        self.wake()

    @property
    def holds_newest(self) -> bool:
        """Whether the newest entries are here: those of a run that this process executes, or has
        executed to its end. Otherwise the database has them all."""
        return self.live or self.complete

    def stop(self) -> None:
        """Say that this process no longer executes the run, though it has not ended."""
        with self._lock:
            self.live = self._writable = False
        self.wake()

    @property
    def last(self) -> EventId:
        """Id of the newest entry; index 0 before the first of an attempt."""
        return self._last

    @property
    def taken(self) -> EventId:
        """Id of the last entry that somebody has begun to store."""
        return self._taken

    @property
    def is_taken_stored(self) -> bool:
        """Whether all that somebody has begun to store is in the database for certain."""
        return self._taken == self._stored

    def take(self) -> list[LogEntry]:
        """Return what nobody has begun to store, for the caller to store."""
        with self._lock:
            entries = self._after(self._taken)
            self._taken = self._last
        return entries

    def rewind(self, stored: EventId | None) -> None:
        """Say how far the database really has the log."""
        with self._lock:
            self._taken = max(stored or self._stored, EventId(self._last.attempt, 0))

    def stored(self, up_to: EventId) -> None:
        """Say that entries up to an id are in the database: old ones need not stay."""
        with self._lock:
            if up_to <= self._stored or up_to.attempt != self._last.attempt:
                return
            self._note_stored(up_to)

    def _note_stored(self, up_to: EventId) -> None:
        newly = [entry for entry in self._after(self._stored) if entry.id <= up_to]
        self.unstored_bytes -= sum(len(entry.data) for entry in newly)
        self._stored = up_to
        while self._bytes > TAIL_BYTES and self._entries[0].id <= self._stored:
            gone = self._entries.popleft()
            self._bytes -= len(gone.data)
            self._base = gone.id

    def after(self, cursor: EventId) -> list[LogEntry] | None:
        """Return the entries after `cursor`, or the first ones if there are many; None when some of
        them are not in memory."""
        with self._lock:
            entries = None if cursor < self._base else self._after(cursor)
        return entries and first_of(entries)

    @property
    def base(self) -> EventId:
        """Everything after this id that this process made is in memory."""
        return self._base

    def _after(self, cursor: EventId) -> list[LogEntry]:
        if cursor.attempt == self._last.attempt:
            # An attempt's entries are consecutive, and its are the newest here.
            newer = self._last.index - cursor.index
            return list(islice(self._entries, max(0, len(self._entries) - newer), None))
        found = []
        for entry in reversed(self._entries):
            if entry.id <= cursor:
                break
            found.append(entry)
        found.reverse()
        return found

    async def changed(self, seen: int, *, entries: bool = True) -> None:
        """Return when readers have been woken since `wakes` was `seen`. Without `entries`, new
        ones alone are no reason to return from now on."""
        if self.wakes != seen:
            return
        waiters = self._readers if entries else self._patient
        waiter = self._loop.create_future()
        waiters.add(waiter)
        try:
            await waiter
        finally:
            waiters.discard(waiter)

    @property
    def waiting(self) -> int:
        """How many wait here now."""
        return len(self._readers) + len(self._patient)

    @property
    def waits_for_others(self) -> bool:
        """Whether somebody waits here for news that only the database has: another server executes
        the run, or none does."""
        return self.waiting > 0 and not self.holds_newest

    def _schedule_wake(self) -> None:
        # Unlocked on purpose: a stale False only costs a second wake, and `_wake` clears the flag
        # before it reads, so that no entry is left behind.
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon_threadsafe(self._wake_when_quiet)

    def _wake_when_quiet(self) -> None:
        if self._loop.time() < self._quiet_until:
            self._loop.call_at(self._quiet_until, self._wake_when_quiet)
            return
        self._quiet_until = self._loop.time() + HOT_SECONDS
        self._wake_scheduled = False
        self._wake_readers()
        self.on_wake(self)

    def _wake_readers(self) -> None:
        self.wakes += 1
        for waiter in self._readers:
            _resolve(waiter)

    def wake(self) -> None:
        """Wake whoever waits, for entries or for something else. gRPC loop only."""
        self._wake_readers()
        for waiter in self._patient:
            _resolve(waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def first_of(entries: list[LogEntry]) -> list[LogEntry]:
    """Return as many of the first entries as a reader may hold while it is slow."""
    size = 0
    for position, entry in enumerate(entries):
        size += len(entry.data)
        if size > SEGMENT_BYTES and position:
            return entries[:position]
    return entries


class RunLogs:
    """The logs that somebody in this process uses: the executing attempt, or a reader."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._logs: dict[str, tuple[RunLog, int]] = {}

    def acquire(self, run_id: str) -> RunLog:
        """Return the run's log, made if need be; `release` it when done. gRPC loop only."""
        log, users = self._logs.get(run_id) or (self._new(run_id), 0)
        self._logs[run_id] = (log, users + 1)
        return log

    def release(self, run_id: str) -> None:
        """Undo one `acquire`."""
        log, users = self._logs[run_id]
        if users > 1:
            self._logs[run_id] = (log, users - 1)
        else:
            del self._logs[run_id]

    @contextmanager
    def using(self, run_id: str) -> Iterator[RunLog]:
        """Acquire and release around a block."""
        log = self.acquire(run_id)
        try:
            yield log
        finally:
            self.release(run_id)

    def ended(self, run: Run) -> None:
        """Tell readers of a run that ended without being executed here (cancelled while pending).
        Its last event is in the database."""
        if run.run_id in self._logs:
            self._logs[run.run_id][0].end((), run)

    def wake_all(self) -> None:
        """Wake every reader."""
        for log, _ in self._logs.values():
            log.wake()

    def told(self, run_ids: Iterable[str]) -> None:
        """Wake the readers of runs of which another server says that there is news. What this
        server executes itself, it knows better."""
        for run_id in run_ids:
            if run_id in self._logs and not self._logs[run_id][0].holds_newest:
                self._logs[run_id][0].wake()

    def waiting_for_others(self) -> list[RunLog]:
        """Return the logs for whose news readers have to rely on the database."""
        return [log for log, _ in self._logs.values() if log.waits_for_others]

    def _new(self, run_id: str) -> RunLog:
        return RunLog(run_id, self._encode, asyncio.get_running_loop())
