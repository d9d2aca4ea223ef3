"""Factories: callables that make a graph for each use of it."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import _ExecutionRuntime, _ReadRuntime

from runwire.server.graphs.context import coerce_context
from runwire.server.graphs.loading import GraphLoadError

Access = Literal["threads.create_run", "threads.update", "threads.read", "assistants.read"]
"""What a graph is wanted for, in the words of `langgraph_sdk.runtime.ServerRuntime`."""

_CONFIG_TYPES = ("RunnableConfig",)
_RUNTIME_TYPES = ("ServerRuntime", "_ExecutionRuntime", "_ReadRuntime")


@dataclass(frozen=True, slots=True)
class Factory:
    """A callable of the user's, and the names of the parameters it takes."""

    graph_id: str
    function: Callable[..., Any]
    config_parameter: str | None
    runtime_parameter: str | None
    context_type: Any = None

    @asynccontextmanager
    async def make(
        self, access: Access, *, config: RunnableConfig, context: Any, store: BaseStore | None
    ) -> AsyncIterator[object]:
        """Call the factory; give what it made, for as long as its context manager is open.

        Runs the user's code on the calling loop, and raises whatever that raises.
        """
        arguments: dict[str, Any] = {}
        if self.config_parameter is not None:
            arguments[self.config_parameter] = _config_for(access, config)
        if self.runtime_parameter is not None:
            arguments[self.runtime_parameter] = self._runtime(access, context, store)
        made = self.function(**arguments)
        if inspect.isawaitable(made):
            made = await made
        if hasattr(made, "__aenter__"):
            async with made as graph:
                yield graph
        elif hasattr(made, "__enter__"):
            with made as graph:
                yield graph
        else:
            yield made

    def _runtime(self, access: Access, context: Any, store: BaseStore | None) -> Any:
        # The SDK says that a server always has a store; here it is one by configuration.
        if access != "threads.create_run":
            return _ReadRuntime(access_context=access, store=store)  # type: ignore[arg-type]
        return _ExecutionRuntime(
            access_context=access,
            store=store,  # type: ignore[arg-type]
            context=coerce_context(self.context_type, context),
        )


def inspect_factory(graph_id: str, function: Callable[..., Any]) -> Factory:
    """Return `function` as a factory.

    It may take a config, a runtime, both in any order, or neither; told apart by annotation, then
    by name; a single parameter without either is the config. Raises `GraphLoadError` when it
    wants something else.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise GraphLoadError(
            graph_id,
            f"{_name(function)} yields: a factory that cleans up is decorated with "
            "contextlib.contextmanager or contextlib.asynccontextmanager",
        )
    parameters = _parameters(graph_id, function)
    kinds = {parameter.name: _kind(parameter) for parameter in parameters}
    if len(kinds) == 1 and None in kinds.values():
        kinds = dict.fromkeys(kinds, "config")
    for parameter in parameters:
        if kinds[parameter.name] is None and parameter.default is parameter.empty:
            raise GraphLoadError(
                graph_id,
                f"the factory {_name(function)} wants {parameter.name!r}, and can be given only "
                "a config (RunnableConfig) and a runtime (ServerRuntime)",
            )
    by_kind = {kind: name for name, kind in kinds.items()}
    runtime = by_kind.get("runtime")
    return Factory(
        graph_id=graph_id,
        function=function,
        config_parameter=by_kind.get("config"),
        runtime_parameter=runtime,
        context_type=next((_context_type(p) for p in parameters if p.name == runtime), None),
    )


def _parameters(graph_id: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise GraphLoadError(graph_id, f"{_name(function)} cannot be called: {error}") from None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = [item for item in signature.parameters.values() if item.kind not in variable]
    for parameter in found:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise GraphLoadError(
                graph_id,
                f"the factory {_name(function)} takes {parameter.name!r} by position only",
            )
    return found


def _kind(parameter: inspect.Parameter) -> str | None:
    # As text, because an annotation may be a string of names that only its own module knows.
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else repr(annotation)
    if annotation is not parameter.empty:
        if any(name in text for name in _CONFIG_TYPES):
            return "config"
        if any(name in text for name in _RUNTIME_TYPES):
            return "runtime"
    return parameter.name if parameter.name in ("config", "runtime") else None


def _context_type(parameter: inspect.Parameter) -> Any:
    """Return the T of `ServerRuntime[T]`, or None."""
    arguments = get_args(parameter.annotation)
    return arguments[0] if arguments and isinstance(arguments[0], type) else None


def _config_for(access: Access, config: RunnableConfig) -> RunnableConfig:
    # Factories written for the Agent Server ask this key whether a run is about to start.
    executes = {"__is_for_execution__": access == "threads.create_run"}
    return {**config, "configurable": {**config.get("configurable", {}), **executes}}


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
