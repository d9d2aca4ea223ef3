"""Which graph shows a state: the one that wrote it, set up as it was then."""

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.support.engine import Engine

from runwire.server.core.assistants import AssistantChange, AssistantDraft
from runwire.server.model.assistants import Assistant
from runwire.server.model.errors import GraphNotFound, StateNotShown
from runwire.server.model.runs import Run, RunConfig
from runwire.server.model.threads import CheckpointRef, StateSnapshot
from runwire.server.storage.database import Connection


def nodes(*names: str) -> RunConfig:
    return RunConfig(configurable={"nodes": list(names)})


async def assistant(engine: Engine, graph_id: str, **draft: Any) -> Assistant:
    made, _ = await engine.assistants.create(AssistantDraft(graph_id=graph_id, **draft), None)
    return made


async def states(engine: Engine, thread_id: str) -> list[StateSnapshot]:
    page = await engine.states.list(
        thread_id, checkpoint=None, before=None, metadata={}, limit=99, cursor=None
    )
    return page.items


async def update(engine: Engine, thread_id: str, values: Any, **how: Any) -> CheckpointRef:
    given = {"as_node": "", "checkpoint": None, "assistant_id": "", **how}
    return await engine.states.update(thread_id, values, **given)


async def newest(engine: Engine, thread_id: str) -> StateSnapshot:
    return await engine.states.get(thread_id, None, include_subgraphs=False)


async def nexts(engine: Engine, thread_id: str) -> list[str]:
    """Return what would run next at each checkpoint, the oldest first; each shown alone, too."""
    found = await states(engine, thread_id)
    for snapshot in found:
        alone = await engine.states.get(thread_id, snapshot.checkpoint, include_subgraphs=False)
        assert alone == snapshot
    return [" ".join(snapshot.next) for snapshot in reversed(found)]


async def test_a_graph_that_a_factory_makes_is_made_as_for_the_run(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("chain", thread_id=thread_id, config=nodes("a", "b"))
    await engine.run("chain", thread_id=thread_id, config=nodes("x"))
    await engine.run("echo", {"text": "t"}, thread_id=thread_id)
    assert await nexts(engine, thread_id) == [
        *("__start__", "a", "b", ""),
        *("__start__", "x", ""),
        *("__start__", "answer", ""),
    ]


async def test_two_assistants_of_one_factory_show_what_is_theirs(engine: Engine) -> None:
    thread_id = await engine.thread()
    one = await assistant(engine, "chain", config=nodes("a", "b"))
    other = await assistant(engine, "chain", config=nodes("x"))
    for made in (one, other, one):
        await engine.run(made.assistant_id, thread_id=thread_id)
    assert [next_ for next_ in await nexts(engine, thread_id) if next_ != "__start__"] == [
        *("a", "b", ""),
        *("x", ""),
        *("a", "b", ""),
    ]


async def test_a_later_version_of_the_assistant_changes_no_state(engine: Engine) -> None:
    thread_id = await engine.thread()
    made = await assistant(engine, "chain", config=nodes("a"))
    run = await engine.run(made.assistant_id, thread_id=thread_id)
    before = await states(engine, thread_id)
    await engine.assistants.update(made.assistant_id, AssistantChange(config=nodes("x")))
    assert await states(engine, thread_id) == before
    await engine.runs.delete(run.run_id)
    assert await states(engine, thread_id) == before, "the version that the run had is kept"


async def test_without_the_record_of_its_run_a_state_is_its_assistant_s(engine: Engine) -> None:
    thread_id = await engine.thread()
    made = await assistant(engine, "chain", config=nodes("a", "b"))
    run = await engine.run(made.assistant_id, thread_id=thread_id, config=nodes("x"))
    assert await nexts(engine, thread_id) == ["__start__", "x", ""]
    await engine.runs.delete(run.run_id)
    # The node of the run is gone with its configuration: nothing of it is left to be next.
    assert await nexts(engine, thread_id) == ["__start__", "", ""]
    assert json.loads((await newest(engine, thread_id)).values) == {"passed": ["x"]}


async def test_a_state_update_is_set_up_as_what_it_builds_on(engine: Engine) -> None:
    thread_id = await engine.thread()
    run = await engine.run("chain", thread_id=thread_id, config=nodes("a", "b", "c"))
    await update(engine, thread_id, {"passed": ["by hand"]}, as_node="a")
    await update(engine, thread_id, None, as_node="b")
    assert (await nexts(engine, thread_id))[-2:] == ["b", "c"]
    metadata = json.loads((await newest(engine, thread_id)).metadata)
    assert "run_id" not in metadata, "it is no run's, and no run takes it back"
    assert metadata["assistant_id"] == run.assistant_id


async def test_a_state_update_is_set_up_as_the_assistant_that_it_names(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("chain", thread_id=thread_id, config=nodes("a", "b"))
    named = await assistant(engine, "chain", config=nodes("x", "y"))
    await update(engine, thread_id, None, as_node="x", assistant_id=named.assistant_id)
    await engine.assistants.update(named.assistant_id, AssistantChange(config=nodes("z")))
    assert (await nexts(engine, thread_id))[-1] == "y"
    metadata = json.loads((await newest(engine, thread_id)).metadata)
    assert (metadata["assistant_id"], metadata["assistant_version"]) == (named.assistant_id, 1)


@pytest.mark.parametrize("way", ["context", "configurable"])
async def test_edges_see_in_a_state_update_what_they_see_in_a_run(engine: Engine, way: str) -> None:
    thread_id = await engine.thread()
    right: dict[str, Any] = (
        {"context": {"way": "right"}}
        if way == "context"
        else {"config": RunConfig(configurable={"way": "right"})}
    )
    await engine.run("turns", thread_id=thread_id, **right)
    await update(engine, thread_id, {"passed": ["again"]}, as_node="start")
    assert (await newest(engine, thread_id)).next == ("right",)
    await update(engine, thread_id, None, as_node="start", assistant_id="turns")
    assert (await newest(engine, thread_id)).next == ("left",)


async def test_a_thread_made_for_a_graph_takes_an_update_without_naming_it(engine: Engine) -> None:
    thread, _ = await engine.threads.create(
        None, {"graph_id": "echo"}, return_existing=False, request=None
    )
    await update(engine, thread.thread_id, {"text": "first"}, as_node="answer")
    assert (await newest(engine, thread.thread_id)).values == '{"text":"first"}'


async def lose(engine: Engine, run: Run, graph_id: str) -> None:
    """Let a run's checkpoints be those of a graph that this server does not have."""

    def rename(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"UPDATE checkpoints SET graph_id = '{graph_id}' WHERE run_id = '{run.run_id}'"
        )

    await engine.execute(rename)


async def test_a_graph_that_is_gone_is_told_and_spoils_no_other_state(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("echo", {"text": "one"}, thread_id=thread_id)
    gone = await engine.run("counter", thread_id=thread_id)
    shown = await states(engine, thread_id)
    await lose(engine, gone, "retired")

    found = await states(engine, thread_id)
    with pytest.raises(GraphNotFound, match="retired"):
        await newest(engine, thread_id)
    with pytest.raises(GraphNotFound, match="retired"):
        await update(engine, thread_id, {"count": 1})

    assert found[3:] == shown[3:]
    for snapshot, before in zip(found[:3], shown[:3], strict=True):
        assert "retired" in snapshot.not_shown
        assert (snapshot.values, snapshot.next, snapshot.tasks) == ("{}", (), ())
        assert json.loads(snapshot.metadata) == json.loads(before.metadata)
        assert (snapshot.checkpoint, snapshot.parent_checkpoint) == (
            before.checkpoint,
            before.parent_checkpoint,
        )
        assert snapshot.create_time is not None
        assert gone.end_time is not None
        a_second = timedelta(seconds=1)
        assert gone.create_time - a_second < snapshot.create_time < gone.end_time + a_second


async def test_a_factory_that_fails_is_told_and_spoils_no_other_state(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("echo", {"text": "one"}, thread_id=thread_id)
    fails = await assistant(engine, "chain", config=nodes())
    run = await engine.run(fails.assistant_id, thread_id=thread_id, config=nodes("a"))
    await engine.runs.delete(run.run_id)  # and with it the configuration without which it fails

    found = await states(engine, thread_id)
    with pytest.raises(StateNotShown, match="names no node"):
        await newest(engine, thread_id)

    assert [bool(snapshot.not_shown) for snapshot in found] == [True] * 3 + [False] * 3


async def test_a_state_that_another_graph_changes_meanwhile_is_shown_by_that_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("echo", {"text": "one"}, thread_id=thread_id)
    call = engine.runner.call

    async def run_and_call(function: Any) -> Any:
        monkeypatch.setattr(engine.runner, "call", call)
        await engine.run("counter", {"count": 4}, thread_id=thread_id)
        return await call(function)

    monkeypatch.setattr(engine.runner, "call", run_and_call)
    assert json.loads((await newest(engine, thread_id)).values) == {"count": 5, "log": ["?"]}
