"""Webhooks: the calls that tell of runs' ends, and what becomes of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runwire.server.model.requests import ANY_TIME, TimeRange


class DeliveryState(StrEnum):
    """Where a delivery is in its life."""

    PENDING = "pending"
    """To be sent, or to be sent again: set when the run ends, and by a replay."""
    DELIVERED = "delivered"
    """The receiver has answered that it has it."""
    DEAD = "dead"
    """Given up: it stays until retention takes it or a replay revives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What tells one receiver of one run's end.

    `attempts` counts all that were ever begun, `attempts_before` those before the last replay.
    `due_time` is when the next one may begin; while one is under way, when it is taken for lost.
    `sender` is whose attempt is under way. `status` and `error` are what came of the last one.
    """

    delivery_id: str
    run_id: str
    url: str
    host: str
    event_type: str
    body: str
    create_time: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    attempts_before: int = 0
    due_time: datetime | None = None
    sender: str | None = None
    attempt_time: datetime | None = None
    status: int | None = None
    error: str = ""
    end_time: datetime | None = None

    @property
    def tries(self) -> int:
        """How many attempts count against the limit."""
        return self.attempts - self.attempts_before


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries; what is empty does not narrow."""

    run_id: str = ""
    states: tuple[DeliveryState, ...] = ()
    created: TimeRange = ANY_TIME
