"""The tables. The CHECKs make impossible rows impossible, whatever the code does."""

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from runwire.server.storage.change_numbers import next_change
from runwire.server.storage.json_text import SearchableText

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """A moment, in UTC. SQLite keeps no zone and returns naive values."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class PlainData(TypeDecorator[Any]):
    """JSON data that no query looks into: kept as text, exactly, in its order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


def _searchable() -> JSON[Any]:
    """JSON data that queries look into. In PostgreSQL too it is kept as it came: what looks into
    it converts it."""
    return JSON[Any](none_as_null=True)


def _string(length: int | None = None) -> String:
    """A string that is compared by its characters' numbers, as SQLite does: in PostgreSQL the
    database's language would have a say in what is before what, and in what an index is for."""
    kind = Text if length is None else String
    return kind(length).with_variant(kind(length, collation="C"), "postgresql")


_LARGE_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite's integers are all of this size, and it counts up only what it calls INTEGER."""


assistants = Table(
    "assistants",
    metadata,
    Column("assistant_id", _string(36), primary_key=True),
    Column("graph_id", _string(), nullable=False),
    Column("name", _string(), nullable=False),
    Column("description", _string(), nullable=False),
    Column("config", PlainData, nullable=False),
    Column("context", PlainData),
    Column("metadata", _searchable(), nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    # Of a graph's default assistant: what the configuration said of it last.
    Column("configured", PlainData),
    Index("ix_assistants_graph_id", "graph_id", "assistant_id"),
    Index("ix_assistants_name", "name", "assistant_id"),
    Index("ix_assistants_create_time", "create_time", "assistant_id"),
    Index("ix_assistants_update_time", "update_time", "assistant_id"),
)

assistant_versions = Table(
    "assistant_versions",
    metadata,
    Column(
        "assistant_id",
        _string(36),
        ForeignKey("assistants.assistant_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("version", Integer, primary_key=True),
    Column("graph_id", _string(), nullable=False),
    Column("name", _string(), nullable=False),
    Column("description", _string(), nullable=False),
    Column("config", PlainData, nullable=False),
    Column("context", PlainData),
    Column("metadata", _searchable(), nullable=False),
    Column("create_time", UtcTime, nullable=False),
)

ACTIVE = text("state IN ('running', 'cancelling')")
IN_FLIGHT = text("state IN ('pending', 'running', 'cancelling')")
BEGUN = text("state = 'pending' AND attempt > 0")
"""Conditions of partial indexes. A planner uses such an index only for a query that says the same
in so many words, and not with parameters: these are those words."""

ENDED_ODDLY = text("state IN ('failed', 'interrupted', 'timed_out', 'cancelled')")
"""The same for runs that ended in any other way than most do."""

STATELESS = text("NOT (thread_id IS NOT NULL)")
"""The same for runs without a thread, put so that SQLite does not take the index of the runs of a
thread and sort what it finds."""


HAS_GRAPH = text("graph_id <> ''")
"""The same for all runs: so that SQLite takes an index for those alone that list a graph's runs,
and not for claims."""

HAS_PRINCIPAL = text("principal <> ''")
"""The same for runs of which it is known who created them."""

_PRINCIPAL_IN_FLIGHT = text(f"{HAS_PRINCIPAL} AND {IN_FLIGHT}")


def _index_where(
    name: str,
    *columns: str,
    where: TextClause,
    unique: bool = False,
    on_sqlite: TextClause | None = None,
) -> Index:
    # SQLite has no booleans: there SQLAlchemy writes `flag = 1` and `flag = 0`.
    there = where if on_sqlite is None else on_sqlite
    return Index(name, *columns, unique=unique, sqlite_where=there, postgresql_where=where)


def _index_where_true(name: str, *columns: str, flag: str, unique: bool = False) -> Index:
    where, on_sqlite = text(flag), text(f"{flag} = 1")
    return _index_where(name, *columns, where=where, on_sqlite=on_sqlite, unique=unique)


threads = Table(
    "threads",
    metadata,
    Column("thread_id", _string(36), primary_key=True),
    Column("state", _string(16), nullable=False),
    # What `state` returns to once nothing is in flight. A run taken back leaves it as it was.
    Column("rest_state", _string(16), nullable=False),
    Column("metadata", _searchable(), nullable=False),
    Column("values", SearchableText),
    Column("interrupts", PlainData, nullable=False),
    Column("error", PlainData),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    Column("state_update_time", UtcTime, nullable=False),
    # How long after `update_time`; no TTL, and none of what follows, if unset.
    Column("ttl_seconds", Float),
    Column("ttl_strategy", _string(16)),
    # When to look whether the TTL has passed, never later than it does: what happens on a thread
    # need not move it. Unset once there is nothing to take until something happens.
    Column("ttl_check_time", UtcTime),
    CheckConstraint("state IN ('idle', 'busy', 'interrupted', 'failed')", name="state"),
    CheckConstraint("rest_state IN ('idle', 'interrupted', 'failed')", name="rest_state"),
    CheckConstraint("ttl_strategy IN ('delete', 'keep_latest')", name="ttl_strategy"),
    CheckConstraint("(ttl_seconds IS NULL) = (ttl_strategy IS NULL)", name="ttl_is_whole"),
    CheckConstraint(
        "ttl_check_time IS NULL OR ttl_seconds IS NOT NULL", name="ttl_is_checked_if_set"
    ),
    CheckConstraint(
        "ttl_check_time IS NOT NULL OR ttl_strategy IS NULL OR ttl_strategy = 'keep_latest'",
        name="ttl_that_deletes_is_checked",
    ),
    Index("ix_threads_create_time", "create_time", "thread_id"),
    Index("ix_threads_update_time", "update_time", "thread_id"),
    Index("ix_threads_state_update_time", "state_update_time", "thread_id"),
    Index("ix_threads_state", "state", "create_time", "thread_id"),
    _index_where("ix_threads_ttl", "ttl_check_time", where=text("ttl_check_time IS NOT NULL")),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", _string(36), primary_key=True),
    Column("thread_id", _string(36), ForeignKey("threads.thread_id")),
    Column("assistant_id", _string(36), nullable=False),
    Column("assistant_version", Integer, nullable=False),
    Column("graph_id", _string(), nullable=False),
    Column("state", _string(16), nullable=False),
    Column("spec", PlainData, nullable=False),
    Column("config", PlainData, nullable=False),
    Column("context", PlainData),
    Column("metadata", _searchable(), nullable=False),
    # Goes up with every claim and never down: it is part of what fences a writer off.
    Column("attempt", Integer, nullable=False),
    # How many of those attempts do not count, because their server chose to stop.
    Column("attempts_given_back", Integer, nullable=False),
    Column("owner", _string(36)),
    # Who created it; empty if nobody said.
    Column("principal", _string(), nullable=False),
    # The spec's priority with its sign turned, so that what is less is claimed first.
    Column("rank", Integer, nullable=False),
    # Which may have been deleted since.
    Column("cron_id", _string(36)),
    # Claimable now: the first of its thread's queue, nothing of that thread executing.
    Column("runnable", Boolean(create_constraint=False), nullable=False),
    # Set while a start delay keeps the run out of its thread's queue.
    Column("wake_time", UtcTime),
    Column("due_time", UtcTime, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    Column("start_time", UtcTime),
    Column("end_time", UtcTime),
    Column("error", PlainData),
    Column("cancel", PlainData),
    Column("output", _string()),
    Column("interrupts", PlainData, nullable=False),
    Column("rolled_back", Boolean(create_constraint=False), nullable=False),
    # Set at the end, until retention takes the events.
    Column("events_kept", Boolean(create_constraint=False), nullable=False),
    # Of the creation, or of the last move to another state.
    Column("change", _LARGE_NUMBER, nullable=False, default=next_change()),
    CheckConstraint(
        "state IN ('pending', 'running', 'cancelling', 'succeeded', 'failed', 'interrupted',"
        " 'timed_out', 'cancelled')",
        name="state",
    ),
    CheckConstraint(f"({IN_FLIGHT}) = (end_time IS NULL)", name="end_time_is_set_when_final"),
    CheckConstraint(f"({ACTIVE}) = (owner IS NOT NULL)", name="owner_is_set_while_active"),
    CheckConstraint("NOT runnable OR state = 'pending'", name="only_pending_is_runnable"),
    CheckConstraint(
        "wake_time IS NULL OR (state = 'pending' AND NOT runnable)", name="delayed_is_not_runnable"
    ),
    CheckConstraint(
        "state NOT IN ('cancelling', 'cancelled') OR cancel IS NOT NULL", name="cancel_has_a_cause"
    ),
    CheckConstraint("NOT rolled_back OR state = 'cancelled'", name="rolled_back_is_cancelled"),
    CheckConstraint("NOT events_kept OR end_time IS NOT NULL", name="events_kept_after_the_end"),
    # So that one index is for both.
    CheckConstraint("end_time IS NULL OR end_time = update_time", name="end_is_the_last_update"),
    CheckConstraint("attempts_given_back BETWEEN 0 AND attempt", name="given_back_at_most_all"),
    # The backstops of "at most one run executes on a thread".
    _index_where("uq_runs_active_on_thread", "thread_id", where=ACTIVE, unique=True),
    _index_where_true("uq_runs_runnable_on_thread", "thread_id", flag="runnable", unique=True),
    # In the order of claims. Holds all that a look asks: runs of graphs that a server does not know
    # are passed over without their rows.
    _index_where_true(
        "ix_runs_claimable",
        *("rank", "due_time", "run_id", "graph_id", "runnable"),
        flag="runnable",
    ),
    _index_where("ix_runs_waking", "wake_time", where=text("wake_time IS NOT NULL")),
    # Holds all that is asked of a queue, so that rows, whose specs may be large, stay unread.
    _index_where(
        "ix_runs_queue_of_thread",
        *(
            "thread_id",
            "due_time",
            "run_id",
            "state",
            "wake_time",
            "attempt",
            "graph_id",
            "runnable",
        ),
        where=IN_FLIGHT,
    ),
    _index_where(
        "ix_runs_begun_on_thread",
        *("thread_id", "due_time", "run_id", "state", "attempt"),
        where=BEGUN,
    ),
    _index_where("ix_runs_owned", "owner", where=text("owner IS NOT NULL")),
    # What limits count. SQLite would read the row of each, did they not hold the state.
    _index_where("ix_runs_assistant_in_flight", "assistant_id", "state", where=IN_FLIGHT),
    _index_where("ix_runs_principal_in_flight", "principal", "state", where=_PRINCIPAL_IN_FLIGHT),
    # What retention takes next: of runs on threads their events, of the others everything.
    _index_where(
        "ix_runs_events_kept",
        "end_time",
        where=text("events_kept AND thread_id IS NOT NULL AND NOT rolled_back"),
        on_sqlite=text("events_kept = 1 AND thread_id IS NOT NULL AND rolled_back = 0"),
    ),
    _index_where(
        "ix_runs_stateless",
        "end_time",
        where=text(f"end_time IS NOT NULL AND {STATELESS} AND NOT rolled_back"),
        on_sqlite=text(f"end_time IS NOT NULL AND {STATELESS} AND rolled_back = 0"),
    ),
    _index_where_true("ix_runs_rolled_back", "end_time", flag="rolled_back"),
    Index("ix_runs_create_time", "create_time", "run_id"),
    Index("ix_runs_thread_id", "thread_id", "create_time", "run_id"),
    Index("ix_runs_assistant_id", "assistant_id", "create_time", "run_id"),
    _index_where("ix_runs_graph_id", "graph_id", "create_time", "run_id", where=HAS_GRAPH),
    Index("ix_runs_update_time", "update_time", "run_id"),
    _index_where("ix_runs_principal", "principal", "create_time", "run_id", where=HAS_PRINCIPAL),
    # Most runs succeed: the others are found among few.
    _index_where("ix_runs_ended_oddly", "create_time", "run_id", where=ENDED_ODDLY),
    _index_where(
        "ix_runs_cron_id",
        *("cron_id", "create_time", "run_id"),
        where=text("cron_id IS NOT NULL"),
    ),
    Index("ix_runs_change", "change", "run_id"),
)

crons = Table(
    "crons",
    metadata,
    Column("cron_id", _string(36), primary_key=True),
    Column(
        "assistant_id",
        _string(36),
        ForeignKey("assistants.assistant_id", ondelete="CASCADE"),
        nullable=False,
    ),
    # The newest at the time of each run if unset.
    Column("assistant_version", Integer),
    Column("thread_id", _string(36), ForeignKey("threads.thread_id", ondelete="CASCADE")),
    # Who created it, and so who its runs are for; empty if nobody said.
    Column("principal", _string(), nullable=False),
    Column("spec", PlainData, nullable=False),
    Column("schedule", _string(), nullable=False),
    Column("time_zone", _string(), nullable=False),
    Column("enabled", Boolean(create_constraint=False), nullable=False),
    Column("end_time", UtcTime),
    Column("metadata", _searchable(), nullable=False),
    # Whoever moves it on has fired.
    Column("next_fire_time", UtcTime),
    Column("last_fire_time", UtcTime),
    # Which may have been deleted since.
    Column("last_run_id", _string(36)),
    Column("last_error", PlainData),
    Column("missed_fires", _LARGE_NUMBER, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    CheckConstraint("next_fire_time IS NULL OR enabled", name="only_enabled_fires"),
    CheckConstraint("next_fire_time < end_time", name="nothing_fires_after_the_end"),
    _index_where(
        "ix_crons_next_fire_time", "next_fire_time", where=text("next_fire_time IS NOT NULL")
    ),
    Index("ix_crons_create_time", "create_time", "cron_id"),
    Index("ix_crons_assistant_id", "assistant_id"),
    Index("ix_crons_thread_id", "thread_id"),
)

# What happened to threads and runs that no row of theirs shows. For readers of changes: kept as
# long as events are.
changes = Table(
    "changes",
    metadata,
    # The run's id if it was deleted, else random.
    Column("change_id", _string(36), primary_key=True),
    Column("change", _LARGE_NUMBER, nullable=False, default=next_change()),
    Column("kind", _string(16), nullable=False),
    Column("thread_id", _string(36)),
    # What is left of a run that was deleted.
    Column("run_id", _string(36)),
    Column("assistant_id", _string(36)),
    Column("graph_id", _string()),
    Column("state", _string(16)),
    Column("metadata", _searchable()),
    # What is told of an updated state, serialized.
    Column("data", LargeBinary),
    Column("create_time", UtcTime, nullable=False),
    CheckConstraint("kind IN ('run_deleted', 'thread_deleted', 'state_updated')", name="kind"),
    CheckConstraint("kind = 'run_deleted' OR thread_id IS NOT NULL", name="thread_is_named"),
    CheckConstraint("(kind = 'run_deleted') = (run_id IS NOT NULL)", name="run_is_named"),
    CheckConstraint("(kind = 'state_updated') = (data IS NOT NULL)", name="update_has_data"),
    Index("ix_changes_change", "change", "change_id"),
    Index("ix_changes_thread_id", "thread_id", "change", "change_id"),
    Index("ix_changes_create_time", "create_time"),
)

run_events = Table(
    "run_events",
    metadata,
    Column("run_id", _string(36), ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("first_index", Integer, primary_key=True),
    Column("last_index", Integer, nullable=False),
    # Its last entry is the run's last event.
    Column("final", Boolean(create_constraint=False), nullable=False),
    # The entries' byte lengths within `data`, so that a reader can start in the middle.
    Column("lengths", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    CheckConstraint("last_index >= first_index", name="index_range"),
    sqlite_with_rowid=False,
)

requests = Table(
    "requests",
    metadata,
    Column("method", _string(64), primary_key=True),
    Column("principal", _string(), primary_key=True),
    Column("request_id", _string(128), primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("answer", PlainData, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Index("ix_requests_create_time", "create_time"),
    sqlite_with_rowid=False,
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("thread_id", _string(), primary_key=True),
    Column("checkpoint_ns", _string(), primary_key=True),
    Column("checkpoint_id", _string(), primary_key=True),
    Column("parent_checkpoint_id", _string()),
    # The run whose attempt wrote it; empty for a state update by a caller.
    Column("run_id", _string(36), nullable=False),
    Column("graph_id", _string(), nullable=False),
    # The run whose configuration it was made with: its own, or the one that a state update builds
    # on. Empty if the configuration is that of the assistant in its metadata alone.
    Column("configured_by", _string(36), nullable=False),
    Column("type", _string(), nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    Column("metadata", _searchable(), nullable=False),
    # The newest of a thread, in whatever namespace.
    Index("ix_checkpoints_thread_id", "thread_id", "checkpoint_id"),
    Index("ix_checkpoints_run_id", "run_id"),
)

checkpoint_writes = Table(
    "checkpoint_writes",
    metadata,
    # Grows with every write: of two runs' writes to one place, the later one counts.
    Column("sequence", _LARGE_NUMBER, primary_key=True, autoincrement=True),
    Column("thread_id", _string(), nullable=False),
    Column("checkpoint_ns", _string(), nullable=False),
    Column("checkpoint_id", _string(), nullable=False),
    Column("task_id", _string(), nullable=False),
    Column("index", Integer, nullable=False),
    Column("run_id", _string(36), nullable=False),
    Column("channel", _string(), nullable=False),
    Column("type", _string(), nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("task_path", _string(), nullable=False),
    # Named by hand: the convention's name would be longer than PostgreSQL's 63 bytes.
    UniqueConstraint(
        "thread_id",
        "checkpoint_ns",
        "checkpoint_id",
        "task_id",
        "index",
        "run_id",
        name="uq_checkpoint_writes_place",
    ),
    Index("ix_checkpoint_writes_run_id", "run_id"),
)

store_items = Table(
    "store_items",
    metadata,
    # Labels joined by the unit separator, which no label may hold.
    Column("namespace", _string(), primary_key=True),
    Column("key", _string(), primary_key=True),
    Column("value", _searchable(), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    # How long after it was put, or read, the item expires, and when that is; never if unset.
    Column("ttl_seconds", Float),
    Column("expire_time", UtcTime),
    CheckConstraint("(ttl_seconds IS NULL) = (expire_time IS NULL)", name="ttl_is_whole"),
    _index_where(
        "ix_store_items_expire_time", "expire_time", where=text("expire_time IS NOT NULL")
    ),
    sqlite_with_rowid=False,
)

servers = Table(
    "servers",
    metadata,
    # Random for each start: no server is ever taken for its former self.
    Column("server_id", _string(36), primary_key=True),
    # The machine's name: what an operator knows it by.
    Column("name", _string(), nullable=False),
    Column("version", _string(), nullable=False),
    # Where callers reach it; empty while, or because, it takes no calls.
    Column("address", _string(), nullable=False),
    Column("takes_calls", Boolean(create_constraint=False), nullable=False),
    Column("executes_runs", Boolean(create_constraint=False), nullable=False),
    Column("max_concurrent_runs", Integer, nullable=False),
    Column("graph_ids", PlainData, nullable=False),
    # How many runs execute on it: as it was at its last beat.
    Column("executing", Integer, nullable=False),
    Column("draining", Boolean(create_constraint=False), nullable=False),
    Column("start_time", UtcTime, nullable=False),
    # Of its last beat.
    Column("update_time", UtcTime, nullable=False),
    # Its runs are its own until then. Unset where the database belongs to one server alone.
    Column("lease_until", UtcTime),
    CheckConstraint("executing >= 0", name="executing_is_a_number"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    # What receivers tell a repeated delivery by.
    Column("delivery_id", _string(36), primary_key=True),
    # Not a reference: what is told of a run may outlive it.
    Column("run_id", _string(36), nullable=False),
    Column("url", _string(), nullable=False),
    Column("host", _string(), nullable=False),
    Column("event_type", _string(64), nullable=False),
    # The same bytes in every attempt.
    Column("body", _string(), nullable=False),
    Column("state", _string(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # How many of those were before the last replay.
    Column("attempts_before", Integer, nullable=False),
    # When the next attempt may begin; while one is under way, when that is taken for lost.
    Column("due_time", UtcTime),
    # Whose attempt is under way.
    Column("sender", _string(36)),
    Column("attempt_time", UtcTime),
    # What came of the last attempt.
    Column("status", Integer),
    Column("error", _string(), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("end_time", UtcTime),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    CheckConstraint("(state = 'pending') = (due_time IS NOT NULL)", name="pending_is_due"),
    CheckConstraint("(state = 'pending') = (end_time IS NULL)", name="end_time_when_ended"),
    CheckConstraint("sender IS NULL OR state = 'pending'", name="only_pending_is_sent"),
    _index_where("ix_webhook_deliveries_due", "due_time", where=text("due_time IS NOT NULL")),
    _index_where("ix_webhook_deliveries_ended", "end_time", where=text("end_time IS NOT NULL")),
    Index("ix_webhook_deliveries_create_time", "create_time", "delivery_id"),
    Index("ix_webhook_deliveries_run_id", "run_id", "create_time"),
)
