"""Single arguments, as langgraph_sdk names them, in the server's words."""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from google.protobuf.duration_pb2 import Duration

from runwire.v1 import core_pb2, payload_pb2, threads_pb2

IF_EXISTS = {"raise": core_pb2.IF_EXISTS_FAIL, "do_nothing": core_pb2.IF_EXISTS_RETURN_EXISTING}

PRUNE_STRATEGIES = {
    "delete": threads_pb2.PRUNE_STRATEGY_DELETE,
    "keep_latest": threads_pb2.PRUNE_STRATEGY_KEEP_LATEST,
}

TimeSpan = tuple[datetime | None, datetime | None]
"""A pair of moments: from the first, to before the second; open where there is None."""

_JSON_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def refuse(**arguments: Any) -> None:
    """Raise NotImplementedError if one of these is given: langgraph_sdk has the argument, and the
    server of this version nothing to do with it."""
    for name, value in arguments.items():
        is_empty = isinstance(value, Collection) and not value
        if value is not None and value is not False and not is_empty:
            raise NotImplementedError(f"{name}: this version of Runwire does not have it")


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return an argument that is a dict. Raises TypeError, naming it, if it is anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: must be a dict, not {type(value).__name__}")
    return value


def as_dict(value: Any) -> Any:
    """Return the fields of a dataclass's instance, and anything else as it is."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def labels(namespace: Sequence[str], name: str) -> Sequence[str]:
    """Return the labels of a namespace. Raises TypeError for a text, whose characters would be
    taken for labels."""
    if isinstance(namespace, str):
        raise TypeError(f"{name}: must be a list of labels, not {namespace!r}")
    return namespace


def time_range(span: TimeSpan | None) -> core_pb2.TimeRange | None:
    """Return a span of time as it travels, None if there is none."""
    if span is None:
        return None
    start, end = span
    return core_pb2.TimeRange(start_time=start, end_time=end)


def new_request_id() -> str:
    """Return an id that makes a creating call safe to repeat."""
    return str(uuid.uuid4())


def payload(value: Any, name: str) -> payload_pb2.Payload:
    """Return a value as it travels. Pydantic models, LangChain's messages among them, dataclasses,
    numpy arrays, times, UUIDs and sets are turned into JSON.

    Raises TypeError, naming the argument, for what has no JSON form, and ValueError for NaN and
    infinities, which the server would refuse as well.
    """
    try:
        text = orjson.dumps(value, _jsonable, _JSON_OPTIONS)
    except TypeError as error:
        raise TypeError(f"{name}: {error.__cause__ or error}") from None
    # orjson writes null for them, and for nothing else but None.
    if b"null" in text and (path := _not_finite(value, name)):
        raise ValueError(f"{path}: NaN and infinities have no JSON form")
    return payload_pb2.Payload(json=text.decode())


def payload_or_none(value: Any, name: str) -> payload_pb2.Payload | None:
    """Return a value as it travels, None if there is none."""
    return None if value is None else payload(value, name)


def _not_finite(value: Any, path: str) -> str | None:
    """Return the path of the first number in a value that is NaN or infinite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    inner = ((f"{path}{step}", item) for step, item in _inside(value))
    return next(filter(None, (_not_finite(item, place) for place, item in inner)), None)


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    """Give what is in a value that can be written as JSON, each with its step of a path."""
    value = as_dict(value)
    if hasattr(value, "model_dump"):  # pydantic's
        value = vars(value)
    if isinstance(value, Mapping):
        return ((f".{key}", item) for key, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ((f"[{place}]", item) for place, item in enumerate(value))
    return ()


def _jsonable(value: Any) -> Any:
    """Return what orjson should write in place of a value that it does not know."""
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{value!r} cannot be written as JSON")
    if not isinstance(value, type):
        for method in ("model_dump", "dict"):  # pydantic 2 and 1
            if callable(dump := getattr(value, method, None)):
                return dump()
    if isinstance(value, set | frozenset | Sequence | Mapping):
        return dict(value) if isinstance(value, Mapping) else list(value)
    raise TypeError(f"{value!r} cannot be written as JSON")


def build_config(config: Mapping[str, Any]) -> core_pb2.RunConfig:
    """Return a config. Raises TypeError for keys that the server does not take."""
    unknown = [
        key
        for key in mapping("config", config)
        if key not in ("tags", "recursion_limit", "configurable")
    ]
    if unknown:
        raise TypeError(f"config: {unknown[0]!r} is not among tags, recursion_limit, configurable")
    result = core_pb2.RunConfig(
        tags=config.get("tags") or (), recursion_limit=config.get("recursion_limit")
    )
    if config.get("configurable") is not None:
        result.configurable.CopyFrom(payload(config["configurable"], "config.configurable"))
    return result


def one_checkpoint(
    checkpoint: Mapping[str, Any] | None, checkpoint_id: str | None
) -> core_pb2.CheckpointRef | None:
    """Return the checkpoint that is named in one of two ways; None if in none. Raises TypeError."""
    if checkpoint and checkpoint_id:
        raise TypeError("checkpoint, checkpoint_id: only one of the two can be given")
    return build_checkpoint(checkpoint or checkpoint_id, "checkpoint")


def build_checkpoint(
    checkpoint: str | Mapping[str, Any] | None, name: str
) -> core_pb2.CheckpointRef | None:
    """Return the name of a checkpoint, given as its id or as a dict. Raises TypeError."""
    if not checkpoint:
        return None
    if isinstance(checkpoint, str):
        return core_pb2.CheckpointRef(checkpoint_id=checkpoint)
    unknown = checkpoint.keys() - core_pb2.CheckpointRef.DESCRIPTOR.fields_by_name.keys()
    if unknown:
        raise TypeError(f"{name}: {min(unknown)!r} is no part of a checkpoint's name")
    return core_pb2.CheckpointRef(**{key: item for key, item in checkpoint.items() if item})


def build_ttl(ttl: float | Mapping[str, Any] | None) -> threads_pb2.ThreadTtl | None:
    """Return a thread's TTL, given as minutes or as a dict; of 0 minutes: for ever. Raises
    TypeError, ValueError."""
    if ttl is None:
        return None
    given: Mapping[str, Any] = ttl if isinstance(ttl, Mapping) else {"ttl": ttl}
    unknown = [key for key in given if key not in ("ttl", "strategy")]
    if unknown:
        raise TypeError(f"ttl: {unknown[0]!r} is not among ttl, strategy")
    if isinstance(given.get("ttl"), bool) or not isinstance(given.get("ttl"), int | float):
        raise TypeError("ttl: must be a number of minutes")
    duration = Duration()
    duration.FromTimedelta(timedelta(minutes=given["ttl"]))
    return threads_pb2.ThreadTtl(
        duration=duration, strategy=choice("ttl", given.get("strategy"), PRUNE_STRATEGIES)
    )


def choice(name: str, value: str | None, words: Mapping[str, Any]) -> Any:
    """Return what a word stands for; None if it is None. Raises ValueError for another word."""
    if value is None:
        return None
    if value not in words:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(words)}")
    return words[value]
