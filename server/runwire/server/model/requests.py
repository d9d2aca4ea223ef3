"""What requests share: idempotency keys, order and pages."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

METADATA_BYTES = 64 * 1024
"""The largest metadata, as JSON text."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies a create: repeated with the same body, by the same principal, it gives the same
    answer."""

    method: str
    request_id: str
    body_hash: bytes
    principal: str = ""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A span of time, from its start to before its end; open where there is none."""

    start: datetime | None = None
    end: datetime | None = None


ANY_TIME = TimeRange()


class SortKey(StrEnum):
    ASSISTANT_ID = "assistant_id"
    GRAPH_ID = "graph_id"
    CREATE_TIME = "create_time"
    UPDATE_TIME = "update_time"
    END_TIME = "end_time"
    STATE_UPDATE_TIME = "state_update_time"
    THREAD_ID = "thread_id"
    STATE = "state"
    NAME = "name"
    NEXT_FIRE_TIME = "next_fire_time"


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted; ties are broken by id."""

    by: SortKey = SortKey.CREATE_TIME
    descending: bool = True


NEWEST_FIRST = Order()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. `next` is where the following part begins; None at the end. `total` is how
    many there are in all parts, if it was asked for."""

    items: list[T]
    next: str | None
    total: int | None = None
