"""The service of a store with an index."""

import random
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.callers import Stubs, of_json, stubs_on
from tests.support.refusals import refusal
from tests.support.serving import SUPPORT_GRAPHS, serve_in_process

from runwire.client import RunwireClient, get_client
from runwire.server.app import App
from runwire.v1 import store_pb2

SEMANTIC = SUPPORT_GRAPHS.with_name("semantic.json")
BREAKING = SUPPORT_GRAPHS.with_name("breaking.json")


@pytest.fixture
async def server(tmp_path: Path, database_url: str) -> AsyncIterator[App]:
    """A server whose store is searched by the letters of `text`."""
    async with serve_in_process(tmp_path, graphs=SEMANTIC, database_url=database_url) as app:
        yield app


@pytest.fixture
async def client(server: App) -> AsyncIterator[RunwireClient]:
    async with get_client(server.address) as client:
        yield client


@pytest.fixture
async def stubs(server: App) -> AsyncIterator[Stubs]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield stubs_on(channel)


async def found(stubs: Stubs, query: str, **request: Any) -> list[tuple[str, float]]:
    """Return keys and scores of what a search finds, page by page."""
    items: list[tuple[str, float]] = []
    token = ""
    while True:
        answer = await stubs.store.SearchItems(
            store_pb2.SearchItemsRequest(query=query, page_token=token, **request)
        )
        items += [(one.item.key, round(one.score, 3)) for one in answer.items]
        token = answer.next_page_token
        if not token:
            return items


async def test_items_are_found_by_what_they_mean(client: RunwireClient, stubs: Stubs) -> None:
    for key in ("cab", "cabbage", "dig"):
        await client.store.put_item(["n"], key, {"text": key, "long": len(key) > 3})
    await client.store.put_item(["n"], "no", {"text": "cab"}, index=False)
    await client.store.put_item(["n"], "titled", {"text": "zzz", "title": "cab"}, index=["title"])
    everything = [("cab", 1), ("titled", 1), ("cabbage", 0.87), ("dig", 0)]
    for size in (0, 1, 3):
        assert await found(stubs, "bac", page_size=size) == everything
    long = await found(stubs, "bac", filter=of_json({"long": True}))
    assert long == [("cabbage", 0.87)]
    nearest = await client.store.search_items(["n"], query="bac", limit=1, offset=2)
    assert [(item["key"], round(item["score"] or 0, 3)) for item in nearest["items"]] == [
        ("cabbage", 0.87)
    ]
    assert await found(stubs, "bac", namespace_prefix=["other"]) == []


async def test_the_longest_names_and_paths_fit_into_the_index(stubs: Stubs) -> None:
    # Of random letters: PostgreSQL makes others shorter before it measures them.
    chance = random.Random(1)
    key, path = ("".join(chance.choices(string.ascii_letters, k=size)) for size in (1998, 400))
    value = of_json({path: "cab"})
    put = store_pb2.PutItemRequest(namespace=["n"], key=key, value=value, index_paths=[path])
    await stubs.store.PutItem(put)
    assert await found(stubs, "cab") == [(key, 1)]


@pytest.mark.parametrize(
    ("value", "paths", "field"),
    [
        ({"text": "cab"}, ["text", "a" * 401], "index_paths[1]"),
        ({"many": ["cab"] * 1001}, ["many[*]"], "index_paths"),
        ({"long": "cab" * 300_000}, [f"{{{','.join(['long'] * 20)}}}"], "index_paths"),
    ],
)
async def test_what_an_item_is_found_by_has_limits(
    stubs: Stubs, value: Any, paths: list[str], field: str
) -> None:
    put = store_pb2.PutItemRequest(
        namespace=["n"], key="k", value=of_json(value), index_paths=paths
    )
    failure = await refusal(stubs, "PutItem", put)
    assert (failure.code, [*failure.fields]) == ("INVALID_ARGUMENT", [field])
    assert await found(stubs, "") == []


async def test_graphs_and_callers_search_the_same_index(client: RunwireClient) -> None:
    await client.store.put_item(["notes"], "by a caller", {"text": "cab"})
    first: Any = await client.runs.wait(None, "recalls", input={"about": "cabbage"})
    assert first["found"] == ["by a caller"]
    nearest = await client.store.search_items(["notes"], query="cabbage")
    assert [item["key"] for item in nearest["items"]] == ["cabbage", "by a caller"]


async def test_an_index_outlives_a_restart_and_a_migration_that_has_nothing_to_do(
    tmp_path: Path, database_url: str
) -> None:
    settings: Any = {"graphs": SEMANTIC, "database_url": database_url}
    async with serve_in_process(tmp_path, **settings) as app, get_client(app.address) as client:
        await client.store.put_item(["n"], "k", {"text": "cab"})
    async with serve_in_process(tmp_path, **settings) as app, get_client(app.address) as client:
        again = await client.store.search_items([], query="cab")
    assert [item["key"] for item in again["items"]] == ["k"]


async def test_an_embedding_that_breaks_is_said_without_what_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serve_in_process(tmp_path, graphs=BREAKING) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        stubs = stubs_on(channel)
        put = store_pb2.PutItemRequest(namespace=["n"], key="k", value=of_json({"text": "cab"}))
        for method, request in (
            ("PutItem", put),
            ("SearchItems", store_pb2.SearchItemsRequest(query="cab")),
        ):
            failed = await refusal(stubs, method, request)
            assert (failed.code, failed.reason) == ("UNAVAILABLE", "EMBEDDING_FAILED")
            assert "SECRET" not in failed.message
            logged = [record for record in caplog.records if record.levelname == "ERROR"][-1]
            assert logged.__dict__["error_id"] == failed.variables["error_id"]
            assert "SECRET" in (logged.exc_text or str(logged.exc_info))
        answer = await stubs.store.SearchItems(store_pb2.SearchItemsRequest())
        assert not answer.items
        put.unindexed = True
        await stubs.store.PutItem(put)
