"""A value for each argument of the client's methods, other than what it is by default."""

from datetime import UTC, datetime
from typing import Any

from tests.support.recorded_calls import THREAD_ID

_MOMENTS = (datetime(2026, 1, 1, tzinfo=UTC), None)

EXAMPLES: dict[str, Any] = {
    "action": "rollback",
    "after_seconds": 5,
    "as_node": "node",
    "assistant_id": "assistant",
    "assistant_version": 2,
    "before": "checkpoint",
    "cancel_on_disconnect": True,
    "cancel_runs": False,
    "checkpoint": {"checkpoint_id": "checkpoint"},
    "checkpoint_during": True,
    "checkpoint_id": "checkpoint",
    "command": {"resume": 1},
    "config": {"tags": ["tag"]},
    "context": {"a": 1},
    "created": _MOMENTS,
    "cron_id": "cron",
    "delete_threads": True,
    "delivery_id": "delivery",
    "description": "text",
    "durability": "sync",
    "enabled": False,
    "end_time": _MOMENTS[0],
    "ended": _MOMENTS,
    "extract": {"a": "values.a"},
    "feedback_keys": ["key"],
    "filter": {"a": 1},
    "graph_id": "graph",
    "headers": {"x-team": "blue"},
    "ids": ["one"],
    "if_exists": "do_nothing",
    "if_not_exists": "create",
    "include": ["ttl"],
    "include_unfinished": True,
    "index": ["a"],
    "input": {"a": 1},
    "interrupt_after": "*",
    "interrupt_before": ["node"],
    "key": "key",
    "langsmith_tracing": {"project_name": "project"},
    "last_event_id": "1-1",
    "limit": 3,
    "live_only": True,
    "max_depth": 2,
    "metadata": {"a": 1},
    "multitask_strategy": "reject",
    "name": "name",
    "namespace": ["a", "b"],
    "namespace_prefix": ["a"],
    "new_thread_id": "another",
    "offset": 2,
    "on_completion": "keep",
    "on_disconnect": "cancel",
    "on_run_completed": "keep",
    "on_run_created": print,
    "params": {"a": 1},
    "payloads": [{"assistant_id": "assistant"}],
    "prefix": ["a"],
    "principal": "ann",
    "priority": 5,
    "query": "text",
    "raise_error": False,
    "recurse": True,
    "refresh_ttl": False,
    "resume_token": "token",
    "return_minimal": True,
    "run_id": "run",
    "run_ids": ["run"],
    "run_stream_mode": "updates",
    "schedule": "@daily",
    "select": ["metadata"],
    "sort_by": "created_at",
    "sort_order": "asc",
    "started": _MOMENTS,
    "state": "dead",
    "states": ["failed"],
    "status": "running",
    "strategy": "keep_latest",
    "stream_mode": "updates",
    "stream_resumable": True,
    "stream_subgraphs": True,
    "strict_resume": True,
    "subgraphs": True,
    "suffix": ["a"],
    "supersteps": [{"updates": [{"values": {"a": 1}, "as_node": "node"}]}],
    "thread_id": THREAD_ID,
    "thread_ids": ["one"],
    "timeout": 5,
    "timezone": "Europe/Berlin",
    "ttl": 60,
    "value": {"a": 1},
    "values": {"a": 1},
    "version": "v2",
    "wait": True,
    "webhook": "https://example.com/",
    "xray": True,
}

SPECIAL: dict[tuple[str, str], Any] = {
    ("assistants.get_subgraphs", "namespace"): "node",
    ("assistants.search", "response_format"): "object",
    ("assistants.set_latest", "version"): 2,
    ("threads.count", "status"): "busy",
    ("threads.join_stream", "stream_mode"): "lifecycle",
    ("threads.search", "status"): "busy",
}

OTHERS: dict[str, Any] = {
    "namespace": ["c"],
    "namespace_prefix": ["c"],
    "payloads": [{"assistant_id": "another"}],
    "thread_ids": ["another"],
    "value": {"b": 1},
    "values": {"b": 1},
    "metadata": {"b": 1},
    "version": 3,
}
"""Another value, for arguments that have to be given."""


def example(method: str, name: str) -> Any:
    """Return a value for a method's argument. Raises KeyError."""
    return SPECIAL.get((method, name)) or EXAMPLES[name]


def another(method: str, name: str) -> Any:
    """Return another value for an argument that has to be given."""
    return OTHERS.get(name) or f"{example(method, name)} too"
