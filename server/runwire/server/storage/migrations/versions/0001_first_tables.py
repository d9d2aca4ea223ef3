"""The first tables.

A migration is a record: it says what its release made, whatever `tables` says today.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ACTIVE = sa.text("state IN ('running', 'cancelling')")
_IN_FLIGHT = sa.text("state IN ('pending', 'running', 'cancelling')")


def upgrade() -> None:
    _create_assistants()
    _create_threads()
    _create_runs()
    _create_crons()
    _create_changes()
    _create_run_events()
    _create_requests()
    _create_checkpoints()
    _create_store_items()
    _create_servers()
    _create_webhook_deliveries()


def _json() -> sa.types.TypeEngine[Any]:
    return sa.JSON()


def _string(length: int | None = None) -> sa.String:
    kind = sa.Text if length is None else sa.String
    return kind(length).with_variant(kind(length, collation="C"), "postgresql")


def _large_number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _create_assistants() -> None:
    op.create_table(
        "assistants",
        sa.Column("assistant_id", _string(36), nullable=False),
        sa.Column("graph_id", _string(), nullable=False),
        sa.Column("name", _string(), nullable=False),
        sa.Column("description", _string(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("context", sa.Text()),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.Column("update_time", _moment(), nullable=False),
        sa.Column("configured", sa.Text()),
        sa.PrimaryKeyConstraint("assistant_id", name=op.f("pk_assistants")),
    )
    op.create_index("ix_assistants_graph_id", "assistants", ["graph_id", "assistant_id"])
    op.create_index("ix_assistants_name", "assistants", ["name", "assistant_id"])
    op.create_index("ix_assistants_create_time", "assistants", ["create_time", "assistant_id"])
    op.create_index("ix_assistants_update_time", "assistants", ["update_time", "assistant_id"])
    op.create_table(
        "assistant_versions",
        sa.Column("assistant_id", _string(36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("graph_id", _string(), nullable=False),
        sa.Column("name", _string(), nullable=False),
        sa.Column("description", _string(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("context", sa.Text()),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", "version", name=op.f("pk_assistant_versions")),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["assistants.assistant_id"],
            name=op.f("fk_assistant_versions_assistant_id"),
            ondelete="CASCADE",
        ),
    )


def _create_threads() -> None:
    op.create_table(
        "threads",
        sa.Column("thread_id", _string(36), nullable=False),
        sa.Column("state", _string(16), nullable=False),
        sa.Column("rest_state", _string(16), nullable=False),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("values", sa.Text()),
        sa.Column("interrupts", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("create_time", _moment(), nullable=False),
        sa.Column("update_time", _moment(), nullable=False),
        sa.Column("state_update_time", _moment(), nullable=False),
        sa.Column("ttl_seconds", sa.Float()),
        sa.Column("ttl_strategy", _string(16)),
        sa.Column("ttl_check_time", _moment()),
        sa.PrimaryKeyConstraint("thread_id", name=op.f("pk_threads")),
        sa.CheckConstraint(
            "state IN ('idle', 'busy', 'interrupted', 'failed')", name=op.f("ck_threads_state")
        ),
        sa.CheckConstraint(
            "rest_state IN ('idle', 'interrupted', 'failed')", name=op.f("ck_threads_rest_state")
        ),
        sa.CheckConstraint(
            "ttl_strategy IN ('delete', 'keep_latest')", name=op.f("ck_threads_ttl_strategy")
        ),
        sa.CheckConstraint(
            "(ttl_seconds IS NULL) = (ttl_strategy IS NULL)", name=op.f("ck_threads_ttl_is_whole")
        ),
        sa.CheckConstraint(
            "ttl_check_time IS NULL OR ttl_seconds IS NOT NULL",
            name=op.f("ck_threads_ttl_is_checked_if_set"),
        ),
        sa.CheckConstraint(
            "ttl_check_time IS NOT NULL OR ttl_strategy IS NULL OR ttl_strategy = 'keep_latest'",
            name=op.f("ck_threads_ttl_that_deletes_is_checked"),
        ),
    )
    checked = sa.text("ttl_check_time IS NOT NULL")
    op.create_index("ix_threads_create_time", "threads", ["create_time", "thread_id"])
    op.create_index("ix_threads_update_time", "threads", ["update_time", "thread_id"])
    op.create_index("ix_threads_state_update_time", "threads", ["state_update_time", "thread_id"])
    op.create_index("ix_threads_state", "threads", ["state", "create_time", "thread_id"])
    _create_index_where("ix_threads_ttl", ["ttl_check_time"], checked, table="threads")


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", _string(36), nullable=False),
        sa.Column("thread_id", _string(36)),
        sa.Column("assistant_id", _string(36), nullable=False),
        sa.Column("assistant_version", sa.Integer(), nullable=False),
        sa.Column("graph_id", _string(), nullable=False),
        sa.Column("state", _string(16), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("context", sa.Text()),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempts_given_back", sa.Integer(), nullable=False),
        sa.Column("owner", _string(36)),
        sa.Column("principal", _string(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("cron_id", _string(36)),
        sa.Column("runnable", sa.Boolean(), nullable=False),
        sa.Column("wake_time", _moment()),
        sa.Column("due_time", _moment(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.Column("update_time", _moment(), nullable=False),
        sa.Column("start_time", _moment()),
        sa.Column("end_time", _moment()),
        sa.Column("error", sa.Text()),
        sa.Column("cancel", sa.Text()),
        sa.Column("output", _string()),
        sa.Column("interrupts", sa.Text(), nullable=False),
        sa.Column("rolled_back", sa.Boolean(), nullable=False),
        sa.Column("events_kept", sa.Boolean(), nullable=False),
        sa.Column("change", _large_number(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name=op.f("fk_runs_thread_id")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'cancelling', 'succeeded', 'failed', 'interrupted',"
            " 'timed_out', 'cancelled')",
            name=op.f("ck_runs_state"),
        ),
        sa.CheckConstraint(
            f"({_IN_FLIGHT}) = (end_time IS NULL)",
            name=op.f("ck_runs_end_time_is_set_when_final"),
        ),
        sa.CheckConstraint(
            f"({_ACTIVE}) = (owner IS NOT NULL)", name=op.f("ck_runs_owner_is_set_while_active")
        ),
        sa.CheckConstraint(
            "NOT runnable OR state = 'pending'", name=op.f("ck_runs_only_pending_is_runnable")
        ),
        sa.CheckConstraint(
            "wake_time IS NULL OR (state = 'pending' AND NOT runnable)",
            name=op.f("ck_runs_delayed_is_not_runnable"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('cancelling', 'cancelled') OR cancel IS NOT NULL",
            name=op.f("ck_runs_cancel_has_a_cause"),
        ),
        sa.CheckConstraint(
            "NOT rolled_back OR state = 'cancelled'", name=op.f("ck_runs_rolled_back_is_cancelled")
        ),
        sa.CheckConstraint(
            "NOT events_kept OR end_time IS NOT NULL",
            name=op.f("ck_runs_events_kept_after_the_end"),
        ),
        sa.CheckConstraint(
            "end_time IS NULL OR end_time = update_time",
            name=op.f("ck_runs_end_is_the_last_update"),
        ),
        sa.CheckConstraint(
            "attempts_given_back BETWEEN 0 AND attempt", name=op.f("ck_runs_given_back_at_most_all")
        ),
    )
    waking, owned = sa.text("wake_time IS NOT NULL"), sa.text("owner IS NOT NULL")
    queue = [
        "thread_id",
        "due_time",
        "run_id",
        "state",
        "wake_time",
        "attempt",
        "graph_id",
        "runnable",
    ]
    _create_index_where("uq_runs_active_on_thread", ["thread_id"], _ACTIVE, unique=True)
    _create_index_where_true("uq_runs_runnable_on_thread", ["thread_id"], "runnable", unique=True)
    claimable = ["rank", "due_time", "run_id", "graph_id", "runnable"]
    _create_index_where_true("ix_runs_claimable", claimable, "runnable")
    _create_index_where("ix_runs_waking", ["wake_time"], waking)
    _create_index_where("ix_runs_queue_of_thread", queue, _IN_FLIGHT)
    begun = ["thread_id", "due_time", "run_id", "state", "attempt"]
    has_begun = sa.text("state = 'pending' AND attempt > 0")
    _create_index_where("ix_runs_begun_on_thread", begun, has_begun)
    _create_index_where("ix_runs_owned", ["owner"], owned)
    _create_index_where("ix_runs_assistant_in_flight", ["assistant_id", "state"], _IN_FLIGHT)
    _create_index_where(
        "ix_runs_principal_in_flight",
        ["principal", "state"],
        sa.text(f"principal <> '' AND {_IN_FLIGHT}"),
    )
    _create_index_where(
        "ix_runs_events_kept",
        ["end_time"],
        sa.text("events_kept AND thread_id IS NOT NULL AND NOT rolled_back"),
        on_sqlite=sa.text("events_kept = 1 AND thread_id IS NOT NULL AND rolled_back = 0"),
    )
    _create_index_where(
        "ix_runs_stateless",
        ["end_time"],
        sa.text("end_time IS NOT NULL AND NOT (thread_id IS NOT NULL) AND NOT rolled_back"),
        on_sqlite=sa.text(
            "end_time IS NOT NULL AND NOT (thread_id IS NOT NULL) AND rolled_back = 0"
        ),
    )
    _create_index_where_true("ix_runs_rolled_back", ["end_time"], "rolled_back")
    op.create_index("ix_runs_create_time", "runs", ["create_time", "run_id"])
    op.create_index("ix_runs_thread_id", "runs", ["thread_id", "create_time", "run_id"])
    op.create_index("ix_runs_assistant_id", "runs", ["assistant_id", "create_time", "run_id"])
    _create_index_where(
        "ix_runs_graph_id",
        ["graph_id", "create_time", "run_id"],
        sa.text("graph_id <> ''"),
    )
    op.create_index("ix_runs_update_time", "runs", ["update_time", "run_id"])
    _create_index_where(
        "ix_runs_principal",
        ["principal", "create_time", "run_id"],
        sa.text("principal <> ''"),
    )
    _create_index_where(
        "ix_runs_ended_oddly",
        ["create_time", "run_id"],
        sa.text("state IN ('failed', 'interrupted', 'timed_out', 'cancelled')"),
    )
    of_cron = ["cron_id", "create_time", "run_id"]
    _create_index_where("ix_runs_cron_id", of_cron, sa.text("cron_id IS NOT NULL"))
    op.create_index("ix_runs_change", "runs", ["change", "run_id"])


def _create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("change_id", _string(36), nullable=False),
        sa.Column("change", _large_number(), nullable=False),
        sa.Column("kind", _string(16), nullable=False),
        sa.Column("thread_id", _string(36)),
        sa.Column("run_id", _string(36)),
        sa.Column("assistant_id", _string(36)),
        sa.Column("graph_id", _string()),
        sa.Column("state", _string(16)),
        sa.Column("metadata", _json()),
        sa.Column("data", sa.LargeBinary()),
        sa.Column("create_time", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_changes")),
        sa.CheckConstraint(
            "kind IN ('run_deleted', 'thread_deleted', 'state_updated')",
            name=op.f("ck_changes_kind"),
        ),
        sa.CheckConstraint(
            "kind = 'run_deleted' OR thread_id IS NOT NULL",
            name=op.f("ck_changes_thread_is_named"),
        ),
        sa.CheckConstraint(
            "(kind = 'run_deleted') = (run_id IS NOT NULL)", name=op.f("ck_changes_run_is_named")
        ),
        sa.CheckConstraint(
            "(kind = 'state_updated') = (data IS NOT NULL)",
            name=op.f("ck_changes_update_has_data"),
        ),
    )
    op.create_index("ix_changes_change", "changes", ["change", "change_id"])
    op.create_index("ix_changes_thread_id", "changes", ["thread_id", "change", "change_id"])
    op.create_index("ix_changes_create_time", "changes", ["create_time"])


def _create_index_where(
    name: str,
    columns: list[str],
    condition: sa.TextClause,
    *,
    table: str = "runs",
    unique: bool = False,
    on_sqlite: sa.TextClause | None = None,
) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=condition if on_sqlite is None else on_sqlite,
        postgresql_where=condition,
    )


def _create_index_where_true(
    name: str, columns: list[str], flag: str, *, unique: bool = False
) -> None:
    where, on_sqlite = sa.text(flag), sa.text(f"{flag} = 1")
    _create_index_where(name, columns, where, on_sqlite=on_sqlite, unique=unique)


def _create_crons() -> None:
    op.create_table(
        "crons",
        sa.Column("cron_id", _string(36), nullable=False),
        sa.Column("assistant_id", _string(36), nullable=False),
        sa.Column("assistant_version", sa.Integer()),
        sa.Column("thread_id", _string(36)),
        sa.Column("principal", _string(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("schedule", _string(), nullable=False),
        sa.Column("time_zone", _string(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("end_time", _moment()),
        sa.Column("metadata", _json(), nullable=False),
        sa.Column("next_fire_time", _moment()),
        sa.Column("last_fire_time", _moment()),
        sa.Column("last_run_id", _string(36)),
        sa.Column("last_error", sa.Text()),
        sa.Column("missed_fires", _large_number(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.Column("update_time", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("cron_id", name=op.f("pk_crons")),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["assistants.assistant_id"],
            name=op.f("fk_crons_assistant_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["threads.thread_id"],
            name=op.f("fk_crons_thread_id"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "next_fire_time IS NULL OR enabled", name=op.f("ck_crons_only_enabled_fires")
        ),
        sa.CheckConstraint(
            "next_fire_time < end_time", name=op.f("ck_crons_nothing_fires_after_the_end")
        ),
    )
    firing = sa.text("next_fire_time IS NOT NULL")
    _create_index_where("ix_crons_next_fire_time", ["next_fire_time"], firing, table="crons")
    op.create_index("ix_crons_create_time", "crons", ["create_time", "cron_id"])
    op.create_index("ix_crons_assistant_id", "crons", ["assistant_id"])
    op.create_index("ix_crons_thread_id", "crons", ["thread_id"])


def _create_run_events() -> None:
    op.create_table(
        "run_events",
        sa.Column("run_id", _string(36), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("first_index", sa.Integer(), nullable=False),
        sa.Column("last_index", sa.Integer(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("lengths", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "first_index", name=op.f("pk_run_events")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_run_events_run_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("last_index >= first_index", name=op.f("ck_run_events_index_range")),
        sqlite_with_rowid=False,
    )


def _create_requests() -> None:
    op.create_table(
        "requests",
        sa.Column("method", _string(64), nullable=False),
        sa.Column("principal", _string(), nullable=False),
        sa.Column("request_id", _string(128), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("method", "principal", "request_id", name=op.f("pk_requests")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_requests_create_time", "requests", ["create_time"])


def _create_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("thread_id", _string(), nullable=False),
        sa.Column("checkpoint_ns", _string(), nullable=False),
        sa.Column("checkpoint_id", _string(), nullable=False),
        sa.Column("parent_checkpoint_id", _string()),
        sa.Column("run_id", _string(36), nullable=False),
        sa.Column("graph_id", _string(), nullable=False),
        sa.Column("configured_by", _string(36), nullable=False),
        sa.Column("type", _string(), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", _json(), nullable=False),
        sa.PrimaryKeyConstraint(
            "thread_id", "checkpoint_ns", "checkpoint_id", name=op.f("pk_checkpoints")
        ),
    )
    op.create_index("ix_checkpoints_thread_id", "checkpoints", ["thread_id", "checkpoint_id"])
    op.create_index("ix_checkpoints_run_id", "checkpoints", ["run_id"])
    op.create_table(
        "checkpoint_writes",
        sa.Column("sequence", _large_number(), autoincrement=True, nullable=False),
        sa.Column("thread_id", _string(), nullable=False),
        sa.Column("checkpoint_ns", _string(), nullable=False),
        sa.Column("checkpoint_id", _string(), nullable=False),
        sa.Column("task_id", _string(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("run_id", _string(36), nullable=False),
        sa.Column("channel", _string(), nullable=False),
        sa.Column("type", _string(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("task_path", _string(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_checkpoint_writes")),
        sa.UniqueConstraint(
            "thread_id",
            "checkpoint_ns",
            "checkpoint_id",
            "task_id",
            "index",
            "run_id",
            name=op.f("uq_checkpoint_writes_place"),
        ),
    )
    op.create_index("ix_checkpoint_writes_run_id", "checkpoint_writes", ["run_id"])


def _create_store_items() -> None:
    op.create_table(
        "store_items",
        sa.Column("namespace", _string(), nullable=False),
        sa.Column("key", _string(), nullable=False),
        sa.Column("value", _json(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.Column("update_time", _moment(), nullable=False),
        sa.Column("ttl_seconds", sa.Float()),
        sa.Column("expire_time", _moment()),
        sa.PrimaryKeyConstraint("namespace", "key", name=op.f("pk_store_items")),
        sa.CheckConstraint(
            "(ttl_seconds IS NULL) = (expire_time IS NULL)",
            name=op.f("ck_store_items_ttl_is_whole"),
        ),
        sqlite_with_rowid=False,
    )
    expires = sa.text("expire_time IS NOT NULL")
    _create_index_where("ix_store_items_expire_time", ["expire_time"], expires, table="store_items")


def _create_servers() -> None:
    op.create_table(
        "servers",
        sa.Column("server_id", _string(36), nullable=False),
        sa.Column("name", _string(), nullable=False),
        sa.Column("version", _string(), nullable=False),
        sa.Column("address", _string(), nullable=False),
        sa.Column("takes_calls", sa.Boolean(), nullable=False),
        sa.Column("executes_runs", sa.Boolean(), nullable=False),
        sa.Column("max_concurrent_runs", sa.Integer(), nullable=False),
        sa.Column("graph_ids", sa.Text(), nullable=False),
        sa.Column("executing", sa.Integer(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("start_time", _moment(), nullable=False),
        sa.Column("update_time", _moment(), nullable=False),
        sa.Column("lease_until", _moment()),
        sa.CheckConstraint("executing >= 0", name=op.f("ck_servers_executing_is_a_number")),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_servers")),
    )


def _create_webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("delivery_id", _string(36), nullable=False),
        sa.Column("run_id", _string(36), nullable=False),
        sa.Column("url", _string(), nullable=False),
        sa.Column("host", _string(), nullable=False),
        sa.Column("event_type", _string(64), nullable=False),
        sa.Column("body", _string(), nullable=False),
        sa.Column("state", _string(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempts_before", sa.Integer(), nullable=False),
        sa.Column("due_time", _moment()),
        sa.Column("sender", _string(36)),
        sa.Column("attempt_time", _moment()),
        sa.Column("status", sa.Integer()),
        sa.Column("error", _string(), nullable=False),
        sa.Column("create_time", _moment(), nullable=False),
        sa.Column("end_time", _moment()),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_webhook_deliveries")),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'dead')", name=op.f("ck_webhook_deliveries_state")
        ),
        sa.CheckConstraint(
            "(state = 'pending') = (due_time IS NOT NULL)",
            name=op.f("ck_webhook_deliveries_pending_is_due"),
        ),
        sa.CheckConstraint(
            "(state = 'pending') = (end_time IS NULL)",
            name=op.f("ck_webhook_deliveries_end_time_when_ended"),
        ),
        sa.CheckConstraint(
            "sender IS NULL OR state = 'pending'",
            name=op.f("ck_webhook_deliveries_only_pending_is_sent"),
        ),
    )
    table = "webhook_deliveries"
    due, ended = sa.text("due_time IS NOT NULL"), sa.text("end_time IS NOT NULL")
    _create_index_where("ix_webhook_deliveries_due", ["due_time"], due, table=table)
    _create_index_where("ix_webhook_deliveries_ended", ["end_time"], ended, table=table)
    op.create_index("ix_webhook_deliveries_create_time", table, ["create_time", "delivery_id"])
    op.create_index("ix_webhook_deliveries_run_id", table, ["run_id", "create_time"])
