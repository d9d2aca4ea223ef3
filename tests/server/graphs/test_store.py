"""The store as graphs use it."""

import asyncio
import random
import string
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from tests.support.attempts import Attempts, writing_as
from tests.support.records import START_TIME
from tests.support.transactions import MovableClock, stopped_clock
from typing_extensions import TypedDict

from runwire.server.graphs.store import RunwireStore
from runwire.server.model.errors import AttemptLost
from runwire.server.model.items import StoreTtl
from runwire.server.storage import items
from runwire.server.storage.database import Database


@pytest.fixture
def store(database: Database) -> RunwireStore:
    return RunwireStore(database)


@pytest.fixture
def movable_clock() -> Iterator[type[MovableClock]]:
    with stopped_clock() as clock:
        yield clock


async def fill(store: RunwireStore, *paths: str) -> None:
    """Put an item into each of the namespaces, written with slashes."""
    for path in paths:
        await store.aput(tuple(path.split("/")), "item", {"path": path})


async def paths(store: RunwireStore, *prefix: str, **options: Any) -> list[str]:
    return sorted(item.value["path"] for item in await store.asearch(prefix, **options))


# Items.


async def test_an_item_is_put_found_changed_and_deleted(store: RunwireStore) -> None:
    assert await store.aget(("notes", "a"), "1") is None
    await store.aput(("notes", "a"), "1", {"text": "ü", "n": [1, {"deep": None}]})
    first = await store.aget(("notes", "a"), "1")
    assert first is not None
    assert (first.namespace, first.key) == (("notes", "a"), "1")
    assert first.value == {"text": "ü", "n": [1, {"deep": None}]}
    assert first.created_at == first.updated_at
    assert first.created_at.tzinfo is not None
    await store.aput(("notes", "a"), "1", {"text": "new"})
    second = await store.aget(("notes", "a"), "1")
    assert second is not None
    assert second.value == {"text": "new"}
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    await store.adelete(("notes", "a"), "1")
    await store.adelete(("notes", "a"), "never there")
    assert await store.aget(("notes", "a"), "1") is None


async def test_keys_may_hold_anything(store: RunwireStore) -> None:
    keys = ["'", '"', "%", "_", "a.b", "x') OR 1=1--", "ü", " ", "\x1f", "k" * 1_999]
    for key in keys:
        await store.aput(("n",), key, {"key": key})
    for key in keys:
        item = await store.aget(("n",), key)
        assert item is not None
        assert item.value == {"key": key}
    assert len(await store.asearch(("n",), limit=100)) == len(keys)


@pytest.mark.parametrize("key", ["", "a\0", "\ud800", "ü" * 1_000])
async def test_a_key_that_is_none_is_refused(store: RunwireStore, key: str) -> None:
    for op in (PutOp(("n",), key, {}), PutOp(("n",), key, None), GetOp(("n",), key)):
        with pytest.raises(ValueError, match="key"):
            await store.abatch([op])
    assert await store.asearch(()) == []


async def test_namespaces_and_keys_have_2000_bytes_together(store: RunwireStore) -> None:
    # Of characters that no database could keep in less room.
    text = "".join(random.Random(0).choices(string.ascii_letters + string.digits, k=2_000))
    for split in (1, 1_000, 1_999):
        namespace, key = (text[:split],), text[split:]
        await store.aput(namespace, key, {"split": split})
        item = await store.aget(namespace, key)
        assert item is not None
        assert item.value == {"split": split}
        with pytest.raises(ValueError, match="2001 bytes"):
            await store.aput(namespace, key + "k", {})
    with pytest.raises(ValueError, match="2001 bytes"):
        await store.aput(("n" * 1_000, "n" * 999), "k", {})


async def test_values_are_json_objects(store: RunwireStore) -> None:
    for value in ({"a": object()}, {"a": 2**70}, {1: "a"}):
        with pytest.raises(ValueError, match="JSON"):
            await store.aput(("n",), "k", value)
    assert await store.asearch(()) == []


# Namespaces.


async def test_a_prefix_matches_whole_labels_only(store: RunwireStore) -> None:
    await fill(store, "foo", "foo/bar", "foo/bar/deep", "foobar", "foo bar", "fo", "foo!/x", "FOO")
    assert await paths(store, "foo") == ["foo", "foo/bar", "foo/bar/deep"]
    assert await paths(store, "foo", "bar") == ["foo/bar", "foo/bar/deep"]
    assert await paths(store, "fo") == ["fo"]
    assert len(await paths(store)) == 8


async def test_labels_are_no_patterns(store: RunwireStore) -> None:
    labels = ["%", "_", "a%", "a_", "ab", "\\", "'", "*", "ü", "\U0010ffff", "\x20", "~", "[a]"]
    for label in labels:
        await store.aput((label, "sub"), "item", {"path": label})
    for label in labels:
        assert await paths(store, label) == [label]
        assert await store.alist_namespaces(prefix=(label,)) == [(label, "sub")] or label == "*"


@pytest.mark.parametrize(
    "namespace",
    [
        *((), ("",), ("a", ""), ("a.b",), ("a\x1fb",), ("a\n",), ("a\0",), ("\udfff",), (1,)),
        *(("a",) * 65, ("langgraph", "x")),
    ],
)
async def test_a_namespace_that_is_none_is_refused(
    store: RunwireStore, namespace: tuple[Any, ...]
) -> None:
    with pytest.raises(InvalidNamespaceError):
        await store.aput(namespace, "k", {})
    if namespace and namespace[0] != "langgraph":
        for op in (
            PutOp(namespace, "k", {}),
            GetOp(namespace, "k"),
            SearchOp(namespace),
            ListNamespacesOp((MatchCondition("prefix", namespace),)),
        ):
            with pytest.raises(InvalidNamespaceError):
                await store.abatch([op])
    assert await store.alist_namespaces() == []


async def test_namespaces_are_listed_as_langgraphs_own_store_lists_them(
    store: RunwireStore,
) -> None:
    reference = InMemoryStore()
    names = [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f")]
    names += [("a", "c", "f"), ("b", "a", "f"), ("a",), ("ab", "c")]
    for name in names:
        for filled in (store, reference):
            await filled.aput(name, "k", {})
            await filled.aput(name, "another", {})
    for options in (
        {},
        {"prefix": ("a",)},
        {"prefix": ("a", "b"), "max_depth": 3},
        {"prefix": ("a", "*", "d")},
        {"prefix": ("*", "a")},
        {"suffix": ("f",)},
        {"suffix": ("b", "*")},
        {"prefix": ("a",), "suffix": ("f",)},
        {"max_depth": 1},
        {"max_depth": 2, "limit": 2, "offset": 1},
        {"limit": 3},
        {"offset": 100},
        {"prefix": ("none",)},
    ):
        ours = await store.alist_namespaces(**options)
        assert ours == await reference.alist_namespaces(**options), options


async def test_an_unknown_kind_of_match_is_refused(store: RunwireStore) -> None:
    await fill(store, "a")
    with pytest.raises(ValueError, match="infix"):
        await store.abatch([ListNamespacesOp((MatchCondition("infix", ("a",)),))])  # type: ignore[arg-type]


# Searching.

VALUES: dict[str, dict[str, Any]] = {
    "a": {"score": 1, "colour": "red", "tags": ["x", "y"], "deep": {"n": 1}, "done": True},
    "b": {"score": 2.5, "colour": "blue", "tags": [], "deep": {"n": 2}, "done": False},
    "c": {"score": 10, "colour": None, "deep": {"n": 1, "m": 1}},
    "d": {"score": "10", "colour": "green"},
    "e": {},
    "f": {"score": True, "a.b": 1, "x') OR 1=1--": 1, '"': 1, "$": 1},
}

FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"colour": "red"}, "a"),
    ({"colour": {"$eq": "red"}}, "a"),
    ({"colour": {"$ne": "red"}}, "bcdef"),
    ({"score": {"$gt": 1}}, "bc"),
    ({"score": {"$gte": 1}}, "abc"),
    ({"score": {"$lt": 2.5}}, "a"),
    ({"score": {"$lte": 2.5, "$gt": 1}}, "b"),
    ({"score": {"$gte": "1"}}, "d"),
    ({"score": 1}, "a"),
    ({"score": 1.0}, "a"),
    ({"score": True}, "f"),
    ({"score": {"$gt": None}}, ""),
    ({"score": {"$lt": {"$gt": 1}}}, ""),
    ({"done": True}, "a"),
    ({"done": 1}, ""),
    ({"tags": ["x", "y"]}, "a"),
    ({"tags": ["y", "x"]}, ""),
    ({"tags": []}, "b"),
    ({"deep": {"n": 1}}, "ac"),
    ({"deep": {"$eq": {"n": 1}}}, "a"),
    ({"deep": {"m": 1, "n": 1}}, "c"),
    ({"deep": {"n": {"$gte": 2}}}, "b"),
    ({"deep": {"n": {"$gte": 1, "$lt": 2}, "m": {"$ne": None}}}, "c"),
    ({"tags": {"0": "x"}}, ""),
    ({"colour": {"r": {"$ne": 1}}}, "abcdef"),
    ({"missing": None}, "abcdef"),
    ({"score": {"$gt": 1}, "colour": "blue"}, "b"),
    ({"a.b": 1}, "f"),
    ({"x') OR 1=1--": 1}, "f"),
    ({'"': 1}, "f"),
    ({"$": 1}, "f"),
    ({"'; DROP TABLE store_items; --": 1}, ""),
    ({"\0": 1}, ""),
    ({}, "abcdef"),
]


@pytest.mark.parametrize(("wanted", "found"), FILTERS)
async def test_items_are_found_by_their_entries(
    store: RunwireStore, wanted: dict[str, Any], found: str
) -> None:
    await asyncio.gather(*(store.aput(("n",), key, value) for key, value in VALUES.items()))
    results = await store.asearch(("n",), filter=wanted, limit=100)
    assert "".join(sorted(item.key for item in results)) == found


async def test_results_come_in_pages_last_updated_first(store: RunwireStore) -> None:
    for number in range(25):
        await store.aput(("n", str(number)), "k", {"number": number, "even": number % 2 == 0})
    await store.aput(("n", "3"), "k", {"number": 3})
    numbers = [item.value["number"] for item in await store.asearch(("n",))]
    assert numbers == [3, *range(24, 15, -1)]
    page = await store.asearch(("n",), filter={"even": True}, limit=3, offset=10)
    assert [item.value["number"] for item in page] == [4, 2, 0]
    assert await store.asearch(("n",), limit=0) == []
    for options in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(ValueError, match="negative"):
            await store.asearch(("n",), **options)
        with pytest.raises(ValueError, match="negative"):
            await store.alist_namespaces(**options)


async def test_what_the_store_cannot_do_is_said(store: RunwireStore) -> None:
    with pytest.raises(ValueError, match="embedding"):
        await store.asearch(("n",), query="what is like this?")
    with pytest.raises(ValueError, match=r"\$regex"):
        await store.asearch(("n",), filter={"a": {"$regex": ".*"}})
    with pytest.raises(ValueError, match=r"\$and.*is no entry"):
        await store.asearch(("n",), filter={"$and": []})
    with pytest.raises(ValueError, match="at least 1"):
        await store.alist_namespaces(max_depth=0)
    await store.aput(("n",), "k", {}, index=["text"])
    await store.aput(("n",), "k", {}, index=False)
    assert len(await store.asearch(("n",))) == 1


# Batches, loops and runs.


async def test_a_batch_is_one_transaction_that_reads_before_it_writes(
    store: RunwireStore,
) -> None:
    await store.aput(("n",), "a", {"v": 0})
    results = await store.abatch(
        [
            PutOp(("n",), "a", {"v": 1}),
            GetOp(("n",), "a"),
            PutOp(("n",), "a", {"v": 2}),
            PutOp(("n",), "b", {"v": 3}),
            PutOp(("n",), "b", None),
            SearchOp(("n",)),
            ListNamespacesOp(),
        ]
    )
    assert [results[index] for index in (0, 2, 3, 4)] == [None] * 4
    assert results[1].value == {"v": 0}  # type: ignore[union-attr]
    assert [item.value for item in results[5]] == [{"v": 0}]  # type: ignore[union-attr]
    assert results[6] == [("n",)]
    assert [(item.key, item.value) for item in await store.asearch(("n",))] == [("a", {"v": 2})]
    with pytest.raises(ValueError, match="JSON"):
        await store.abatch([PutOp(("n",), "c", {}), PutOp(("n",), "d", {"v": object()})])
    assert len(await store.asearch(("n",))) == 1


async def test_a_batch_writes_in_an_order_of_its_own_so_that_two_never_wait_in_a_ring(
    store: RunwireStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[tuple[str, ...], str]] = []
    for name in ("put_item", "delete_item"):
        write = getattr(items, name)

        def note(connection: Any, place: Any, *rest: Any, write: Any = write) -> None:
            written.append(place)
            write(connection, place, *rest)

        monkeypatch.setattr(items, name, note)
    places = [(("n",), "b"), (("m",), "c"), (("n",), "a"), (("n", "a"), "a"), (("m",), "a")]
    await store.abatch([PutOp(*place, {}) for place in places] + [PutOp(("n",), "a", None)])
    assert written == sorted(places)
    assert await store.aget(("n",), "a") is None


async def test_four_loops_in_four_threads_use_one_store(store: RunwireStore) -> None:
    async def put_some(name: str) -> None:
        await asyncio.gather(*(store.aput((name,), str(n), {"n": n}) for n in range(25)))

    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(pool, asyncio.run, put_some(name)) for name in "abcd")
        )
    assert len(await store.asearch((), limit=1000)) == 100


async def test_code_of_a_run_writes_only_while_the_run_is_its_own(
    store: RunwireStore, attempts: Attempts, database: Database
) -> None:
    class State(TypedDict, total=False):
        found: int

    async def keep(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        await runtime.store.aput(("n",), "async", {})
        return {"found": len(await runtime.store.asearch(("n",)))}

    def keep_sync(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        runtime.store.put(("n",), "sync", {})
        return {"found": len(runtime.store.search(("n",)))}

    def graph(node: Callable[..., Any]) -> Any:
        return StateGraph(State).add_node("keep", node).add_edge(START, "keep").compile(store=store)

    attempt = await attempts.start(await attempts.thread())
    with writing_as(attempt):
        assert await graph(keep).ainvoke({}) == {"found": 1}
        assert await graph(keep_sync).ainvoke({}) == {"found": 2}
        await attempts.end(attempt)
        for node in (keep, keep_sync):
            with pytest.raises(AttemptLost):
                await graph(node).ainvoke({})
        assert len(await store.asearch(("n",))) == 2, "reading is free"
    await store.aput(("n",), "by a caller", {})
    assert len(await store.asearch(("n",))) == 3


# Time to live.

AN_HOUR = timedelta(hours=1)


async def test_items_expire_as_langgraph_s_users_say(
    database: Database, movable_clock: type[MovableClock]
) -> None:
    store = RunwireStore(database, ttl=StoreTtl(AN_HOUR))
    assert store.supports_ttl
    assert store.ttl_config == {
        "default_ttl": 60,
        "refresh_on_read": True,
        "omit_expired": True,
    }
    await store.aput(("n",), "default", {})
    await store.aput(("n",), "short", {}, ttl=0.5)
    await store.aput(("n",), "for ever", {}, ttl=None)
    assert len(await store.asearch(("n",), refresh_ttl=False)) == 3
    movable_clock.time = START_TIME + timedelta(seconds=30)
    assert await store.aget(("n",), "short") is None
    assert len(await store.asearch(("n",), refresh_ttl=False)) == 2
    movable_clock.time = START_TIME + AN_HOUR
    assert [item.key for item in await asyncio.to_thread(store.search, ("n",))] == ["for ever"]
    assert await store.alist_namespaces() == [("n",)]


@pytest.mark.parametrize("refreshes", [True, False])
async def test_a_read_begins_the_time_anew_if_it_is_to(
    database: Database, movable_clock: type[MovableClock], refreshes: bool
) -> None:
    store = RunwireStore(database, ttl=StoreTtl(AN_HOUR, refresh_on_read=refreshes))
    for key in ("get", "sync", "search", "batch", "asked", "unasked"):
        await store.aput((key,), key, {})
    movable_clock.time = START_TIME + AN_HOUR / 2
    await store.aget(("get",), "get")
    await asyncio.to_thread(store.get, ("sync",), "sync")
    await store.asearch(("search",))
    await store.abatch(
        [GetOp(("batch",), "batch", refreshes), PutOp(("other",), "k", {}), ListNamespacesOp()]
    )
    await store.aget(("asked",), "asked", refresh_ttl=True)
    await store.aget(("unasked",), "unasked", refresh_ttl=False)
    movable_clock.time = START_TIME + AN_HOUR
    left = {item.key for item in await store.asearch((), limit=99, refresh_ttl=False)}
    wanted = {"get", "sync", "search", "batch"} if refreshes else set()
    assert left == wanted | {"asked", "k"}


async def test_a_run_that_is_not_its_own_any_more_reads_what_expires(
    store: RunwireStore, attempts: Attempts
) -> None:
    await store.aput(("n",), "k", {}, ttl=60)
    attempt = await attempts.start(await attempts.thread())
    await attempts.end(attempt)
    with writing_as(attempt):
        assert await store.aget(("n",), "k") is not None


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 525_601])
async def test_a_time_to_live_that_is_none_is_refused(store: RunwireStore, ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl"):
        await store.aput(("n",), "k", {}, ttl=ttl)


async def test_a_value_has_3_mebibytes_at_most(store: RunwireStore) -> None:
    await store.aput(("n",), "k", {"a": "x" * (3 * 1024**2 - 8)})
    with pytest.raises(ValueError, match="bytes"):
        await store.aput(("n",), "k", {"a": "x" * (3 * 1024**2 - 7)})
