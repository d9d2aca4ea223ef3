"""Queries on the outbox."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from tests.support.plans import sqlite_plans
from tests.support.records import a_delivery, at

from runwire.server.model.requests import TimeRange
from runwire.server.model.webhooks import Delivery, DeliveryFilter, DeliveryState
from runwire.server.storage import webhooks


def add(connection: Connection, seconds: float = 0, **changes: Any) -> Delivery:
    delivery = a_delivery(seconds, **{"due_time": at(seconds), **changes})
    webhooks.add_delivery(connection, delivery)
    return delivery


def claim(
    connection: Connection, now: datetime, *busy_hosts: str, limit: int = 10, until: float = 100
) -> list[Delivery]:
    return webhooks.claim_deliveries(
        connection,
        sender="sender",
        busy_hosts=busy_hosts,
        limit=limit,
        now=now,
        lease_until=at(until),
    )


def get(connection: Connection, delivery: Delivery) -> Delivery:
    found = webhooks.get_delivery(connection, delivery.delivery_id)
    assert found is not None
    return found


def ids(deliveries: list[Delivery]) -> list[str]:
    return sorted(delivery.delivery_id for delivery in deliveries)


def end(connection: Connection, delivery: Delivery, **changes: Any) -> bool:
    how: dict[str, Any] = {
        "state": DeliveryState.DELIVERED,
        "due_time": None,
        "status": 200,
        "error": "",
        "now": at(9),
    }
    return webhooks.end_attempt(connection, delivery, **{**how, **changes})


def test_a_delivery_comes_back_as_it_was(connection: Connection) -> None:
    delivery = add(connection, 3)
    assert get(connection, delivery) == delivery
    assert webhooks.get_delivery(connection, "other") is None


def test_what_is_due_is_claimed_first_due_first_and_once(connection: Connection) -> None:
    later, first, second = add(connection, 9), add(connection, 1), add(connection, 2)
    assert webhooks.next_due(connection) == at(1)
    assert ids(claim(connection, at(0.5))) == []
    (claimed,) = claim(connection, at(5), limit=1)
    assert (claimed.delivery_id, claimed.sender, claimed.attempts) == (
        first.delivery_id,
        "sender",
        1,
    )
    assert (claimed.attempt_time, claimed.due_time) == (at(5), at(100))
    assert ids(claim(connection, at(5))) == ids([second])
    assert ids(claim(connection, at(5))) == []
    assert ids(claim(connection, at(100))) == ids([later, first, second])


def test_hosts_that_have_enough_are_passed_over(connection: Connection) -> None:
    add(connection, host="busy.test")
    other = add(connection, host="other.test")
    assert ids(claim(connection, at(0), "busy.test", "full.test")) == ids([other])


def test_what_came_of_an_attempt_is_stored_once(connection: Connection) -> None:
    add(connection)
    (claimed,) = claim(connection, at(0))
    assert end(connection, claimed)
    ended = get(connection, claimed)
    assert (ended.state, ended.end_time, ended.status, ended.sender) == (
        DeliveryState.DELIVERED,
        at(9),
        200,
        None,
    )
    assert not end(connection, claimed, state=DeliveryState.DEAD, status=500)
    assert get(connection, claimed) == ended


def test_an_attempt_that_was_taken_for_lost_changes_nothing(connection: Connection) -> None:
    add(connection)
    (lost,) = claim(connection, at(0), until=1)
    (second,) = claim(connection, at(1))
    assert not end(connection, lost)
    assert get(connection, lost) == second


def test_what_is_to_be_sent_again_is_due_later(connection: Connection) -> None:
    add(connection)
    (claimed,) = claim(connection, at(0))
    end(connection, claimed, state=DeliveryState.PENDING, due_time=at(50), status=500, error="no")
    waiting = get(connection, claimed)
    assert (waiting.due_time, waiting.end_time, waiting.error) == (at(50), None, "no")
    assert claim(connection, at(49)) == []
    assert claim(connection, at(50))[0].attempts == 2


def test_what_a_sender_left_that_is_gone_is_free_at_once(connection: Connection) -> None:
    waiting = add(connection, 50)
    left = add(connection)
    claim(connection, at(0))
    webhooks.free_all(connection, at(1))
    assert (get(connection, left).due_time, get(connection, left).sender) == (at(1), None)
    assert get(connection, waiting) == waiting


def test_what_has_ended_can_be_revived_with_all_its_attempts(connection: Connection) -> None:
    add(connection)
    (claimed,) = claim(connection, at(0))
    assert webhooks.revive(connection, [claimed.delivery_id], at(1)) == 0
    end(connection, claimed, state=DeliveryState.DEAD)
    assert webhooks.revive(connection, [claimed.delivery_id], at(20)) == 1
    revived = get(connection, claimed)
    assert (revived.state, revived.due_time, revived.end_time) == (
        DeliveryState.PENDING,
        at(20),
        None,
    )
    assert (revived.attempts, revived.tries) == (1, 0)


def test_deliveries_are_listed_newest_first_by_what_is_wanted(connection: Connection) -> None:
    old, new = add(connection, 1), add(connection, 2)
    dead = add(connection, 3, state=DeliveryState.DEAD, due_time=None, end_time=at(3))

    def listed(**wanted: Any) -> list[str]:
        page = webhooks.list_deliveries(connection, DeliveryFilter(**wanted), limit=10, cursor=None)
        return [delivery.delivery_id for delivery in page.items]

    assert listed() == [dead.delivery_id, new.delivery_id, old.delivery_id]
    assert listed(states=(DeliveryState.DEAD,)) == [dead.delivery_id]
    assert listed(run_id=old.run_id) == [old.delivery_id]
    assert listed(created=TimeRange(at(2), at(3))) == [new.delivery_id]
    assert webhooks.lock_ended(connection, DeliveryFilter(), before=at(4), limit=10) == [
        dead.delivery_id
    ]
    assert webhooks.lock_ended(connection, DeliveryFilter(), before=at(3), limit=10) == []


def test_what_ended_long_ago_is_deleted_a_part_at_a_time(connection: Connection) -> None:
    add(connection)
    for seconds in range(3):
        add(connection, state=DeliveryState.DEAD, due_time=None, end_time=at(seconds))
    counts = [webhooks.delete_ended(connection, before=at(2), limit=1) for _ in range(3)]
    assert counts == [1, 1, 0]


@pytest.mark.parametrize(
    "change",
    [
        "state = 'lost'",
        "due_time = NULL",
        "end_time = create_time",
        "state = 'dead', end_time = create_time",
        "state = 'dead', end_time = create_time, due_time = NULL, sender = 'x'",
    ],
)
def test_impossible_rows_are_impossible(connection: Connection, change: str) -> None:
    add(connection)
    with pytest.raises(IntegrityError), connection.begin_nested():
        connection.execute(text(f"UPDATE webhook_deliveries SET {change}"))


QUERIES: dict[str, Callable[[Connection], Any]] = {
    "next_due": webhooks.next_due,
    "claim": lambda c: claim(c, at(0), "busy.test"),
    "end_attempt": lambda c: end(c, a_delivery(sender="s")),
    "free_all": lambda c: webhooks.free_all(c, at(0)),
    "list": lambda c: webhooks.list_deliveries(c, DeliveryFilter(), limit=9, cursor=None),
    "list_of_run": lambda c: webhooks.list_deliveries(
        c, DeliveryFilter(run_id="r"), limit=9, cursor=None
    ),
    "lock_ended": lambda c: webhooks.lock_ended(c, DeliveryFilter(), before=at(0), limit=9),
    "delete_ended": lambda c: webhooks.delete_ended(c, before=at(0), limit=9),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_nothing_reads_a_whole_table(
    memory: Connection, query: Callable[[Connection], Any]
) -> None:
    found = sqlite_plans(memory, query)
    assert found
    # The rows of the CTEs are few.
    scans = [step for step in found if step.startswith("SCAN") and "USING" not in step]
    assert set(scans) <= {"SCAN candidates", "SCAN ended"}
