"""LangGraph's RemoteGraph on this client: by itself, and as the node of another graph."""

import asyncio
import itertools
import operator
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from tests.support.graphs import plain
from tests.support.serving import serve_in_process
from typing_extensions import TypedDict

from runwire.client import RunwireClient, SyncRunwireClient, get_client, get_sync_client


class Face:
    """Graphs used as asynchronous code does, or as code on a thread does."""

    def __init__(self, client: RunwireClient | None, sync: SyncRunwireClient | None) -> None:
        self._client: Any = client
        self._sync: Any = sync

    def remote(self, graph_id: str) -> RemoteGraph:
        return RemoteGraph(graph_id, client=self._client, sync_client=self._sync)

    async def invoke(self, graph: Any, *given: Any, **more: Any) -> Any:
        if self._client is not None:
            return await graph.ainvoke(*given, **more)
        return await asyncio.to_thread(graph.invoke, *given, **more)

    async def stream(self, graph: Any, *given: Any, **more: Any) -> list[Any]:
        if self._client is not None:
            return [part async for part in graph.astream(*given, **more)]
        return await asyncio.to_thread(lambda: list(graph.stream(*given, **more)))

    async def call(self, graph: Any, method: str, *given: Any, **more: Any) -> Any:
        """Call one of the methods that have an asynchronous twin."""
        if self._client is None:
            made = await asyncio.to_thread(getattr(graph, method), *given, **more)
            return await asyncio.to_thread(list, made) if hasattr(made, "__next__") else made
        made = getattr(graph, f"a{method}")(*given, **more)
        return [item async for item in made] if hasattr(made, "__anext__") else await made


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RunwireClient]:
    async with serve_in_process(tmp_path) as app, get_client(app.address) as client:
        yield client


@pytest.fixture(params=["async", "sync"])
def face(request: pytest.FixtureRequest, client: RunwireClient) -> Any:
    if request.param == "async":
        yield Face(client, None)
        return
    address = client._connection.target
    with get_sync_client(address) as sync:
        yield Face(None, sync)


def on_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4())}, "metadata": {"a": 1}}


class TestByItself:
    async def test_a_conversation_with_a_question_in_it(self, face: Face) -> None:
        config, asks = on_thread(), face.remote("asks")
        paused = await face.invoke(asks, {"question": "why?"}, config)
        assert paused["answers"] == ["prepared"]
        state = await face.call(asks, "get_state", config)
        assert state.next == ("ask",)
        assert state.tasks[0].interrupts[0].value == {"question": "why?"}
        done = await face.invoke(asks, Command(resume="because"), config)
        assert done["answers"] == ["prepared", "because"]
        history = await face.call(asks, "get_state_history", config)
        assert history[0].values["answers"] == ["prepared", "because"]
        assert history[0].parent_config == history[1].config
        await face.call(asks, "update_state", config, {"answers": ["by hand"]}, as_node="ask")
        state = await face.call(asks, "get_state", config)
        assert state.values["answers"][-1] == "by hand"
        older = await face.call(asks, "get_state", history[1].config)
        assert older.config["configurable"] == history[1].config["configurable"]

    async def test_the_second_form_of_a_result_tells_its_questions(self, face: Face) -> None:
        asked = await face.invoke(face.remote("asks"), {}, on_thread(), version="v2")
        assert asked.value == {"answers": ["prepared"]}
        assert [question.value for question in asked.interrupts] == [{"question": "go on?"}]

    async def test_a_stream_is_what_the_graph_s_own_would_be(self, face: Face) -> None:
        nested, given = face.remote("nested"), {"seen": ["?"]}
        modes = ("values", "updates", "custom", None)
        for mode, subgraphs, version in itertools.product(modes, (False, True), ("v1", "v2")):
            how: Any = {"stream_mode": mode, "subgraphs": subgraphs, "version": version}
            told = await face.stream(nested, given, **how)
            how["stream_mode"] = mode or "updates"  # RemoteGraph's default; a graph has its own
            own = [part async for part in plain.nested.astream(cast(Any, given), **how)]
            assert without_ids(told) == without_ids(own), how

    async def test_several_modes_come_by_their_names(self, face: Face) -> None:
        modes = ["updates", "messages", "tasks", "checkpoints", "debug", "values", "custom"]
        parts = await face.stream(face.remote("messages"), {"say": "hi"}, stream_mode=modes)
        assert {part.event for part in parts} >= {"updates", "messages", "tasks", "values"}
        assert all(part.event in modes for part in parts)
        text = [part.data[0]["content"] for part in parts if part.event == "messages"]
        assert "".join(text) == "hi"

    async def test_the_drawing_of_a_graph_goes_as_deep_as_is_asked_for(self, face: Face) -> None:
        flat = await face.call(face.remote("nested"), "get_graph")
        deep = await face.call(face.remote("nested"), "get_graph", xray=True)
        assert {*flat.nodes} == {*plain.nested.get_graph().nodes}
        assert {*deep.nodes} == {*plain.nested.get_graph(xray=True).nodes}

    async def test_a_failure_is_raised(self, face: Face) -> None:
        with pytest.raises(RemoteException, match="boom"):
            await face.invoke(face.remote("fails"), {"message": "boom"})


def without_ids(parts: list[Any]) -> list[Any]:
    """Return parts as plain data, with the names of nodes in their namespaces alone."""

    def namespace(levels: Any) -> list[str]:
        return [level.partition(":")[0] for level in levels]

    plain_parts = []
    for part in parts:
        if isinstance(part, tuple):
            plain_parts.append([namespace(part[0]), *part[1:]])
        elif "ns" in part:
            ns, interrupts = namespace(part["ns"]), list(part.get("interrupts", ()))
            plain_parts.append({**part, "ns": ns, "interrupts": interrupts})
        else:
            plain_parts.append(part)
    return plain_parts


class State(TypedDict, total=False):
    question: str
    say: str
    seconds: float
    directory: str
    answers: Annotated[list[Any], operator.add]
    heard: Any


def parent_of(node: Any, saver: InMemorySaver | None = None) -> Any:
    """Return a graph whose only node this is."""
    builder = StateGraph(State).add_node("far", node).add_edge(START, "far")
    return builder.compile(checkpointer=saver)


class TestAsANode:
    async def test_its_state_becomes_the_parent_s(self, face: Face) -> None:
        done = await face.invoke(parent_of(face.remote("two_steps")), {})
        assert done == {"answers": ["first", "second"]}

    async def test_its_events_flow_into_the_parent_s_stream(self, face: Face) -> None:
        parent = parent_of(face.remote("talks_in_subgraph"))
        parts = await face.stream(
            parent, {"say": "hi"}, stream_mode=["updates", "messages", "custom"], subgraphs=True
        )
        levels = {tuple(level.partition(":")[0] for level in ns) for ns, _, _ in parts}
        assert () in levels
        assert ("far",) in levels
        assert any(level[:1] == ("far",) and len(level) == 2 for level in levels)
        text = [data[0]["content"] for _, mode, data in parts if mode == "messages"]
        assert "".join(text) == "hi"

    @pytest.mark.parametrize("by_id", [False, True])
    async def test_its_question_is_the_parent_s_and_so_is_the_answer(
        self, face: Face, by_id: bool
    ) -> None:
        parent, config = parent_of(face.remote("asks"), InMemorySaver()), on_thread()
        asked = await face.invoke(parent, {"question": "why?"}, config)
        (question,) = asked["__interrupt__"]
        assert question.value == {"question": "why?"}
        answer: Any = {question.id: "because"} if by_id else "because"
        done = await face.invoke(parent, Command(resume=answer), config)
        assert done["answers"] == ["prepared", "because"]
        assert "__interrupt__" not in done

    async def test_two_questions_at_once_are_both_the_parent_s(self, face: Face) -> None:
        parent, config = parent_of(face.remote("asks_twice"), InMemorySaver()), on_thread()
        asked = await face.invoke(parent, {"question": "why?"}, config)
        questions = {item.value["question"]: item.id for item in asked["__interrupt__"]}
        assert questions.keys() == {"why?", "and you?"}
        answers = {questions["why?"]: 1, questions["and you?"]: 2}
        done = await face.invoke(parent, Command(resume=answers), config)
        assert sorted(done["answers"]) == [1, 2]

    async def test_a_question_does_not_cancel_the_run_that_asks(
        self, face: Face, client: RunwireClient
    ) -> None:
        config = on_thread()
        parent = parent_of(face.remote("asks"), InMemorySaver())
        await face.invoke(parent, {"question": "why?"}, config)
        (run,) = await client.runs.list(config["configurable"]["thread_id"])
        assert run["state"] == "interrupted"

    async def test_a_failure_is_the_node_s(self, face: Face) -> None:
        with pytest.raises(RemoteException, match="no reason"):
            await face.invoke(parent_of(face.remote("fails")), {})

    async def test_a_run_that_somebody_cancels_is_a_failure_and_no_result(
        self, face: Face, client: RunwireClient
    ) -> None:
        config = on_thread()
        parent = parent_of(face.remote("slow_async"), InMemorySaver())
        working = asyncio.create_task(face.invoke(parent, {"seconds": 60}, config))
        run = await begun(client, config["configurable"]["thread_id"])
        await client.runs.cancel(run["thread_id"], run["run_id"])
        with pytest.raises(RemoteException, match="RunCancelled"):
            await working

    async def test_who_calls_without_the_node_s_config_starts_afresh(self, face: Face) -> None:
        """Only the node itself goes on after a question, not what else is called from one."""
        asks, far = face.remote("asks"), on_thread()

        async def node(state: State) -> State:
            return {"heard": await face.invoke(asks, {"question": "why?"}, far)}

        heard = (await parent_of(node).ainvoke({}))["heard"]
        assert heard["__interrupt__"][0]["value"] == {"question": "why?"}


class TestLeaving:
    """Runs that a node has started end with it."""

    @pytest.mark.parametrize("how", ["RemoteGraph", "wait"])
    async def test_a_run_ends_with_the_node_that_has_started_it(
        self, client: RunwireClient, how: str
    ) -> None:
        config = on_thread()

        async def node(state: State, config: RunnableConfig) -> State:
            thread_id = config["configurable"]["thread_id"]
            more: Any = {"input": {"seconds": 60}, "if_not_exists": "create"}
            await client.runs.wait(thread_id, "slow_async", **more)
            return {}

        remote = Face(client, None).remote("slow_async")
        parent = parent_of(remote if how == "RemoteGraph" else node, InMemorySaver())
        working = asyncio.create_task(parent.ainvoke({"seconds": 60}, config))
        run = await begun(client, config["configurable"]["thread_id"])
        working.cancel()
        await client.runs.join(run["thread_id"], run["run_id"])
        run = await client.runs.get(run["thread_id"], run["run_id"])
        assert (run["state"], run["cancel"]["cause"]) == ("cancelled", "disconnect")

    @pytest.mark.parametrize("method", ["stream", "wait"])
    async def test_a_node_may_want_it_otherwise(self, client: RunwireClient, method: str) -> None:
        thread_id = (await client.threads.create())["thread_id"]

        async def node(state: State) -> State:
            how: Any = {"input": {"seconds": 0.3}, "on_disconnect": "continue"}
            if method == "wait":
                await client.runs.wait(thread_id, "slow_async", **how)
            else:
                async for _ in client.runs.stream(thread_id, "slow_async", **how):
                    pass
            return {}

        working = asyncio.create_task(parent_of(node).ainvoke({}))
        run = await begun(client, thread_id)
        working.cancel()
        await client.runs.join(thread_id, run["run_id"])
        assert (await client.runs.get(thread_id, run["run_id"]))["state"] == "succeeded"

    async def test_outside_of_graphs_runs_go_on_without_their_callers(
        self, client: RunwireClient
    ) -> None:
        thread_id = (await client.threads.create())["thread_id"]
        stream: Any = client.runs.stream(thread_id, "slow_async", input={"seconds": 0.3})
        run = (await anext(stream)).data
        await stream.aclose()
        await client.runs.join(thread_id, run["run_id"])
        assert (await client.runs.get(thread_id, run["run_id"]))["state"] == "succeeded"


async def begun(client: RunwireClient, thread_id: str) -> Any:
    """Return the run on a thread when it is executing."""
    async with asyncio.timeout(60):
        while True:
            for run in await client.runs.list(thread_id, status="running"):
                return run
            await asyncio.sleep(0.01)
