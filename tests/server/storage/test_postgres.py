"""What is PostgreSQL's own: lost connections, locks that others hold, servers that restart."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError
from tests.support.postgres import Databases, PostgresServer, start_postgres
from tests.support.writes import add_and_fail, adding, all_keys, held

from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.storage import connecting, outage, postgres
from runwire.server.storage import migrate as migrate_module
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.migrate import HEAD
from runwire.server.storage.notifications import Kind, notify, take_noted
from runwire.server.storage.postgres import MAX_WRITES, SPARE_CONNECTIONS, PostgresDatabase
from runwire.server.storage.tables import store_items


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(postgres_url) as database:
        yield database


@pytest.fixture
def outside(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else's."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def transaction_of(connection: Connection) -> int:
    """Return what is another number in each transaction."""
    return int(connection.execute(text("SELECT txid_current()")).scalar_one())


def cut(connection: Connection, outside: psycopg.Connection[Any]) -> None:
    """Cut a connection in the middle of its transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    pid = driver.info.backend_pid
    outside.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


async def together(database: PostgresDatabase, *functions: Callable[[Connection], Any]) -> Any:
    """Return what comes of writes that have queued up."""
    async with held(database):
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        await asyncio.sleep(0)
    return await asyncio.gather(*waiting, return_exceptions=True)


# Sharing a transaction.


async def test_writes_that_queue_up_share_transactions(database: PostgresDatabase) -> None:
    numbers = await together(database, *[transaction_of] * (MAX_WRITES + 4))
    assert len(set(numbers)) == 2
    assert len(set(numbers[:MAX_WRITES])) == 1


async def test_a_write_that_fails_does_not_hurt_its_neighbours(database: PostgresDatabase) -> None:
    functions = [adding("a"), add_and_fail, adding("a"), adding("b")]
    first, failed, doubled, last = await together(database, *functions)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, LookupError)
    assert isinstance(doubled, IntegrityError)
    assert await database.read(all_keys) == ["a", "b"]


async def test_a_write_that_only_looked_and_failed_costs_its_neighbours_nothing(
    database: PostgresDatabase,
) -> None:
    def look_and_fail(connection: Connection) -> None:
        raise LookupError(all_keys(connection))

    first, failed, last = await together(database, transaction_of, look_and_fail, transaction_of)
    assert first == last
    assert isinstance(failed, LookupError)


async def test_a_lock_that_somebody_holds_is_not_waited_for_in_company(
    database: PostgresDatabase, outside: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.write(adding("locked"))
    seen: list[str] = []

    def change(connection: Connection) -> None:
        seen.append(str(connection.execute(text("SHOW lock_timeout")).scalar_one()))
        connection.execute(
            store_items.update().where(store_items.c.key == "locked").values(key="x")
        )

    with outside.transaction():
        outside.execute("SELECT * FROM store_items FOR UPDATE")
        changing = asyncio.create_task(together(database, adding("a"), change, adding("b")))
        while len(seen) < 2:  # noqa: ASYNC110 - another thread
            await asyncio.sleep(0.005)
    assert (await changing)[0::2] == ["a", "b"]
    assert seen == ["50ms", "5s"]
    assert await database.read(all_keys) == ["a", "b", "x"]


async def test_a_lock_that_is_never_given_back_is_told(
    database: PostgresDatabase, outside: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ALONE", postgres.ALONE.replace("5s", "100ms"))
    with outside.transaction():
        outside.execute("LOCK TABLE store_items")
        with pytest.raises(DatabaseUnavailable):
            await database.write(adding("a"))
    await database.write(adding("a"))


async def test_a_transaction_that_goes_on_after_an_error_does_not_vanish_silently(
    database: PostgresDatabase,
) -> None:
    def swallow(connection: Connection) -> str:
        adding("a")(connection)
        with suppress(IntegrityError):
            adding("a")(connection)
        return "done"

    with pytest.raises(RuntimeError, match="went on after"):
        await database.write(swallow)
    assert await database.read(all_keys) == []


# What others did first.


async def test_who_comes_second_sees_what_the_first_has_made(
    database: PostgresDatabase, outside: psycopg.Connection[Any]
) -> None:
    tries = 0

    def add_unless_there(connection: Connection) -> str:
        nonlocal tries
        tries += 1
        if "a" in all_keys(connection):
            return "was there"
        outside.execute("INSERT INTO store_items VALUES ('n', 'a', '{}', now(), now())")
        return adding("a")(connection)

    assert await database.write(add_unless_there) == "was there"
    assert tries == 2


async def test_a_deadlock_is_tried_again(
    database: PostgresDatabase, postgres_url: str, outside: psycopg.Connection[Any]
) -> None:
    for key in "ab":
        await database.write(adding(key))
    outside.execute("SET deadlock_timeout = '10s'")  # the other side finds it
    lock = "SELECT * FROM store_items WHERE key = '{}' FOR UPDATE"
    tries = 0

    def lock_both(connection: Connection) -> str:
        nonlocal tries
        tries += 1
        connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
        connection.execute(text(lock.format("a")))
        first_locked.set()
        waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted")
        while tries == 1 and not connection.execute(waiting).all():
            time.sleep(0.002)
        connection.execute(text(lock.format("b")))
        return "done"

    first_locked = threading.Event()
    writing = asyncio.create_task(database.write(lock_both))
    await asyncio.to_thread(first_locked.wait, 60)

    def lock_the_other_way_round() -> None:
        with outside.transaction():
            outside.execute(lock.format("b").encode())
            outside.execute(lock.format("a").encode())

    await asyncio.to_thread(lock_the_other_way_round)
    assert await writing == "done"
    assert tries == 2


async def test_what_one_had_to_say_that_was_rolled_back_the_next_does_not_say(
    database: PostgresDatabase,
) -> None:
    def note_and_fail(connection: Connection) -> None:
        notify(connection, Kind.WORK)
        raise LookupError("as intended")

    with pytest.raises(LookupError):
        await database.write(note_and_fail)
    assert await database.write(take_noted) == {}


async def test_a_write_sees_what_was_committed_while_it_waited_whatever_a_database_prefers(
    postgres_url: str, outside: psycopg.Connection[Any]
) -> None:
    outside.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation ="
        " serializable', current_database()); END $$"
    )

    def isolation(connection: Connection) -> str:
        return str(connection.execute(text("SHOW transaction_isolation")).scalar_one())

    async with PostgresDatabase(postgres_url) as database:
        assert await database.write(isolation) == "read committed"
        assert await together(database, isolation, isolation) == ["read committed"] * 2
        assert await database.read(isolation) == "repeatable read"


# Connections.


@pytest.mark.parametrize(("seconds", "probed_after"), [(4.5, 2), (0.5, 1)])
async def test_a_dead_connection_is_noticed_as_soon_as_is_asked_for(
    postgres_url: str, seconds: float, probed_after: int
) -> None:
    def limits(connection: Connection) -> list[int]:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            wanted = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE)
            return [line.getsockopt(socket.IPPROTO_TCP, option) for option in wanted]

    expected = [seconds * 1000, probed_after]
    async with PostgresDatabase(postgres_url, silence=timedelta(seconds=seconds)) as database:
        assert await database.read(limits) == expected
        assert await asyncio.to_thread(database.write_apart, limits) == expected


class Reach:
    """How often a database is reached for, and whether it can be reached."""

    def __init__(self, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries = 0
        self.left = 0
        self._begin = database._try_to_begin
        monkeypatch.setattr(outage, "RECONNECT_SECONDS", 0.0)
        monkeypatch.setattr(database, "_try_to_begin", self._try)

    def _try(self, begin: str) -> Connection:
        self.tries += 1
        if self.tries > self.left:
            raise psycopg.OperationalError("nobody is there")
        return self._begin(begin)


async def test_all_who_have_queued_up_are_told_at_once_that_the_server_is_away(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held(database):
        reach = Reach(database, monkeypatch)
        writes = [database.write(adding(str(number))) for number in range(MAX_WRITES)]
        waiting = [asyncio.create_task(write) for write in writes]
        await asyncio.sleep(0)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * MAX_WRITES
    assert reach.tries == 1


async def test_who_comes_after_one_that_could_not_begin_is_told_so_too(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held(database):
        reach = Reach(database, monkeypatch)
        reach.left = 2
        functions = [adding("a"), add_and_fail, adding("b"), adding("c")]
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        await asyncio.sleep(0)
    first, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert first == "a"
    assert [type(result) for result in others] == [DatabaseUnavailable] * 3
    assert reach.tries == 3


@pytest.mark.parametrize("apart", [False, True])
async def test_a_connection_that_is_lost_before_the_commit_is_made_up_for(
    database: PostgresDatabase, outside: psycopg.Connection[Any], apart: bool
) -> None:
    tries = 0

    def add_and_be_cut(connection: Connection) -> str:
        nonlocal tries
        tries += 1
        adding("a")(connection)
        if tries == 1:
            cut(connection, outside)
        return adding("b")(connection)

    if apart:
        assert await asyncio.to_thread(database.write_apart, add_and_be_cut) == "b"
    else:
        assert await database.write(add_and_be_cut) == "b"
    assert tries == 2
    assert await database.read(all_keys) == ["a", "b"]


async def test_a_commit_that_nobody_knows_of_is_told_and_not_repeated(
    database: PostgresDatabase, outside: psycopg.Connection[Any]
) -> None:
    outside.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    outside.execute(
        "CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON store_items DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW WHEN (NEW.key = 'deadly') EXECUTE FUNCTION die()"
    )
    calls: list[str] = []

    def add(key: str) -> Callable[[Connection], str]:
        def add_and_note(connection: Connection) -> str:
            calls.append(key)
            return adding(key)(connection)

        return add_and_note

    with pytest.raises(DatabaseUnavailable):
        await database.write(add("deadly"))
    results = await together(database, add("a"), add("deadly"), add("b"))
    assert [type(result).__mro__[1] for result in results] == [DatabaseUnavailable] * 3
    assert calls == ["deadly", "a", "deadly", "b"]
    assert await database.read(all_keys) == []


async def test_a_reader_does_not_notice_a_connection_that_is_lost(
    database: PostgresDatabase, outside: psycopg.Connection[Any]
) -> None:
    await database.write(adding("a"))
    tries = 0

    def read(connection: Connection) -> list[str]:
        nonlocal tries
        tries += 1
        if tries == 1:
            cut(connection, outside)
        return all_keys(connection)

    assert await asyncio.gather(*(database.read(read) for _ in range(5))) == [["a"]] * 5


async def test_a_read_that_is_refused_does_not_hurt_its_neighbours(
    database: PostgresDatabase,
) -> None:
    def refuse(connection: Connection) -> None:
        connection.execute(text("SELECT 1 / 0"))

    reads = [database.read(refuse if number % 3 else all_keys) for number in range(30)]
    results = await asyncio.gather(*reads, return_exceptions=True)
    for number, result in enumerate(results):
        assert isinstance(result, Exception) if number % 3 else result == []


async def test_who_idles_in_a_transaction_loses_it_and_begins_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_SESSION", connecting._SESSION.replace("3s", "100ms"))
    paused = threading.Event()

    def pause(connection: Connection) -> str:
        adding("a")(connection)
        if not paused.is_set():
            paused.set()
            time.sleep(0.5)  # as a process that is stopped
        return adding("b")(connection)

    async with PostgresDatabase(postgres_url) as database:
        assert await database.write(pause) == "b"
        assert await database.read(all_keys) == ["a", "b"]


async def test_its_connections_end_with_it(
    postgres_url: str, outside: psycopg.Connection[Any]
) -> None:
    count = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'runwire%'"
    )
    async with PostgresDatabase(postgres_url) as database:
        await asyncio.gather(*(database.read(all_keys) for _ in range(50)))
        assert outside.execute(count).fetchone() != (0,)
    while outside.execute(count).fetchone() != (0,):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)


def showing(
    used: list[psycopg.Connection[Any]], then: Callable[[], object]
) -> Callable[[Connection], None]:
    """Return a transaction that shows which connection it has, and then does something."""

    def show(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        used.append(driver)
        then()

    return show


async def test_a_connection_outlives_nobody_though_others_could_not_connect_while_it_was_used(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[psycopg.Connection[Any]] = []
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(60)

    use = showing(used, wait)
    async with PostgresDatabase(postgres_url) as database:
        reading = asyncio.create_task(database.read(use))
        await asyncio.to_thread(begun.wait, 60)
        with monkeypatch.context() as patched:
            Reach(database, patched)
            with pytest.raises(DatabaseUnavailable):
                await database.write(all_keys)
        go_on.set()
        await reading
    assert [connection.closed for connection in used] == [True]


async def test_connections_that_were_lost_together_cost_one_try_together(
    database: PostgresDatabase, outside: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[psycopg.Connection[Any]] = []
    meeting = threading.Barrier(SPARE_CONNECTIONS)
    use = showing(used, lambda: meeting.wait(60))

    async def use_all() -> None:
        uses = (asyncio.to_thread(database.write_apart, use) for _ in range(SPARE_CONNECTIONS))
        await asyncio.gather(*uses)

    await use_all()
    for connection in used:
        outside.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.info.backend_pid])
    begin = database._try_to_begin
    tries: list[str] = []

    def counted(how: str) -> Connection:
        tries.append(how)
        return begin(how)

    monkeypatch.setattr(database, "_try_to_begin", counted)
    await database.read(all_keys)
    await use_all()
    assert len(tries) == 1 + 1 + SPARE_CONNECTIONS, "the first one noticed"


async def test_who_writes_apart_when_it_closes_and_afterwards_leaves_no_connection(
    postgres_url: str,
) -> None:
    used: list[psycopg.Connection[Any]] = []
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(60)

    use = showing(used, wait)
    async with PostgresDatabase(postgres_url) as database:
        writing = asyncio.create_task(asyncio.to_thread(database.write_apart, use))
        await asyncio.to_thread(begun.wait, 60)
    go_on.set()
    await writing
    await asyncio.to_thread(database.write_apart, use)
    assert [connection.closed for connection in used] == [True, True]


# Servers that go and come back.


@pytest.fixture(scope="module")
def restarting() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        yield server


async def test_a_server_that_restarts_costs_nobody_an_error(restarting: PostgresServer) -> None:
    async with PostgresDatabase(restarting.url) as database:
        await database.write(adding("before"))
        await asyncio.gather(*(database.read(all_keys) for _ in range(20)))
        writing = asyncio.Event()

        async def write_on() -> int:
            number = 0
            while not writing.is_set():
                try:
                    await database.write(adding(f"{number}"))
                except DatabaseUnavailable:
                    unknown.append(number)
                number += 1
            return number

        unknown: list[int] = []
        going = asyncio.create_task(write_on())
        for _ in range(2):
            await asyncio.to_thread(restarting.stop, "QUIT")
            await asyncio.to_thread(restarting.start)
            await database.write(adding(f"after {restarting.port} {time.monotonic()}"))
        writing.set()
        number = await going
        found = set(await database.read(all_keys))
        assert len(unknown) <= 2, "at most the one whose commit was on its way"
        assert {str(n) for n in range(number)} - found <= {str(n) for n in unknown}


async def test_a_server_that_stays_away_is_told_soon(
    restarting: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outage, "RECONNECT_SECONDS", 0.2)
    waits: list[bool] = []
    may_pass = outage.Outage.may_pass

    def noted(self: outage.Outage, error: Exception) -> bool:
        waits.append(may_pass(self, error))
        return waits[-1]

    monkeypatch.setattr(outage.Outage, "may_pass", noted)
    async with PostgresDatabase(restarting.url) as database:
        await asyncio.to_thread(restarting.stop, "INT")
        try:
            for call in (database.write, database.read):
                with pytest.raises(DatabaseUnavailable):
                    await call(all_keys)
            assert any(waits)
            waits.clear()
            for _ in range(20):
                with pytest.raises(DatabaseUnavailable):
                    await database.read(all_keys)
            assert waits
            assert not any(waits), "nobody waits once it is known"
        finally:
            await asyncio.to_thread(restarting.start)
        await database.read(all_keys)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the database cannot be reached", "the database can be reached again"]


# Errors.


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("53100", StorageFull),
        ("53300", DatabaseUnavailable),
        ("55P03", DatabaseUnavailable),
        ("40P01", DatabaseUnavailable),
        ("40001", DatabaseUnavailable),
        ("57P03", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
        ("25006", DatabaseUnavailable),
        ("58030", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
    ],
)
async def test_callers_are_told_what_they_can_act_on(
    database: PostgresDatabase, code: str, expected: type[Exception]
) -> None:
    def fail(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"DO $$ BEGIN RAISE EXCEPTION 'as intended' USING ERRCODE = '{code}'; END $$"
        )

    for call in (database.write, database.read):
        with pytest.raises(expected) as caught:
            await call(fail)
        assert caught.value.__cause__ is not None


# Time.


async def test_time_is_the_server_s_and_the_same_throughout_a_transaction(
    database: PostgresDatabase,
) -> None:
    def ask(connection: Connection) -> Any:
        first = current_time(connection)
        time.sleep(0.002)
        return first, current_time(connection), connection.execute(select(text("now()"))).scalar()

    for call in (database.write, database.read):
        first, second, now = await call(ask)
        assert first == second == now
        assert (await call(ask))[0] > first


# Opening.


async def refusal(url: str) -> str:
    """Return why a database cannot be opened."""
    with pytest.raises(DatabaseUnusable) as caught:
        async with PostgresDatabase(url):
            pass
    return str(caught.value)


async def test_what_cannot_be_opened_is_told_in_a_sentence_without_a_password(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = postgres_url.replace("postgres@", "nobody:s3cret@")
    unknown = await refusal(secret)
    assert 'role "nobody" does not exist' in unknown
    gone = await refusal("postgresql://nobody:s3cret@127.0.0.1:1/app")
    assert gone.startswith("postgresql://nobody@127.0.0.1:1/app cannot be used:")
    assert "refused" in gone
    missing = await refusal(postgres_url + "_not")
    assert "does not exist" in missing
    monkeypatch.setattr(connecting, "OLDEST_VERSION", 99)
    old = await refusal(postgres_url)
    assert "99 is the oldest that Runwire works with" in old
    for sentence in (unknown, gone, missing, old):
        assert "s3cret" not in sentence
        assert "\n" not in sentence


async def test_who_may_not_make_tables_is_told_so(postgres: Databases) -> None:
    with postgres.create(empty=True) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS guest")
            connection.execute("CREATE ROLE guest LOGIN")
        guest = url.replace("postgres@", "guest@")
        assert "permission denied for schema public" in await refusal(guest)


async def test_a_migration_may_take_its_time(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_SESSION", connecting._SESSION.replace("3s", "100ms"))
    create = migrate_module._create

    def import_and_create(connection: Connection) -> None:
        time.sleep(0.5)  # as one that imports what it needs
        create(connection)

    monkeypatch.setattr(migrate_module, "_create", import_and_create)
    with postgres.create(empty=True) as url:
        async with PostgresDatabase(url) as database:
            assert await database.read(all_keys) == []


async def test_servers_that_start_at_the_same_time_migrate_once(postgres: Databases) -> None:
    with postgres.create(empty=True) as url:

        async def start(key: str) -> str:
            async with PostgresDatabase(url) as database:
                return await database.write(adding(key))

        await asyncio.gather(*(start(key) for key in "abcd"))
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            assert found == [(HEAD,)]
            assert connection.execute("SELECT count(*) FROM store_items").fetchone() == (4,)


def test_a_transaction_that_is_halted_between_two_statements_ends_too(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver sends several without waiting, and the server does not call that idle."""
    monkeypatch.setattr(connecting, "_LIMIT", "SET transaction_timeout = '200ms'")
    with (
        closing(connecting.connect(postgres_url)) as halted,
        closing(psycopg.connect(postgres_url)) as other,
    ):
        if halted.info.server_version < 170000:
            pytest.skip("this PostgreSQL has no limit for that")
        halted.execute("BEGIN")
        other.execute("SET LOCAL lock_timeout = '10s'")
        locked = False
        with suppress(psycopg.OperationalError), halted.pipeline():
            halted.execute("LOCK TABLE runs")
            halted.pgconn.send_flush_request()
            halted.pgconn.flush()
            other.execute("LOCK TABLE runs")
            locked = True
    assert locked
