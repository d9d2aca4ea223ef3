"""The life of a delivery, from attempt to attempt: transactions on an open connection."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from runwire.server.model.faults import fault
from runwire.server.model.webhooks import Delivery, DeliveryState
from runwire.server.storage import webhooks
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection

FACTOR = 4
"""How much longer each wait between attempts is than the one before."""

LONGEST_WAIT = timedelta(hours=8)
"""The longest wait between attempts that is not asked for by a receiver."""

LONGEST_ASKED = timedelta(days=1)
"""The longest wait that a receiver can ask for."""

JITTER = 0.2
"""By which part of it a wait may be longer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. `status` is that of the answer, None if there was none; `error`
    says in words what went wrong. `final`: another attempt would not help. `retry_after` is what
    the receiver asked for."""

    status: int | None = None
    error: str = ""
    final: bool = False
    retry_after: timedelta = timedelta(0)

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300 and not self.error


def is_any_due(connection: Connection) -> bool:
    """Return whether a claim would find anything."""
    due = webhooks.next_due(connection)
    return due is not None and due <= current_time(connection)


def claim(
    connection: Connection,
    *,
    sender: str,
    busy_hosts: Sequence[str],
    limit: int,
    lease: timedelta,
) -> list[Delivery]:
    """Begin an attempt for deliveries that are due. One whose sender does not say in `lease` what
    came of it is begun again, by whoever comes first."""
    now = current_time(connection)
    claimed = webhooks.claim_deliveries(
        connection,
        sender=sender,
        busy_hosts=busy_hosts,
        limit=limit,
        now=now,
        lease_until=now + lease,
    )
    fault("send.before_commit")
    return claimed


def conclude(
    connection: Connection,
    delivery: Delivery,
    answer: Answer,
    *,
    max_attempts: int,
    first_wait: timedelta,
) -> DeliveryState | None:
    """Store what came of an attempt, and when the next one is due. Return what the delivery has
    come to; None if the attempt was taken for lost meanwhile."""
    now = current_time(connection)
    state, due_time = DeliveryState.PENDING, None
    if answer.is_delivered:
        state = DeliveryState.DELIVERED
    elif answer.final or delivery.tries >= max_attempts:
        state = DeliveryState.DEAD
    else:
        due_time = now + max(wait_after(delivery.tries, first_wait), answer.retry_after)
    concluded = webhooks.end_attempt(
        connection,
        delivery,
        state=state,
        due_time=due_time,
        status=answer.status,
        error=answer.error,
        now=now,
    )
    fault("deliver.before_commit")
    return state if concluded else None


def give_back(connection: Connection, delivery: Delivery) -> None:
    """Let an attempt that is broken off be followed by another one at once."""
    now = current_time(connection)
    webhooks.end_attempt(
        connection,
        delivery,
        state=DeliveryState.PENDING,
        due_time=now,
        status=None,
        error="the server was stopped before there was an answer",
        now=now,
    )


def free_all(connection: Connection) -> None:
    """Let every attempt that is under way be followed by another one at once: on a database that
    belongs to one server, none is when that server starts."""
    webhooks.free_all(connection, current_time(connection))


def wait_after(tries: int, first_wait: timedelta) -> timedelta:
    """Return how long to wait after so many attempts: not the same each time, so that what failed
    together does not come back together."""
    # Not with all of the tries: a large power is no time.
    wait = min(LONGEST_WAIT, first_wait * float(FACTOR ** min(tries - 1, 10)))
    return wait * random.uniform(1, 1 + JITTER)
