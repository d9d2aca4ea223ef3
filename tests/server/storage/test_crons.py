"""Queries on crons."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.records import add_default_assistant, an_assistant, at

from runwire.server.model.crons import Cron, CronError
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.requests import Order, SortKey
from runwire.server.model.runs import OnCompletion, RunSpec
from runwire.server.storage import assistants, crons, threads
from runwire.server.storage.crons import CronFilter

KEYS = [
    SortKey.CREATE_TIME,
    SortKey.UPDATE_TIME,
    SortKey.NEXT_FIRE_TIME,
    SortKey.END_TIME,
    SortKey.ASSISTANT_ID,
    SortKey.THREAD_ID,
]


def a_cron(seconds: float = 0, **changes: Any) -> Cron:
    """Return a cron that was created `seconds` after the start."""
    cron = Cron(
        cron_id=new_id(),
        assistant_id=default_assistant_id("graph"),
        thread_id=None,
        spec=RunSpec(assistant_id="graph"),
        schedule="@daily",
        time_zone="UTC",
        enabled=True,
        end_time=None,
        metadata={},
        create_time=at(seconds),
        update_time=at(seconds),
    )
    return replace(cron, **changes)


@pytest.fixture
def several(connection: Connection) -> list[Cron]:
    """Crons that differ in whatever they can be found or sorted by."""
    add_default_assistant(connection)
    other = an_assistant()
    assistants.add_assistant(connection, other)
    thread_id = threads.add_thread(connection, new_id(), {}, at(0)).thread_id
    made = [
        a_cron(1, update_time=at(9), next_fire_time=at(50), metadata={"a": [1, {"b": 2}]}),
        a_cron(2, thread_id=thread_id, next_fire_time=at(40), end_time=at(99)),
        a_cron(2, assistant_id=other.assistant_id, enabled=False, end_time=at(90)),
        a_cron(3, next_fire_time=at(50)),
        a_cron(4, thread_id=thread_id, enabled=False),
    ]
    for cron in made:
        crons.add_cron(connection, cron)
    return made


def listed(connection: Connection, order: Order, **wanted: Any) -> list[Cron]:
    """Read all pages."""
    found: list[Cron] = []
    cursor = None
    while True:
        page = crons.list_crons(connection, CronFilter(**wanted), order, limit=2, cursor=cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


def place(cron: Cron, key: SortKey) -> Any:
    value = getattr(cron, key.value)
    if value is None:
        value = "" if key is SortKey.THREAD_ID else datetime.max.replace(tzinfo=at(0).tzinfo)
    return value, cron.cron_id


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_crons_are_listed_in_every_order(
    connection: Connection, several: list[Cron], key: SortKey, descending: bool
) -> None:
    expected = sorted(several, key=lambda cron: place(cron, key), reverse=descending)
    assert listed(connection, Order(key, descending)) == expected


def test_every_filter_narrows(connection: Connection, several: list[Cron]) -> None:
    first, on_thread, of_other, _, off = several
    order = Order(SortKey.CREATE_TIME, descending=False)
    filters: list[tuple[dict[str, Any], list[Cron]]] = [
        ({"assistant_id": of_other.assistant_id}, [of_other]),
        ({"thread_id": on_thread.thread_id}, [on_thread, off]),
        ({"thread_id": on_thread.thread_id, "enabled": True}, [on_thread]),
        ({"metadata": {"a": [{"b": 2}]}}, [first]),
        ({"metadata": {"a": [3]}}, []),
    ]
    for wanted, expected in filters:
        assert listed(connection, order, **wanted) == expected
        assert crons.count_crons(connection, CronFilter(**wanted)) == len(expected)
    assert crons.count_crons(connection, CronFilter()) == len(several)


def test_a_cron_comes_back_as_it_was(connection: Connection) -> None:
    add_default_assistant(connection)
    cron = a_cron(
        spec=RunSpec(assistant_id="graph", input={"a": 1}, on_completion=OnCompletion.KEEP),
        next_fire_time=at(60),
        last_fire_time=at(0),
        last_run_id=new_id(),
        last_error=CronError(reason="QUEUE_FULL", message="full"),
        missed_fires=2**40,
        principal="ada",
        metadata={"ü": None},
    )
    crons.add_cron(connection, cron)
    assert crons.get_cron(connection, cron.cron_id) == cron
    changed = replace(cron, enabled=False, next_fire_time=None, last_error=None)
    crons.set_cron(connection, changed)
    assert crons.lock_cron(connection, cron.cron_id) == changed
