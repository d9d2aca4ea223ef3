"""The graphs that this server runs: loaded once, at start, and opened for each use."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal import _serde
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde import _msgpack
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore

from runwire.server.graphs.config import GraphEntry, GraphsConfig
from runwire.server.graphs.factories import Access, Factory, inspect_factory
from runwire.server.graphs.loading import GraphLoadError, load_attribute, put_on_path
from runwire.server.model.errors import GraphNotFound

Graph = Pregel[Any, Any, Any, Any]
"""A compiled graph of whatever state, context, input and output."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A graph that is the same for every use, with and without the server's checkpointer."""

    checkpointed: Graph
    plain: Graph


class Registry:
    """The configuration's graphs by id.

    `saver` and `store` become every graph's own. Nothing but `load` changes a registry, so any
    thread and loop may open graphs.
    """

    def __init__(
        self,
        config: GraphsConfig,
        *,
        saver: BaseCheckpointSaver[Any] | None,
        store: BaseStore | None,
    ) -> None:
        self._config = config
        self._saver = saver
        self._store = store
        self._graphs: dict[str, _Prepared | Factory] = {}

    @property
    def graph_ids(self) -> list[str]:
        """The ids of all graphs, in the configuration's order."""
        return list(self._config.graphs)

    def name(self, graph_id: str) -> str:
        """Return what a graph calls itself; its id if it does not, or comes from a factory."""
        graph = self._graphs.get(graph_id)
        return graph.plain.name if isinstance(graph, _Prepared) else graph_id

    def description(self, graph_id: str) -> str:
        """Return what the configuration says about a graph. Raises `GraphNotFound`."""
        return self._entry(graph_id).description

    async def load(self) -> None:
        """Import and prepare every graph. Factories are inspected, but not called.

        Raises `GraphLoadError` for the first graph that cannot be had.
        """
        put_on_path(self._config.directories)
        for graph_id, entry in self._config.graphs.items():
            # On a thread of its own: code that calls asyncio.run at import cannot have a running
            # loop around it.
            found = await asyncio.to_thread(load_attribute, entry, self._config)
            self._graphs[graph_id] = self._prepare(entry, found)

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        access: Access,
        *,
        config: RunnableConfig,
        context: dict[str, Any] | None = None,
        checkpointed: bool,
    ) -> AsyncIterator[Graph]:
        """Give a graph for one use, with the server's store and, if asked for, checkpointer.

        Costs microseconds, unless the graph comes from a factory: then the user's code runs here,
        with `config` and `context`, on the calling loop. Raises `GraphNotFound`, `GraphLoadError`
        and whatever a factory raises.
        """
        graph = self._graphs.get(self._entry(graph_id).graph_id)
        if isinstance(graph, Factory):
            made = graph.make(access, config=config, context=context, store=self._store)
            async with made as result:
                saver = self._saver if checkpointed else None
                yield self._adopt(graph_id, result, saver)
        elif graph is not None:
            yield graph.checkpointed if checkpointed else graph.plain
        else:
            raise GraphLoadError(graph_id, "is not loaded yet")

    def _entry(self, graph_id: str) -> GraphEntry:
        try:
            return self._config.graphs[graph_id]
        except KeyError:
            raise GraphNotFound(graph_id, self.graph_ids) from None

    def _prepare(self, entry: GraphEntry, found: object) -> "_Prepared | Factory":
        if isinstance(found, Pregel | StateGraph):
            return _Prepared(
                checkpointed=self._adopt(entry.graph_id, found, self._saver),
                plain=self._adopt(entry.graph_id, found, None),
            )
        if callable(found):
            return inspect_factory(entry.graph_id, found)
        raise GraphLoadError(
            entry.graph_id,
            f"{entry.source}:{entry.attribute} is {_a(found)}, and neither a graph nor a function "
            "that makes one",
        )

    def _adopt(self, graph_id: str, found: object, saver: BaseCheckpointSaver[Any] | None) -> Graph:
        """Return a copy of a graph that uses the server's saver and store."""
        if isinstance(found, StateGraph):
            try:
                found = found.compile(name=graph_id)
            except ValueError as error:
                raise GraphLoadError(graph_id, f"cannot be compiled: {error}") from error
        if not isinstance(found, Pregel):
            raise GraphLoadError(graph_id, f"its factory made {_a(found)} and not a graph")
        _refuse_own_storage(graph_id, found)
        # Not found.copy(): that loses which types the graph's checkpoints may hold.
        graph: Graph = copy.copy(found)
        if graph.name == "LangGraph":
            graph.name = graph_id
        allowed = _checkpoint_types(graph)
        graph.checkpointer = (
            saver if saver is None or allowed is None else (saver.with_allowlist(allowed))
        )
        # Done here once, or LangGraph would do it again for every run.
        graph._serde_allowlist = None
        graph.store = self._store
        # State leaves the graph as its channels hold it, complete or not: as an instance of its
        # class it would have to be valid after every superstep.
        graph._output_mapper = graph._state_mapper = None
        return graph


def _checkpoint_types(graph: Graph) -> set[tuple[str, ...]] | None:
    """Return the (module, name) pairs of types that the graph's checkpoints may hold.

    `with_config`, which LangChain's agents end with, forgets what `compile` found out.
    """
    if graph._serde_allowlist is not None or not _msgpack.STRICT_MSGPACK_ENABLED:
        return graph._serde_allowlist
    schemas: list[Any] = [graph.context_schema] if graph.context_schema else []
    if isinstance(graph, CompiledStateGraph):
        schemas.extend(graph.builder.schemas)
    return _serde.build_serde_allowlist(schemas=schemas, channels=dict(graph.channels))


def _refuse_own_storage(graph_id: str, graph: Graph) -> None:
    # True, False and None are all the same for a graph that is not inside another one.
    if isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise GraphLoadError(
            graph_id,
            f"brings its own checkpointer ({type(graph.checkpointer).__name__}): the server keeps "
            "checkpoints in its own database, so compile the graph without one",
        )
    if graph.store is not None:
        raise GraphLoadError(
            graph_id,
            f"brings its own store ({type(graph.store).__name__}): the server gives every graph "
            "its store, so compile the graph without one",
        )


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
