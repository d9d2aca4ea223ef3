"""Notifications travel from server to server, and whatever happens to them happens quietly."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import Connection
from tests.support.engine import until

from runwire.server.model.faults import armed, parse_faults
from runwire.server.model.ids import new_id
from runwire.server.storage import listener
from runwire.server.storage.listener import Listener, parse, spell
from runwire.server.storage.notifications import Kind, Notices, notify, take_noted

ID = "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a"


class Ear:
    """A server's listener, and what it has heard."""

    def __init__(self, url: str) -> None:
        self.listener = Listener(self._connect)
        self.heard: list[Notices | None] = []
        self.connections: list[psycopg.Connection[Any]] = []
        self._url = url

    def _connect(self, purpose: str) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._url, autocommit=True, application_name=purpose)
        self.connections.append(connection)
        return connection

    async def hears(self, notices: Notices | None) -> None:
        """Return when it has heard something; it is forgotten then."""
        await until(lambda: notices in self.heard)
        self.heard.clear()


@asynccontextmanager
async def ears(url: str, count: int) -> AsyncIterator[list[Ear]]:
    """Give servers that hear each other."""
    async with AsyncExitStack() as stack:
        servers = [Ear(url) for _ in range(count)]
        for server in servers:
            await stack.enter_async_context(server.listener.hearing(server.heard.append))
        for server in servers:
            await server.hears(None)
        yield servers


async def test_what_one_server_says_all_others_hear(postgres_url: str) -> None:
    async with ears(postgres_url, 3) as (speaker, *others):
        said: list[Notices] = [
            {Kind.RUNS: {ID}},
            {Kind.WORK: set()},
            {Kind.CANCELS: {ID, new_id()}},
        ]
        for notices in said:
            speaker.listener.tell(notices)
            for other in others:
                await other.hears(notices)
        assert speaker.heard == [], "what it says itself it knows"


async def test_many_runs_are_told_of_in_several_notifications(postgres_url: str) -> None:
    run_ids = {new_id() for _ in range(3 * listener.IDS_IN_ONE)}
    async with ears(postgres_url, 2) as (speaker, other):
        speaker.listener.tell({Kind.RUNS: run_ids, Kind.WORK: set()})

        def heard(kind: Kind) -> set[str]:
            return set().union(*(notices.get(kind, set()) for notices in other.heard if notices))

        await until(lambda: heard(Kind.RUNS) == run_ids)
        await until(lambda: any(Kind.WORK in notices for notices in other.heard if notices))


async def test_a_connection_that_was_lost_is_made_again_and_that_is_said(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ears(postgres_url, 2) as (speaker, other):
        await asyncio.to_thread(cut, postgres_url)
        for server in (speaker, other):
            await server.hears(None)
        speaker.listener.tell({Kind.RUNS: {ID}})
        await other.hears({Kind.RUNS: {ID}})
        assert len(other.connections) == 2
    assert "they look for it once a second" in caplog.text


async def test_a_server_that_is_away_keeps_nobody_from_leaving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "RECONNECT_SECONDS", 1000.0)
    tried: list[str] = []

    def connect(purpose: str) -> psycopg.Connection[Any]:
        tried.append(purpose)
        raise psycopg.OperationalError("nobody is there")

    heard: list[Notices | None] = []
    speaker = Listener(connect)
    async with speaker.hearing(heard.append):
        await until(lambda: tried)
        speaker.tell({Kind.WORK: set()})
    assert (tried, heard) == (["listener"], [])


async def test_it_is_said_once_that_a_server_is_away_and_once_that_it_is_back(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "RECONNECT_SECONDS", 0.01)
    failures = iter([psycopg.OperationalError("nobody is there")] * 3)

    def connect(purpose: str) -> psycopg.Connection[Any]:
        if error := next(failures, None):
            raise error
        return psycopg.connect(postgres_url, autocommit=True, application_name=purpose)

    heard: list[Notices | None] = []
    async with Listener(connect).hearing(heard.append):
        await until(lambda: heard)
    assert [record.getMessage() for record in caplog.records] == [
        "servers cannot tell each other of news: they look for it once a second",
        "servers can tell each other of news again",
    ]


async def test_of_too_many_runs_it_is_only_told_that_there_are_many(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "UNTOLD_RUNS", 3)
    async with ears(postgres_url, 2) as (speaker, other):
        speaker.listener.tell({Kind.RUNS: {new_id() for _ in range(4)}})
        await other.hears(None)
        speaker.listener.tell({Kind.RUNS: {ID}})
        await other.hears({Kind.RUNS: {ID}})


async def test_runs_that_cannot_be_told_of_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "UNTOLD_RUNS", 3)
    tried: list[str] = []

    def connect(purpose: str) -> psycopg.Connection[Any]:
        tried.append(purpose)
        raise psycopg.OperationalError("nobody is there")

    speaker = Listener(connect)
    async with speaker.hearing(lambda notices: None):
        await until(lambda: tried)
        for _ in range(5):
            speaker.tell({Kind.RUNS: {new_id()}, Kind.WORK: set()})
        assert speaker._untold is None


async def test_what_is_not_sent_is_not_heard_and_the_next_is(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ears(postgres_url, 2) as (speaker, other):
        with armed(parse_faults("notifications.send:raise")):
            speaker.listener.tell({Kind.RUNS: {ID}})
            await until(lambda: "a fault strikes" in caplog.text)
        speaker.listener.tell({Kind.WORK: set()})
        await until(lambda: other.heard)
        assert other.heard == [{Kind.WORK: set()}]


async def test_who_hears_nothing_says_nothing(postgres_url: str) -> None:
    speaker = Ear(postgres_url)
    speaker.listener.tell({Kind.RUNS: {ID}})
    assert speaker.listener._untold == {}


@pytest.mark.parametrize("count", [0, 1, 2, 199, 200, 201, 1000])
def test_what_is_spelled_is_read_as_it_was(count: int) -> None:
    notices = {Kind.RUNS: {new_id() for _ in range(count)}, Kind.WORK: set[str]()}
    texts = list(spell(notices))
    assert parse(texts) == notices
    assert max(map(len, texts)) < 8000


def test_that_there_is_too_much_is_read_as_it_was() -> None:
    assert parse([f"runs {ID}", *spell(None)]) is None


def test_what_others_say_on_the_channel_is_left_out() -> None:
    assert parse(["", "?", "quit now", f"runs {ID}"]) == {Kind.RUNS: {ID}}


# Transactions.


@pytest.fixture
def connection(postgres_url: str) -> Iterator[Connection]:
    engine = sqlalchemy.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_transaction_notes_what_there_will_be_to_say(connection: Connection) -> None:
    notify(connection, Kind.RUNS, [ID])
    notify(connection, Kind.RUNS, [ID, "b"])
    notify(connection, Kind.WORK)
    assert take_noted(connection) == {Kind.RUNS: {ID, "b"}, Kind.WORK: set()}
    assert take_noted(connection) == {}


def test_a_transaction_of_the_only_server_notes_nothing() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        notify(connection, Kind.RUNS, [ID])
        assert take_noted(connection) == {}
    engine.dispose()


def cut(url: str) -> None:
    """Cut every connection to a database but this."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
