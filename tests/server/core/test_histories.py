"""Whatever is done to a thread in whatever order: its history is what LangGraph's own saver would
hold of the same, and what is taken back leaves no trace."""

import contextlib
import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import EmptyInputError
from langgraph.types import Command as GraphCommand
from tests.support.engine import Engine, until

from runwire.server.graphs import state as graph_states
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.model.errors import StateUpdateRefused
from runwire.server.model.runs import (
    CancelAction,
    Command,
    Run,
    RunCheckpoint,
    RunSpec,
    RunState,
)
from runwire.server.model.threads import CheckpointRef, StateSnapshot, ThreadState
from runwire.server.storage import checkpoints

GRAPH = "journeys"

ways = st.sampled_from(["arrive", "ask", "fail", "below"])
places = st.integers(min_value=0, max_value=30)
steps = st.one_of(
    st.tuples(st.just("run"), ways),
    st.tuples(st.just("go on")),
    st.tuples(st.just("answer"), st.sampled_from(["north", "south"])),
    st.tuples(st.just("run from"), places, ways),
    st.tuples(st.just("go on from"), places),
    st.tuples(
        st.just("update"),
        st.none() | places,
        st.none() | ways,
        st.sampled_from([None, "set_out", "ask", "arrive", "nowhere", "__end__", "__copy__"]),
    ),
)

ANY_DATABASE = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Reference:
    """The same graph with LangGraph's own saver, and nothing around it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = copy.copy(graph)
        self.graph.checkpointer = InMemorySaver()

    def at(self, checkpoint_id: str = "") -> RunnableConfig:
        named = {"checkpoint_id": checkpoint_id} if checkpoint_id else {}
        return {"configurable": {"thread_id": "t", "checkpoint_ns": "", **named}}

    async def run(self, graph_input: Any, checkpoint_id: str = "") -> None:
        with contextlib.suppress(ValueError, EmptyInputError):  # then the run fails as well
            await self.graph.ainvoke(graph_input, self.at(checkpoint_id), durability="sync")

    async def history(self) -> list[StateSnapshot]:
        found = self.graph.aget_state_history(self.at())
        return [graph_states._snapshot(snapshot) async for snapshot in found]

    async def newest(self) -> StateSnapshot:
        return await graph_states.get_state(self.graph, "t", include_subgraphs=True)


class Subject:
    """A thread of the server."""

    def __init__(self, engine: Engine, thread_id: str) -> None:
        self.engine = engine
        self.thread_id = thread_id

    async def run(self, graph_input: Any, checkpoint_id: str = "", **spec: Any) -> Run:
        if checkpoint_id:
            spec["checkpoint"] = RunCheckpoint(checkpoint_id=checkpoint_id)
        if isinstance(graph_input, Command):
            spec["command"], graph_input = graph_input, None
        given = RunSpec(assistant_id=GRAPH, thread_id=self.thread_id, input=graph_input, **spec)
        return await self.engine.ended((await self.engine.create(given))[0])

    async def history(self) -> list[StateSnapshot]:
        """Return all states, read in pages that are too small."""
        found: list[StateSnapshot] = []
        cursor = None
        while True:
            page = await self.engine.states.list(
                self.thread_id, checkpoint=None, before=None, metadata={}, limit=3, cursor=cursor
            )
            found, cursor = found + page.items, page.next
            if cursor is None:
                return found

    async def newest(self) -> StateSnapshot:
        return await self.engine.states.get(self.thread_id, None, include_subgraphs=True)

    async def everything(self) -> Any:
        """Return all that can be seen of the thread, and all that is stored of its states."""
        stored = await self.engine.database.read(
            lambda c: checkpoints.list_checkpoints(c, thread_id=self.thread_id)
        )
        thread = await self.engine.threads.get(self.thread_id)
        shown = (thread.state, thread.values, thread.interrupts, thread.error, thread.metadata)
        return shown, await self.newest(), await self.history(), stored


async def opened(registry: Registry) -> Graph:
    manager = registry.open(GRAPH, "threads.read", config={}, checkpointed=True)
    async with manager as graph:
        return graph


def compared(history: Sequence[StateSnapshot]) -> list[Any]:
    """Return states as two savers can agree on them: ids by where they are in the history."""
    positions = {
        snapshot.checkpoint.checkpoint_id: number
        for number, snapshot in enumerate(history)
        if snapshot.checkpoint
    }
    return [_compared(snapshot, positions) for snapshot in history]


def _compared(snapshot: StateSnapshot, positions: dict[str, int]) -> Any:
    metadata = json.loads(snapshot.metadata)
    parent = snapshot.parent_checkpoint
    return (
        json.loads(snapshot.values),
        snapshot.next,
        (metadata.get("source"), metadata.get("step")),
        None if parent is None else positions.get(parent.checkpoint_id),
        [value.value for value in snapshot.interrupts],
        [
            (
                task.name,
                task.error,
                task.result,
                [question.value for question in task.interrupts],
                task.checkpoint is not None,
                task.state and _compared(task.state, {}),
            )
            for task in snapshot.tasks
        ],
    )


async def take(subject: Subject, reference: Reference, step: tuple[Any, ...]) -> None:
    """Do the same to both."""
    ours, theirs = await subject.history(), await reference.history()

    def place(number: int | None) -> tuple[str, str]:
        if number is None or not ours:
            return "", ""
        here, there = ours[number % len(ours)].checkpoint, theirs[number % len(ours)].checkpoint
        assert here is not None
        assert there is not None
        return here.checkpoint_id, there.checkpoint_id

    match step:
        case ["run", way]:
            await subject.run({"way": way, "log": ["in"]})
            await reference.run({"way": way, "log": ["in"]})
        case ["go on"]:
            await subject.run(None)
            await reference.run(None)
        case ["answer", answer]:
            await subject.run(Command(resume=answer, has_resume=True))
            await reference.run(GraphCommand(resume=answer))
        case ["run from", number, way]:
            here, there = place(number)
            await subject.run({"way": way, "log": ["fork"]}, here)
            await reference.run({"way": way, "log": ["fork"]}, there)
        case ["go on from", number]:
            here, there = place(number)
            await subject.run(None, here)
            await reference.run(None, there)
        case ["update", number, way, as_node]:
            values = None if way is None else {"way": way, "log": ["update"]}
            here, there = place(number)
            await update(subject, reference, values, as_node, here, there)


async def update(
    subject: Subject, reference: Reference, values: Any, as_node: str | None, here: str, there: str
) -> None:
    refused = False
    try:
        await reference.graph.aupdate_state(reference.at(there), values, as_node)
    except Exception:  # noqa: BLE001 - whatever LangGraph says no with
        refused = True
    try:
        await subject.engine.states.update(
            subject.thread_id,
            values,
            as_node=as_node or "",
            checkpoint=CheckpointRef(checkpoint_id=here) if here else None,
            assistant_id=GRAPH,
        )
    except StateUpdateRefused:
        assert refused, (values, as_node)
        return
    assert not refused, (values, as_node)
    thread, newest = await subject.engine.threads.get(subject.thread_id), await subject.newest()
    assert thread.values == newest.values
    waits = thread.state is ThreadState.INTERRUPTED
    assert waits == bool(newest.next or newest.interrupts)


@given(plan=st.lists(steps, min_size=1, max_size=6))
@ANY_DATABASE
async def test_a_history_is_what_langgraph_s_own_saver_would_hold(
    engine: Engine, plan: list[tuple[Any, ...]]
) -> None:
    subject = Subject(engine, await engine.thread())
    reference = Reference(await opened(engine.registry))
    for step in plan:
        await take(subject, reference, step)
        ours, theirs = await subject.history(), await reference.history()
        assert compared(ours) == compared(theirs), step
        heads = [await subject.newest(), await reference.newest()]
        assert compared(heads[:1])[0][:3] == compared(heads[1:])[0][:3]
        assert [_compared(head, {})[4:] for head in heads[:1]] == [
            _compared(head, {})[4:] for head in heads[1:]
        ]
        for snapshot in ours:
            alone = await engine.states.get(
                subject.thread_id, snapshot.checkpoint, include_subgraphs=False
            )
            assert alone == snapshot


@given(
    plan=st.lists(steps, max_size=4),
    number=st.none() | places,
    other=st.booleans(),
    started=st.booleans(),
)
@ANY_DATABASE
async def test_a_run_that_is_taken_back_leaves_no_trace(
    engine: Engine, plan: list[tuple[Any, ...]], number: int | None, other: bool, started: bool
) -> None:
    subject = Subject(engine, await engine.thread())
    reference = Reference(await opened(engine.registry))
    for step in plan:
        await take(subject, reference, step)
    history, before = await subject.history(), await subject.everything()
    spec: dict[str, Any] = {}
    if number is not None and history:
        place = history[number % len(history)].checkpoint
        assert place is not None
        spec["checkpoint"] = RunCheckpoint(checkpoint_id=place.checkpoint_id)
    graph_id, graph_input = GRAPH, {"way": "wait", "log": ["lost"]}
    if other:
        graph_id, graph_input = "slow_async", {"seconds": 60}
    run = await engine.start(graph_id, graph_input, thread_id=subject.thread_id, **spec)
    if started:
        await until(
            lambda: engine.database.read(
                lambda c: checkpoints.has_run(c, subject.thread_id, run.run_id)
            )
        )

    ended = await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)

    assert ended.state is RunState.CANCELLED
    assert await subject.everything() == before
