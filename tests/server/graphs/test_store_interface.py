"""What LangGraph's `BaseStore` promises, kept by our store and, as proof that the tests ask for
nothing else, by LangGraph's own store in memory."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from runwire.server.graphs.store import RunwireStore
from runwire.server.storage.opening import database_at


@pytest.fixture(params=["langgraph", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[BaseStore]:
    if request.param == "langgraph":
        yield InMemoryStore()
        return
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    async with database_at(url) as database:
        yield RunwireStore(database)


class Awaited:
    """A store's methods, sync and async ones, called in the same way."""

    def __init__(self, store: BaseStore, *, sync: bool) -> None:
        self._store = store
        self._sync = sync

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            if self._sync:
                method = getattr(self._store, name)
                return await asyncio.to_thread(method, *arguments, **options)
            return await getattr(self._store, f"a{name}")(*arguments, **options)

        return call


@pytest.fixture(params=["sync", "async"])
def s(request: pytest.FixtureRequest, store: BaseStore) -> Any:
    return Awaited(store, sync=request.param == "sync")


def keys(items: list[Any]) -> list[str]:
    return sorted(item.key for item in items)


# Items.


async def test_get_returns_what_put_stored(s: Any) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    assert await s.put(("users", "ann"), "diet", {"vegan": True, "since": {"year": 2020}}) is None
    item = await s.get(("users", "ann"), "diet")
    assert type(item) is Item
    assert item.namespace == ("users", "ann")
    assert item.key == "diet"
    assert item.value == {"vegan": True, "since": {"year": 2020}}
    assert before < item.created_at <= item.updated_at
    assert item.dict()["namespace"] == ["users", "ann"]


async def test_get_returns_none_for_what_is_not_there(s: Any) -> None:
    await s.put(("users",), "a", {"n": 1})
    for namespace, key in ((("users",), "b"), (("user",), "a"), (("users", "x"), "a")):
        assert await s.get(namespace, key) is None


async def test_put_replaces_the_whole_value(s: Any) -> None:
    await s.put(("n",), "k", {"a": 1, "b": 2})
    await s.put(("n",), "k", {"c": 3})
    assert (await s.get(("n",), "k")).value == {"c": 3}
    assert len(await s.search(("n",))) == 1


async def test_delete_takes_one_item_and_says_nothing_of_a_missing_one(s: Any) -> None:
    await s.put(("n",), "a", {})
    await s.put(("n",), "b", {})
    assert await s.delete(("n",), "a") is None
    assert await s.delete(("n",), "a") is None
    assert await s.get(("n",), "a") is None
    assert keys(await s.search(("n",))) == ["b"]


async def test_the_same_key_is_another_item_in_another_namespace(s: Any) -> None:
    await s.put(("a", "b"), "k", {"n": 1})
    await s.put(("a",), "k", {"n": 2})
    await s.put(("ab",), "k", {"n": 3})
    assert (await s.get(("a", "b"), "k")).value == {"n": 1}
    await s.delete(("a",), "k")
    assert (await s.get(("a", "b"), "k")).value == {"n": 1}
    assert (await s.get(("ab",), "k")).value == {"n": 3}


async def test_a_key_becomes_a_string(s: Any) -> None:
    await s.put(("n",), 7, {"n": 1})
    assert (await s.get(("n",), "7")).key == "7"


async def test_what_is_found_changes_nothing_that_is_stored(s: Any) -> None:
    value = {"list": [1]}
    await s.put(("n",), "k", value)
    value["new"] = [2]
    assert (await s.get(("n",), "k")).value == {"list": [1]}


async def test_index_has_no_effect_where_nothing_is_indexed(s: Any) -> None:
    await s.put(("n",), "a", {"text": "x"}, index=False)
    await s.put(("n",), "b", {"text": "x"}, index=["text", "deep[*].text"])
    assert keys(await s.search(("n",))) == ["a", "b"]


async def test_a_namespace_that_is_none_is_refused(s: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        await s.put((), "k", {})
    for namespace in (("",), ("a", ""), ("a.b",), ("a\0",), (1,)):
        for call in (
            s.put(namespace, "k", {}),
            s.get(namespace, "k"),
            s.delete(namespace, "k"),
            s.search(namespace),
            s.list_namespaces(prefix=namespace),
            s.list_namespaces(suffix=namespace),
        ):
            with pytest.raises(InvalidNamespaceError):
                await call


async def test_the_root_langgraph_is_reserved(s: Any) -> None:
    with pytest.raises(InvalidNamespaceError, match="langgraph"):
        await s.put(("langgraph", "x"), "k", {})
    await s.put(("x", "langgraph"), "k", {})


# Searching.


async def test_search_finds_what_is_below_a_prefix_of_whole_labels(s: Any) -> None:
    for namespace in (("docs",), ("docs", "a"), ("docs", "a", "b"), ("docs2",), ("x", "docs")):
        await s.put(namespace, "/".join(namespace), {})
    assert keys(await s.search(("docs",))) == ["docs", "docs/a", "docs/a/b"]
    assert keys(await s.search(("docs", "a"))) == ["docs/a", "docs/a/b"]
    assert keys(await s.search(("doc",))) == []
    assert len(await s.search(())) == 5


async def test_search_items_are_items_without_a_score(s: Any) -> None:
    await s.put(("n",), "k", {"a": 1})
    (found,) = await s.search(("n",))
    assert type(found) is SearchItem
    assert (found.namespace, found.key, found.value, found.score) == (("n",), "k", {"a": 1}, None)


VALUES: dict[str, dict[str, Any]] = {
    "a": {"type": "report", "score": 4, "on": True, "author": {"name": "ann", "age": 40}},
    "b": {"type": "report", "score": 5.5, "on": False, "author": {"name": "bob", "age": 50}},
    "c": {"type": "note", "score": 10, "on": True, "author": {"name": "ann", "age": 60}},
    "d": {"type": "note", "score": -1, "on": None, "tags": ["x", "y"]},
}

FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "abcd"),
    ({"type": "report"}, "ab"),
    ({"type": "report", "on": True}, "a"),
    ({"type": {"$eq": "note"}}, "cd"),
    ({"type": {"$ne": "note"}}, "ab"),
    ({"score": {"$gt": 5}}, "bc"),
    ({"score": {"$gte": 5.5}}, "bc"),
    ({"score": {"$lt": 4}}, "d"),
    ({"score": {"$lte": 4}}, "ad"),
    ({"score": {"$gt": 0, "$lt": 10}}, "ab"),
    ({"score": {"$gte": 4}, "type": "report"}, "ab"),
    ({"on": None}, "d"),
    ({"missing": {"$ne": 1}}, "abcd"),
    ({"author": {"name": "ann"}}, "ac"),
    ({"author": {"name": "ann", "age": 60}}, "c"),
    ({"author": {"name": {"$ne": "ann"}, "age": 50}}, "b"),
    ({"tags": ["x", "y"]}, "d"),
    ({"tags": ["x"]}, ""),
    ({"type": "reports"}, ""),
]


async def test_search_filters_by_entries(s: Any) -> None:
    for key, value in VALUES.items():
        await s.put(("n",), key, value)
    for wanted, found in FILTERS:
        assert "".join(keys(await s.search(("n",), filter=wanted))) == found, wanted


async def test_an_unknown_operator_is_refused(s: Any) -> None:
    await s.put(("n",), "k", {"a": 1})
    with pytest.raises(ValueError, match="regex"):
        await s.search(("n",), filter={"a": {"$regex": "x"}})


async def test_limit_and_offset_divide_what_is_found(s: Any) -> None:
    for number in range(12):
        await s.put(("n",), f"{number:02}", {"even": number % 2 == 0})
    assert len(await s.search(("n",))) == 10, "the default limit"
    pages = [await s.search(("n",), limit=5, offset=offset) for offset in (0, 5, 10, 15)]
    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert keys([item for page in pages for item in page]) == [
        f"{number:02}" for number in range(12)
    ]
    even = [await s.search(("n",), filter={"even": True}, limit=4, offset=n) for n in (0, 4)]
    assert keys(even[0] + even[1]) == ["00", "02", "04", "06", "08", "10"]


# Namespaces.

NAMES = [
    ("a", "b", "c"),
    ("a", "b", "d", "e"),
    ("a", "b", "d", "i"),
    ("a", "b", "f"),
    ("a", "c", "f"),
]

LISTS: list[tuple[dict[str, Any], list[tuple[str, ...]]]] = [
    ({}, NAMES),
    ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]),
    ({"prefix": ("a", "c")}, [("a", "c", "f")]),
    ({"suffix": ("f",)}, [("a", "b", "f"), ("a", "c", "f")]),
    ({"prefix": ("a", "*", "f")}, [("a", "b", "f"), ("a", "c", "f")]),
    ({"prefix": ("a", "b"), "suffix": ("f",)}, [("a", "b", "f")]),
    ({"suffix": ("d", "*")}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
    ({"suffix": ("e",), "max_depth": 2}, [("a", "b")]),
    ({"max_depth": 2}, [("a", "b"), ("a", "c")]),
    ({"max_depth": 1}, [("a",)]),
    ({"max_depth": 9}, NAMES),
    ({"prefix": ("a", "b", "c", "d")}, []),
    ({"limit": 2}, NAMES[:2]),
    ({"limit": 2, "offset": 3}, NAMES[3:]),
    ({"max_depth": 3, "limit": 2, "offset": 1}, [("a", "b", "d"), ("a", "b", "f")]),
    ({"offset": 9}, []),
]


async def test_namespaces_are_listed_in_order_each_once(s: Any) -> None:
    for name in reversed(NAMES):
        for key in "xy":
            await s.put(name, key, {})
    for options, found in LISTS:
        assert await s.list_namespaces(**options) == found, options


async def test_namespaces_are_listed_up_to_100_unless_said_otherwise(s: Any) -> None:
    await s.batch([PutOp(("n", f"{number:03}"), "k", {}) for number in range(105)])
    assert len(await s.list_namespaces()) == 100
    assert len(await s.list_namespaces(limit=1000)) == 105


async def test_conditions_are_all_to_hold(s: Any) -> None:
    for name in NAMES:
        await s.put(name, "k", {})
    matches = (
        MatchCondition("prefix", ("a", "*")),
        MatchCondition("prefix", ("*", "b")),
        MatchCondition("suffix", ("f",)),
    )
    (found,) = await s.batch([ListNamespacesOp(matches)])
    assert found == [("a", "b", "f")]


# Batches.


async def test_a_batch_answers_in_the_order_of_its_operations(s: Any) -> None:
    await s.put(("n",), "a", {"v": 1})
    results = await s.batch(
        [
            GetOp(("n",), "a"),
            PutOp(("n",), "b", {"v": 2}),
            SearchOp(("n",)),
            GetOp(("n",), "missing"),
            ListNamespacesOp(),
        ]
    )
    assert results[0].value == {"v": 1}
    assert results[1] is None
    assert [item.value for item in results[2]] == [{"v": 1}]
    assert results[3] is None
    assert results[4] == [("n",)]
    assert keys(await s.search(("n",))) == ["a", "b"]


async def test_of_several_puts_to_one_key_the_last_one_counts(s: Any) -> None:
    await s.batch(
        [
            PutOp(("n",), "a", {"v": 1}),
            PutOp(("n",), "a", {"v": 2}),
            PutOp(("n",), "b", {"v": 3}),
            PutOp(("n",), "b", None),
        ]
    )
    assert [item.value for item in await s.search(("n",))] == [{"v": 2}]


async def test_an_empty_batch_is_none(s: Any) -> None:
    assert await s.batch([]) == []
