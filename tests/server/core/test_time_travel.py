"""Going back: runs from older checkpoints, forks, and what subgraphs remember."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.engine import Engine, until

from runwire.server.model.errors import CheckpointNotFound, StateUpdateRefused
from runwire.server.model.ids import new_id
from runwire.server.model.runs import CancelAction, Command, Run, RunCheckpoint, RunSpec, RunState
from runwire.server.model.threads import CheckpointRef, StateSnapshot, ThreadState
from runwire.server.storage import checkpoints, pruning


async def states(engine: Engine, thread_id: str, **how: Any) -> list[StateSnapshot]:
    given = {"checkpoint": None, "before": None, "metadata": {}, "limit": 99, "cursor": None}
    return (await engine.states.list(thread_id, **{**given, **how})).items


async def state(
    engine: Engine, thread_id: str, checkpoint: CheckpointRef | None = None, *, deep: bool = False
) -> StateSnapshot:
    return await engine.states.get(thread_id, checkpoint, include_subgraphs=deep)


async def update(engine: Engine, thread_id: str, values: Any, **how: Any) -> CheckpointRef:
    given = {"as_node": "", "checkpoint": None, "assistant_id": "", **how}
    return await engine.states.update(thread_id, values, **given)


async def run_from(
    engine: Engine, graph_id: str, thread_id: str, place: CheckpointRef | None, **spec: Any
) -> Run:
    assert place is not None
    checkpoint = RunCheckpoint(
        checkpoint_id=place.checkpoint_id,
        checkpoint_ns=place.checkpoint_ns,
        checkpoint_map=place.checkpoint_map,
    )
    given = RunSpec(assistant_id=graph_id, thread_id=thread_id, checkpoint=checkpoint, **spec)
    return await engine.ended((await engine.create(given))[0])


def at(snapshot: StateSnapshot) -> CheckpointRef:
    assert snapshot.checkpoint is not None
    return snapshot.checkpoint


def values(snapshot: StateSnapshot) -> Any:
    return json.loads(snapshot.values)


async def test_a_run_from_an_older_checkpoint_leaves_both_branches(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", {"log": ["first"]}, thread_id=thread_id)
    fork = at(await state(engine, thread_id))
    await engine.run("counter", {"log": ["second"]}, thread_id=thread_id)
    left = await state(engine, thread_id)

    await run_from(engine, "counter", thread_id, fork, input={"log": ["other"]})

    right = await state(engine, thread_id)
    assert values(left)["log"] == ["first", "?", "second", "?"]
    assert values(right)["log"] == ["first", "?", "other", "?"]
    assert await state(engine, thread_id, at(left)) == left
    assert (await engine.threads.get(thread_id)).values == right.values
    children = [one for one in await states(engine, thread_id) if one.parent_checkpoint == fork]
    assert len(children) == 2


async def test_a_run_without_input_goes_on_from_the_checkpoint_that_it_names(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    await engine.run("steps", {"steps": 3}, thread_id=thread_id)
    history = await states(engine, thread_id)
    middle = next(one for one in history if len(values(one).get("done_steps", [])) == 1)

    run = await run_from(engine, "steps", thread_id, at(middle), input=None)

    assert run.state is RunState.SUCCEEDED
    assert values(await state(engine, thread_id)) == values(history[0])
    mine = await states(engine, thread_id, metadata={"run_id": run.run_id})
    assert mine[-1].parent_checkpoint == at(middle)
    assert len(mine) < len(history), "what was done before the checkpoint is not done again"


async def test_a_fork_asks_its_own_question_and_is_answered_alone(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("asks", {"question": "one"}, thread_id=thread_id)
    asked = await state(engine, thread_id)
    await update(engine, thread_id, {"question": "two"}, checkpoint=asked.parent_checkpoint)
    changed = await state(engine, thread_id)
    run = await run_from(engine, "asks", thread_id, at(changed), input=None)
    assert [json.loads(question.value) for question in run.interrupts] == [{"question": "two"}]
    assert (await engine.threads.get(thread_id)).state is ThreadState.INTERRUPTED
    assert (await state(engine, thread_id, at(asked))).interrupts == asked.interrupts


@pytest.mark.parametrize("field", ["checkpoint_id", "checkpoint_ns", "checkpoint_map"])
async def test_a_run_from_what_is_not_there_is_refused_before_it_is_created(
    engine: Engine, field: str
) -> None:
    thread_id = await engine.thread()
    await engine.run("echo", {"text": "x"}, thread_id=thread_id)
    wrong: dict[str, dict[str, Any]] = {
        "checkpoint_id": {"checkpoint_id": new_id()},
        "checkpoint_ns": {"checkpoint_id": "", "checkpoint_ns": "nowhere:1"},
        "checkpoint_map": {"checkpoint_id": "", "checkpoint_map": {"": new_id()}},
    }
    spec = RunSpec(
        assistant_id="echo", thread_id=thread_id, checkpoint=RunCheckpoint(**wrong[field])
    )
    with pytest.raises(CheckpointNotFound):
        await engine.create(spec)
    assert (await engine.threads.get(thread_id)).state is ThreadState.IDLE


async def test_a_rollback_after_a_fork_takes_back_that_run_alone(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", {"log": ["first"]}, thread_id=thread_id)
    fork = at(await state(engine, thread_id))
    await engine.run("counter", {"log": ["second"]}, thread_id=thread_id)
    before = (await states(engine, thread_id), await engine.threads.get(thread_id))

    checkpoint = RunCheckpoint(checkpoint_id=fork.checkpoint_id)
    run = await engine.start(
        "slow_async", {"seconds": 60}, thread_id=thread_id, checkpoint=checkpoint
    )
    await until(
        lambda: engine.database.read(lambda c: checkpoints.has_run(c, thread_id, run.run_id))
    )
    await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)

    history, thread = await states(engine, thread_id), await engine.threads.get(thread_id)
    assert history == before[0]
    assert (thread.state, thread.values) == (before[1].state, before[1].values)


# Subgraphs.


async def paused_below(engine: Engine) -> tuple[str, CheckpointRef]:
    """Return a thread that asks in a subgraph, and where."""
    thread_id = await engine.thread()
    await engine.run("asks_in_subgraph", {}, thread_id=thread_id)
    [task] = (await state(engine, thread_id)).tasks
    assert task.checkpoint is not None
    return thread_id, task.checkpoint


async def test_a_subgraph_s_state_is_shown_by_itself_at_any_of_its_checkpoints(
    engine: Engine,
) -> None:
    thread_id, below = await paused_below(engine)
    newest = await state(engine, thread_id, below)
    history = await states(engine, thread_id, checkpoint=below)
    assert newest.next == ("ask",)
    assert [one.next for one in history] == [("ask",), ("prepare",), ("__start__",)]
    for one in history:
        assert one.checkpoint is not None
        assert one.checkpoint.checkpoint_map, "how it is found from the graph above"
        assert await state(engine, thread_id, one.checkpoint) == one
    [task] = (await state(engine, thread_id, deep=True)).tasks
    assert task.state == newest
    by_map = CheckpointRef(
        checkpoint_ns=below.checkpoint_ns,
        checkpoint_map={below.checkpoint_ns: at(history[1]).checkpoint_id},
    )
    assert await state(engine, thread_id, by_map) == history[1]


async def test_a_subgraph_s_state_is_updated_and_the_thread_follows(engine: Engine) -> None:
    thread_id, below = await paused_below(engine)
    made = await update(
        engine, thread_id, {"answers": ["by hand"]}, as_node="ask", checkpoint=below
    )
    assert made.checkpoint_ns == below.checkpoint_ns
    shown = await state(engine, thread_id, below)
    assert (at(shown).checkpoint_id, shown.next) == (made.checkpoint_id, ())
    assert values(shown)["answers"][-1] == "by hand"
    thread = await engine.threads.get(thread_id)
    assert thread.state is ThreadState.INTERRUPTED, "the graph above has not gone on yet"
    run = await run_from(engine, "asks_in_subgraph", thread_id, CheckpointRef(), input=None)
    assert run.state is RunState.SUCCEEDED
    assert "by hand" in (run.output or "")


@pytest.mark.parametrize("complete", [True, False])
async def test_a_run_from_a_subgraph_s_checkpoint_starts_there(
    engine: Engine, complete: bool
) -> None:
    thread_id, below = await paused_below(engine)
    await engine.run(
        "asks_in_subgraph",
        None,
        thread_id=thread_id,
        command=Command(resume="yes", has_resume=True),
    )
    done = await state(engine, thread_id)
    [asking] = await states(engine, thread_id, checkpoint=below, metadata={"step": 1})
    place = at(asking) if complete else replace(at(asking), checkpoint_map={})

    run = await run_from(engine, "asks_in_subgraph", thread_id, place, input=None)

    assert run.state is RunState.INTERRUPTED, "it asks again"
    assert run.spec.checkpoint is not None
    assert run.spec.checkpoint.checkpoint_map == at(asking).checkpoint_map
    assert await state(engine, thread_id, at(done)) == done
    mine = await states(engine, thread_id, checkpoint=below, metadata={"run_id": run.run_id})
    assert not [one for one in mine if one.next == ("prepare",)], "that was done before it"


async def test_a_namespace_that_names_no_subgraph_takes_no_update(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("echo", {"text": "x"}, thread_id=thread_id)
    with pytest.raises(CheckpointNotFound, match="nowhere"):
        await update(engine, thread_id, {}, checkpoint=CheckpointRef(checkpoint_ns="nowhere:1"))
    with pytest.raises(CheckpointNotFound, match="nowhere"):
        await state(engine, thread_id, CheckpointRef(checkpoint_ns="nowhere:1"))
    assert (
        await states(engine, thread_id, checkpoint=CheckpointRef(checkpoint_ns="nowhere:1")) == []
    )


async def test_a_subgraph_with_one_history_for_its_thread_is_found_by_any_call(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    for _ in range(2):
        await engine.run("keeps_below", {}, thread_id=thread_id)
    history = await states(engine, thread_id)
    calling = next(one for one in history if one.next == ("below",))
    [task] = calling.tasks
    assert task.checkpoint is not None
    assert ":" in task.checkpoint.checkpoint_ns
    shown = await state(engine, thread_id, task.checkpoint)
    assert at(shown).checkpoint_ns == "below"
    kept = await states(engine, thread_id, checkpoint=task.checkpoint)
    assert len(kept) == 6, "three for each of the two runs"
    assert kept[0].checkpoint == shown.checkpoint
    made = await update(engine, thread_id, {"calls": 10}, checkpoint=task.checkpoint)
    assert made.checkpoint_ns == "below"
    changed = await state(engine, thread_id, CheckpointRef(checkpoint_ns="below"))
    assert values(changed)["calls"] == values(shown)["calls"] + 10


# Updates.


async def test_several_updates_are_one_step(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    before = len(await states(engine, thread_id))
    several = [{"count": 10, "log": ["a"]}, {"log": ["b"]}, {"count": 5}]
    await update(engine, thread_id, several, as_node="count")
    assert values(await state(engine, thread_id)) == {"count": 16, "log": ["?", "a", "b"]}
    assert len(await states(engine, thread_id)) == before + 1


async def test_nothing_as_values_counts_a_node_as_done(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("asks", {"question": "?"}, thread_id=thread_id)
    before = await state(engine, thread_id)
    await update(engine, thread_id, None, as_node="ask")
    after = await state(engine, thread_id)
    assert (after.next, values(after)) == ((), values(before))
    assert (await engine.threads.get(thread_id)).state is ThreadState.IDLE


@pytest.mark.parametrize("as_node", ["__end__", "__copy__"])
async def test_an_ended_or_copied_checkpoint_has_the_same_values(
    engine: Engine, as_node: str
) -> None:
    thread_id = await engine.thread()
    await engine.run("asks", {"question": "?"}, thread_id=thread_id)
    before = await state(engine, thread_id)
    await update(engine, thread_id, None, as_node=as_node)
    after, thread = await state(engine, thread_id), await engine.threads.get(thread_id)
    assert values(after) == values(before)
    ends = as_node == "__end__"
    assert after.next == (() if ends else before.next)
    assert thread.state is (ThreadState.IDLE if ends else ThreadState.INTERRUPTED)
    assert after.parent_checkpoint == (at(before) if ends else before.parent_checkpoint)


@pytest.mark.parametrize("graph_id", ["counter", "deltas"])
async def test_a_copy_with_updates_is_stored_whole_or_not_at_all(
    engine: Engine, graph_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, change = {
        "counter": ("count", {"log": ["copied"]}),
        "deltas": ("add", {"items": ["copied"]}),
    }[graph_id]
    thread_id = await engine.thread()
    await engine.run(graph_id, {}, thread_id=thread_id)
    before = await states(engine, thread_id)
    original = next(one for one in before if one.next == (node,))
    with pytest.raises(StateUpdateRefused):
        await update(
            engine, thread_id, [[{"nonsense": 1}, "nobody"]], as_node="__copy__",
            checkpoint=original.checkpoint,
        )  # fmt: skip
    assert await states(engine, thread_id) == before

    await update(
        engine, thread_id, [[change, node]], as_node="__copy__", checkpoint=original.checkpoint
    )

    made = await states(engine, thread_id)
    assert [json.loads(one.metadata)["source"] for one in made[:2]] == ["update", "fork"]
    assert values(made[1]) == values(original)
    assert "copied" in made[0].values
    assert made[0].parent_checkpoint == made[1].checkpoint
    assert made[1].parent_checkpoint == original.parent_checkpoint
    assert made[2:] == before


# Pages.


async def test_pages_stay_right_while_the_thread_moves_on_and_loses_its_past(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    for _ in range(3):
        await engine.run("counter", thread_id=thread_id)
    everything = await states(engine, thread_id)
    page = await engine.states.list(
        thread_id, checkpoint=None, before=None, metadata={}, limit=4, cursor=None
    )
    await engine.run("counter", thread_id=thread_id)
    rest = await states(engine, thread_id, cursor=page.next)
    assert page.items + rest == everything
    await engine.database.write(lambda c: pruning.prune_thread(c, thread_id))
    assert await states(engine, thread_id, cursor=page.next) == []
    assert len(await states(engine, thread_id)) == 1


async def test_states_are_narrowed_by_what_their_metadata_hold(engine: Engine) -> None:
    thread_id = await engine.thread()
    labelled = await engine.run("counter", thread_id=thread_id, metadata={"label": "a"})
    await engine.run("echo", {"text": "x"}, thread_id=thread_id)
    made = await update(engine, thread_id, {"text": "y"}, as_node="answer")
    everything = await states(engine, thread_id)
    filters: list[tuple[dict[str, Any], int]] = [
        ({"source": "input"}, 2),
        ({"source": "update"}, 1),
        ({"run_id": labelled.run_id}, 3),
        ({"run_id": labelled.run_id, "source": "loop"}, 2),
        ({"label": "a"}, 3),
        ({"graph_id": "echo"}, 4),
        ({"step": -1}, 1),
        ({"parents": {}}, 7),
        ({"step": "-1"}, 0),
    ]
    for wanted, count in filters:
        found = await states(engine, thread_id, metadata=wanted)
        assert len(found) == count, wanted
        assert found == [one for one in everything if one in found]
    [updated] = await states(engine, thread_id, metadata={"source": "update"})
    assert at(updated) == made
    older = await states(engine, thread_id, metadata={"graph_id": "echo"}, before=made)
    assert older == everything[1:4]
