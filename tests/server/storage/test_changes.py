"""What has changed since somebody looked."""

from sqlalchemy import text
from tests.support.records import a_run, add_run, at

from runwire.server.model.changes import Place
from runwire.server.storage import changes, threads
from runwire.server.storage.connecting import engine_on


def test_what_a_dump_brings_is_told_from_the_beginning_and_is_no_news(postgres_url: str) -> None:
    engine = engine_on(postgres_url, connections=1)
    with engine.begin() as connection:
        thread_id = threads.add_thread(connection, "thread", {}, at(0)).thread_id
        run = a_run(thread_id=thread_id)
        add_run(connection, run)
        connection.execute(text("UPDATE runs SET change = 1000000000000"))
    with engine.begin() as connection:
        changes.forget_foreign_numbers(connection)
    with engine.begin() as connection:
        seen = changes.horizon(connection)
        assert changes.list_changed_threads(connection, seen) == []
        place = Place(time=at(0)).heading(seen, at(0))
        found = changes.list_changes_of_thread(connection, thread_id, place, limit=9)
        assert [change.run.run_id for change in found if change.run] == [run.run_id]
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE runs SET change = CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)")
        )
    with engine.begin() as connection:
        changes.forget_foreign_numbers(connection)
        assert changes.list_changed_threads(connection, seen) == [thread_id]
    engine.dispose()
