"""What two servers do to the same thing at once: neither undoes what the other has promised."""

import asyncio
import json

import psycopg
import pytest
from tests.support.engine import Engine, until

from runwire.server.model.errors import RunNotFound

UPDATES = 10


async def test_no_update_of_a_state_is_forgotten_when_several_servers_make_some(
    three: list[Engine],
) -> None:
    thread_id = await three[0].thread()
    await three[0].run("counter", {"log": ["run"]}, thread_id=thread_id)

    async def add_some(engine: Engine, name: str) -> None:
        for number in range(UPDATES):
            await engine.states.update(
                thread_id,
                {"log": [f"{name}{number}"]},
                as_node="",
                checkpoint=None,
                assistant_id="",
            )

    await asyncio.gather(*map(add_some, three, "abc"))
    state = await three[0].states.get(thread_id, None, include_subgraphs=False)
    expected = [f"{name}{number}" for name in "abc" for number in range(UPDATES)]
    assert sorted(json.loads(state.values)["log"]) == sorted(["?", "run", *expected])
    assert (await three[1].threads.get(thread_id)).values == state.values


async def test_a_run_that_another_server_is_just_deleting_is_told_as_gone(
    two: list[Engine], postgres_url: str
) -> None:
    run = await two[0].run("echo")
    with (
        psycopg.connect(postgres_url) as other,
        psycopg.connect(postgres_url, autocommit=True) as onlooker,
    ):
        other.execute("DELETE FROM runs WHERE run_id = %s", [run.run_id])
        deleting = asyncio.create_task(two[1].runs.delete(run.run_id))
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
        await until(lambda: onlooker.execute(waits).fetchone())
        other.commit()
    with pytest.raises(RunNotFound):
        await deleting
