"""Runs, through a real server."""

import asyncio
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RunCancelledError,
    RunFailedError,
    RunwireClient,
)
from runwire.server.rpc.paging import PageSizes


async def new_thread(client: RunwireClient) -> str:
    return (await client.threads.create())["thread_id"]


async def started(directory: Path) -> None:
    """Return when the run that works in `directory` has begun."""
    async with asyncio.timeout(60):
        while not (directory / "started").exists():  # noqa: ASYNC110 - another thread makes it
            await asyncio.sleep(0.005)


async def test_a_background_run_is_followed_by_polling(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    told: list[Any] = []
    run = await client.runs.create(
        thread_id,
        "counter",
        input={"count": 2},
        metadata={"team": "blue"},
        config={"configurable": {"name": "Ada"}, "tags": ["t"]},
        context={"step": 3},
        multitask_strategy="reject",
        on_run_created=told.append,
    )
    assert told == [{"run_id": run["run_id"], "thread_id": thread_id}]
    assert run["thread_id"] == thread_id
    assert run["status"] in ("pending", "running")
    assert run["metadata"]
    assert run["metadata"]["team"] == "blue"
    assert run["multitask_strategy"] == "reject"
    assert run["graph_id"] == "counter"
    assert (run["error"], run["cancel"], run["ended_at"]) == (None, None, None)
    assert await client.runs.join(thread_id, run["run_id"]) == {"count": 5, "log": ["Ada"]}
    ended: Any = await client.runs.get(thread_id, run["run_id"])
    assert (ended["status"], ended["state"], ended["attempt"]) == ("success", "succeeded", 1)
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert ended["kwargs"] == {
        "input": {"count": 2},
        "command": None,
        "checkpoint": None,
        "config": {"tags": ["t"], "configurable": {"name": "Ada"}},
        "context": {"step": 3},
        "stream_mode": ["values"],
        "stream_subgraphs": False,
        "interrupt_before": [],
        "interrupt_after": [],
    }


async def test_waiting_for_a_stateless_run(client: RunwireClient) -> None:
    assert await client.runs.wait(None, "echo", input={"text": "hi"}) == {
        "text": "hi",
        "answer": "hi",
    }
    run: Any = await client.runs.create(None, "echo", input={"text": "hi"})
    assert run["thread_id"] is None
    assert (await client.runs.join(run["thread_id"], run["run_id"]))["answer"] == "hi"


async def test_a_stateless_run_can_leave_a_thread(client: RunwireClient) -> None:
    run = await client.runs.create(None, "counter", input={}, on_completion="keep")
    await client.runs.join(run["thread_id"], run["run_id"])
    assert (await client.threads.get(run["thread_id"]))["values"] == {"count": 1, "log": ["?"]}


async def test_a_thread_is_made_with_its_run_if_that_is_asked_for(client: RunwireClient) -> None:
    thread_id = str(uuid.uuid4())
    with pytest.raises(NotFoundError) as raised:
        await client.runs.wait(thread_id, "counter", input={})
    assert raised.value.reason == "THREAD_NOT_FOUND"
    await client.runs.wait(thread_id, "counter", input={}, if_not_exists="create")
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_values_of_any_shape_come_back_as_they_are(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    assert await client.runs.wait(thread_id, "functional", input=[1, 2]) == [2, 4]
    odd = await client.runs.wait(None, "odd_values", input={})
    assert sorted(odd["numbers"]) == [1, 2, 3]
    assert odd["large"] == 2**62
    text = "\u2028 ünïcode \x00 🎈"
    assert (await client.runs.wait(None, "echo", input={"text": text}))["answer"] == text


async def test_a_batch_is_made_in_order(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    runs = await client.runs.create_batch(
        [
            {"assistant_id": "echo", "input": {"text": "a"}},
            {"assistant_id": "counter", "thread_id": thread_id, "input": {}},
        ]
    )
    assert [run["graph_id"] for run in runs] == ["echo", "counter"]
    assert (await client.runs.join(None, runs[0]["run_id"]))["answer"] == "a"
    assert (await client.runs.join(thread_id, runs[1]["run_id"]))["count"] == 1


async def test_a_batch_is_made_as_a_whole_or_not_at_all(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    good: Any = {"assistant_id": "counter", "thread_id": thread_id, "input": {}}
    with pytest.raises(NotFoundError):
        await client.runs.create_batch([good, {**good, "assistant_id": "nobody"}])
    with pytest.raises(TypeError, match="inputs"):
        await client.runs.create_batch([{**good, "inputs": {}}])
    assert await client.runs.list(thread_id) == []


async def test_a_question_is_answered(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    asked = await client.runs.wait(thread_id, "asks", input={"question": "why?"})
    (interrupt,) = asked["__interrupt__"]
    assert interrupt["value"] == {"question": "why?"}
    assert asked["answers"] == ["prepared"]
    (run,) = await client.runs.list(thread_id)
    assert (run["status"], run["state"]) == ("success", "interrupted")
    done = await client.runs.wait(thread_id, "asks", command={"resume": "because"})
    assert done["answers"] == ["prepared", "because"]
    assert "__interrupt__" not in done


async def test_several_questions_are_answered_by_their_ids(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    asked = await client.runs.wait(thread_id, "asks_twice", input={"question": "why?"})
    first, second = asked["__interrupt__"]
    half = await client.runs.wait(thread_id, "asks_twice", command={"resume": {first["id"]: 1}})
    assert [interrupt["id"] for interrupt in half["__interrupt__"]] == [second["id"]]
    done = await client.runs.wait(thread_id, "asks_twice", command={"resume": {second["id"]: 2}})
    assert sorted(done["answers"]) == [1, 2]


@pytest.mark.parametrize("answer", [None, False, {}, [], 0])
async def test_an_answer_may_be_nothing_much(client: RunwireClient, answer: Any) -> None:
    thread_id = await new_thread(client)
    await client.runs.wait(thread_id, "asks", input={"question": "why?"})
    done = await client.runs.wait(thread_id, "asks", command={"resume": answer})
    assert done["answers"] == ["prepared", answer]


async def test_a_run_stops_before_a_node_and_goes_on(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    paused = await client.runs.wait(
        thread_id, "two_steps", input={"answers": []}, interrupt_before=["second"]
    )
    assert paused == {"answers": ["first"]}
    done = await client.runs.wait(thread_id, "two_steps", input=None)
    assert done == {"answers": ["first", "second"]}


async def test_going_on_from_an_older_checkpoint(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    for _ in range(2):
        await client.runs.wait(thread_id, "counter", input={})
    states = await client.threads.get_history(thread_id, limit=20)
    one = next(
        state
        for state in states
        if state["values"].get("count") == 1 and not state["next"]  # type: ignore[union-attr]
    )
    by_id = one["checkpoint"]["checkpoint_id"]
    starts: list[dict[str, Any]] = [{"checkpoint": one["checkpoint"]}, {"checkpoint_id": by_id}]
    for start in starts:
        forked = await client.runs.wait(thread_id, "counter", input={"count": 10}, **start)
        assert forked["count"] == 12


async def test_a_failed_run(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    failing: dict[str, Any] = {"kind": "value", "message": "boom"}
    with pytest.raises(RunFailedError, match=r"^ValueError: boom$") as raised:
        await client.runs.wait(thread_id, "fails", input=failing)
    assert raised.value.run["error"] == {
        "error": "ValueError",
        "message": "boom",
        "node": "fail",
        "attempt": 1,
        "error_id": None,
    }
    told = await client.runs.wait(thread_id, "fails", input=failing, raise_error=False)
    assert told["__error__"]["message"] == "boom"
    (run, _) = await client.runs.list(thread_id, status="error")
    joined = await client.runs.join(thread_id, run["run_id"])
    assert joined == {"__error__": run["error"]}


async def test_a_run_that_takes_too_long(client: RunwireClient) -> None:
    with pytest.raises(RunFailedError) as raised:
        await client.runs.wait(None, "slow_async", input={"seconds": 30}, timeout=0.2)
    assert (raised.value.run["status"], raised.value.run["state"]) == ("timeout", "timed_out")


async def test_a_run_is_cancelled(client: RunwireClient, tmp_path: Path) -> None:
    thread_id = await new_thread(client)
    run = await client.runs.create(
        thread_id, "slow_async", input={"seconds": 30, "directory": str(tmp_path)}
    )
    await started(tmp_path)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    ended = await client.runs.get(thread_id, run["run_id"])
    assert (ended["status"], ended["state"]) == ("interrupted", "cancelled")
    assert ended["cancel_reason"] == "client"
    assert ended["cancel"]
    assert ended["cancel"]["action"] == "interrupt"
    assert ended["cancel"]["abandoned"] is False
    with pytest.raises(ConflictError) as raised:
        await client.runs.cancel(thread_id, run["run_id"])
    assert raised.value.reason == "RUN_FINISHED"
    assert raised.value.metadata["state"] == "cancelled"


async def test_waiting_for_a_run_that_is_cancelled(client: RunwireClient, tmp_path: Path) -> None:
    thread_id = await new_thread(client)
    told: list[Any] = []
    waiting = asyncio.create_task(
        client.runs.wait(
            thread_id,
            "slow_async",
            input={"seconds": 30, "directory": str(tmp_path)},
            on_run_created=told.append,
        ),
        name="waiting",
    )
    await started(tmp_path)
    await client.runs.cancel(thread_id, told[0]["run_id"])
    with pytest.raises(RunCancelledError):
        await waiting


async def test_a_run_is_rolled_back(client: RunwireClient, tmp_path: Path) -> None:
    thread_id = await new_thread(client)
    run = await client.runs.create(
        thread_id, "slow_async", input={"seconds": 30, "directory": str(tmp_path)}
    )
    await started(tmp_path)
    await client.runs.cancel(thread_id, run["run_id"], wait=True, action="rollback")
    for call in (client.runs.get, client.runs.join, client.runs.cancel, client.runs.delete):
        with pytest.raises(NotFoundError) as raised:
            await call(thread_id, run["run_id"])
        assert raised.value.reason == "RUN_ROLLED_BACK"
    assert (await client.threads.get_state(thread_id))["values"] == {}


async def test_many_are_cancelled_at_once(client: RunwireClient) -> None:
    thread_id, other = await new_thread(client), await new_thread(client)
    slow: dict[str, Any] = {"input": {"seconds": 30}, "metadata": {"kind": "slow"}}
    runs = [await client.runs.create(thread_id, "slow_async", **slow) for _ in range(3)]
    kept = await client.runs.create(other, "slow_async", **slow)
    ids = [run["run_id"] for run in runs]
    assert await client.runs.cancel_many(run_ids=[]) == []
    pending = await client.runs.cancel_many(thread_id=thread_id, status="pending")
    assert [(outcome["run_id"], outcome["reason"]) for outcome in pending] == [
        (ids[1], ""),
        (ids[2], ""),
    ]
    missing = str(uuid.uuid4())
    outcomes = await client.runs.cancel_many(run_ids=[*ids[:2], missing], wait=True)
    assert [outcome["reason"] for outcome in outcomes] == ["", "RUN_FINISHED", "RUN_NOT_FOUND"]
    assert outcomes[0]["run"]
    assert outcomes[0]["run"]["state"] == "cancelled"
    (last,) = await client.runs.cancel_many(status="all", metadata={"kind": "slow"}, wait=True)
    assert last["run_id"] == kept["run_id"]
    with pytest.raises(InvalidArgumentError):
        await client.runs.cancel_many()


async def test_as_many_as_there_are_are_cancelled_page_after_page(
    client: RunwireClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr("runwire.server.rpc.run_requests.CANCELS", PageSizes(2, 2))
    later: Any = {"assistant_id": "echo", "input": {}, "after_seconds": 3600}
    runs = await client.runs.create_batch([later] * 5)
    outcomes = await client.runs.cancel_many(status="all", wait=True)
    assert [outcome["run_id"] for outcome in outcomes] == [run["run_id"] for run in runs]
    assert await client.runs.cancel_many(status="all") == []


async def test_a_busy_thread_refuses_or_gives_way(client: RunwireClient, tmp_path: Path) -> None:
    thread_id = await new_thread(client)
    slow: Any = {"seconds": 30, "directory": str(tmp_path)}
    first = await client.runs.create(thread_id, "slow_async", input=slow)
    await started(tmp_path)
    with pytest.raises(ConflictError) as raised:
        await client.runs.create(thread_id, "counter", input={}, multitask_strategy="reject")
    assert (raised.value.code, raised.value.reason) == ("ABORTED", "THREAD_BUSY")
    with pytest.raises(ConflictError):
        await client.runs.delete(thread_id, first["run_id"])
    done = await client.runs.wait(thread_id, "counter", input={}, multitask_strategy="interrupt")
    assert done["count"] == 1
    cancelled = await client.runs.get(thread_id, first["run_id"])
    assert cancelled["cancel_reason"] == "multitask"


async def test_listing(client: RunwireClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("runwire.client.runs._PAGE_LIMIT", 2)
    thread_id = await new_thread(client)
    for number in range(5):
        await client.runs.wait(thread_id, "counter", input={}, metadata={"number": number})
    await client.runs.wait(thread_id, "fails", input={}, raise_error=False)

    async def found(**filters: Any) -> list[Any]:
        runs = await client.runs.list(thread_id, **filters)
        return [run["metadata"].get("number") for run in runs]  # type: ignore[union-attr]

    assert await found() == [None, 4, 3, 2, 1, 0]
    assert await found(limit=3, offset=2) == [3, 2, 1]
    assert await found(status="success", limit=1) == [4]
    assert await found(status="error") == [None]
    assert await found(assistant_id="counter", metadata={"number": 3}) == [3]
    assert await found(sort_by="ended_at", sort_order="asc", limit=2) == [0, 1]
    assert await found(graph_id="fails") == [None]
    assert await found(principal="nobody") == []
    chosen: list[Any] = await client.runs.list(thread_id, limit=1, select=["status"])
    assert chosen == [{"status": "error"}]
    told: list[Any] = await client.runs.list(thread_id, limit=2, select=["run_id", "kwargs"])
    assert [run.keys() for run in told] == [{"run_id", "kwargs"}] * 2
    assert told[1]["kwargs"]["input"] == {}
    third: Any = (await client.runs.list(thread_id, offset=3, limit=1))[0]
    moment = datetime.fromisoformat(third["created_at"])
    assert await found(created=(moment, None)) == [None, 4, 3, 2]
    assert await found(created=(None, moment)) == [1, 0]
    ended = datetime.fromisoformat(third["ended_at"])
    assert await found(ended=(ended, ended + timedelta(microseconds=1))) == [2]
    assert await found(started=(datetime.fromisoformat(third["started_at"]), ended)) == [2]
    assert await found(run_ids=[third["run_id"]]) == [2]
    assert await found(run_ids=[]) == []
    assert len(await client.runs.list(None, limit=100)) == 6
    with pytest.raises(ValueError, match="status"):
        await client.runs.list(thread_id, status="paused")  # type: ignore[arg-type]


async def test_a_priority_is_kept_with_the_run(client: RunwireClient) -> None:
    run: Any = await client.runs.create(None, "echo", input={}, priority=7)
    assert (run["priority"], run["principal"]) == (7, None)
    await client.runs.wait(None, "echo", input={}, priority=-100)
    with pytest.raises(InvalidArgumentError) as raised:
        await client.runs.create(None, "echo", input={}, priority=101)
    assert raised.value.metadata == {"field": "spec.priority"}


async def test_a_deleted_run_is_gone(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    await client.runs.wait(thread_id, "counter", input={})
    (run,) = await client.runs.list(thread_id)
    with pytest.raises(NotFoundError):
        await client.runs.delete(str(uuid.uuid4()), run["run_id"])
    await client.runs.delete(thread_id, run["run_id"])
    assert await client.runs.list(thread_id) == []
    assert (await client.threads.get(thread_id))["values"] == {"count": 1, "log": ["?"]}


async def test_the_same_request_starts_one_run(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    created = [
        await client.runs.create(thread_id, "counter", input={}, request_id="one") for _ in range(2)
    ]
    assert created[0]["run_id"] == created[1]["run_id"]
    results = [
        await client.runs.wait(thread_id, "counter", input={}, request_id="two") for _ in range(2)
    ]
    assert results[0] == results[1]
    with pytest.raises(AlreadyExistsError) as raised:
        await client.runs.create(thread_id, "counter", input={"count": 9}, request_id="one")
    assert raised.value.reason == "REQUEST_ID_REUSED"


async def test_a_run_waits_its_time(client: RunwireClient) -> None:
    run = await client.runs.create(None, "echo", input={}, after_seconds=30)
    assert (await client.runs.get(None, run["run_id"]))["status"] == "pending"
    await client.runs.cancel(None, run["run_id"])
    assert (await client.runs.get(None, run["run_id"]))["state"] == "cancelled"


async def test_what_is_wrong_is_named(client: RunwireClient) -> None:
    with pytest.raises(InvalidArgumentError) as wrong:
        await client.runs.create("x", "echo", config={"configurable": {"thread_id": "t"}})
    assert {field for field, _ in wrong.value.violations} == {
        "spec.thread_id",
        "spec.config.configurable.thread_id",
    }
    with pytest.raises(NotFoundError) as missing:
        await client.runs.get(None, str(uuid.uuid4()))
    assert missing.value.reason == "RUN_NOT_FOUND"
    with pytest.raises(TypeError, match="on_disconnect"):
        await client.runs.create(None, "echo", on_disconnect="cancel")  # type: ignore[call-arg]
    with pytest.raises(NotImplementedError, match="feedback_keys"):
        client.runs.stream(None, "echo", feedback_keys=["a"])
