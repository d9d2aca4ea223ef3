"""Factories of graphs."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime

from runwire.server.graphs.context import ContextMismatch
from runwire.server.graphs.factories import Access, inspect_factory
from runwire.server.graphs.loading import GraphLoadError

CONFIG: RunnableConfig = {"configurable": {"name": "ann"}}
STORE = InMemoryStore()


@dataclass
class Context:
    depth: int = 1


async def made_by(
    function: Callable[..., Any],
    access: Access = "threads.create_run",
    context: Any = None,
) -> Any:
    factory = inspect_factory("chat", function)
    async with factory.make(access, config=CONFIG, context=context, store=STORE) as made:
        return made


def name(config: Any) -> Any:
    return config["configurable"]["name"]


def nothing() -> Any:
    return "made"


def only_config(config: RunnableConfig) -> Any:
    return name(config)


def only_something(whatever) -> Any:  # type: ignore[no-untyped-def]
    return name(whatever)


def by_annotation(a: ServerRuntime[Any], b: RunnableConfig) -> Any:
    return name(b), a.access_context


def by_name(runtime, config) -> Any:  # type: ignore[no-untyped-def]
    return name(config), runtime.access_context


def by_text(a: "ServerRuntime[Any]", b: "RunnableConfig | None" = None) -> Any:
    return name(b), a.access_context


def keywords(*, config: RunnableConfig, runtime: ServerRuntime[Any], extra: int = 5) -> Any:
    return name(config), runtime.access_context


def catch_all(config: RunnableConfig, *args: Any, **kwargs: Any) -> Any:
    return name(config)


async def coroutine(config: RunnableConfig) -> Any:
    return name(config)


class Maker:
    def __call__(self, config: RunnableConfig) -> Any:
        return name(config)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nothing, "made"),
        (only_config, "ann"),
        (only_something, "ann"),
        (by_annotation, ("ann", "threads.create_run")),
        (by_name, ("ann", "threads.create_run")),
        (by_text, ("ann", "threads.create_run")),
        (keywords, ("ann", "threads.create_run")),
        (catch_all, "ann"),
        (coroutine, "ann"),
        (Maker(), "ann"),
    ],
)
async def test_a_factory_gets_what_it_asks_for(function: Callable[..., Any], expected: Any) -> None:
    assert await made_by(function) == expected


async def test_context_managers_stay_open_while_the_graph_is_used() -> None:
    steps = []

    @contextmanager
    def sync_manager() -> Iterator[str]:
        steps.append("sync open")
        yield "sync"
        steps.append("sync closed")

    @asynccontextmanager
    async def async_manager(config: RunnableConfig) -> AsyncIterator[str]:
        steps.append("async open")
        yield "async"
        steps.append("async closed")

    for manager in (sync_manager, async_manager):
        factory = inspect_factory("chat", manager)
        async with factory.make("threads.read", config={}, context=None, store=None) as made:
            steps.append(str(made))

    assert steps == ["sync open", "sync", "sync closed", "async open", "async", "async closed"]


async def test_a_context_manager_sees_what_its_graph_raised() -> None:
    seen = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        try:
            yield "graph"
        except ValueError as error:
            seen.append(error)
            raise

    made = inspect_factory("chat", manager).make(
        "threads.create_run", config={}, context=None, store=None
    )
    with pytest.raises(ValueError, match="broke"):
        async with made:
            raise ValueError("broke")

    assert len(seen) == 1


def tell(runtime: ServerRuntime[Context]) -> Any:
    execution = runtime.execution_runtime
    return runtime.store, runtime.user, execution.context if execution else "none"


async def test_the_runtime_tells_what_the_graph_is_for() -> None:
    assert await made_by(tell, context={"depth": 4}) == (STORE, None, Context(4))
    assert await made_by(tell) == (STORE, None, Context())
    assert await made_by(tell, "threads.read", context={"depth": 4}) == (STORE, None, "none")


async def test_a_context_that_does_not_fit_is_told() -> None:
    with pytest.raises(ContextMismatch, match=r"context\.deep: no such field"):
        await made_by(tell, context={"deep": 4})


async def test_the_config_says_whether_a_run_starts() -> None:
    def executes(config: RunnableConfig) -> Any:
        return config["configurable"]["__is_for_execution__"]

    assert await made_by(executes) is True
    assert await made_by(executes, "assistants.read") is False
    assert "__is_for_execution__" not in CONFIG["configurable"]


def wants_more(config: RunnableConfig, database: str) -> Any: ...


def by_position(config: RunnableConfig, /) -> Any: ...


def generator(config: RunnableConfig) -> Iterator[Any]:
    yield "graph"


async def async_generator() -> AsyncIterator[Any]:
    yield "graph"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wants_more, "the factory wants_more wants 'database'"),
        (by_position, "takes 'config' by position only"),
        (generator, "generator yields: a factory that cleans up is decorated with"),
        (async_generator, "async_generator yields: a factory that cleans up is decorated with"),
    ],
)
def test_a_factory_that_cannot_be_called_is_refused_at_start(
    function: Callable[..., Any], message: str
) -> None:
    assert callable(function)
    assert inspect.signature(function) is not None

    with pytest.raises(GraphLoadError) as caught:
        inspect_factory("chat", function)

    assert str(caught.value).startswith("graph 'chat': ")
    assert message in str(caught.value)
