"""Threads: what successive runs, of one assistant or of several, leave behind for each other."""

import json
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.callers import MISSING_ID, Client, Stubs, collect, data_in, start

from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    RunFailedError,
)
from runwire.v1 import threads_pb2

OWN_ID = "0192F0C3-AAAA-7D4E-8F5A-6B7C8D9E0F1A"


async def values(client: Client, thread_id: str) -> dict[str, Any]:
    state: Any = await client.threads.get_state(thread_id)
    return dict(state["values"])


# ------------------------------------------------------------------- several assistants


async def test_assistants_of_one_graph_take_turns_and_see_what_the_others_left(
    client: Client, thread_id: str
) -> None:
    ada = await client.assistants.create("counter", context={"name": "Ada", "step": 10})
    bob = await client.assistants.create("counter", context={"name": "Bob", "step": 100})

    for assistant in (ada, bob, ada):
        await client.runs.wait(thread_id, assistant["assistant_id"], input={"count": 1})

    assert await values(client, thread_id) == {"count": 123, "log": ["Ada", "Bob", "Ada"]}


async def test_assistants_of_different_graphs_take_turns_and_see_what_the_others_left(
    client: Client, thread_id: str
) -> None:
    # Both graphs have a channel `text`; each has others that are its own.
    await client.runs.wait(thread_id, "echo", input={"text": "from echo"})
    parts = await collect(
        client.runs.stream(thread_id, "listens", input={"more": "!"}, stream_mode="values")
    )
    back = await client.runs.wait(thread_id, "echo", input={})

    assert data_in(parts, "values")[-1]["heard"] == "from echo!"
    assert back["answer"] == "from echo"


async def test_the_config_and_context_of_one_assistant_do_not_stick_to_the_thread(
    client: Client, thread_id: str
) -> None:
    coloured = await client.assistants.create(
        "tells", config={"configurable": {"colour": "red"}, "tags": ["red"]}, context={"a": 1}
    )
    first = await client.runs.wait(thread_id, coloured["assistant_id"], input={})
    second = await client.runs.wait(
        thread_id, "tells", input={}, config={"configurable": {"size": 1}}
    )
    third = await client.runs.wait(thread_id, "tells", input={})

    assert first["told"]["configurable"]["colour"] == "red"
    for told in (second["told"], third["told"]):
        assert "colour" not in told["configurable"]
        assert "red" not in told["tags"]
        assert told["context"] is None
        assert told["assistant_id"] != coloured["assistant_id"]
    assert "size" not in third["told"]["configurable"]


async def test_a_run_with_a_name_of_its_own_does_not_rename_the_next(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "counter", input={}, config={"configurable": {"name": "x"}})
    await client.runs.wait(thread_id, "counter", input={})

    assert (await values(client, thread_id))["log"] == ["x", "?"]


async def test_each_state_is_shown_by_the_graph_that_wrote_it(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "one"})
    echo_head = (await client.threads.get_state(thread_id))["checkpoint"]["checkpoint_id"]
    with_counter = await client.runs.create(thread_id, "counter", input={"count": 1})
    await client.runs.join(thread_id, with_counter["run_id"])

    head = await client.threads.get_state(thread_id)
    older = await client.threads.get_state(thread_id, checkpoint_id=echo_head)
    history = await client.threads.get_history(thread_id, limit=100)

    assert head["values"] == {"count": 2, "log": ["?"]}
    assert head["metadata"]["graph_id"] == "counter"
    assert older["values"] == {"text": "one", "answer": "one"}
    for state in history:
        writer: Any = state["metadata"]
        names = {"echo": {"text", "answer"}, "counter": {"count", "log"}}[writer["graph_id"]]
        assert set(state["values"]) <= names, state
    nexts = [state["next"] for state in history]
    assert ["answer"] in nexts
    assert ["count"] in nexts


async def test_the_history_is_newest_first_in_pages_and_narrowed_by_metadata(
    client: Client, thread_id: str
) -> None:
    for number in range(5):
        await client.runs.wait(thread_id, "counter", input={"count": number})
    everything = await client.threads.get_history(thread_id, limit=1000)
    ids = [state["checkpoint"]["checkpoint_id"] for state in everything]

    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 15  # input, before the node, after it
    for state, parent in pairwise(everything):
        assert state["parent_checkpoint"] == parent["checkpoint"]
    assert everything[-1]["parent_checkpoint"] is None
    before = await client.threads.get_history(thread_id, before=ids[3], limit=4)
    assert [state["checkpoint"]["checkpoint_id"] for state in before] == ids[4:8]
    inputs = await client.threads.get_history(thread_id, metadata={"source": "input"}, limit=50)
    assert [state["metadata"]["step"] for state in inputs] == [11, 8, 5, 2, -1]


async def test_pages_of_states_join_without_a_gap(stubs: Stubs, client: Client) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for number in range(4):
        await client.runs.wait(thread_id, "counter", input={"count": number})
    request = threads_pb2.ListThreadStatesRequest(thread_id=thread_id, page_size=5)
    pages = []
    while True:
        answer = await stubs.threads.ListThreadStates(request)
        pages.append([state.checkpoint.checkpoint_id for state in answer.states])
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token

    whole = await client.threads.get_history(thread_id, limit=100)
    assert [len(page) for page in pages] == [5, 5, 2]
    ids = [state["checkpoint"]["checkpoint_id"] for state in whole]
    assert [*chain.from_iterable(pages)] == ids


async def test_a_thread_tells_the_values_that_its_last_run_left(
    client: Client, thread_id: str
) -> None:
    empty = await client.threads.get(thread_id)
    await client.runs.wait(thread_id, "echo", input={"text": "one"})
    after_echo = await client.threads.get(thread_id)
    await client.runs.wait(thread_id, "counter", input={"count": 1})
    after_counter = await client.threads.get(thread_id)

    assert (empty["status"], empty["values"]) == ("idle", None)
    assert after_echo["values"] == {"text": "one", "answer": "one"}
    assert after_counter["values"] == {"count": 2, "log": ["?"]}
    assert after_counter["state_updated_at"] > after_echo["state_updated_at"]


async def test_outputs_and_thread_values_are_what_the_output_schema_shows(
    client: Client, thread_id: str
) -> None:
    output = await client.runs.wait(thread_id, "narrow_output", input={"question": "why?"})
    thread = await client.threads.get(thread_id)
    state = await client.threads.get_state(thread_id)

    assert output == thread["values"] == {"answer": "because"}
    assert state["values"] == {"question": "why?", "scratch": "…", "answer": "because"}

    await client.threads.update_state(thread_id, {"answer": "or not"}, as_node="think")

    assert (await client.threads.get(thread_id))["values"] == {"answer": "or not"}


# ------------------------------------------------------------------- update_state


async def test_a_state_update_adds_a_checkpoint_as_if_a_node_had_returned_it(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "counter", input={"count": 1})

    made = await client.threads.update_state(thread_id, {"count": 40, "log": ["by hand"]})

    head = await client.threads.get_state(thread_id)
    assert head["checkpoint"] == made["checkpoint"]
    assert head["values"] == {"count": 42, "log": ["?", "by hand"]}
    assert head["metadata"]["source"] == "update"
    assert (await client.threads.get(thread_id))["values"] == head["values"]
    assert (await client.runs.wait(thread_id, "counter", input={}))["count"] == 43


async def test_a_state_update_as_a_node_decides_what_runs_next(
    client: Client, thread_id: str
) -> None:
    await client.threads.update_state(
        thread_id, {"answers": ["by hand"]}, as_node="first", assistant_id="two_steps"
    )
    assert (await client.threads.get_state(thread_id))["next"] == ["second"]

    output = await client.runs.wait(thread_id, "two_steps")

    assert output["answers"] == ["by hand", "second"]


async def test_a_state_update_of_an_older_checkpoint_forks_there(
    client: Client, thread_id: str
) -> None:
    for name in ("one", "two"):
        await client.runs.wait(thread_id, "counter", input={}, context={"name": name})
    history = await client.threads.get_history(thread_id)
    after_one = next(state for state in history if state["values"] == {"count": 1, "log": ["one"]})

    await client.threads.update_state(
        thread_id, {"log": ["fork"]}, checkpoint=after_one["checkpoint"]
    )

    head = await client.threads.get_state(thread_id)
    assert head["values"] == {"count": 1, "log": ["one", "fork"]}
    assert head["parent_checkpoint"] == after_one["checkpoint"]


async def test_a_state_update_takes_the_graph_of_another_assistant(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "a"})

    await client.threads.update_state(
        thread_id, {"count": 7}, as_node="count", assistant_id="counter"
    )

    head = await client.threads.get_state(thread_id)
    assert head["values"] == {"count": 7, "log": []}
    assert head["metadata"]["graph_id"] == "counter"


async def test_a_state_update_that_the_graph_refuses_changes_nothing(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "counter", input={"count": 1})
    before = await client.threads.get_history(thread_id)

    for update, as_node in (({"count": 1}, "nobody"), ({"count": "text"}, "count"), (5, "count")):
        with pytest.raises(ConflictError) as caught:
            await client.threads.update_state(thread_id, update, as_node=as_node)
        assert caught.value.reason == "STATE_UPDATE_REFUSED"
        assert caught.value.metadata["thread_id"] == thread_id

    assert await client.threads.get_history(thread_id) == before
    assert (await client.runs.wait(thread_id, "counter", input={}))["count"] == 3


async def test_a_state_update_on_a_thread_without_a_graph_says_what_is_missing(
    client: Client, thread_id: str
) -> None:
    with pytest.raises(ConflictError, match="assistant_id") as caught:
        await client.threads.update_state(thread_id, {"count": 1})

    assert caught.value.reason == "STATE_UPDATE_REFUSED"
    assert caught.value.metadata["thread_id"] == thread_id


async def test_the_state_of_a_busy_thread_is_not_updated(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})

    with pytest.raises(ConflictError) as caught:
        await client.threads.update_state(thread_id, {"seconds": 1})
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "THREAD_BUSY")

    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    await client.threads.update_state(thread_id, {"seconds": 1}, as_node="wait_for_gate")


# ------------------------------------------------------------------- threads themselves


async def test_a_thread_is_created_on_demand_if_the_run_says_so(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.runs.create(OWN_ID, "counter", input={})
    assert caught.value.reason == "THREAD_NOT_FOUND"

    output = await client.runs.wait(OWN_ID, "counter", input={}, if_not_exists="create")
    again = await client.runs.wait(OWN_ID, "counter", input={}, if_not_exists="create")

    assert (output["count"], again["count"]) == (1, 2)
    assert (await client.threads.get(OWN_ID))["thread_id"] == OWN_ID.lower()


async def test_a_thread_is_busy_while_a_run_is_in_flight_and_idle_after_it(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    busy = await client.threads.get(thread_id)
    (tmp_path / "open").touch()
    await client.runs.join(thread_id, run["run_id"])
    idle = await client.threads.get(thread_id)

    assert (busy["status"], idle["status"]) == ("busy", "idle")


async def test_a_thread_whose_run_failed_says_why_until_a_run_succeeds(
    client: Client, thread_id: str
) -> None:
    with pytest.raises(RunFailedError):
        await client.runs.wait(thread_id, "fails", input={"message": "oh"})
    failed = await client.threads.get(thread_id)
    await client.runs.wait(thread_id, "fails", input={"kind": "none"})
    idle = await client.threads.get(thread_id)

    assert failed["status"] == "error"
    assert failed["error"]["message"] == "oh"
    assert failed["error"]["node"] == "fail"
    assert (idle["status"], idle["error"]) == ("idle", None)


async def test_a_thread_tells_its_error_only_while_it_is_failed(
    client: Client, thread_id: str
) -> None:
    with pytest.raises(RunFailedError):
        await client.runs.wait(thread_id, "fails", input={})
    failed = await client.threads.get(thread_id)
    run = await start(client, thread_id, "slow_async", input={"seconds": 60})
    busy = await client.threads.get(thread_id)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    idle = await client.threads.get(thread_id)
    renamed = await client.threads.update(thread_id, metadata={"name": "new"})

    told = [(each["status"], each["error"] is not None) for each in (failed, busy, idle)]
    assert told == [("error", True), ("busy", False), ("idle", False)]
    times = [each["state_updated_at"] for each in (failed, busy, idle, renamed)]
    assert times[0] < times[1] < times[2] == times[3]
    assert renamed["updated_at"] > idle["updated_at"]


async def test_a_thread_that_is_taken_is_refused_unless_the_caller_wants_what_there_is(
    client: Client, thread_id: str
) -> None:
    with pytest.raises(AlreadyExistsError) as caught:
        await client.threads.create(thread_id=thread_id, metadata={"new": True})
    assert caught.value.reason == "THREAD_EXISTS"

    kept = await client.threads.create(thread_id=thread_id, if_exists="do_nothing")
    assert (kept["thread_id"], kept["metadata"]) == (thread_id, {})


async def test_a_thread_s_metadata_are_merged_and_found(client: Client) -> None:
    thread = await client.threads.create(metadata={"user": "ada", "labels": ["a", "b"]})
    thread_id = thread["thread_id"]

    updated = await client.threads.update(thread_id, metadata={"user": None, "step": 2})

    assert updated["metadata"] == {"labels": ["a", "b"], "step": 2}
    found = await client.threads.search(metadata={"labels": ["b"], "step": 2})
    assert [each["thread_id"] for each in found] == [thread_id]
    assert await client.threads.search(metadata={"labels": ["c"], "step": 2}) == []
    assert await client.threads.search(ids=[thread_id], status="busy") == []
    idle = await client.threads.search(ids=[thread_id, MISSING_ID], status="idle")
    assert [each["thread_id"] for each in idle] == [thread_id]


async def test_a_deleted_thread_is_gone_with_its_runs_and_states(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "counter", input={})
    await client.runs.join(thread_id, run["run_id"])

    await client.threads.delete(thread_id)

    for call, reason in (
        (client.threads.get(thread_id), "THREAD_NOT_FOUND"),
        (client.threads.get_state(thread_id), "THREAD_NOT_FOUND"),
        (client.threads.get_history(thread_id), "THREAD_NOT_FOUND"),
        (client.threads.delete(thread_id), "THREAD_NOT_FOUND"),
        (client.runs.get(None, run["run_id"]), "RUN_NOT_FOUND"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.reason == reason
    await client.threads.create(thread_id=thread_id)
    assert (await client.runs.wait(thread_id, "counter", input={}))["count"] == 1


async def test_a_busy_thread_is_deleted_only_with_its_runs(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})

    with pytest.raises(ConflictError) as caught:
        await client.threads.delete(thread_id, cancel_runs=False)
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "THREAD_BUSY")

    await client.threads.delete(thread_id, cancel_runs=True)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])


async def test_a_thread_without_checkpoints_has_a_state_without_values(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    request = threads_pb2.GetThreadStateRequest(thread_id=thread_id)
    state = (await stubs.threads.GetThreadState(request)).state

    assert not state.HasField("values")
    assert not state.HasField("checkpoint")
    assert not state.HasField("create_time")
    assert await client.threads.get_history(thread_id) == []


async def test_the_states_of_subgraphs_are_shown_if_asked_for(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "asks_in_subgraph", input={"question": "inside?"})

    plain = await client.threads.get_state(thread_id)
    deep = await client.threads.get_state(thread_id, subgraphs=True)

    [task], [deep_task] = plain["tasks"], deep["tasks"]
    assert task["state"] is None
    assert task["checkpoint"]["checkpoint_ns"].startswith("inner:")
    inner = deep_task["state"]
    assert inner["next"] == ["ask"]
    assert inner["values"]["answers"] == ["prepared"]
    assert inner["checkpoint"]["checkpoint_ns"] == task["checkpoint"]["checkpoint_ns"]
    history = await client.threads.get_history(thread_id, checkpoint=task["checkpoint"])
    assert history[0]["checkpoint"]["checkpoint_ns"].startswith("inner:")


async def test_threads_are_listed_without_their_values_if_nobody_wants_them(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "x"})
    request = threads_pb2.ListThreadsRequest(
        thread_ids=[thread_id], read_mask={"paths": ["thread_id", "state"]}
    )

    [lean] = (await stubs.threads.ListThreads(request)).threads
    request.ClearField("read_mask")
    [full] = (await stubs.threads.ListThreads(request)).threads

    assert lean == threads_pb2.Thread(thread_id=thread_id, state="THREAD_STATE_IDLE")
    assert json.loads(full.values.json) == {"text": "x", "answer": "x"}


async def test_what_a_graph_keeps_in_the_store_is_there_for_other_threads(
    client: Client,
) -> None:
    threads = [(await client.threads.create())["thread_id"] for _ in range(2)]
    await client.runs.wait(threads[0], "remembers", input={"remember": "behaviour"})

    assert "behaviour" in (await client.runs.wait(threads[1], "remembers", input={}))["found"]
