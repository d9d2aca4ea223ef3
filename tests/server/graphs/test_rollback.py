"""Taking a run back: deleting what it wrote leaves the thread as it was, in every respect."""

import asyncio
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from tests.support.attempts import Attempts, writing_as
from typing_extensions import TypedDict

from runwire.server.graphs.saver import RunwireSaver
from runwire.server.model.attempts import Attempt
from runwire.server.storage import checkpoints
from runwire.server.storage.database import Database


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


class Trouble(Exception):
    pass


class Gate:
    """Where a test and a node that is to be cancelled meet."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def stop_here(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


def say(*words: Any) -> Callable[[Log], Log]:
    return lambda state: {"log": list(words)}


def ask(state: Log) -> Log:
    return {"log": [interrupt("first?")]}


def ask_twice(state: Log) -> Log:
    return {"log": [interrupt("first?"), interrupt("second?")]}


def ask_for(state: Any) -> Log:
    answer = interrupt(f"item {state['item']}?")
    return {"log": [f"{state['item']} {answer}"]}


def fan_out(state: Log) -> list[Send]:
    return [Send("ask_for", {"item": item}) for item in range(3)]


async def fail_or_wait(state: Log, config: RunnableConfig) -> Log:
    if gate := config["configurable"].get("gate"):
        await asyncio.sleep(0.02)  # the neighbours' writes are stored by now
        await gate.stop_here()
    if config["configurable"].get("fails"):
        raise Trouble
    return {"log": ["did not fail"]}


def plain() -> StateGraph[Log]:
    builder = StateGraph(Log).add_node("one", say("one")).add_node("two", say("two"))
    return builder.add_edge(START, "one").add_edge("one", "two")


def asking() -> StateGraph[Log]:
    builder = StateGraph(Log).add_node("one", say("one")).add_node("ask", ask)
    builder.add_node("after", say("after"))
    return builder.add_edge(START, "one").add_edge("one", "ask").add_edge("ask", "after")


def asking_twice() -> StateGraph[Log]:
    builder = StateGraph(Log).add_node("ask", ask_twice).add_node("after", say("after"))
    return builder.add_edge(START, "ask").add_edge("ask", "after")


def asking_below() -> StateGraph[Log]:
    builder = StateGraph(Log).add_node("below", asking().compile()).add_node("after", say("after"))
    return builder.add_edge(START, "below").add_edge("below", "after")


def asking_in_a_lasting_subgraph() -> StateGraph[Log]:
    below = asking().compile(checkpointer=True)
    builder = StateGraph(Log).add_node("below", below).add_node("after", say("after"))
    return builder.add_edge(START, "below").add_edge("below", "after")


def fanning_out() -> StateGraph[Log]:
    builder = StateGraph(Log).add_node("ask_for", ask_for).add_node("after", say("after"))
    builder.add_conditional_edges(START, fan_out, ["ask_for"])
    return builder.add_edge("ask_for", "after")


def with_trouble() -> StateGraph[Log]:
    builder = StateGraph(Log).add_node("one", say("one")).add_node("trouble", fail_or_wait)
    builder.add_node("ask", ask)
    builder.add_node("after", say("after"))
    return builder.add_edge(START, "one").add_edge(START, "trouble").add_edge(START, "ask")


@dataclass
class Case:
    """Runs on a thread, of which the last is taken back; then what answers it all differently."""

    builder: Callable[[], StateGraph[Log]]
    before: list[Any]
    taken_back: Any
    then: Any
    expected: list[Any]
    settings: dict[str, Any] = field(default_factory=dict)


NEW = {"log": ["new"]}
YES, NO = Command(resume="yes"), Command(resume="no")

CASES = {
    "fresh input on a new thread": Case(plain, [], NEW, {"log": ["b"]}, ["b", "one", "two"]),
    "fresh input": Case(
        plain, [{"log": ["a"]}], NEW, {"log": ["b"]}, ["a", "one", "two", "b", "one", "two"]
    ),
    "fresh input while a question is open": Case(
        asking, [{"log": ["a"]}], NEW, NO, ["a", "one", "no", "after"]
    ),
    "answer": Case(asking, [{"log": ["a"]}], YES, NO, ["a", "one", "no", "after"]),
    "first of two answers": Case(
        asking_twice, [{"log": ["a"]}], YES, NO, ["a"]
    ),
    "second of two answers": Case(
        asking_twice, [{"log": ["a"]}, NO], YES, NO, ["a", "no", "no", "after"]
    ),
    "answer to a subgraph": Case(
        asking_below, [{"log": ["a"]}], YES, NO, ["a", "a", "one", "no", "after", "after"]
    ),
    "answer to a subgraph that keeps its history": Case(
        asking_in_a_lasting_subgraph,
        [{"log": ["a"]}],
        YES,
        NO,
        ["a", "a", "one", "no", "after", "after"],
    ),
    "state update by a command": Case(
        asking,
        [{"log": ["a"]}],
        Command(update={"log": ["updated"]}, resume="yes"),
        NO,
        ["a", "one", "no", "after"],
    ),
    "failed": Case(
        with_trouble, [], NEW, {"log": ["b"]}, ["b", "one", "did not fail"], {"fails": True}
    ),
    "failed while a question is open": Case(
        with_trouble, [{"log": ["a"]}], NEW, NO, ["a", "no", "one", "did not fail"],
        {"fails": True},
    ),
    "cancelled in mid-superstep": Case(
        with_trouble, [], NEW, {"log": ["b"]}, ["b", "one", "did not fail"], {"gate": True}
    ),
    "cancelled in mid-superstep while a question is open": Case(
        with_trouble, [{"log": ["a"]}], NEW, NO, ["a", "no", "one", "did not fail"],
        {"gate": True},
    ),
}  # fmt: skip


class Thread:
    """A thread and the runs on it."""

    def __init__(self, database: Database, builder: StateGraph[Log], thread_id: str) -> None:
        self.database = database
        self.saver = RunwireSaver(database)
        self.graph = builder.compile(checkpointer=self.saver)
        self.attempts = Attempts(database)
        self.thread_id = thread_id

    async def run(self, graph_input: Any, *, cancel: bool = False, **settings: Any) -> Attempt:
        attempt = await self.attempts.start(self.thread_id)
        await self.execute(attempt, graph_input, cancel=cancel, **settings)
        await self.attempts.end(attempt)
        return attempt

    async def execute(
        self, attempt: Attempt, graph_input: Any, *, cancel: bool = False, **settings: Any
    ) -> None:
        configurable = {"thread_id": self.thread_id, "gate": (gate := Gate()) if cancel else None}
        config: RunnableConfig = {"configurable": {**configurable, **settings}}
        with writing_as(attempt):
            call = self.graph.ainvoke(graph_input, config, durability="sync")
            task = asyncio.create_task(call)
        try:
            if cancel:
                await gate.reached.wait()
                task.cancel()
            await task
        except (Trouble, asyncio.CancelledError):
            pass

    async def take_back(self, attempt: Attempt) -> None:
        await self.database.write(lambda c: checkpoints.delete_run(c, attempt.run_id))

    async def look(self) -> Any:
        """Return everything that can be seen of the thread."""
        config: RunnableConfig = {"configurable": {"thread_id": self.thread_id}}
        state = await self.graph.aget_state(config, subgraphs=True)
        history = [state async for state in self.graph.aget_state_history(config)]
        stored = await self.database.read(
            lambda c: checkpoints.list_checkpoints(c, thread_id=self.thread_id)
        )
        return state, state.interrupts, history, stored

    async def log(self) -> list[Any]:
        state, *_ = await self.look()
        log: list[Any] = state.values.get("log", [])
        return log


@pytest.fixture
async def thread_id(database: Database) -> str:
    return await Attempts(database).thread()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_thread_is_what_it_was_before_the_run(
    database: Database, thread_id: str, case: Case
) -> None:
    thread = Thread(database, case.builder(), thread_id)
    for graph_input in case.before:
        await thread.run(graph_input)
    before = await thread.look()
    settings = dict(case.settings)
    cancel = settings.pop("gate", False)
    attempt = await thread.run(case.taken_back, cancel=cancel, **settings)
    assert await thread.look() != before
    await thread.take_back(attempt)
    assert await thread.look() == before
    await thread.run(case.then)
    assert await thread.log() == case.expected


async def test_answers_to_a_fan_out_are_taken_back(database: Database, thread_id: str) -> None:
    thread = Thread(database, fanning_out(), thread_id)
    await thread.run({"log": ["a"]})
    before = await thread.look()
    questions = {asked.value: asked.id for asked in before[1]}
    assert len(questions) == 3
    some = {questions["item 0?"]: "yes", questions["item 2?"]: "yes"}
    all_of_them = dict.fromkeys(questions.values(), "yes")
    for answers in (some, all_of_them):
        attempt = await thread.run(Command(resume=answers))
        assert await thread.look() != before
        await thread.take_back(attempt)
        assert await thread.look() == before
    # Of answers that stay, those that follow are taken back alone.
    await thread.run(Command(resume=some))
    before = await thread.look()
    attempt = await thread.run(Command(resume={questions["item 1?"]: "yes"}))
    assert await thread.log() == ["a", "0 yes", "1 yes", "2 yes", "after"]
    await thread.take_back(attempt)
    assert await thread.look() == before
    await thread.run(Command(resume={questions["item 1?"]: "no"}))
    assert await thread.log() == ["a", "0 yes", "1 no", "2 yes", "after"]


async def test_all_attempts_of_a_run_are_taken_back(database: Database, thread_id: str) -> None:
    thread = Thread(database, with_trouble(), thread_id)
    await thread.run({"log": ["a"]})
    before = await thread.look()
    first = await thread.attempts.start(thread_id)
    await thread.execute(first, NEW, cancel=True)
    second = replace(first, number=2, owner="another server")
    await thread.attempts.set(second, attempt=2, owner=second.owner)
    await thread.execute(second, None)
    await thread.attempts.end(second)
    assert await thread.look() != before
    await thread.take_back(second)
    assert await thread.look() == before


async def test_runs_are_taken_back_one_by_one(database: Database, thread_id: str) -> None:
    thread = Thread(database, asking_twice(), thread_id)
    looks, runs = [], []
    for graph_input in ({"log": ["a"]}, YES, YES, {"log": ["b"]}, NO):
        looks.append(await thread.look())
        runs.append(await thread.run(graph_input))
    while runs:
        await thread.take_back(runs.pop())
        assert await thread.look() == looks.pop()
    assert await thread.log() == []


async def test_other_threads_keep_their_runs(database: Database, thread_id: str) -> None:
    thread = Thread(database, asking(), thread_id)
    other = Thread(database, asking(), await thread.attempts.thread())
    await other.run({"log": ["a"]})
    before = await other.look()
    attempt = await thread.run({"log": ["a"]})
    await thread.take_back(attempt)
    assert await other.look() == before
