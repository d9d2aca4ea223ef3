"""The store, through the client."""

from datetime import datetime
from typing import Any

import pytest

from runwire.client import InvalidArgumentError, RunwireClient


@pytest.fixture
def store(client: RunwireClient) -> Any:
    return client.store


async def test_items_are_kept_as_langgraph_sdk_s_users_say(store: Any) -> None:
    assert await store.get_item(["users", "ann"], "diet") is None
    assert await store.put_item(["users", "ann"], "diet", {"kind": "vegan"}) is None
    item = await store.get_item(["users", "ann"], key="diet")
    assert item == {
        "namespace": ["users", "ann"],
        "key": "diet",
        "value": {"kind": "vegan"},
        "created_at": item["created_at"],
        "updated_at": item["created_at"],
        "expires_at": None,
    }
    assert datetime.fromisoformat(item["created_at"]).tzinfo is not None
    for _ in range(2):
        assert await store.delete_item(["users", "ann"], "diet") is None
    assert await store.get_item(["users", "ann"], "diet") is None


async def test_a_time_to_live_is_minutes(store: Any) -> None:
    await store.put_item(["n"], "k", {}, ttl=1.5)
    item = await store.get_item(["n"], "k", refresh_ttl=False)
    put, gone = (datetime.fromisoformat(item[name]) for name in ("updated_at", "expires_at"))
    assert (gone - put).total_seconds() == 90
    await store.put_item(["n"], "k", {}, ttl=0)
    assert (await store.get_item(["n"], "k"))["expires_at"] is None


async def test_items_are_found_by_limit_and_offset(store: Any) -> None:
    for number in range(12):
        await store.put_item(["n"], str(number), {"n": number})
    found = (await store.search_items(["n"]))["items"]
    assert [item["value"]["n"] for item in found] == list(range(11, 1, -1))
    assert {item["score"] for item in found} == {None}
    rest = await store.search_items(["n"], limit=5, offset=10)
    assert [item["key"] for item in rest["items"]] == ["1", "0"]
    some = await store.search_items([], filter={"n": {"$gt": 8}}, limit=2)
    assert [item["key"] for item in some["items"]] == ["11", "10"]
    assert await store.search_items(["none"]) == {"items": []}


async def test_namespaces_are_listed_by_limit_and_offset(store: Any) -> None:
    for path in (["a", "b", "c"], ["a", "d"], ["e"]):
        await store.put_item(path, "k", {})
    assert await store.list_namespaces() == {"namespaces": [["a", "b", "c"], ["a", "d"], ["e"]]}
    assert await store.list_namespaces(["a"], max_depth=2, offset=1) == {"namespaces": [["a", "d"]]}
    assert await store.list_namespaces(suffix=["*", "c"], limit=1) == {
        "namespaces": [["a", "b", "c"]]
    }


async def test_what_is_wrong_is_said_by_its_field(store: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await store.put_item(["a.b"], "k", {})
    assert caught.value.violations == (("namespace[0]", "holds a period"),)
    with pytest.raises(TypeError, match="value"):
        await store.put_item(["a"], "k", {"v": object()})
    with pytest.raises(TypeError, match="namespace: must be a list of labels, not 'users'"):
        await store.put_item("users", "k", {})
    with pytest.raises(TypeError, match="namespace_prefix"):
        await store.search_items("users")
    with pytest.raises(ValueError, match="negative"):
        await store.search_items(["a"], limit=-1)
    with pytest.raises(NotImplementedError, match="params"):
        await store.get_item(["a"], "k", params={"a": "b"})
