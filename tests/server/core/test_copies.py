"""Copies of threads: they have all that the thread had, and go on from there by themselves."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.engine import Engine, until

from runwire.server.model.errors import RequestIdReused, ThreadExists, ThreadNotFound
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    CancelAction,
    Command,
    Run,
    RunCheckpoint,
    RunState,
)
from runwire.server.model.threads import (
    CheckpointRef,
    PruneStrategy,
    StateSnapshot,
    Thread,
    ThreadState,
    ThreadTtl,
)


async def copy(engine: Engine, thread_id: str, new_id: str | None = None, **how: Any) -> Thread:
    return await engine.threads.copy(thread_id, new_id, **{"request": None, **how})


async def answer(engine: Engine, thread_id: str, graph_id: str, resume: Any) -> Run:
    command = Command(resume=resume, has_resume=True)
    return await engine.run(graph_id, None, thread_id=thread_id, command=command, input=None)


async def states(engine: Engine, thread_id: str, namespace: str = "") -> list[StateSnapshot]:
    page = await engine.states.list(
        thread_id,
        checkpoint=CheckpointRef(checkpoint_ns=namespace),
        before=None,
        metadata={},
        limit=1000,
        cursor=None,
    )
    return page.items


def shown(thread: Thread) -> tuple[Any, ...]:
    return thread.state, thread.metadata, thread.values, thread.interrupts, thread.error


async def test_a_copy_of_an_interrupted_thread_is_interrupted_and_can_be_resumed(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    await engine.threads.update(thread_id, {"a": 1}, ThreadTtl(timedelta(hours=1)))
    await engine.run("asks", {"question": "why?"}, thread_id=thread_id)
    source = await engine.threads.get(thread_id)
    made = await copy(engine, thread_id)

    assert made.thread_id != thread_id
    assert made.state is ThreadState.INTERRUPTED
    assert [json.loads(question.value) for question in made.interrupts] == [{"question": "why?"}]
    assert shown(made) == shown(source)
    assert made.ttl == source.ttl
    assert made.create_time == made.update_time == made.state_update_time > source.update_time

    run = await answer(engine, made.thread_id, "asks", "because")
    assert run.state is RunState.SUCCEEDED
    assert json.loads(run.output or "")["answers"] == ["prepared", "because"]
    assert await engine.threads.get(thread_id) == source, "the copy is a thread of its own"
    other = await answer(engine, thread_id, "asks", "no reason")
    assert json.loads(other.output or "")["answers"] == ["prepared", "no reason"]


async def test_a_copy_has_the_history_of_subgraphs_and_what_is_pending_in_them(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    await engine.run("asks_in_subgraph", {"question": "in?"}, thread_id=thread_id)
    made = await copy(engine, thread_id)
    for include in (True, False):
        source, target = [
            await engine.states.get(each, None, include_subgraphs=include)
            for each in (thread_id, made.thread_id)
        ]
        assert target == source
    inside = source.tasks[0].checkpoint
    assert inside is not None
    there = await states(engine, thread_id, inside.checkpoint_ns)
    assert there
    assert await states(engine, made.thread_id, inside.checkpoint_ns) == there
    run = await answer(engine, made.thread_id, "asks_in_subgraph", "yes")
    assert json.loads(run.output or "")["answers"] == ["prepared", "yes"]


async def test_a_copy_of_a_failed_thread_tells_of_the_failure(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("fails", {"message": "boom"}, thread_id=thread_id)
    made = await copy(engine, thread_id)
    assert made.state is ThreadState.FAILED
    assert made.error is not None
    assert made.error.message == "boom"


async def test_an_empty_thread_has_an_empty_copy(engine: Engine) -> None:
    made = await copy(engine, await engine.thread())
    assert (made.state, made.values, made.interrupts) == (ThreadState.IDLE, None, ())
    assert await states(engine, made.thread_id) == []


async def test_runs_are_not_copied(engine: Engine) -> None:
    thread_id = await engine.thread()
    run = await engine.run("counter", {"count": 1}, thread_id=thread_id)
    made = await copy(engine, thread_id)
    await engine.threads.delete(thread_id)
    assert len(await states(engine, made.thread_id)) == 3
    with pytest.raises(ThreadNotFound):
        await engine.threads.get(run.thread_id or "")
    again = await engine.run("counter", {"count": 1}, thread_id=made.thread_id)
    assert json.loads(again.output or "")["count"] == 4


async def test_a_busy_thread_is_copied_as_it_was_before_its_run(
    engine: Engine, tmp_path: Path
) -> None:
    thread_id = await engine.thread()
    await engine.run("asks", {"question": "why?"}, thread_id=thread_id)
    before, there = await engine.threads.get(thread_id), await states(engine, thread_id)
    run = await engine.start("gate", {"directory": str(tmp_path)}, thread_id=thread_id)
    await until((tmp_path / "started").exists)
    await engine.start("counter", thread_id=thread_id)
    assert len(await states(engine, thread_id)) > len(there), "the run has begun to write"

    made = await copy(engine, thread_id)

    assert shown(made) == shown(before)
    assert await states(engine, made.thread_id) == there
    (tmp_path / "open").touch()
    await engine.ended(run)
    assert await states(engine, made.thread_id) == there
    resumed = await answer(engine, made.thread_id, "asks", "because")
    assert json.loads(resumed.output or "")["answers"] == ["prepared", "because"]


async def test_a_question_that_a_run_is_at_answering_is_open_in_the_copy(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("asks_and_dawdles", {"question": "why?"}, thread_id=thread_id)
    command = Command(resume="because", has_resume=True)
    run = await engine.start(
        "asks_and_dawdles", None, thread_id=thread_id, command=command, input=None
    )
    await until(lambda: engine.readers_of(run) == 0 and _executing(engine, run))
    made = await copy(engine, thread_id)
    assert [question.value for question in made.interrupts] == ['{"question":"why?"}']
    state = await engine.states.get(made.thread_id, None, include_subgraphs=False)
    assert state.interrupts == made.interrupts
    assert state.next == ("ask_and_dawdle",)
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=True)


async def _executing(engine: Engine, run: Run) -> bool:
    return (await engine.row(run)).state is RunState.RUNNING


async def test_a_copy_may_be_given_its_id_once(engine: Engine) -> None:
    thread_id, wanted = await engine.thread(), new_id()
    assert (await copy(engine, thread_id, wanted)).thread_id == wanted
    with pytest.raises(ThreadExists):
        await copy(engine, thread_id, wanted)
    with pytest.raises(ThreadExists):
        await copy(engine, thread_id, thread_id)
    with pytest.raises(ThreadNotFound):
        await copy(engine, new_id())


async def test_of_many_copies_under_one_id_one_is_made(engine: Engine) -> None:
    thread_id, wanted = await engine.thread(), new_id()
    made = await asyncio.gather(
        *(copy(engine, thread_id, wanted) for _ in range(9)), return_exceptions=True
    )
    assert sum(isinstance(each, Thread) for each in made) == 1
    assert sum(isinstance(each, ThreadExists) for each in made) == 8


async def test_a_repeated_request_gives_the_same_copy(engine: Engine) -> None:
    thread_id = await engine.thread()
    key = RequestKey("CopyThread", "id", b"hash")
    made = await asyncio.gather(*(copy(engine, thread_id, request=key) for _ in range(9)))
    assert len({thread.thread_id for thread in made}) == 1
    await engine.threads.delete(thread_id)
    assert await copy(engine, thread_id, request=key) == made[0], "though the source is gone"
    with pytest.raises(RequestIdReused):
        await copy(engine, thread_id, request=RequestKey("CopyThread", "id", b"other"))
    await engine.threads.delete(made[0].thread_id)
    with pytest.raises(ThreadNotFound):
        await copy(engine, thread_id, request=key)


# Whatever has happened on a thread.

Step = Callable[[Engine, str], Awaitable[Any]]


def runs_of(graph_id: str, graph_input: Any = None, **spec: Any) -> Step:
    return lambda engine, thread_id: engine.run(graph_id, graph_input, thread_id=thread_id, **spec)


async def resume(engine: Engine, thread_id: str) -> None:
    """Answer each open question, with the graph that asked."""
    state = await engine.states.get(thread_id, None, include_subgraphs=False)
    answers = {question.interrupt_id: "yes" for question in state.interrupts}
    if answers:
        graph_id = json.loads(state.metadata)["graph_id"]
        command = Command(resume_by_interrupt=answers)
        await engine.run(graph_id, None, thread_id=thread_id, command=command, input=None)


async def fork(engine: Engine, thread_id: str) -> None:
    """Run the graph that wrote it from the oldest checkpoint but one."""
    found = await states(engine, thread_id)
    if len(found) > 1 and found[-2].checkpoint is not None:
        start = RunCheckpoint(checkpoint_id=found[-2].checkpoint.checkpoint_id)
        graph_id = json.loads(found[-2].metadata)["graph_id"]
        await engine.run(graph_id, None, thread_id=thread_id, checkpoint=start, input=None)


async def update(engine: Engine, thread_id: str) -> None:
    await engine.states.update(
        thread_id, {"text": "by hand"}, as_node="answer", checkpoint=None, assistant_id="echo"
    )


async def keep_latest(engine: Engine, thread_id: str) -> None:
    await engine.threads.prune([thread_id], PruneStrategy.KEEP_LATEST)


STEPS: dict[str, Step] = {
    "count": runs_of("counter", {"count": 2}),
    "ask": runs_of("asks", {"question": "why?"}),
    "ask twice": runs_of("asks_twice", {"question": "why?"}),
    "ask within": runs_of("asks_in_subgraph", {"question": "in?"}),
    "add deltas": runs_of("deltas", {"items": [1]}),
    "call within": runs_of("counts_within", {}),
    "fail": runs_of("fails", {"message": "boom"}),
    "fail in parallel": runs_of("fails_in_parallel", {}),
    "pause": runs_of("two_steps", {}, interrupt_before=("second",)),
    "resume": resume,
    "fork": fork,
    "update": update,
    "prune": keep_latest,
}
NAMES = st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5)


def told(state: StateSnapshot, names: dict[str, str]) -> Any:
    """What a state shows, whichever run and whichever moment it is of: ids by when they come."""

    def name(found: str) -> str:
        return names.setdefault(found, str(len(names)))

    metadata = json.loads(state.metadata)
    place, parent = state.checkpoint, state.parent_checkpoint
    return (
        name(place.checkpoint_id) if place else None,
        name(parent.checkpoint_id) if parent else None,
        json.loads(state.values),
        state.next,
        [metadata.get(key) for key in ("source", "step", "graph_id")],
        [
            (task.name, task.error, [question.value for question in task.interrupts], task.result)
            for task in state.tasks
        ],
        sorted(question.value for question in state.interrupts),
    )


async def all_told(engine: Engine, thread_id: str) -> list[Any]:
    names: dict[str, str] = {}
    return [told(state, names) for state in reversed(await states(engine, thread_id))]


def questions(thread: Thread) -> list[str]:
    return sorted(question.value for question in thread.interrupts)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=NAMES, after=NAMES)
async def test_a_copy_has_the_same_history_and_the_same_future(
    engine: Engine, before: list[str], after: list[str]
) -> None:
    thread_id = await engine.thread()
    for step in before:
        await STEPS[step](engine, thread_id)
    made = await copy(engine, thread_id)
    assert shown(made) == shown(await engine.threads.get(thread_id))
    assert await states(engine, made.thread_id) == await states(engine, thread_id)
    for step in after:
        for each in (thread_id, made.thread_id):
            await STEPS[step](engine, each)
    source, target = [await engine.threads.get(each) for each in (thread_id, made.thread_id)]
    assert (target.state, target.values) == (source.state, source.values)
    assert questions(target) == questions(source)
    assert await all_told(engine, made.thread_id) == await all_told(engine, thread_id)
