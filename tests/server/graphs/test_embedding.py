"""Items of the store, found by what they mean."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from sqlalchemy import Connection, func, select
from tests.server.graphs.conftest import WriteConfig
from tests.support.graphs import letters

from runwire.server.core.retention import Retention, sweep
from runwire.server.graphs.config import ConfigError
from runwire.server.graphs.embedding import Embedder
from runwire.server.graphs.store import RunwireStore
from runwire.server.model.ids import new_id
from runwire.server.storage import vectors
from runwire.server.storage.database import Database, DatabaseUnusable
from runwire.server.storage.opening import database_at

SOURCE = Path(letters.__file__)


def embedder_of(
    write_config: WriteConfig, tmp_path: Path, embed: str = "./letters.py:embed", **index: Any
) -> Embedder:
    shutil.copy(SOURCE, tmp_path / "letters.py")
    config = write_config(
        {
            "graphs": {"chat": "./chat.py:graph"},
            "store": {"index": {"dims": letters.DIMS, "embed": embed, **index}},
        }
    )
    assert config.store_index is not None
    assert config.warnings == ()
    return Embedder(config, config.store_index)


async def indexed(database: Database, embedder: Embedder) -> RunwireStore:
    await embedder.load()
    await database.write(lambda c: vectors.prepare(c, embedder.index))
    return RunwireStore(database, embedder=embedder)


@pytest.fixture(params=["langgraph", "sqlite", "postgresql"])
async def store(
    request: pytest.FixtureRequest, write_config: WriteConfig, tmp_path: Path
) -> AsyncIterator[BaseStore]:
    """A store that indexes the letters of `text` and of each of `notes`; LangGraph's own, too, to
    show that the tests ask for nothing else than what it does."""
    fields = ["text", "notes[*].text"]
    if request.param == "langgraph":
        yield InMemoryStore(index={"dims": letters.DIMS, "embed": letters.embed, "fields": fields})
        return
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    async with database_at(url) as database:
        yield await indexed(database, embedder_of(write_config, tmp_path, fields=fields))


async def keys(store: BaseStore, query: str, *prefix: str, **options: Any) -> list[str]:
    found = await store.asearch(prefix or ("n",), query=query, **options)
    return [item.key for item in found if item.score is not None]


async def test_the_nearest_comes_first_with_its_score(store: BaseStore) -> None:
    for key, text in (("cab", "cab"), ("cabbage", "cabbage"), ("dig", "dig")):
        await store.aput(("n",), key, {"text": text})
    found = await store.asearch(("n",), query="bac")
    assert [item.key for item in found] == ["cab", "cabbage", "dig"]
    scores = [item.score or 0 for item in found]
    assert scores == pytest.approx([1, 0.8703882797784892, 0], abs=1e-6)
    assert found[0].value == {"text": "cab"}


async def test_what_an_item_is_found_by_has_limits(
    write_config: WriteConfig, tmp_path: Path, sqlite_database: Database
) -> None:
    store = await indexed(sqlite_database, embedder_of(write_config, tmp_path, fields=["many[*]"]))
    with pytest.raises(ValueError, match="1000 texts"):
        await store.aput(("n",), "k", {"many": ["cab"] * 1001})
    with pytest.raises(ValueError, match="has 401 bytes"):
        await store.aput(("n",), "k", {}, index=["a" * 401])
    assert await store.asearch(("n",)) == []


async def test_a_filter_and_a_prefix_and_pages_count_too(store: BaseStore) -> None:
    for number, text in enumerate(("a", "ab", "abc", "abcd", "abcde")):
        await store.aput(("n", str(number % 2)), text, {"text": text, "even": number % 2 == 0})
    await store.aput(("nn",), "a", {"text": "a"})
    assert await keys(store, "a") == ["a", "ab", "abc", "abcd", "abcde"]
    assert await keys(store, "a", limit=2, offset=1) == ["ab", "abc"]
    assert await keys(store, "a", filter={"even": True}) == ["a", "abc", "abcde"]
    assert await keys(store, "a", "n", "1") == ["ab", "abcd"]


async def test_of_several_texts_the_nearest_counts_and_the_item_comes_once(
    store: BaseStore,
) -> None:
    await store.aput(("n",), "many", {"text": "xyz", "notes": [{"text": "dig"}, {"text": "cab"}]})
    await store.aput(("n",), "one", {"text": "cabbage"})
    assert await keys(store, "cab") == ["many", "one"]
    assert await keys(store, "gid") == ["many", "one"]


async def test_an_item_says_itself_what_of_it_is_found(store: BaseStore) -> None:
    await store.aput(("n",), "other", {"text": "zzz", "title": "cab"}, index=["title"])
    await store.aput(("n",), "not", {"text": "cab"}, index=False)
    await store.aput(("n",), "default", {"text": "cabx", "title": "zzz"})
    await store.aput(("n",), "nothing", {"title": "cab"})
    assert await keys(store, "cab") == ["other", "default"]
    assert len(await store.asearch(("n",))) == 4


async def test_a_new_value_is_found_by_its_new_meaning_only(
    database: Database, write_config: WriteConfig, tmp_path: Path
) -> None:
    store = await indexed(database, embedder_of(write_config, tmp_path))
    await store.aput(("n",), "k", {"text": "cab"})
    await store.aput(("n",), "k", {"text": "dig", "of": "pits"}, index=["text", "of"])
    (found,) = await store.asearch(("n",), query="cab")
    assert found.score == pytest.approx(0, abs=1e-6)
    await store.aput(("n",), "k", {"text": "cab"}, index=False)
    assert await keys(store, "cab") == []
    await store.aput(("n",), "k", {"text": "cab"})
    await store.adelete(("n",), "k")
    counted = select(func.count()).select_from(vectors.store_vectors)
    assert await database.read(lambda c: c.scalar(counted)) == 0


async def test_what_has_expired_is_not_found(
    database: Database, write_config: WriteConfig, tmp_path: Path
) -> None:
    store = await indexed(database, embedder_of(write_config, tmp_path))
    await store.aput(("n",), "gone", {"text": "cab"}, ttl=1 / 60e6)
    await store.aput(("n",), "kept", {"text": "cab"}, ttl=60)
    assert await keys(store, "cab") == ["kept"]
    await sweep(database, Retention())
    counted = select(func.count()).select_from(vectors.store_vectors)
    assert await database.read(lambda c: c.scalar(counted)) == 1


async def test_a_batch_embeds_each_text_once_and_outside_of_its_transaction(
    database: Database,
    write_config: WriteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedder = embedder_of(write_config, tmp_path, fields=["text"])
    store = await indexed(database, embedder)
    embedded: list[list[str]] = []
    real = embedder._embeddings.embed_documents  # type: ignore[union-attr]

    def note(texts: list[str]) -> Any:
        # Another write gets through while texts are embedded.
        database.write_blocking(lambda c: None)
        embedded.append(texts)
        return real(texts)

    monkeypatch.setattr(embedder._embeddings, "embed_documents", note)
    puts = [PutOp(("n",), str(number), {"text": "same"}) for number in range(5)]
    await store.abatch([*puts, PutOp(("n",), "x", {"text": "other"}), SearchOp(("n",))])
    assert embedded == [["same", "other"]]


@pytest.mark.parametrize("name", ["embed", "embed_async", "letters"])
async def test_functions_and_langchain_s_objects_embed_for_sync_and_async_code(
    database: Database, write_config: WriteConfig, tmp_path: Path, name: str
) -> None:
    store = await indexed(database, embedder_of(write_config, tmp_path, f"./letters.py:{name}"))
    await store.aput(("n",), "async", {"text": "cab"})
    await asyncio.to_thread(store.put, ("n",), "sync", {"text": "dig"})
    store.put(("n",), "on the loop", {"text": "zoo"})
    for query, key in (("cab", "async"), ("dig", "sync"), ("zoo", "on the loop")):
        assert (await keys(store, query))[0] == key
        found = await asyncio.to_thread(store.search, ("n",), query=query)
        assert found[0].key == key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "a vector of 2 numbers, and store.index.dims is 26"),
        ("few", "0 vectors for 1 texts"),
        ("strange", "a number that is none"),
        ("breaks", "sk-SECRET"),
    ],
)
async def test_an_embedding_that_fails_stores_nothing(
    database: Database, write_config: WriteConfig, tmp_path: Path, name: str, message: str
) -> None:
    store = await indexed(database, embedder_of(write_config, tmp_path, f"./letters.py:{name}"))
    for put in (
        store.aput(("n",), "k", {"text": "cab"}),
        asyncio.to_thread(store.put, ("n",), "k", {"text": "cab"}),
    ):
        with pytest.raises((ValueError, RuntimeError), match=message):
            await put
    assert await store.asearch(()) == []


async def test_what_has_no_meaning_is_near_to_nothing(
    database: Database, write_config: WriteConfig, tmp_path: Path
) -> None:
    store = await indexed(database, embedder_of(write_config, tmp_path, fields=["text"]))
    await store.aput(("n",), "empty", {"text": "123"})
    await store.aput(("n",), "cab", {"text": "cab"})
    assert await keys(store, "cab") == ["cab"]
    assert await keys(store, "456") == []


async def test_vectors_of_another_embedding_are_not_mixed_with(
    database: Database, write_config: WriteConfig, tmp_path: Path
) -> None:
    embedder = embedder_of(write_config, tmp_path)
    for _ in range(2):
        await indexed(database, embedder)
    for index in ({"dims": 25}, {"embed": "./letters.py:letters"}):
        other = embedder_of(write_config, tmp_path, **index)
        with pytest.raises(DatabaseUnusable, match=r"made by \S+:embed with 26 dim"):
            await indexed(database, other)
    await indexed(database, embedder_of(write_config, tmp_path, fields=["text"]))


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        ("./missing.py:embed", r"langgraph.json: store.index.embed: there is no file ./missing.py"),
        ("./letters.py:missing", r"letters.py has no attribute 'missing'"),
        ("./letters.py:DIMS", r"neither a function nor an Embeddings object"),
        ("company.letters:embed", r"store.index.embed: .*No module named 'company'"),
        ("openai:text-embedding-3-small", r"store.index.embed: .*langchain"),
    ],
)
async def test_an_embedding_that_cannot_be_had_is_told_at_start(
    write_config: WriteConfig, tmp_path: Path, embed: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        await embedder_of(write_config, tmp_path, embed).load()


async def test_an_embedding_of_a_provider_is_langchain_s_to_make(
    write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def init_embeddings(name: str) -> letters.Letters:
        asked.append(name)
        return letters.letters

    monkeypatch.setattr("langgraph.store.base.embed._get_init_embeddings", lambda: init_embeddings)
    await embedder_of(write_config, tmp_path, "openai:text-embedding-3-small").load()
    assert asked == ["openai:text-embedding-3-small"]


async def test_a_server_without_pgvector_is_told_what_to_do(
    postgres_url: str,
    write_config: WriteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with database_at(postgres_url) as database:
        embedder = embedder_of(write_config, tmp_path)
        monkeypatch.setattr(vectors, "EXTENSION", "no_such_extension")
        with pytest.raises(DatabaseUnusable, match=r"needs the extension .* install it"):
            await indexed(database, embedder)
        role = f"r{new_id().replace('-', '')}"
        await database.write(lambda c: c.exec_driver_sql(f"CREATE ROLE {role}").close())
        monkeypatch.undo()

        def prepare_as_nobody(connection: Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            vectors.prepare(connection, embedder.index)

        try:
            with pytest.raises(DatabaseUnusable, match="this user may not create"):
                await database.write(prepare_as_nobody)
        finally:
            await database.write(lambda c: c.exec_driver_sql(f"DROP ROLE {role}").close())
