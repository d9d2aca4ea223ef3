"""Threads that begin with supersteps: all of them, or no thread."""

import asyncio
import json
from typing import Any

import pytest
from tests.support.engine import Engine

from runwire.server.core.assistants import AssistantDraft
from runwire.server.model.errors import (
    AssistantNotFound,
    RequestIdReused,
    StateUpdateRefused,
    ThreadExists,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import Command, Goto, RunConfig, RunState
from runwire.server.model.threads import (
    NodeUpdate,
    StateSnapshot,
    Superstep,
    Thread,
    ThreadState,
)


def step(as_node: str, values: Any = None, command: Command | None = None) -> Superstep:
    return [NodeUpdate(values=values, command=command, as_node=as_node)]


async def create(
    engine: Engine, assistant_id: str, *supersteps: Superstep, **how: Any
) -> tuple[Thread, bool]:
    given = {"return_existing": False, "request": None, **how}
    thread_id = given.pop("thread_id", None)
    return await engine.threads.create(
        thread_id, {}, supersteps=supersteps, assistant_id=assistant_id, **given
    )


async def states(engine: Engine, thread_id: str) -> list[StateSnapshot]:
    page = await engine.states.list(
        thread_id, checkpoint=None, before=None, metadata={}, limit=99, cursor=None
    )
    return page.items


async def test_a_thread_begins_with_its_supersteps(engine: Engine) -> None:
    thread, existed = await create(
        engine,
        "counter",
        step("__input__", {"count": 2, "log": ["a"]}),
        step("__start__", {"count": 2, "log": ["a"]}),
        step("count", {"count": 3}),
        step("count", {"log": ["b"]}),
    )
    assert not existed
    assert thread == await engine.threads.get(thread.thread_id)
    assert thread.state is ThreadState.IDLE
    assert json.loads(thread.values or "") == {"count": 5, "log": ["a", "b"]}
    found = await states(engine, thread.thread_id)
    assert [json.loads(state.values).get("count") for state in found] == [5, 5, 2, 0]
    metadata = [json.loads(state.metadata) for state in found]
    assert [each["source"] for each in metadata] == ["update", "update", "update", "input"]
    assert [each["step"] for each in metadata] == [2, 1, 0, -1]
    assert {each["graph_id"] for each in metadata} == {"counter"}
    assert [state.next for state in found] == [(), (), ("count",), ("__start__",)]
    run = await engine.run("counter", {"count": 10}, thread_id=thread.thread_id)
    assert json.loads(run.output or "")["count"] == 16


async def test_a_thread_that_begins_before_its_end_goes_on_from_there(engine: Engine) -> None:
    thread, _ = await create(
        engine,
        "asks",
        step("__start__", {"question": "why?"}),
        step("prepare", {"answers": ["by hand"]}),
    )
    assert thread.state is ThreadState.INTERRUPTED
    state = await engine.states.get(thread.thread_id, None, include_subgraphs=False)
    assert state.next == ("ask",)
    run = await engine.run("asks", None, thread_id=thread.thread_id, input=None)
    assert run.state is RunState.INTERRUPTED
    assert [question.value for question in run.interrupts] == ['{"question":"why?"}']


async def test_updates_of_one_superstep_make_one_checkpoint(engine: Engine) -> None:
    thread, _ = await create(
        engine,
        "branches",
        step("__start__", {"seen": ["begin"]}),
        [
            NodeUpdate(values={"seen": ["l"]}, as_node="left"),
            NodeUpdate(values={"seen": ["r"]}, as_node="right"),
        ],
    )
    assert json.loads(thread.values or "")["seen"] == ["begin", "l", "r"]
    found = await states(engine, thread.thread_id)
    assert [state.next for state in found] == [("join",), ("left", "right")]


async def test_a_command_updates_and_leads_on(engine: Engine) -> None:
    command = Command(update={"answers": ["first"]}, has_update=True, goto=(Goto(node="second"),))
    thread, _ = await create(
        engine, "two_steps", step("__start__", {"question": "?"}), step("first", command=command)
    )
    assert json.loads(thread.values or "")["answers"] == ["first"]
    state = await engine.states.get(thread.thread_id, None, include_subgraphs=False)
    assert state.next == ("second",)


async def test_many_supersteps_on_a_channel_of_deltas_are_all_there(engine: Engine) -> None:
    count = 20
    thread, _ = await create(
        engine,
        "deltas",
        step("__start__", {"items": ["begin"]}),
        *(step("add", {"items": [number]}) for number in range(count)),
    )
    assert json.loads(thread.values or "")["items"] == ["begin", *range(count)]
    found = await states(engine, thread.thread_id)
    assert len(found) == count + 1
    for number, state in enumerate(reversed(found)):
        assert json.loads(state.values)["items"] == ["begin", *range(number)]


async def test_the_states_tell_which_assistant_made_them(engine: Engine) -> None:
    draft = AssistantDraft(
        assistant_id=None,
        graph_id="counter",
        name="",
        description="",
        config=RunConfig(),
        context={"step": 5},
        metadata={},
        return_existing=False,
    )
    assistant, _ = await engine.assistants.create(draft, None)
    thread, _ = await create(engine, assistant.assistant_id, step("__start__", {"count": 1}))
    found = json.loads((await states(engine, thread.thread_id))[0].metadata)
    assert found["assistant_id"] == assistant.assistant_id
    assert found["assistant_version"] == 1


REFUSED: dict[str, tuple[list[Superstep], str]] = {
    "a node that is not there": (
        [step("__start__", {"count": 1}), step("nobody", {"count": 1})],
        "supersteps[1].updates[0]",
    ),
    "values that the state does not take": (
        [step("__start__", {"count": 1}), step("count", {"count": "x"})],
        "supersteps[1].updates[0]",
    ),
    "one of several": (
        [
            step("__start__", {"count": 1}),
            [
                NodeUpdate(values={"count": 1}, as_node="count"),
                NodeUpdate(values=7, as_node="count"),
            ],
        ],
        "supersteps[1].updates[1]",
    ),
    "input that is none": ([step("__input__", None)], "supersteps[0].updates[0]"),
    "a way to nowhere": (
        [step("count", command=Command(goto=(Goto(node="nobody"),)))],
        "supersteps[0].updates[0]",
    ),
}


@pytest.mark.parametrize(("supersteps", "field"), REFUSED.values(), ids=REFUSED)
async def test_a_superstep_that_is_refused_leaves_no_thread(
    engine: Engine, supersteps: list[Superstep], field: str
) -> None:
    thread_id = new_id()
    key = RequestKey("CreateThread", "id", b"hash")
    with pytest.raises(StateUpdateRefused) as caught:
        await create(engine, "counter", *supersteps, thread_id=thread_id, request=key)
    assert caught.value.variables == {"field": field}
    assert caught.value.message.startswith(f"{field}: ")
    with pytest.raises(ThreadNotFound):
        await engine.threads.get(thread_id)
    made, _ = await create(engine, "counter", thread_id=thread_id)
    assert await states(engine, made.thread_id) == []
    other = RequestKey("CreateThread", "id", b"other")
    assert await create(engine, "counter", request=other), "the request has left nothing either"


async def test_updates_that_do_not_go_together_name_their_superstep(engine: Engine) -> None:
    together = [
        NodeUpdate(values={"answer": "one"}, as_node="answer"),
        NodeUpdate(values={"answer": "two"}, as_node="answer"),
    ]
    with pytest.raises(StateUpdateRefused) as caught:
        await create(engine, "echo", step("__start__", {"text": "x"}), together)
    assert caught.value.variables == {"field": "supersteps[1]"}


async def test_an_assistant_that_is_not_there_makes_no_thread(engine: Engine) -> None:
    thread_id = new_id()
    with pytest.raises(AssistantNotFound):
        await create(engine, "nobody", step("a", {}), thread_id=thread_id)
    with pytest.raises(ThreadNotFound):
        await engine.threads.get(thread_id)


async def test_a_thread_that_is_there_stays_as_it_is(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = step("__start__", {"count": 1})
    thread, _ = await create(engine, "counter", begin)

    async def plan(*_: Any) -> None:
        raise AssertionError("nothing has to be planned")

    monkeypatch.setattr(engine.threads._supersteps, "plan", plan)
    again = await create(engine, "counter", begin, thread_id=thread.thread_id, return_existing=True)
    assert again == (thread, True)
    with pytest.raises(ThreadExists):
        await create(engine, "counter", begin, thread_id=thread.thread_id)


async def test_of_many_creates_at_once_one_makes_the_thread(engine: Engine) -> None:
    thread_id, key = new_id(), RequestKey("CreateThread", "id", b"hash")
    begin = step("__start__", {"count": 1})
    made = await asyncio.gather(
        *(create(engine, "counter", begin, thread_id=thread_id, request=key) for _ in range(6))
    )
    assert sum(not existed for _, existed in made) == 1
    assert len({thread.thread_id for thread, _ in made}) == 1
    assert len(await states(engine, thread_id)) == 1
    with pytest.raises(RequestIdReused):
        await create(engine, "counter", request=RequestKey("CreateThread", "id", b"other"))
