"""Runs that pause for a person, and the runs that bring the answer."""

from contextlib import suppress
from typing import Any

import pytest
from tests.support.callers import Client, Stubs, collect, data_in, data_of, follow, of_json, start

from runwire.client import ConflictError, InvalidArgumentError, RunFailedError
from runwire.v1 import core_pb2, runs_pb2, threads_pb2


async def pause(client: Client, thread_id: str, graph_id: str = "asks") -> list[dict[str, Any]]:
    """Run a graph until it asks; return what it asks."""
    output = await client.runs.wait(thread_id, graph_id, input={"question": "ready?"})
    return list(output["__interrupt__"])


async def state_of(client: Client, thread_id: str) -> str:
    """Return the state of the newest run of a thread."""
    [newest] = await client.runs.list(thread_id, limit=1)
    return str(newest["state"])


# ------------------------------------------------------------------- where interrupts are told


async def test_an_interrupt_is_told_in_the_run_the_thread_and_the_stream_under_one_id(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    spec = core_pb2.RunSpec(
        assistant_id="asks",
        thread_id=thread_id,
        input=of_json({"question": "ready?"}),
        stream_modes=[core_pb2.STREAM_MODE_VALUES, core_pb2.STREAM_MODE_UPDATES],
    )
    answer = await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))
    joined = await stubs.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=answer.run.run_id))
    request = threads_pb2.GetThreadRequest(thread_id=thread_id)
    thread = (await stubs.threads.GetThread(request)).thread
    state = (
        await stubs.threads.GetThreadState(threads_pb2.GetThreadStateRequest(thread_id=thread_id))
    ).state
    events = await follow(stubs, answer.run.run_id)

    assert answer.run.state == core_pb2.RUN_STATE_INTERRUPTED
    assert thread.state == threads_pb2.THREAD_STATE_INTERRUPTED
    [interrupt] = answer.interrupts
    assert data_of(interrupt.value) == {"question": "ready?"}
    assert interrupt.interrupt_id
    values = [event.values for event in events if event.HasField("values")]
    updates = [data_of(event.updates.data) for event in events if event.HasField("updates")]
    for told in (
        joined.interrupts,
        thread.interrupts,
        state.interrupts,
        state.tasks[0].interrupts,
        values[-1].interrupts,
    ):
        assert list(told) == [interrupt]
    assert updates[-1]["__interrupt__"][0]["id"] == interrupt.interrupt_id
    assert not values[0].interrupts
    assert events[-1].run_ended.state == core_pb2.RUN_STATE_INTERRUPTED
    assert list(state.next) == ["ask"]


async def test_the_output_of_a_paused_run_is_the_state_it_paused_in(
    client: Client, thread_id: str
) -> None:
    output = await client.runs.wait(thread_id, "asks", input={"question": "ready?"})

    assert output["answers"] == ["prepared"]
    assert (await client.threads.get(thread_id))["values"]["answers"] == ["prepared"]
    [listed] = await client.threads.search(ids=[thread_id], status="interrupted")
    assert list(listed["interrupts"]) == [output["__interrupt__"][0]["id"]]


async def test_the_schema_of_an_answer_is_told_wherever_the_question_is(
    client: Client, thread_id: str
) -> None:
    modes = ["values", "tasks"]
    stream = client.runs.stream(thread_id, "asks_for_decision", input={}, stream_mode=modes)
    parts = [part async for part in stream]
    thread = await client.threads.get(thread_id)
    state = await client.threads.get_state(thread_id)
    [[in_thread]] = thread["interrupts"].values()
    told = [
        in_thread,
        *state["interrupts"],
        *state["tasks"][0]["interrupts"],
        *data_in(parts, "values")[-1]["__interrupt__"],
        *data_in(parts, "tasks")[-1]["interrupts"],
    ]
    assert [item["value"] for item in told] == [{"question": "approved?"}] * 5
    for item in told:
        assert item["response_schema"]["required"] == ["approved"]
    with pytest.raises(RunFailedError):
        await client.runs.wait(thread_id, "asks_for_decision", command={"resume": "maybe"})
    answer = {"approved": True}
    output = await client.runs.wait(thread_id, "asks_for_decision", command={"resume": answer})
    assert output["answers"] == [answer]


async def test_the_client_gives_interrupts_in_both_forms_of_parts(
    client: Client, thread_id: str
) -> None:
    v1 = await collect(client.runs.stream(thread_id, "asks", input={"question": "v1"}))
    other = (await client.threads.create())["thread_id"]
    v2 = await collect(client.runs.stream(other, "asks", input={"question": "v2"}, version="v2"))

    [told] = data_in(v1, "values")[-1]["__interrupt__"]
    assert told["value"] == {"question": "v1"}
    assert [part["interrupts"][0]["value"] for part in v2 if part["interrupts"]] == [
        {"question": "v2"}
    ]


async def test_an_interrupt_in_a_subgraph_reaches_the_top(client: Client, thread_id: str) -> None:
    [asked] = await pause(client, thread_id, "asks_in_subgraph")
    parts = await collect(
        client.runs.stream(
            thread_id,
            "asks_in_subgraph",
            command={"resume": "yes"},
            stream_mode="updates",
            stream_subgraphs=True,
        )
    )

    assert asked["value"] == {"question": "ready?"}
    assert any(part.event.startswith("updates|inner:") for part in parts)
    state = await client.threads.get_state(thread_id)
    assert state["values"]["answers"] == ["prepared", "yes"]


# ------------------------------------------------------------------- one answer


@pytest.mark.parametrize("answer", ["yes", 0, False, None, [], {}, {"deep": [1, {"a": None}]}, ""])
async def test_any_value_can_be_the_answer(client: Client, thread_id: str, answer: Any) -> None:
    await pause(client, thread_id)

    output = await client.runs.wait(thread_id, "asks", command={"resume": answer})

    assert output["answers"] == ["prepared", answer]
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


async def test_a_resumed_run_is_a_new_run_and_the_paused_one_stays_as_it_ended(
    client: Client, thread_id: str
) -> None:
    await pause(client, thread_id)
    [paused] = await client.runs.list(thread_id)
    resumed = await client.runs.create(thread_id, "asks", command={"resume": "yes"})
    output = await client.runs.join(thread_id, resumed["run_id"])

    assert output["answers"] == ["prepared", "yes"]
    assert resumed["run_id"] != paused["run_id"]
    assert (await client.runs.get(thread_id, paused["run_id"]))["state"] == "interrupted"
    joined = await client.runs.join(thread_id, paused["run_id"])
    assert joined["__interrupt__"][0]["value"] == {"question": "ready?"}


async def test_an_answer_can_come_with_an_update_of_the_state(
    client: Client, thread_id: str
) -> None:
    await pause(client, thread_id)

    output = await client.runs.wait(
        thread_id, "asks", command={"resume": "yes", "update": {"question": "changed"}}
    )

    assert output == {"question": "changed", "answers": ["prepared", "yes"]}


async def test_an_update_can_be_a_list_of_pairs(client: Client, thread_id: str) -> None:
    await pause(client, thread_id)

    output = await client.runs.wait(
        thread_id,
        "asks",
        command={"resume": "yes", "update": [["answers", ["one"]], ["answers", ["two"]]]},
    )

    assert output["answers"] == ["prepared", "one", "two", "yes"]


async def test_a_command_can_send_the_graph_elsewhere(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "two_steps", input={})

    again = await client.runs.wait(thread_id, "two_steps", command={"goto": "second"})
    sent = await client.runs.wait(
        thread_id,
        "two_steps",
        command={"goto": {"node": "second", "input": {"question": "mine"}}},
    )

    assert again["answers"] == ["first", "second", "second"]
    assert sent["answers"] == ["first", "second", "second", "second"]


async def test_a_node_to_go_to_that_there_is_not_fails_the_run_by_its_name(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "two_steps", input={})

    with pytest.raises(RunFailedError, match=r"command.goto\[0\].node.*'nowhere'"):
        await client.runs.wait(thread_id, "two_steps", command={"goto": "nowhere"})


async def test_resuming_can_pause_again(client: Client, thread_id: str) -> None:
    await pause(client, thread_id, "asks_then_waits")
    state = await client.threads.get_state(thread_id)

    output = await client.runs.wait(
        thread_id, "asks_then_waits", command={"resume": "yes"}, interrupt_before=["wait_long"]
    )

    assert state["next"] == ["ask"]
    assert output["answers"] == ["yes"]
    assert await state_of(client, thread_id) == "interrupted"
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("interrupted", {})


# ------------------------------------------------------------------- several answers


async def test_each_open_interrupt_is_answered_by_its_id(client: Client, thread_id: str) -> None:
    asked = await pause(client, thread_id, "asks_twice")
    answers = {item["id"]: f"to {item['value']['question']}" for item in asked}

    output = await client.runs.wait(thread_id, "asks_twice", command={"resume": answers})

    assert len(asked) == 2
    assert sorted(output["answers"]) == ["to and you?", "to ready?"]
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_interrupts_without_an_answer_stay_open(client: Client, thread_id: str) -> None:
    asked = await pause(client, thread_id, "asks_twice")
    first, second = asked

    partly = await client.runs.wait(
        thread_id, "asks_twice", command={"resume": {first["id"]: "one"}}
    )

    assert [item["id"] for item in partly["__interrupt__"]] == [second["id"]]
    thread = await client.threads.get(thread_id)
    assert list(thread["interrupts"]) == [second["id"]]
    assert await state_of(client, thread_id) == "interrupted"
    output = await client.runs.wait(
        thread_id, "asks_twice", command={"resume": {second["id"]: "two"}}
    )
    assert sorted(output["answers"]) == ["one", "two"]
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_one_answer_for_several_interrupts_fails_the_run_and_keeps_the_questions(
    client: Client, thread_id: str
) -> None:
    asked = await pause(client, thread_id, "asks_twice")

    with pytest.raises(RunFailedError, match="interrupt"):
        await client.runs.wait(thread_id, "asks_twice", command={"resume": "both"})

    answers = {item["id"]: "later" for item in asked}
    output = await client.runs.wait(thread_id, "asks_twice", command={"resume": answers})
    assert output["answers"] == ["later", "later"]


@pytest.mark.parametrize("wrong", ["0" * 32, "not an id"])
async def test_an_answer_to_an_interrupt_that_is_not_open_fails_the_run(
    client: Client, stubs: Stubs, thread_id: str, wrong: str
) -> None:
    [asked] = await pause(client, thread_id)
    command = core_pb2.Command(resume_by_interrupt={wrong: of_json("x")})
    spec = core_pb2.RunSpec(assistant_id="asks", thread_id=thread_id, command=command)

    answer = await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))

    assert answer.run.state == core_pb2.RUN_STATE_FAILED
    assert wrong in answer.run.error.message
    output = await client.runs.wait(
        thread_id, "asks", command={"resume": {asked["id"]: "still open"}}
    )
    assert output["answers"] == ["prepared", "still open"]


async def test_an_answer_has_one_of_its_two_forms(stubs: Stubs, thread_id: str) -> None:
    command = core_pb2.Command(resume=of_json("x"), resume_by_interrupt={"0" * 32: of_json("y")})
    spec = core_pb2.RunSpec(assistant_id="asks", thread_id=thread_id, command=command)

    with pytest.raises(Exception, match=r"spec.command.resume: must be unset"):
        await stubs.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec))


# ------------------------------------------------------------------- answers that get lost


@pytest.mark.parametrize(
    ("graph_id", "command"),
    [
        ("asks_twice", {"resume": "one for two"}),
        ("asks", {"resume": {"0" * 32: "to nobody"}}),
        ("asks", {"resume": "yes", "goto": "nowhere"}),
    ],
)
async def test_the_questions_of_a_thread_stay_open_if_the_run_with_the_answer_fails(
    client: Client, thread_id: str, graph_id: str, command: Any
) -> None:
    asked = await pause(client, thread_id, graph_id)

    with pytest.raises(RunFailedError) as caught:
        await client.runs.wait(thread_id, graph_id, command=command)

    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    assert thread["error"] == caught.value.run["error"]
    assert sorted(thread["interrupts"]) == sorted(item["id"] for item in asked)
    state = await client.threads.get_state(thread_id)
    assert {item["id"] for item in state["interrupts"]} == set(thread["interrupts"])
    answers = {item["id"]: "at last" for item in asked}
    await client.runs.wait(thread_id, graph_id, command={"resume": answers})
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


@pytest.mark.parametrize("end", ["cancelled", "timed_out"])
async def test_a_question_stays_open_if_the_run_with_the_answer_is_stopped(
    client: Client, thread_id: str, end: str
) -> None:
    [asked] = await pause(client, thread_id, "asks_and_dawdles")
    if end == "cancelled":
        run = await answer(client, thread_id, timeout=600)
        await client.runs.cancel(thread_id, run["run_id"])
    else:
        run = await run_out_of_time(client, thread_id)
    await client.runs.join(thread_id, run["run_id"])

    thread = await client.threads.get(thread_id)
    assert await state_of(client, thread_id) == end
    assert thread["status"] == ("interrupted" if end == "cancelled" else "error")
    assert thread["interrupts"] == {asked["id"]: [asked]}
    state = await client.threads.get_state(thread_id)
    assert state["interrupts"] == [asked]


async def answer(client: Client, thread_id: str, timeout: float) -> dict[str, Any]:
    """Return a run that has been given an answer, and is at work on it."""
    given: Any = {"command": {"resume": "yes"}, "timeout": timeout}
    return await start(client, thread_id, "asks_and_dawdles", **given)


async def run_out_of_time(client: Client, thread_id: str) -> dict[str, Any]:
    """Return such a run, whose time is soon up: on a slow machine it gets more."""
    for timeout in (0.2, 2):
        with suppress(AssertionError):  # its time was up before it was at work
            return await answer(client, thread_id, timeout)
    return await answer(client, thread_id, 20)


async def test_a_question_stays_open_if_the_run_with_the_answer_never_started(
    client: Client, thread_id: str
) -> None:
    [asked] = await pause(client, thread_id)
    run = await client.runs.create(thread_id, "asks", command={"resume": "yes"}, after_seconds=3600)

    await client.runs.cancel(thread_id, run["run_id"])

    thread = await client.threads.get(thread_id)
    assert (thread["status"], list(thread["interrupts"])) == ("interrupted", [asked["id"]])


async def test_a_question_stays_open_if_a_run_of_another_graph_fails_before_it_does_anything(
    client: Client, thread_id: str
) -> None:
    [asked] = await pause(client, thread_id)
    before = await client.threads.get(thread_id)

    with pytest.raises(RunFailedError):
        await client.runs.wait(thread_id, "counter", input={}, interrupt_before=["nowhere"])

    thread = await client.threads.get(thread_id)
    assert (thread["status"], list(thread["interrupts"])) == ("error", [asked["id"]])
    assert thread["values"] == before["values"]
    output = await client.runs.wait(thread_id, "asks", command={"resume": "yes"})
    assert output["answers"] == ["prepared", "yes"]


async def test_no_question_is_open_after_a_run_that_got_past_it_and_was_stopped(
    client: Client, thread_id: str
) -> None:
    await pause(client, thread_id, "asks_then_waits")
    run = await start(client, thread_id, "asks_then_waits", command={"resume": "yes"})

    await client.runs.cancel(thread_id, run["run_id"], wait=True)

    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


# ------------------------------------------------------------------- by other ways


async def test_join_tells_the_interrupts_of_a_background_run(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "asks", input={"question": "later?"})
    output = await client.runs.join(thread_id, run["run_id"])

    answer = {output["__interrupt__"][0]["id"]: "by join"}
    resumed = await client.runs.create(thread_id, "asks", command={"resume": answer})

    assert (await client.runs.join(thread_id, resumed["run_id"]))["answers"][-1] == "by join"


async def test_new_input_while_a_question_is_open_starts_the_graph_over(
    client: Client, thread_id: str
) -> None:
    [first] = await pause(client, thread_id)

    output = await client.runs.wait(thread_id, "asks", input={"question": "another?"})

    [second] = output["__interrupt__"]
    assert second["value"] == {"question": "another?"}
    assert second["id"] != first["id"]
    thread = await client.threads.get(thread_id)
    assert list(thread["interrupts"]) == [second["id"]]
    output = await client.runs.wait(thread_id, "asks", command={"resume": "to the new one"})
    assert output["answers"] == ["prepared", "prepared", "to the new one"]


async def test_a_run_of_another_graph_while_a_question_is_open_closes_it(
    client: Client, thread_id: str
) -> None:
    await pause(client, thread_id)

    output = await client.runs.wait(thread_id, "counter", input={"count": 1})

    assert output["count"] == 2
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


async def test_a_run_without_input_asks_the_open_question_again(
    client: Client, thread_id: str
) -> None:
    [first] = await pause(client, thread_id)

    output = await client.runs.wait(thread_id, "asks")

    assert output["__interrupt__"] == [first]
    assert await state_of(client, thread_id) == "interrupted"


async def test_a_state_update_past_the_question_closes_it(client: Client, thread_id: str) -> None:
    await pause(client, thread_id)

    await client.threads.update_state(thread_id, {"answers": ["by hand"]}, as_node="ask")

    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})
    assert thread["values"]["answers"] == ["prepared", "by hand"]


async def test_an_answer_that_waits_in_the_queue_is_given_when_its_turn_comes(
    client: Client, thread_id: str
) -> None:
    running = await client.runs.create(thread_id, "asks", input={"question": "soon?"})
    resuming = await client.runs.create(thread_id, "asks", command={"resume": "queued"})

    output = await client.runs.join(thread_id, resuming["run_id"])

    assert (await client.runs.get(None, running["run_id"]))["state"] == "interrupted"
    assert output["answers"] == ["prepared", "queued"]


async def test_a_question_can_be_asked_again_from_the_checkpoint_before_it(
    client: Client, thread_id: str
) -> None:
    await pause(client, thread_id)
    history = await client.threads.get_history(thread_id)
    before = next(state["checkpoint"] for state in history if state["next"] == ["prepare"])
    one = await client.runs.wait(thread_id, "asks", command={"resume": "one"})

    again = await client.runs.wait(thread_id, "asks", checkpoint=before)
    other = await client.runs.wait(thread_id, "asks", command={"resume": "other"})

    assert one["answers"] == ["prepared", "one"]
    assert [item["value"] for item in again["__interrupt__"]] == [{"question": "ready?"}]
    assert other["answers"] == ["prepared", "other"]


async def test_a_question_of_a_function_is_answered_too(client: Client, thread_id: str) -> None:
    output = await client.runs.wait(thread_id, "functional_asks", input="tea")
    [asked] = output["__interrupt__"]

    answered = await client.runs.wait(thread_id, "functional_asks", command={"resume": "milk"})

    assert asked["value"] == "what with tea?"
    assert answered == "tea with milk"


async def test_a_command_says_at_least_one_thing_and_takes_no_input_beside_it(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.runs.wait(thread_id, "asks", input={"a": 1}, command={"resume": "yes"})
    assert caught.value.violations == (("spec.input", "must be unset if command is set"),)
    spec = core_pb2.RunSpec(assistant_id="asks", thread_id=thread_id, command=core_pb2.Command())
    with pytest.raises(Exception, match="at least one field"):
        await stubs.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec))
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread_id, {})
