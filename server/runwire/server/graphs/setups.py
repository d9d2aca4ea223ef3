"""Graphs as they were set up for whoever wrote a checkpoint, opened again to look at it."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig

from runwire.server.graphs.factories import Access
from runwire.server.graphs.failures import is_shown, shown_message
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.model.errors import RunwireError, StateNotShown
from runwire.server.model.runs import RunConfig

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A graph of a thread, with its configuration. `run_id` is empty if it was no run's."""

    graph_id: str
    thread_id: str
    assistant_id: str = ""
    run_id: str = ""
    config: RunConfig = field(default_factory=RunConfig)
    context: dict[str, Any] | None = None

    @property
    def runnable_config(self) -> RunnableConfig:
        """The configuration as a factory takes it: what the run's was, but for the execution."""
        config: RunnableConfig = {
            "configurable": configurable_of(
                self.config,
                thread_id=self.thread_id,
                graph_id=self.graph_id,
                assistant_id=self.assistant_id,
                run_id=self.run_id,
            ),
            "tags": list(self.config.tags),
        }
        if self.config.recursion_limit is not None:
            config["recursion_limit"] = self.config.recursion_limit
        return config


def configurable_of(
    config: RunConfig, *, thread_id: str, graph_id: str, assistant_id: str, run_id: str
) -> dict[str, Any]:
    """Return the `configurable` that a graph is given: the caller's, and what the server adds."""
    return {
        # What graphs written for the Agent Server look up, and may give themselves.
        "user_id": "",
        **config.configurable,
        "thread_id": thread_id,
        "run_id": run_id,
        "graph_id": graph_id,
        "assistant_id": assistant_id,
        "langgraph_auth_user": None,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
        "langgraph_request_id": run_id,
    }


@asynccontextmanager
async def open_setup(registry: Registry, setup: Setup, access: Access) -> AsyncIterator[Graph]:
    """Give a graph, with the server's checkpointer, for as long as the block lasts.

    Raises `GraphNotFound`, and `StateNotShown` if its factory fails.
    """
    async with AsyncExitStack() as opened:
        with failures_told(setup.graph_id):
            graph = await opened.enter_async_context(
                registry.open(
                    setup.graph_id,
                    access,
                    config=setup.runnable_config,
                    context=setup.context,
                    checkpointed=True,
                )
            )
        yield graph


@contextmanager
def failures_told(graph_id: str) -> Iterator[None]:
    """Raise what the user's code raises in the block as `StateNotShown`, and log it: factories,
    reducers and types of values are the user's."""
    try:
        yield
    except RunwireError:
        raise
    except Exception as error:
        _logger.warning("a state cannot be shown", exc_info=error, extra={"graph_id": graph_id})
        failure = type(error).__name__
        if is_shown(error):
            failure += f": {shown_message(error)}"
        raise StateNotShown(graph_id, failure) from error
