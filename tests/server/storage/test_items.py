"""Items that are kept for a while only."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, select
from tests.support.records import at

from runwire.server.model.items import Condition, ItemPlace
from runwire.server.storage import items, namespaces
from runwire.server.storage.tables import store_items

HOUR = timedelta(hours=1)
PLACE = ItemPlace(("n",), "k")


def rows(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(store_items)) or 0


def test_an_item_is_there_until_its_time_has_passed(connection: Connection) -> None:
    put = items.put_item(connection, PLACE, {"a": 1}, at(0), HOUR)
    assert put.expire_time == at(0) + HOUR
    for seconds, there in ((0, True), (3599, True), (3600, False), (10**8, False)):
        found = items.search_items(connection, (), [], at(seconds), limit=9)
        listed = namespaces.list_namespaces(connection, [], at(seconds), max_depth=None, limit=9)
        assert (items.get_item(connection, PLACE, at(seconds)) is not None) == there
        assert (found == [put], listed == [("n",)]) == (there, there)


def test_what_is_read_begins_anew_but_not_what_has_expired(connection: Connection) -> None:
    items.put_item(connection, PLACE, {}, at(0), HOUR)
    forever, gone, missing = (ItemPlace(("n",), key) for key in ("forever", "gone", "missing"))
    items.put_item(connection, forever, {}, at(0))
    items.put_item(connection, gone, {}, at(0), timedelta(minutes=1))
    times = items.refresh_items(connection, [missing, PLACE, gone, forever], at(3000))
    assert times == {PLACE: at(6600)}
    found = items.search_items(connection, (), [], at(5000), limit=9)
    assert {item.key: item.expire_time for item in found} == {"forever": None, "k": at(6600)}


def test_a_new_value_begins_anew_and_stays_what_it_was_made(connection: Connection) -> None:
    items.put_item(connection, PLACE, {"a": 1}, at(0), HOUR)
    second = items.put_item(connection, PLACE, {"a": 2}, at(60))
    assert (second.create_time, second.update_time) == (at(0), at(60))
    assert (second.value, second.expire_time) == ({"a": 2}, None)
    items.put_item(connection, PLACE, {"a": 3}, at(120), HOUR)
    late = items.put_item(connection, PLACE, {"a": 4}, at(3720))
    assert (late.create_time, late.update_time) == (at(3720), at(3720)), "the first one was gone"


def test_what_has_expired_is_deleted_a_few_at_a_time(connection: Connection) -> None:
    for number in range(5):
        items.put_item(connection, ItemPlace(("n",), str(number)), {}, at(number), HOUR)
    items.put_item(connection, PLACE, {}, at(0))
    assert items.delete_expired(connection, before=at(3602), limit=2) == 2
    assert items.delete_expired(connection, before=at(3602), limit=2) == 1
    assert items.delete_expired(connection, before=at(3602), limit=2) == 0
    assert rows(connection) == 3


def test_a_search_goes_on_behind_a_mark(connection: Connection) -> None:
    for number in (1, 2, 2, 3):  # two at the same time
        for name in "ab":
            items.put_item(connection, ItemPlace((name,), f"{number}"), {"n": number}, at(number))
    found = items.search_items(connection, (), [], at(9), limit=9)
    assert [(item.key, *item.namespace) for item in found] == [
        *(("3", "b"), ("3", "a"), ("2", "b"), ("2", "a"), ("1", "b"), ("1", "a"))
    ]
    for index, item in enumerate(found):
        mark = items.Mark(item.update_time, item.namespace, item.key)
        rest = items.search_items(connection, (), [], at(9), limit=9, after=mark)
        assert rest == found[index + 1 :]
    below = [Condition(("n",), "$gte", "2")]
    mark = items.Mark(at(3), ("a",), "3")
    assert len(items.search_items(connection, (), below, at(9), limit=9, after=mark)) == 2


def test_namespaces_are_found_however_many_share_what_is_shown(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a", "a1", "a1x", "a1y", "a2", "b", "b1z", "c1z", "c2z", "d"):
        items.put_item(connection, ItemPlace(tuple(path), "k"), {}, at(0))
    for chunk in (1, 2, 3, 100):
        monkeypatch.setattr(namespaces, "CHUNK", chunk)
        for depth, shown in (
            (1, "a b c d"),
            (2, "a a1 a2 b b1 c1 c2 d"),
            (None, "a a1 a1x a1y a2 b b1z c1z c2z d"),
        ):
            wanted = [tuple(path) for path in shown.split()]
            assert listed(connection, max_depth=depth, limit=99) == wanted
            for index, name in enumerate(wanted):
                rest = listed(connection, max_depth=depth, limit=2, after=name)
                assert rest == wanted[index + 1 : index + 3]


def listed(connection: Connection, **options: object) -> list[tuple[str, ...]]:
    return namespaces.list_namespaces(connection, [], at(1), **options)  # type: ignore[arg-type]
