"""A graph's execution: LangGraph's stream in, our events out."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained as GraphDrained  # what a drained run's stream raises
from langgraph.runtime import RunControl as RunControl  # by which a run is asked to drain

from runwire.server.graphs.inputs import breakpoints
from runwire.server.graphs.parts import Outcome as Outcome
from runwire.server.graphs.parts import PartReader, to_interrupts
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.serialize import to_json
from runwire.server.model.events import Data, Event
from runwire.server.model.runs import Run, RunSpec, StreamMode

_INTERRUPT = "__interrupt__"


class GraphExited(RuntimeError):
    """The graph's code called `sys.exit`, which would end the loop that it runs on.

    It has ended that loop's `run_forever` once by now, if an async node or the loop of one did so:
    asyncio lets a SystemExit through. Whoever owns the loop has to let it go on.
    """


async def stream(
    graph: Graph,
    run: Run,
    *,
    config: RunnableConfig,
    graph_input: Any,
    context: Any,
    control: RunControl,
    outcome: Outcome,
) -> AsyncGenerator[Event]:
    """Execute a run's attempt; give its events, in the modes that the run asks for.

    `graph_input`, `config` and `context` are what `build_inputs` made. `outcome` is kept up to
    date while the stream goes on and is complete when it has ended. Whatever the graph raises is
    raised (a SystemExit as `GraphExited`), and `GraphDrained` when it has stopped at a superstep
    because `control` asked for it.
    """
    arguments = {
        "config": config,
        "context": context,
        "control": control,
        **_options(graph, run.spec),
    }
    reader = PartReader(graph, run.spec, outcome)
    if StreamMode.EVENTS in run.spec.stream_modes:
        events = _with_callback_events(graph, graph_input, arguments, reader)
    else:
        events = _plainly(graph, graph_input, arguments, reader)
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except SystemExit as exit_:
        raise GraphExited(f"the graph tried to end the process: SystemExit({exit_})") from exit_
    await _settle(graph, config, outcome)


@asynccontextmanager
async def keeping_remains(graph: Graph, run: Run, outcome: Outcome) -> AsyncGenerator[None]:
    """If the block fails or is cancelled, note in `outcome` what the run has left on its thread:
    the stream may have broken off before it told the last values, and a question that the run was
    to answer may still be open."""
    try:
        yield
    except (Exception, asyncio.CancelledError):
        if graph.checkpointer and run.thread_id is not None:
            with suppress(Exception):  # what went wrong in the block counts
                await _look_at_remains(graph, run, outcome)
        raise


async def _look_at_remains(graph: Graph, run: Run, outcome: Outcome) -> None:
    head = await graph.aget_state({"configurable": {"thread_id": run.thread_id}})
    outcome.unchanged = (head.metadata or {}).get("run_id") != run.run_id
    outcome.interrupts = to_interrupts(head.interrupts)
    if not isinstance(graph.output_channels, str):  # a function's values are what it returns
        outcome.keep_values(head.values, graph.output_channels)


def _options(graph: Graph, spec: RunSpec) -> dict[str, Any]:
    # The outcome comes from the two modes that are always there.
    modes = {"values", "updates", *(str(mode) for mode in spec.stream_modes)}
    return {
        "stream_mode": sorted(modes - {StreamMode.EVENTS}),
        "subgraphs": spec.stream_subgraphs,
        "interrupt_before": breakpoints(graph, "interrupt_before", spec.interrupt_before),
        "interrupt_after": breakpoints(graph, "interrupt_after", spec.interrupt_after),
        # LangGraph warns of a durability that nothing can give.
        "durability": str(spec.durability) if graph.checkpointer else None,
    }


async def _plainly(
    graph: Graph, graph_input: Any, arguments: dict[str, Any], reader: PartReader
) -> AsyncGenerator[Event]:
    parts: Any = graph.astream(graph_input, **arguments, version="v2")
    async with aclosing(parts):
        async for part in parts:
            interrupts = part.get("interrupts", ())
            event = reader.event(part["type"], part["ns"], part["data"], interrupts)
            if event is not None:
                yield event


async def _with_callback_events(
    graph: Graph, graph_input: Any, arguments: dict[str, Any], reader: PartReader
) -> AsyncGenerator[Event]:
    """Give the callback events, and the other modes' out of the root's chunks.

    Of these chunks, as callback events, the caller sees those that the graph would stream by
    default: exactly what `astream_events` gives in process.
    """
    own_mode = graph.stream_mode
    root: str | None = None
    events: Any = graph.astream_events(graph_input, **arguments, version="v2")
    async with aclosing(events):
        async for event in events:
            root = root or event["run_id"]
            if event["run_id"] == root and event["event"] == "on_chain_stream":
                namespace, mode, data = _chunk(event["data"]["chunk"])
                if mode == own_mode and not namespace:
                    yield _callback_event({**event, "data": {"chunk": data}})
                interrupts: Any = ()
                if mode == "values" and isinstance(data, dict) and _INTERRUPT in data:
                    data = dict(data)
                    interrupts = data.pop(_INTERRUPT)
                if (derived := reader.event(mode, namespace, data, interrupts)) is not None:
                    yield derived
            else:
                yield _callback_event(event)


def _chunk(chunk: Any) -> tuple[tuple[str, ...], str, Any]:
    # With subgraphs a chunk has a namespace before its mode.
    return chunk if len(chunk) == 3 else ((), *chunk)


def _callback_event(event: Any) -> Event:
    return Event(Data(StreamMode.EVENTS, to_json(event)))


async def _settle(graph: Graph, config: RunnableConfig, outcome: Outcome) -> None:
    """Find out whether a graph that stopped at a breakpoint has anything left to do."""
    if outcome.interrupts or not outcome.at_breakpoint:
        outcome.paused = bool(outcome.interrupts)
    elif graph.checkpointer:
        thread_id = config["configurable"]["thread_id"]
        head = await graph.aget_state({"configurable": {"thread_id": thread_id}})
        outcome.paused = bool(head.next)
    else:
        outcome.paused = True
