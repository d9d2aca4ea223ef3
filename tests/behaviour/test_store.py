"""The store as its callers see it: the same items as graphs have."""

import asyncio
import string
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.callers import Client, Stubs, data_of, of_json
from tests.support.refusals import assert_refused, refusal
from tests.support.tables import count_rows

from runwire.server.app import App
from runwire.server.core.retention import Retention, sweep
from runwire.server.core.store import PAGE_BYTES
from runwire.server.model.items import MAX_VALUE_BYTES
from runwire.v1 import payload_pb2, store_pb2

A_MICROSECOND = Duration(nanos=1000)
"""Has passed before anybody can look."""


@pytest.fixture
def root() -> str:
    """A label that no other test uses."""
    return uuid4().hex


async def put(stubs: Stubs, namespace: list[str], key: str, value: Any, **more: Any) -> Any:
    request = store_pb2.PutItemRequest(namespace=namespace, key=key, value=of_json(value), **more)
    return (await stubs.store.PutItem(request)).item


async def search(stubs: Stubs, root: str, **request: Any) -> list[str]:
    """Return the keys of what a search finds, page by page."""
    keys: list[str] = []
    token = ""
    while True:
        answer = await stubs.store.SearchItems(
            store_pb2.SearchItemsRequest(namespace_prefix=[root], page_token=token, **request)
        )
        keys += [found.item.key for found in answer.items]
        token = answer.next_page_token
        if not token:
            return keys


# ------------------------------------------------------------------- items


async def test_an_item_is_put_found_changed_and_deleted(stubs: Stubs, root: str) -> None:
    place: Any = {"namespace": [root, "a b"], "key": "ü/1"}
    first = await put(stubs, [root, "a b"], "ü/1", {"n": 2**63, "deep": [{"x": None}]})
    found = (await stubs.store.GetItem(store_pb2.GetItemRequest(**place))).item
    assert found == first
    assert (list(found.namespace), found.key) == ([root, "a b"], "ü/1")
    assert data_of(found.value) == {"n": 2**63, "deep": [{"x": None}]}
    assert not found.HasField("expire_time")
    second = await put(stubs, [root, "a b"], "ü/1", {"n": 1})
    assert second.create_time == first.create_time
    assert second.update_time.ToDatetime() > first.update_time.ToDatetime()
    for _ in range(2):
        await stubs.store.DeleteItem(store_pb2.DeleteItemRequest(**place))
    failed = await refusal(stubs, "GetItem", store_pb2.GetItemRequest(**place))
    assert (failed.code, failed.reason) == ("NOT_FOUND", "ITEM_NOT_FOUND")
    assert failed.variables == {"namespace": f'["{root}","a b"]', "key": "ü/1"}


async def test_graphs_and_callers_have_the_same_items(client: Client, root: str) -> None:
    await client.runs.wait(None, "remembers", input={"remember": root})
    item = await client.store.get_item(["notes"], root)
    assert item["value"] == {"text": root}
    await client.store.put_item(["notes"], f"{root} again", {})
    found = (await client.runs.wait(None, "remembers", input={}))["found"]
    assert {root, f"{root} again"} <= set(found)
    await client.store.delete_item(["notes"], root)
    assert root not in (await client.runs.wait(None, "remembers", input={}))["found"]


async def test_labels_are_not_joined_so_no_two_namespaces_are_the_same(
    stubs: Stubs, root: str
) -> None:
    await put(stubs, [root, "a", "b"], "k", {"n": 1})
    await put(stubs, [root, "a b"], "k", {"n": 2})
    await put(stubs, [root, "a/b"], "k", {"n": 3})
    await put(stubs, [root, "a"], "b", {"n": 4})
    assert len(await search(stubs, root)) == 4


async def test_of_puts_at_the_same_time_one_is_the_first_and_none_fails(
    stubs: Stubs, root: str
) -> None:
    made = await asyncio.gather(*(put(stubs, [root], "k", {"n": n}) for n in range(20)))
    assert len({item.create_time.ToNanoseconds() for item in made}) == 1
    assert await search(stubs, root) == ["k"]


# ------------------------------------------------------------------- what is wrong

LONG = "x" * 2001
PLACES: list[tuple[dict[str, Any], list[str]]] = [
    ({"key": "k"}, ["namespace"]),
    ({"namespace": ["a"]}, ["key"]),
    ({"namespace": ["a", ""], "key": "k"}, ["namespace[1]"]),
    ({"namespace": ["a.b", "c\n"], "key": "k"}, ["namespace[0]", "namespace[1]"]),
    ({"namespace": ["a\0"], "key": "k"}, ["namespace[0]", "namespace[0]"]),
    ({"namespace": ["a"] * 65, "key": "k"}, ["namespace"]),
    ({"namespace": [LONG], "key": "k"}, ["namespace"]),
    ({"namespace": ["a"], "key": LONG}, ["namespace"]),
    ({"namespace": ["a"], "key": "k\0"}, ["key", "key"]),
]


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("place", "wrong"), PLACES, ids=range(len(PLACES)))
async def test_what_is_no_namespace_or_key_is_refused_by_its_field(
    stubs: Stubs, place: dict[str, Any], wrong: list[str]
) -> None:
    for request in (
        store_pb2.PutItemRequest(**place, value=of_json({})),
        store_pb2.GetItemRequest(**place),
        store_pb2.DeleteItemRequest(**place),
    ):
        method = type(request).__name__.removesuffix("Request")
        failed = await refusal(stubs, method, request)
        assert_refused(failed, *dict.fromkeys(wrong))


REQUESTS: list[tuple[Any, list[str]]] = [
    (store_pb2.PutItemRequest(), ["value"]),
    (store_pb2.PutItemRequest(value=of_json([1])), ["value"]),
    (store_pb2.PutItemRequest(value=payload_pb2.Payload(json='{"a":NaN}')), ["value.a"]),
    (store_pb2.PutItemRequest(value=of_json({}), ttl=Duration(seconds=-1)), ["ttl"]),
    (store_pb2.PutItemRequest(value=of_json({}), ttl=Duration(seconds=366 * 86400)), ["ttl"]),
    (
        store_pb2.PutItemRequest(value=of_json({}), index_paths=["a"], unindexed=True),
        ["unindexed"],
    ),
    (store_pb2.PutItemRequest(value=of_json({}), index_paths=["a", ""]), ["index_paths[1]"]),
    (store_pb2.PutItemRequest(value=of_json({}), index_paths=["a"] * 101), ["index_paths"]),
    (store_pb2.SearchItemsRequest(namespace_prefix=["a", "b.c"]), ["namespace_prefix[1]"]),
    (store_pb2.SearchItemsRequest(filter=of_json(["a"])), ["filter"]),
    (store_pb2.SearchItemsRequest(filter=of_json({"a": {"$in": [1]}})), ['filter.a["$in"]']),
    (
        store_pb2.SearchItemsRequest(filter=of_json({"a": {"b c": {"$eq": 1, "x": 2}}})),
        ['filter.a["b c"].x'],
    ),
    (
        store_pb2.SearchItemsRequest(filter=of_json(dict.fromkeys(string.printable))),
        ['filter["#"]'],
    ),
    (store_pb2.SearchItemsRequest(page_size=-1), ["page_size"]),
    (store_pb2.SearchItemsRequest(page_token="x"), ["page_token"]),
    (store_pb2.ListNamespacesRequest(prefix=["a.b"], suffix=[""]), ["prefix[0]", "suffix[0]"]),
    (store_pb2.ListNamespacesRequest(max_depth=-1), ["max_depth"]),
    (store_pb2.ListNamespacesRequest(page_token="x"), ["page_token"]),
]


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("request_", "wrong"), REQUESTS, ids=range(len(REQUESTS)))
async def test_what_is_wrong_is_refused_by_its_field(
    stubs: Stubs, request_: Any, wrong: list[str]
) -> None:
    if isinstance(request_, store_pb2.PutItemRequest):
        request_.namespace.append("a")
        request_.key = "k"
    method = type(request_).__name__.removesuffix("Request")
    assert_refused(await refusal(stubs, method, request_), *wrong)


@pytest.mark.usefixtures("nothing_stored")
async def test_what_is_langgraph_s_own_cannot_be_written(stubs: Stubs) -> None:
    request = store_pb2.PutItemRequest(namespace=["langgraph"], key="k", value=of_json({}))
    assert_refused(await refusal(stubs, "PutItem", request), "namespace[0]")


async def test_a_value_has_3_mebibytes_at_most_so_that_any_client_takes_it(
    stubs: Stubs, root: str
) -> None:
    most = {"text": "x" * (MAX_VALUE_BYTES - len('{"text":""}'))}
    assert (await put(stubs, [root], "k", most)).key == "k"
    request = store_pb2.PutItemRequest(
        namespace=[root], key="k", value=of_json({"text": most["text"] + "x"})
    )
    failed = await refusal(stubs, "PutItem", request)
    assert (failed.code, failed.reason) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
    assert failed.variables["field"] == "value"


async def test_a_search_by_meaning_needs_an_index(stubs: Stubs, root: str) -> None:
    await put(stubs, [root], "k", {"text": "hello"}, index_paths=["text"])
    request = store_pb2.SearchItemsRequest(namespace_prefix=[root], query="hello")
    failed = await refusal(stubs, "SearchItems", request)
    assert (failed.code, failed.reason) == ("FAILED_PRECONDITION", "SEARCH_NOT_CONFIGURED")


# ------------------------------------------------------------------- search and lists


async def test_a_search_without_a_prefix_looks_everywhere(stubs: Stubs, root: str) -> None:
    """The reference server fails with an internal error."""
    await put(stubs, [root], "k", {root: 1})
    answer = await stubs.store.SearchItems(
        store_pb2.SearchItemsRequest(filter=of_json({root: {"$gte": 1}}))
    )
    assert [found.item.key for found in answer.items] == ["k"]
    assert not answer.items[0].HasField("score")


async def test_pages_go_on_behind_the_last_item_whatever_comes_meanwhile(
    stubs: Stubs, root: str
) -> None:
    for number in range(7):
        await put(stubs, [root, str(number % 2)], str(number), {"even": number % 2 == 0})
    assert await search(stubs, root, page_size=3) == list("6543210")
    assert await search(stubs, root, page_size=1, filter=of_json({"even": True})) == list("6420")
    request = store_pb2.SearchItemsRequest(namespace_prefix=[root], page_size=3)
    first = await stubs.store.SearchItems(request)
    await put(stubs, [root], "new", {})
    request.page_token = first.next_page_token
    second = await stubs.store.SearchItems(request)
    assert [found.item.key for found in second.items] == list("321")
    request.filter.CopyFrom(of_json({"even": True}))
    assert_refused(await refusal(stubs, "SearchItems", request), "page_token")


async def test_a_page_has_10_items_unless_said_otherwise_and_never_more_than_100(
    stubs: Stubs, root: str
) -> None:
    await asyncio.gather(*(put(stubs, [root], str(number), {}) for number in range(105)))
    for size, count in ((0, 10), (104, 100), (7, 7)):
        answer = await stubs.store.SearchItems(
            store_pb2.SearchItemsRequest(namespace_prefix=[root], page_size=size)
        )
        assert len(answer.items) == count


async def test_an_answer_stays_below_what_any_client_takes(stubs: Stubs, root: str) -> None:
    for key in "abcde":
        await put(stubs, [root], key, {"text": "x" * (PAGE_BYTES * 2 // 5)})
    request = store_pb2.SearchItemsRequest(namespace_prefix=[root])
    answer = await stubs.store.SearchItems(request)
    assert [found.item.key for found in answer.items] == list("ed")
    assert await search(stubs, root) == list("edcba")


async def test_namespaces_are_listed_a_page_at_a_time(stubs: Stubs, root: str) -> None:
    names = [[root, *path] for path in ("a", "ab", "abc", "abd", "b", "bb", "c")]
    for name in names:
        await put(stubs, name, "k", {})

    async def listed(**request: Any) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            answer = await stubs.store.ListNamespaces(
                store_pb2.ListNamespacesRequest(page_token=token, **request)
            )
            found += ["".join(name.labels[1:]) for name in answer.namespaces]
            token = answer.next_page_token
            if not token:
                return found

    for size in (1, 2, 3, 100):
        assert await listed(prefix=[root], page_size=size) == [
            *("a", "ab", "abc", "abd", "b", "bb", "c")
        ]
        assert await listed(prefix=[root], max_depth=2, page_size=size) == ["a", "b", "c"]
        assert await listed(prefix=[root], max_depth=3, page_size=size) == [
            *("a", "ab", "b", "bb", "c")
        ]
        assert await listed(prefix=[root, "*", "b"], page_size=size) == ["ab", "abc", "abd", "bb"]
        assert await listed(prefix=[root], suffix=["b"], page_size=size) == ["ab", "b", "bb"]
        assert await listed(prefix=[root], suffix=["b", "*"], max_depth=3, page_size=size) == [
            *("ab", "bb")
        ]


# ------------------------------------------------------------------- time to live


async def test_an_item_that_has_expired_is_not_there_before_any_sweep(
    client: Client, stubs: Stubs, root: str
) -> None:
    """The reference server goes on showing it."""
    await put(stubs, [root], "gone", {}, ttl=A_MICROSECOND)
    kept = await put(stubs, [root], "kept", {}, ttl=Duration(seconds=60))
    await put(stubs, [root], "for ever", {}, ttl=Duration())
    lives = kept.expire_time.ToDatetime() - kept.update_time.ToDatetime()
    assert lives.total_seconds() == 60
    assert await client.store.get_item([root], "gone") is None
    assert sorted(await search(stubs, root)) == ["for ever", "kept"]
    await put(stubs, [root, "empty"], "gone", {}, ttl=A_MICROSECOND)
    listed = await client.store.list_namespaces(prefix=[root])
    assert listed == {"namespaces": [[root]]}


async def test_a_put_without_a_time_to_live_keeps_an_item_for_ever(stubs: Stubs, root: str) -> None:
    await put(stubs, [root], "k", {}, ttl=Duration(seconds=60))
    assert not (await put(stubs, [root], "k", {})).HasField("expire_time")


async def test_an_item_that_comes_after_an_expired_one_is_new(stubs: Stubs, root: str) -> None:
    old = await put(stubs, [root], "k", {}, ttl=A_MICROSECOND)
    new = await put(stubs, [root], "k", {})
    assert new.create_time == new.update_time
    assert new.create_time.ToDatetime() > old.create_time.ToDatetime()


async def test_reading_begins_the_time_anew_unless_it_is_not_to(
    client: Client, stubs: Stubs, root: str
) -> None:
    put_at = (await put(stubs, [root], "k", {}, ttl=Duration(seconds=60))).expire_time
    place: Any = {"namespace": [root], "key": "k"}
    get = stubs.store.GetItem

    left = (await get(store_pb2.GetItemRequest(**place, refresh_ttl=False))).item.expire_time
    assert left == put_at
    read = (await get(store_pb2.GetItemRequest(**place))).item.expire_time
    assert read.ToDatetime() > put_at.ToDatetime()
    found = await client.store.search_items([root], refresh_ttl=False)
    assert found["items"][0]["expires_at"] == read.ToDatetime().isoformat("T", "microseconds") + (
        "+00:00"
    )
    searched = (
        await stubs.store.SearchItems(store_pb2.SearchItemsRequest(namespace_prefix=[root]))
    ).items[0]
    assert searched.item.expire_time.ToDatetime() > read.ToDatetime()
    kept = (await get(store_pb2.GetItemRequest(**place, refresh_ttl=False))).item.expire_time
    assert kept == searched.item.expire_time


async def test_a_sweep_deletes_what_has_expired(stubs: Stubs, server: App, root: str) -> None:
    before = (await count_rows(server.database))["store_items"]
    await asyncio.gather(
        *(put(stubs, [root], str(number), {}, ttl=A_MICROSECOND) for number in range(5))
    )
    await put(stubs, [root], "kept", {}, ttl=Duration(seconds=600))
    await sweep(server.database, Retention())
    assert (await count_rows(server.database))["store_items"] <= before + 1
    assert await search(stubs, root) == ["kept"]
