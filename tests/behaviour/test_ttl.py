"""Threads that are kept for a while only, as their callers see it."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.support.callers import Client, Stubs, collect, start
from tests.support.serving import SUPPORT_GRAPHS, serve_in_process
from tests.support.tables import count_rows

from runwire.client import InvalidArgumentError, NotFoundError, OutOfRangeError, get_client
from runwire.server.app import App
from runwire.server.core.expiry import expire_threads
from runwire.server.core.retention import Retention, sweep
from runwire.v1 import threads_pb2

AT_ONCE = 1 / 60e6
"""A microsecond, in minutes: it has passed before anybody can look."""


async def swept(server: App) -> None:
    """Let a sweep pass."""
    await sweep(server.database, Retention())


async def kept_latest(client: Client) -> str:
    """Return a thread that loses its history whenever a sweep passes."""
    ttl = {"ttl": AT_ONCE, "strategy": "keep_latest"}
    return str((await client.threads.create(ttl=ttl))["thread_id"])


async def seen(client: Client, thread_id: str) -> tuple[Any, Any]:
    """Return all that a caller sees of where a thread stands."""
    thread = await client.threads.get(thread_id)
    return thread, await client.threads.get_state(thread_id, subgraphs=True)


# ------------------------------------------------------------------- delete


async def test_a_thread_whose_time_has_passed_is_gone_with_all_that_belonged_to_it(
    client: Client, server: App
) -> None:
    before = await count_rows(server.database)
    thread_id = (await client.threads.create(ttl=AT_ONCE))["thread_id"]
    run = await client.runs.create(thread_id, "asks_in_subgraph", input={})
    await client.runs.join(thread_id, run["run_id"])

    await swept(server)

    for gone in (client.threads.get(thread_id), client.threads.get_state(thread_id)):
        with pytest.raises(NotFoundError) as caught:
            await gone
        assert caught.value.reason == "THREAD_NOT_FOUND"
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])
    with pytest.raises(NotFoundError):
        await collect(client.runs.join_stream(thread_id, run["run_id"]))
    after = await count_rows(server.database)
    # What is kept for a while: that the request came, and for readers of changes what is gone.
    # Items of other tests expire.
    aside = {"requests": 0, "changes": 0, "store_items": 0}
    assert {**after, **aside} == {**before, **aside}


async def test_its_id_can_be_used_anew(client: Client, server: App) -> None:
    thread_id = (await client.threads.create(ttl=AT_ONCE))["thread_id"]
    await client.runs.wait(thread_id, "counter", input={"count": 5})

    await swept(server)
    await client.threads.create(thread_id=thread_id)

    again: Any = await client.runs.wait(thread_id, "counter", input={"count": 1})
    assert again["count"] == 2


async def test_a_thread_stays_until_then(client: Client, server: App) -> None:
    thread_ids = [
        (await client.threads.create(ttl=ttl))["thread_id"] for ttl in (1, 365 * 24 * 60, 0, None)
    ]

    await swept(server)

    for thread_id in thread_ids:
        assert await client.threads.get(thread_id)


async def test_a_thread_is_not_deleted_under_its_runs(
    client: Client, server: App, tmp_path: Path
) -> None:
    thread_id = (await client.threads.create(ttl=AT_ONCE))["thread_id"]
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    waiting = await client.runs.create(thread_id, "counter", input={"count": 1})

    for _ in range(3):
        await swept(server)
    assert (await client.threads.get(thread_id))["status"] == "busy"
    (tmp_path / "open").touch()

    assert (await client.runs.join(thread_id, run["run_id"]))["done"] == ["wait_for_gate"]
    assert (await client.runs.join(thread_id, waiting["run_id"]))["count"] == 2


# ------------------------------------------------------------------- keep latest


STANDING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "asks": ({"input": {"question": "why?"}}, {"command": {"resume": "because"}}),
    "asks_in_subgraph": ({"input": {"question": "why?"}}, {"command": {"resume": "because"}}),
    "asks_twice": ({"input": {"question": "why?"}}, {"command": {"resume": "because"}}),
    "asks_then_waits": ({"input": {}}, {"command": {"goto": "ask"}}),
    "functional_asks": ({"input": "tea"}, {"command": {"resume": "milk"}}),
    "two_steps": ({"input": {}, "interrupt_before": ["second"]}, {"input": None}),
    "deltas": ({"input": {"items": ["first"]}}, {"command": {"resume": "more"}}),
    "counts_within": ({"input": {}}, {"input": {}}),
    "counter": ({"input": {"count": 1}}, {"input": {"count": 1}}),
    "nested": ({"input": {"seen": []}}, {"input": {"seen": []}}),
    "branches": ({"input": {}}, {"input": {}}),
}


@pytest.mark.parametrize(("graph_id", "times"), [(name, n) for name in STANDING for n in (1, 5)])
async def test_a_thread_that_lost_its_history_stands_where_it_stood_and_goes_on(
    client: Client, server: App, graph_id: str, times: int
) -> None:
    begin, go_on = STANDING[graph_id]
    pruned, other = await kept_latest(client), (await client.threads.create())["thread_id"]
    for thread_id in (pruned, other):
        for _ in range(times):
            await client.runs.wait(thread_id, graph_id, **begin)
    before = await seen(client, pruned)
    length = len(await client.threads.get_history(other, limit=1000))

    await swept(server)

    assert await seen(client, pruned) == before
    history = await client.threads.get_history(pruned, limit=1000)
    assert len(history) <= 8 if graph_id == "deltas" else len(history) == 1
    assert times == 1 or len(history) < length
    if graph_id == "asks_twice":
        thread = await client.threads.get(pruned)
        other_thread = await client.threads.get(other)
        answers = [
            {"command": {"resume": dict.fromkeys(each["interrupts"], "because")}}
            for each in (thread, other_thread)
        ]
    else:
        answers = [go_on, go_on]
    if graph_id == "asks_then_waits":
        return
    outputs = [
        await client.runs.wait(thread_id, graph_id, **how)
        for thread_id, how in zip((pruned, other), answers, strict=True)
    ]
    for output in outputs:
        for interrupt in output.get("__interrupt__", ()) if isinstance(output, dict) else ():
            interrupt.pop("id")
    assert outputs[0] == outputs[1], "as if nothing had happened to it"


async def test_runs_of_a_thread_that_lost_its_history_stay(client: Client, server: App) -> None:
    thread_id = await kept_latest(client)
    for _ in range(3):
        await client.runs.wait(thread_id, "counter", input={"count": 1})

    await swept(server)

    runs = await client.runs.list(thread_id)
    assert [run["state"] for run in runs] == ["succeeded"] * 3
    assert await collect(client.runs.join_stream(thread_id, runs[0]["run_id"]))


async def test_history_that_comes_later_goes_later(client: Client, server: App) -> None:
    thread_id = await kept_latest(client)
    for count in range(3):
        for _ in range(2):
            await client.runs.wait(thread_id, "counter", input={"count": count})
        assert len(await client.threads.get_history(thread_id, limit=99)) > 1
        await swept(server)
        assert len(await client.threads.get_history(thread_id, limit=99)) == 1
    await client.threads.update_state(thread_id, {"count": 1}, as_node="count")
    await swept(server)
    (state,) = await client.threads.get_history(thread_id, limit=99)
    assert state["metadata"]
    assert state["metadata"]["source"] == "update"


async def test_a_checkpoint_that_went_is_not_found(client: Client, server: App) -> None:
    thread_id = await kept_latest(client)
    await client.runs.wait(thread_id, "counter", input={"count": 1})
    parent = (await client.threads.get_state(thread_id))["parent_checkpoint"]
    assert parent

    await swept(server)

    for gone in (
        client.threads.get_state(thread_id, parent),
        client.runs.create(thread_id, "counter", input={}, checkpoint=parent),
    ):
        with pytest.raises(NotFoundError) as caught:
            await gone
        assert caught.value.reason == "CHECKPOINT_NOT_FOUND"


# ------------------------------------------------------------------- sweeps all the time


async def test_runs_that_are_started_while_sweeps_pass_are_never_hurt(
    client: Client, server: App
) -> None:
    """Threads lose their history all the time; each run must find what the former one left."""
    thread_ids = [await kept_latest(client) for _ in range(4)]
    over = asyncio.Event()

    async def sweep_for_ever() -> int:
        count = 0
        while not over.is_set():
            await expire_threads(server.database, server.database.write)
            count += 1
        return count

    async def count_up(thread_id: str) -> None:
        for number in range(1, 16):
            output: Any = await client.runs.wait(thread_id, "counter", input={})
            assert output["count"] == number
            assert len(output["log"]) == number

    async def ask_and_answer() -> None:
        thread_id = await kept_latest(client)
        for number in range(1, 9):
            asked: Any = await client.runs.wait(thread_id, "asks", input={"question": "why?"})
            assert asked["__interrupt__"][0]["value"] == {"question": "why?"}
            answered: Any = await client.runs.wait(
                thread_id, "asks", command={"resume": f"answer {number}"}
            )
            assert answered["answers"][-1] == f"answer {number}"
            assert len(answered["answers"]) == 2 * number

    sweeping = asyncio.create_task(sweep_for_ever())
    try:
        await asyncio.gather(*map(count_up, thread_ids), ask_and_answer())
    finally:
        over.set()
        sweeps = await sweeping
    assert sweeps > 10
    await swept(server)
    for thread_id in thread_ids:
        assert len(await client.threads.get_history(thread_id, limit=99)) == 1


async def test_a_run_either_finds_its_thread_or_learns_that_it_is_gone(
    client: Client, server: App
) -> None:
    async def run_on(thread_id: str) -> object:
        how: Any = {"input": {"count": 1}, "if_not_exists": "reject"}
        try:
            output: object = await client.runs.wait(thread_id, "counter", **how)
        except NotFoundError as error:
            return error.reason
        return output

    async def race() -> object:
        thread_id = (await client.threads.create(ttl=AT_ONCE))["thread_id"]
        outcome, _ = await asyncio.gather(run_on(thread_id), swept(server))
        return outcome

    ran = {"count": 2, "log": ["?"]}
    for _ in range(30):
        assert await race() in (ran, "THREAD_NOT_FOUND", "RUN_NOT_FOUND")


# ------------------------------------------------------------------- defaults


async def served_threads(client: Client) -> list[dict[str, Any]]:
    """Return threads made in each of the ways in which they are made."""
    thread_ids = [(await client.threads.create())["thread_id"], str(uuid4())]
    await client.runs.wait(thread_ids[1], "echo", input={}, if_not_exists="create")
    run = await client.runs.create(None, "echo", input={}, on_completion="keep")
    await client.runs.join(None, run["run_id"])
    return [await client.threads.get(each) for each in (*thread_ids, run["thread_id"])]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ttl", "settings", "expected"),
    [
        ({"strategy": "keep_latest", "default_ttl": 90}, {}, ("keep_latest", 90)),
        ({"default_ttl": 1.5}, {}, ("delete", 1.5)),
        (
            {"strategy": "keep_latest", "default_ttl": 90},
            {"thread_ttl": "2h"},
            ("keep_latest", 120),
        ),
        ({"default_ttl": 90}, {"thread_ttl_strategy": "keep_latest"}, ("keep_latest", 90)),
        ({"default_ttl": 90}, {"thread_ttl": "0s"}, None),
        ({"sweep_interval_minutes": 5}, {}, None),
        (None, {"thread_ttl": "1d"}, ("delete", 24 * 60)),
        (None, {"thread_ttl_strategy": "keep_latest"}, None),
    ],
)
async def test_a_default_counts_for_threads_however_they_are_made(
    tmp_path: Path, ttl: Any, settings: dict[str, str], expected: tuple[str, float] | None
) -> None:
    config = tmp_path / "langgraph.json"
    content = {
        "graphs": {"echo": f"{SUPPORT_GRAPHS.parent}/plain.py:echo"},
        "dependencies": [str(SUPPORT_GRAPHS.parent)],
    }
    config.write_text(json.dumps({**content, **({"checkpointer": {"ttl": ttl}} if ttl else {})}))
    async with (
        serve_in_process(tmp_path, graphs=config, **settings) as server,
        get_client(server.address) as client,
    ):
        for thread in await served_threads(client):
            told = thread.get("ttl")
            assert (told and (told["strategy"], told["ttl_minutes"])) == expected
        kept = await client.threads.create(ttl=0)
        assert "ttl" not in kept
        own = await client.threads.create(ttl=7)
        assert (own["ttl"]["strategy"], own["ttl"]["ttl_minutes"]) == ("delete", 7)


async def test_a_server_sweeps_by_itself(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path, thread_ttl="10ms", retention_interval="20ms") as server,
        get_client(server.address) as client,
    ):
        thread_id = (await client.threads.create())["thread_id"]

        async def look_for_ever() -> None:
            while True:
                await client.threads.get(thread_id)

        with pytest.raises(NotFoundError):
            await asyncio.wait_for(look_for_ever(), timeout=60)


async def test_events_that_went_are_out_of_range_and_the_run_still_tells_its_end(
    tmp_path: Path,
) -> None:
    async with (
        serve_in_process(tmp_path, event_retention="0s", retention_interval="20ms") as server,
        get_client(server.address) as client,
    ):
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread_id, "echo", input={"text": "a"})
        await client.runs.join(thread_id, run["run_id"])

        async def follow_for_ever() -> None:
            while True:
                await collect(client.runs.join_stream(thread_id, run["run_id"]))

        with pytest.raises(OutOfRangeError) as caught:
            await asyncio.wait_for(follow_for_ever(), timeout=60)
        assert caught.value.reason == "EVENTS_EXPIRED"
        assert (await client.runs.join(thread_id, run["run_id"]))["answer"] == "a"


# ------------------------------------------------------------------- by any client


async def test_a_strategy_needs_a_time(stubs: Stubs) -> None:
    ttl = threads_pb2.ThreadTtl(strategy=threads_pb2.PRUNE_STRATEGY_DELETE)
    for call, request in (
        (stubs.threads.CreateThread, threads_pb2.CreateThreadRequest(ttl=ttl)),
        (
            stubs.threads.UpdateThread,
            threads_pb2.UpdateThreadRequest(thread_id=str(uuid4()), ttl=ttl),
        ),
    ):
        with pytest.raises(Exception, match=r"ttl\.duration"):
            await call(request)


async def test_the_time_of_a_busy_thread_has_not_begun(client: Client, tmp_path: Path) -> None:
    thread_id = (await client.threads.create(ttl=5))["thread_id"]
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    assert (await client.threads.get(thread_id))["ttl"]["expires_at"] is None
    (tmp_path / "open").touch()
    await client.runs.join(thread_id, run["run_id"])
    assert (await client.threads.get(thread_id))["ttl"]["expires_at"]


async def test_a_thread_that_exists_keeps_its_own(client: Client) -> None:
    made = await client.threads.create(ttl=5)
    again = await client.threads.create(thread_id=made["thread_id"], ttl=10, if_exists="do_nothing")
    assert again == made


async def test_a_time_too_long_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.threads.create(ttl=365 * 24 * 60 + 1)
    assert caught.value.violations[0][0] == "ttl.duration"
