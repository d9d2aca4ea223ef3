"""What a run gives to its graph."""

import json
from typing import Any
from uuid import UUID

import pytest
from langgraph.types import Send
from tests.support.execution import Executed, execute, make_run

from runwire.server.graphs.inputs import (
    InputMismatch,
    Inputs,
    breakpoints,
    build_inputs,
    run_config,
)
from runwire.server.graphs.registry import Registry
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Command, Goto, Run, RunCheckpoint, RunConfig

INTERRUPT_ID = "0123456789abcdef" * 2


async def inputs(registry: Registry, run: Run, *, resumed: bool = False) -> Inputs:
    config = run_config(run, resumed=resumed, recursion_limit=77)
    opened = registry.open(run.graph_id, "threads.create_run", config=config, checkpointed=True)
    async with opened as graph:
        return await build_inputs(graph, run, config, resumed=resumed)


async def told(registry: Registry, run: Run) -> dict[str, Any]:
    text = (await execute(registry, run)).outcome.values_json()
    assert text is not None
    found: dict[str, Any] = json.loads(text)["told"]
    return found


def last_answers(executed: Executed) -> Any:
    return json.loads(executed.outcome.values_json() or "null")["answers"]


async def test_nodes_see_the_run_as_graphs_for_the_agent_server_expect(registry: Registry) -> None:
    run = make_run(
        "tells",
        new_id(),
        input={},
        config=RunConfig(tags=("t",), recursion_limit=9, configurable={"model": "m"}),
        context={"depth": 3},
        metadata={"source_app": "test", "run_id": "forged"},
    )

    seen = await told(registry, run)

    configurable = seen["configurable"]
    assert configurable["thread_id"] == run.thread_id
    assert configurable["run_id"] == run.run_id
    assert configurable["graph_id"] == "tells"
    assert configurable["assistant_id"] == run.assistant_id
    assert configurable["model"] == "m"
    assert configurable["langgraph_auth_user"] is None
    assert configurable["langgraph_auth_user_id"] == ""
    assert configurable["langgraph_auth_permissions"] == []
    assert configurable["langgraph_request_id"] == run.run_id
    assert configurable["user_id"] == ""
    metadata = seen["metadata"]
    assert metadata["source_app"] == "test"
    assert metadata["run_id"] == run.run_id
    assert metadata["thread_id"] == run.thread_id
    assert metadata["graph_id"] == "tells"
    assert metadata["assistant_id"] == run.assistant_id
    assert metadata["assistant_version"] == 1
    assert metadata["run_attempt"] == 1
    assert seen["tags"] == ["t"]
    assert seen["recursion_limit"] == 9
    assert seen["context"] == {"depth": 3}
    assert (seen["assistant_id"], seen["graph_id"]) == (run.assistant_id, "tells")
    assert (seen["run_id"], seen["thread_id"]) == (run.run_id, run.thread_id)
    assert seen["has_store"] is True


async def test_a_callers_user_id_is_kept(registry: Registry) -> None:
    run = make_run("tells", input={}, config=RunConfig(configurable={"user_id": "ann"}))

    assert (await told(registry, run))["configurable"]["user_id"] == "ann"


async def test_a_stateless_run_is_a_conversation_of_its_own(registry: Registry) -> None:
    run = make_run("tells", input={})

    assert (await told(registry, run))["configurable"]["thread_id"] == run.run_id


def test_the_trace_is_the_runs_in_its_first_attempt_only() -> None:
    first, second = make_run("echo", attempt=1), make_run("echo", attempt=2)

    assert run_config(first, resumed=False, recursion_limit=5)["run_id"] == UUID(first.run_id)
    assert "run_id" not in run_config(second, resumed=True, recursion_limit=5)


async def test_the_recursion_limit_is_the_runs_or_the_graphs_or_the_servers(
    registry: Registry,
) -> None:
    plain, own = make_run("echo"), make_run("echo", config=RunConfig(recursion_limit=5))
    assert (await inputs(registry, plain)).config["recursion_limit"] == 77
    assert (await inputs(registry, own)).config["recursion_limit"] == 5

    opened = registry.open("echo", "threads.create_run", config={}, checkpointed=False)
    async with opened as graph:
        configured = graph.with_config({"recursion_limit": 33})
        for run, expected in ((plain, 33), (own, 5)):
            config = run_config(run, resumed=False, recursion_limit=77)
            made = await build_inputs(configured, run, config, resumed=False)
            assert made.config["recursion_limit"] == expected


async def test_a_checkpoint_is_where_the_run_starts_unless_it_is_resumed(
    registry: Registry,
) -> None:
    run = make_run(
        "echo",
        new_id(),
        input={"text": "x"},
        checkpoint=RunCheckpoint(checkpoint_id="c1", checkpoint_map={"": "c1"}),
    )

    first = await inputs(registry, run)
    assert first.graph_input == {"text": "x"}
    assert first.config["configurable"]["checkpoint_id"] == "c1"
    assert first.config["configurable"]["checkpoint_map"] == {"": "c1"}

    again = await inputs(registry, run, resumed=True)
    assert again.graph_input is None
    assert "checkpoint_id" not in again.config["configurable"]
    assert "checkpoint_map" not in again.config["configurable"]


async def test_a_resumed_attempt_does_not_repeat_its_command(registry: Registry) -> None:
    run = make_run("asks", new_id(), command=Command(resume="x", has_resume=True))

    assert (await inputs(registry, run, resumed=True)).graph_input is None


async def test_a_command_carries_update_and_goto(registry: Registry) -> None:
    command = Command(
        update=[["answers", ["a"]], ["answers", ["b"]]],
        has_update=True,
        goto=(Goto(node="ask"), Goto(node="prepare", input={"x": 1}, has_input=True)),
    )

    made = (await inputs(registry, make_run("asks", new_id(), command=command))).graph_input

    assert made.update == [("answers", ["a"]), ("answers", ["b"])]
    assert made.goto == ["ask", Send("prepare", {"x": 1})]
    assert made.resume is None


async def test_an_update_that_is_not_a_list_of_pairs_stays_as_it_is(registry: Registry) -> None:
    for update in ({"question": "x"}, [1, 2], [["only one"]]):
        command = Command(update=update, has_update=True)
        made = (await inputs(registry, make_run("asks", new_id(), command=command))).graph_input
        assert made.update == update


@pytest.mark.parametrize("node", ["nope", "__start__"])
async def test_going_to_a_node_that_is_not_there_is_told(registry: Registry, node: str) -> None:
    run = make_run("asks", new_id(), command=Command(goto=(Goto(node="ask"), Goto(node=node))))

    with pytest.raises(InputMismatch) as caught:
        await inputs(registry, run)

    assert str(caught.value) == (
        f"command.goto[1].node: the graph has no node {node!r}; known: prepare, ask"
    )


async def test_breakpoints_at_nodes_that_are_not_there_are_told(registry: Registry) -> None:
    opened = registry.open("asks", "threads.create_run", config={}, checkpointed=False)
    async with opened as graph:
        assert breakpoints(graph, "interrupt_before", ()) is None
        assert breakpoints(graph, "interrupt_before", ("ask",)) == ["ask"]
        assert breakpoints(graph, "interrupt_before", ("*",)) == "*"
        with pytest.raises(InputMismatch, match=r"interrupt_after\[0\]: the graph has no node"):
            breakpoints(graph, "interrupt_after", ("nope",))


@pytest.mark.parametrize("answer", ["yes", 0, False, {"a": 1}, [], {}, None, ""])
async def test_any_json_value_answers_the_one_open_interrupt(
    registry: Registry, answer: Any
) -> None:
    thread_id = new_id()
    await execute(registry, make_run("asks", thread_id, input={}))

    command = Command(resume=answer, has_resume=True)
    executed = await execute(registry, make_run("asks", thread_id, command=command))

    assert not executed.outcome.paused
    assert last_answers(executed) == ["prepared", answer]


async def test_each_interrupt_is_answered_by_its_id(registry: Registry) -> None:
    thread_id = new_id()
    asked = await execute(registry, make_run("asks_twice", thread_id, input={}))
    by_question = {
        json.loads(i.value)["question"]: i.interrupt_id for i in asked.outcome.interrupts
    }

    answers = {by_question["go on?"]: 1, by_question["and you?"]: None}
    command = Command(resume_by_interrupt=answers)
    executed = await execute(registry, make_run("asks_twice", thread_id, command=command))

    assert last_answers(executed) == [1, None]


async def test_one_of_two_interrupts_stays_open_until_it_is_answered(registry: Registry) -> None:
    thread_id = new_id()
    asked = await execute(registry, make_run("asks_twice", thread_id, input={}))
    first, second = (item.interrupt_id for item in asked.outcome.interrupts)

    one = Command(resume_by_interrupt={first: 1})
    executed = await execute(registry, make_run("asks_twice", thread_id, command=one))
    assert executed.outcome.paused
    assert [item.interrupt_id for item in executed.outcome.interrupts] == [second]

    other = Command(resume_by_interrupt={second: 2})
    executed = await execute(registry, make_run("asks_twice", thread_id, command=other))
    assert not executed.outcome.paused
    assert sorted(last_answers(executed)) == [1, 2]


async def test_one_answer_to_two_open_interrupts_is_refused(registry: Registry) -> None:
    thread_id = new_id()
    await execute(registry, make_run("asks_twice", thread_id, input={}))

    for answer in ("yes", None, {}):
        command = Command(resume=answer, has_resume=True)
        with pytest.raises(Exception, match="interrupts"):
            await execute(registry, make_run("asks_twice", thread_id, command=command))


async def test_an_answer_to_an_interrupt_that_is_not_open_is_refused(registry: Registry) -> None:
    thread_id = new_id()
    await execute(registry, make_run("asks", thread_id, input={}))

    command = Command(resume_by_interrupt={INTERRUPT_ID: "x"})
    with pytest.raises(Exception, match="Unknown or already-consumed interrupt"):
        await execute(registry, make_run("asks", thread_id, command=command))

    command = Command(resume_by_interrupt={"ask": "x"})
    with pytest.raises(InputMismatch, match="'ask' is not an interrupt's id"):
        await execute(registry, make_run("asks", thread_id, command=command))


async def test_a_command_without_anything_is_refused(registry: Registry) -> None:
    for command in (Command(), Command(update={}, has_update=True)):
        with pytest.raises(InputMismatch, match="command: has no answer, no update and no node"):
            await execute(registry, make_run("asks", new_id(), command=command))


async def test_an_empty_answer_where_nobody_asks_lets_the_graph_go_on(registry: Registry) -> None:
    for answer in (None, {}):
        thread_id = new_id()
        stopped = make_run("two_steps", thread_id, input={}, interrupt_before=("second",))
        await execute(registry, stopped)

        command = Command(resume=answer, has_resume=True)
        executed = await execute(registry, make_run("two_steps", thread_id, command=command))

        assert last_answers(executed) == ["first", "second"]
