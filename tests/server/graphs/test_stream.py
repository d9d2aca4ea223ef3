"""Executing graphs: their stream as events, and how a run came out."""

import asyncio
import json
from typing import Any

import pytest
from langgraph.errors import GraphRecursionError
from tests.server.graphs.conftest import SUPPORT, WriteConfig
from tests.server.graphs.test_registry import load
from tests.support.execution import Executed, execute, make_run

from runwire.server.graphs.config import read_config
from runwire.server.graphs.context import ContextMismatch
from runwire.server.graphs.inputs import InputMismatch
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.stream import GraphDrained, GraphExited, RunControl
from runwire.server.model.events import Data, Event, Message, TaskEnded, TaskStarted
from runwire.server.model.ids import new_id
from runwire.server.model.runs import (
    Command,
    Durability,
    RunCheckpoint,
    RunConfig,
    StreamMode,
)

ALL_MODES = tuple(StreamMode)


def jsons(executed: Executed, mode: StreamMode) -> list[Any]:
    return [json.loads(text) for text in executed.texts(mode)]


def bodies(executed: Executed, kind: type) -> list[Any]:
    return [event.body for event in executed.events if isinstance(event.body, kind)]


async def test_values_are_the_default_and_the_last_are_the_outcome(registry: Registry) -> None:
    executed = await execute(registry, make_run("echo", new_id(), input={"text": "hi"}))

    assert executed.events == [
        Event(Data(StreamMode.VALUES, '{"text":"hi"}')),
        Event(Data(StreamMode.VALUES, '{"text":"hi","answer":"hi"}')),
    ]
    assert executed.outcome.values_json() == '{"text":"hi","answer":"hi"}'
    assert not executed.outcome.paused
    assert executed.outcome.interrupts == ()


async def test_an_outcome_does_not_need_values_to_be_streamed(registry: Registry) -> None:
    for modes in ((), (StreamMode.UPDATES,), (StreamMode.EVENTS,)):
        run = make_run("echo", new_id(), input={"text": "hi"}, stream_modes=modes)
        executed = await execute(registry, run)
        assert executed.texts(StreamMode.VALUES) == []
        assert executed.outcome.values_json() == '{"text":"hi","answer":"hi"}'


async def test_several_modes_come_in_the_order_in_which_things_happen(registry: Registry) -> None:
    modes = (StreamMode.VALUES, StreamMode.UPDATES, StreamMode.TASKS)
    executed = await execute(registry, make_run("echo", input={"text": "x"}, stream_modes=modes))

    kinds = [
        body.mode.value if isinstance(body, Data) else type(body).__name__
        for body in (event.body for event in executed.events)
    ]
    assert kinds == ["values", "TaskStarted", "updates", "TaskEnded", "values"]


async def test_updates_are_by_node(registry: Registry) -> None:
    run = make_run("branches", new_id(), input={}, stream_modes=(StreamMode.UPDATES,))
    updates = jsons(await execute(registry, run), StreamMode.UPDATES)

    assert updates[-1] == {"join": {"seen": ["join"]}}
    assert {"left": {"seen": ["left"]}} in updates


async def test_custom_events_are_what_nodes_write(registry: Registry) -> None:
    run = make_run("custom_events", input={"count": 2}, stream_modes=(StreamMode.CUSTOM,))
    executed = await execute(registry, run)

    assert jsons(executed, StreamMode.CUSTOM) == [
        {"index": 0, "text": ""},
        {"index": 1, "text": ""},
    ]


async def test_values_that_json_has_no_words_for_are_written_all_the_same(
    registry: Registry,
) -> None:
    modes = (StreamMode.CUSTOM, StreamMode.VALUES)
    executed = await execute(registry, make_run("odd_values", input={}, stream_modes=modes))

    assert jsons(executed, StreamMode.CUSTOM) == [{"thing": "Thing()", "huge": 2**80}]
    assert jsons(executed, StreamMode.VALUES)[-1] == {
        "numbers": [1, 2, 3],
        "data": "AP8=",
        "not_a_number": None,
        "large": 2**62,
    }


async def test_tokens_join_to_the_message_and_it_comes_once(registry: Registry) -> None:
    run = make_run(
        "messages", new_id(), input={"say": "hello"}, stream_modes=(StreamMode.MESSAGES,)
    )
    found: list[Message] = bodies(await execute(registry, run), Message)

    assert "".join(message.text for message in found) == "hello"
    assert all(message.delta for message in found)
    assert len({message.message_id for message in found}) == 1
    metadata = json.loads(found[0].metadata)
    assert metadata["langgraph_node"] == "speak"
    assert metadata["run_id"] == run.run_id
    assert not any(message.metadata for message in found[1:])


async def test_tasks_start_and_end(registry: Registry) -> None:
    run = make_run("echo", input={"text": "x"}, stream_modes=(StreamMode.TASKS,))
    started, ended = (event.body for event in (await execute(registry, run)).events)

    assert isinstance(started, TaskStarted)
    assert isinstance(ended, TaskEnded)
    assert started.task_id == ended.task_id
    assert (started.name, started.input) == ("answer", '{"text":"x"}')
    assert started.triggers == ("branch:to:answer",)
    assert (ended.name, ended.result, ended.error) == ("answer", '{"answer":"x"}', "")


@pytest.mark.parametrize(("kind", "told"), [("value", "ValueError: told"), ("own", "OwnError")])
async def test_a_task_that_fails_tells_what_may_be_told(
    registry: Registry, kind: str, told: str
) -> None:
    modes = (StreamMode.TASKS, StreamMode.DEBUG)
    run = make_run("fails", new_id(), input={"kind": kind, "message": "told"}, stream_modes=modes)
    executed = Executed()

    with pytest.raises(Exception, match="told"):
        await execute(registry, run, into=executed)

    assert bodies(executed, TaskEnded)[-1].error == told
    assert jsons(executed, StreamMode.DEBUG)[-1]["payload"]["error"] == told


async def test_checkpoints_tell_where_they_are_and_no_more_of_the_config(
    registry: Registry,
) -> None:
    run = make_run(
        "echo",
        new_id(),
        input={"text": "x"},
        stream_modes=(StreamMode.CHECKPOINTS, StreamMode.DEBUG),
        config=RunConfig(configurable={"api_key": "canary"}),
    )
    executed = await execute(registry, run)

    found = jsons(executed, StreamMode.CHECKPOINTS)
    assert [item["metadata"]["source"] for item in found] == ["input", "loop", "loop"]
    assert set(found[-1]["config"]["configurable"]) == {
        "thread_id",
        "checkpoint_ns",
        "checkpoint_id",
    }
    assert found[-1]["parent_config"] == found[-2]["config"]
    assert found[-1]["values"] == {"text": "x", "answer": "x"}
    debug = jsons(executed, StreamMode.DEBUG)
    assert {item["type"] for item in debug} == {"checkpoint", "task", "task_result"}
    assert "canary" not in "".join(executed.texts(StreamMode.CHECKPOINTS))
    assert "canary" not in "".join(executed.texts(StreamMode.DEBUG))


async def test_subgraphs_are_silent_unless_asked_for(registry: Registry) -> None:
    modes = (StreamMode.UPDATES, StreamMode.VALUES, StreamMode.TASKS)
    quiet = await execute(registry, make_run("nested", new_id(), input={}, stream_modes=modes))
    loud = await execute(
        registry, make_run("nested", new_id(), input={}, stream_modes=modes, stream_subgraphs=True)
    )

    assert {event.namespace for event in quiet.events} == {()}
    inner = [event for event in loud.events if event.namespace]
    assert {len(event.namespace) for event in inner} == {1}
    assert all(event.namespace[0].startswith("inner:") for event in inner)
    assert {type(event.body) for event in inner} == {Data, TaskStarted, TaskEnded}
    assert loud.outcome.values_json() == quiet.outcome.values_json()


async def test_messages_of_a_subgraph_come_when_subgraphs_are_asked_for(
    registry: Registry,
) -> None:
    texts = {}
    for subgraphs in (False, True):
        run = make_run(
            "talks_in_subgraph",
            new_id(),
            input={"say": "hi"},
            stream_modes=(StreamMode.MESSAGES,),
            stream_subgraphs=subgraphs,
        )
        found = bodies(await execute(registry, run), Message)
        texts[subgraphs] = "".join(message.text for message in found if message.delta)

    assert texts == {False: "", True: "hi"}


async def test_callback_events_come_beside_the_other_modes(registry: Registry) -> None:
    run = make_run(
        "messages",
        new_id(),
        input={"say": "hi"},
        stream_modes=(StreamMode.EVENTS, StreamMode.MESSAGES, StreamMode.VALUES),
    )
    executed = await execute(registry, run)

    events = jsons(executed, StreamMode.EVENTS)
    names = [event["event"] for event in events]
    assert names[0] == "on_chain_start"
    assert names[-1] == "on_chain_end"
    assert events[0]["run_id"] == run.run_id
    assert names.count("on_chat_model_stream") >= 2
    assert [e["data"]["chunk"] for e in events if e["event"] == "on_chain_stream"][-1].keys() == {
        "speak"
    }
    assert "".join(m.text for m in bodies(executed, Message) if m.delta) == "hi"
    assert jsons(executed, StreamMode.VALUES)[-1]["messages"][0]["content"] == "hi"


async def test_every_mode_at_once_says_the_same_as_each_alone(registry: Registry) -> None:
    thread = {"input": {"question": "q"}}
    together = await execute(registry, make_run("asks", new_id(), stream_modes=ALL_MODES, **thread))
    for mode in (StreamMode.VALUES, StreamMode.UPDATES, StreamMode.CUSTOM):
        alone = await execute(registry, make_run("asks", new_id(), stream_modes=(mode,), **thread))
        assert len(jsons(together, mode)) == len(jsons(alone, mode))
        assert together.outcome.values_json() == alone.outcome.values_json()
        assert together.outcome.paused
        assert alone.outcome.paused


async def test_an_interrupt_pauses_the_run(registry: Registry) -> None:
    modes = (StreamMode.VALUES, StreamMode.UPDATES, StreamMode.TASKS)
    run = make_run("asks", new_id(), input={"question": "sure?"}, stream_modes=modes)
    executed = await execute(registry, run)

    assert executed.outcome.paused
    (interrupt,) = executed.outcome.interrupts
    assert json.loads(interrupt.value) == {"question": "sure?"}
    last = bodies(executed, Data)[-1]
    assert (last.mode, last.interrupts) == (StreamMode.VALUES, (interrupt,))
    assert jsons(executed, StreamMode.UPDATES)[-1] == {
        "__interrupt__": [{"value": {"question": "sure?"}, "id": interrupt.interrupt_id}]
    }
    assert bodies(executed, TaskEnded)[-1].interrupts == (interrupt,)


async def test_interrupts_in_parallel_and_in_subgraphs_are_all_open(registry: Registry) -> None:
    twice = await execute(registry, make_run("asks_twice", new_id(), input={}))
    inside = await execute(registry, make_run("asks_in_subgraph", new_id(), input={}))

    assert {json.loads(item.value)["question"] for item in twice.outcome.interrupts} == {
        "go on?",
        "and you?",
    }
    assert bodies(twice, Data)[-1].interrupts == twice.outcome.interrupts
    assert [json.loads(item.value) for item in inside.outcome.interrupts] == [
        {"question": "go on?"}
    ]


FUNCTION = """
from langgraph.func import entrypoint, task
from langgraph.config import get_stream_writer
from langgraph.types import interrupt

@task
async def write(text):
    get_stream_writer()(text)
    return text

@entrypoint()
async def graph(given):
    await write("working")
    return {"answer": interrupt("go on?"), "given": given}
"""


async def test_a_function_pauses_and_goes_on(write_config: WriteConfig) -> None:
    registry = await load(write_config({"graphs": {"f": "./f.py:graph"}}, f=FUNCTION))
    thread_id = new_id()
    modes = (StreamMode.VALUES, StreamMode.CUSTOM)

    asked = await execute(registry, make_run("f", thread_id, input="x", stream_modes=modes))
    assert asked.outcome.paused
    assert asked.outcome.values_json() is None
    assert asked.outcome.output_json() is None
    assert jsons(asked, StreamMode.VALUES) == [None]
    assert jsons(asked, StreamMode.CUSTOM) == ["working"]
    assert {event.namespace for event in asked.events} == {()}

    command = Command(resume="yes", has_resume=True)
    told = await execute(registry, make_run("f", thread_id, command=command, stream_modes=modes))
    assert not told.outcome.paused
    assert told.outcome.output_json() == '{"answer":"yes","given":"x"}'
    assert jsons(told, StreamMode.CUSTOM) == []


async def test_a_breakpoint_pauses_the_run_if_anything_is_left(registry: Registry) -> None:
    thread_id = new_id()
    before = make_run("two_steps", thread_id, input={}, interrupt_before=("second",))
    assert (await execute(registry, before)).outcome.paused

    after_the_end = await execute(
        registry, make_run("two_steps", thread_id, interrupt_after=("second",))
    )
    assert not after_the_end.outcome.paused
    assert after_the_end.outcome.values_json() == '{"answers":["first","second"]}'

    everywhere = await execute(
        registry, make_run("two_steps", new_id(), input={}, interrupt_after=("*",))
    )
    assert everywhere.outcome.paused
    assert everywhere.outcome.interrupts == ()


async def test_a_breakpoint_pauses_a_stateless_run_too(registry: Registry) -> None:
    run = make_run("two_steps", input={}, interrupt_before=("second",))

    assert (await execute(registry, run)).outcome.paused


async def test_a_breakpoint_at_an_unknown_node_is_told(registry: Registry) -> None:
    run = make_run("two_steps", new_id(), input={}, interrupt_before=("thrid",))

    with pytest.raises(
        InputMismatch, match=r"interrupt_before\[0\]: the graph has no node 'thrid'"
    ):
        await execute(registry, run)


BREAKPOINTS = """
from typing_extensions import TypedDict
from langgraph.graph import StateGraph, START
class State(TypedDict, total=False):
    x: int
def builder():
    b = StateGraph(State).add_node("a", lambda s: {"x": 1}).add_node("b", lambda s: {"x": 2})
    return b.add_edge(START, "a").add_edge("a", "b")
inner = builder().compile(interrupt_before=["b"])
own = inner
outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile()
"""


async def test_breakpoints_of_a_graph_and_of_its_subgraphs_pause_the_run(
    write_config: WriteConfig,
) -> None:
    config = write_config({"graphs": {"own": "./g.py:own", "outer": "./g.py:outer"}}, g=BREAKPOINTS)
    registry = await load(config)

    for graph_id in ("own", "outer"):
        thread_id = new_id()
        stopped = await execute(registry, make_run(graph_id, thread_id, input={"x": 0}))
        assert stopped.outcome.paused, graph_id
        ended = await execute(registry, make_run(graph_id, thread_id))
        assert not ended.outcome.paused, graph_id
        assert ended.outcome.values_json() == '{"x":2}'


OUTPUT = """
from typing_extensions import TypedDict
from pydantic import BaseModel
from langgraph.graph import StateGraph, START
class Output(TypedDict):
    answer: str
class State(Output, total=False):
    secret: str
class Strict(BaseModel):
    first: int
    second: int
graph = (StateGraph(State, output_schema=Output)
    .add_node("a", lambda s: {"answer": "x", "secret": "y"}).add_edge(START, "a").compile())
strict = (StateGraph(Strict, input_schema=State)
    .add_node("a", lambda s: {"first": 1}, input_schema=State)
    .add_node("b", lambda s: {"second": 2}, input_schema=State)
    .add_edge(START, "a").add_edge("a", "b").compile())
"""


async def test_the_output_is_what_the_output_schema_shows(write_config: WriteConfig) -> None:
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=OUTPUT))

    outcome = (await execute(registry, make_run("g", input={"answer": ""}))).outcome

    assert outcome.output_json() == '{"answer":"x"}'
    assert outcome.values_json() == '{"answer":"x","secret":"y"}'


async def test_a_state_that_is_not_complete_yet_is_streamed_as_it_is(
    write_config: WriteConfig,
) -> None:
    registry = await load(write_config({"graphs": {"g": "./g.py:strict"}}, g=OUTPUT))

    executed = await execute(registry, make_run("g", input={}))

    assert jsons(executed, StreamMode.VALUES)[-2:] == [{"first": 1}, {"first": 1, "second": 2}]


async def test_a_thread_is_shared_by_runs_and_by_graphs(registry: Registry) -> None:
    thread_id = new_id()
    for _ in range(2):
        executed = await execute(registry, make_run("counter", thread_id, input={"count": 1}))

    assert executed.outcome.values_json() == '{"count":4,"log":["?","?"]}'
    other = await execute(registry, make_run("echo", thread_id, input={"text": "x"}))
    assert other.outcome.values_json() == '{"text":"x","answer":"x"}'
    back = await execute(registry, make_run("counter", thread_id, input={"count": 1}))
    assert json.loads(back.outcome.values_json() or "")["log"][-1] == "?"


async def test_a_run_starts_from_the_checkpoint_it_names(registry: Registry) -> None:
    thread_id = new_id()
    first = make_run("counter", thread_id, input={"count": 10}, context={"name": "first"})
    await execute(registry, first)
    async with registry.open("counter", "threads.read", config={}, checkpointed=True) as graph:
        head = await graph.aget_state({"configurable": {"thread_id": thread_id}})
    await execute(registry, make_run("counter", thread_id, input={}, context={"name": "lost"}))

    checkpoint = RunCheckpoint(checkpoint_id=head.config["configurable"]["checkpoint_id"])
    executed = await execute(
        registry,
        make_run(
            "counter",
            thread_id,
            input={"count": 0},
            context={"name": "fork"},
            checkpoint=checkpoint,
        ),
    )

    assert json.loads(executed.outcome.values_json() or "")["log"] == ["first", "fork"]


@pytest.mark.parametrize("durability", list(Durability))
async def test_every_durability_keeps_the_end(registry: Registry, durability: Durability) -> None:
    thread_id = new_id()
    for _ in range(2):
        run = make_run("counter", thread_id, input={"count": 0}, durability=durability)
        executed = await execute(registry, run)

    assert json.loads(executed.outcome.values_json() or "")["count"] == 2


async def test_a_drain_stops_at_a_superstep_and_nothing_is_done_twice(registry: Registry) -> None:
    control = RunControl()
    run = make_run("steps", new_id(), input={"steps": 5, "seconds": 0.02})
    task = asyncio.create_task(execute(registry, run, control=control))
    await asyncio.sleep(0.03)
    control.request_drain()
    with pytest.raises(GraphDrained):
        await task

    executed = await execute(registry, run, resumed=True)

    assert json.loads(executed.outcome.values_json() or "")["done_steps"] == [0, 1, 2, 3, 4]


async def test_a_cancel_stops_the_stream_at_once(registry: Registry) -> None:
    for modes in ((StreamMode.VALUES,), (StreamMode.EVENTS,)):
        run = make_run("slow_async", new_id(), input={"seconds": 600}, stream_modes=modes)
        task = asyncio.create_task(execute(registry, run))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)


async def test_the_recursion_limit_ends_a_loop(registry: Registry) -> None:
    run = make_run("steps", input={"steps": 99}, config=RunConfig(recursion_limit=3))

    with pytest.raises(GraphRecursionError):
        await execute(registry, run)


async def test_a_context_that_does_not_fit_fails_the_run(write_config: WriteConfig) -> None:
    code = (
        "from dataclasses import dataclass\nfrom typing_extensions import TypedDict\n"
        "from langgraph.graph import StateGraph, START\n"
        "class State(TypedDict):\n    x: int\n"
        "@dataclass\nclass Context:\n    x: int\n"
        "async def node(state, runtime): return {'x': runtime.context.x}\n"
        "graph = StateGraph(State, context_schema=Context)"
        ".add_node('node', node).add_edge(START, 'node')\n"
    )
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=code))

    executed = await execute(registry, make_run("g", input={"x": 0}, context={"x": 5}))
    assert executed.outcome.values_json() == '{"x":5}'
    with pytest.raises(ContextMismatch, match=r"context\.y: no such field"):
        await execute(registry, make_run("g", input={"x": 0}, context={"y": 5}))


def test_a_node_that_ends_the_process_only_fails_its_run() -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> str:
        registry = await load(read_config(SUPPORT))
        run = make_run("fails", new_id(), input={"kind": "exit", "message": "bye"})
        try:
            await execute(registry, run)
        except GraphExited as error:
            return str(error)
        finally:
            loop.call_soon(loop.stop)
        return "it went on"

    loop = asyncio.new_event_loop()
    task = loop.create_task(main(loop))
    # What the owner of a loop has to do: asyncio lets a node's SystemExit through.
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()

    assert task.result() == "the graph tried to end the process: SystemExit(bye)"
