"""Runs of small graphs without a server around them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runwire.server.graphs.inputs import build_inputs, run_config
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.graphs.stream import Outcome, RunControl, stream
from runwire.server.model.events import Data, Event
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Run, RunSpec, RunState, StreamMode


def make_run(graph_id: str, thread_id: str | None = None, *, attempt: int = 1, **spec: Any) -> Run:
    """Return a run as a server would hold it while it executes."""
    asked = RunSpec(assistant_id=graph_id, thread_id=thread_id, **spec)
    now = datetime.now(UTC)
    return Run(
        run_id=new_id(),
        thread_id=thread_id,
        assistant_id="7c1bf5a5-6a1c-5e5b-8e5e-5d4ad8d1a7c7",
        assistant_version=1,
        graph_id=graph_id,
        state=RunState.RUNNING,
        spec=asked,
        config=asked.config,
        context=asked.context,
        metadata=asked.metadata,
        attempt=attempt,
        owner="server",
        create_time=now,
        due_time=now,
        update_time=now,
    )


@dataclass
class Executed:
    """What came of a run: its events and how it ended."""

    events: list[Event] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def texts(self, mode: StreamMode) -> list[str]:
        """Return the JSON of the events of a mode."""
        bodies = [event.body for event in self.events]
        return [body.json for body in bodies if isinstance(body, Data) and body.mode is mode]


async def execute(
    registry: Registry,
    run: Run,
    *,
    resumed: bool = False,
    control: RunControl | None = None,
    into: Executed | None = None,
) -> Executed:
    """Execute a run that `registry` has the graph of.

    `into` keeps what came before a failure.
    """
    config = run_config(run, resumed=resumed, recursion_limit=100)
    checkpointed = run.thread_id is not None
    opened = registry.open(
        run.graph_id,
        "threads.create_run",
        config=config,
        context=run.context,
        checkpointed=checkpointed,
    )
    async with opened as graph:
        return await execute_on(graph, run, resumed=resumed, control=control, into=into)


async def execute_on(
    graph: Graph,
    run: Run,
    *,
    resumed: bool = False,
    control: RunControl | None = None,
    into: Executed | None = None,
) -> Executed:
    """Execute a run on a graph that is open already."""
    executed = into or Executed()
    config = run_config(run, resumed=resumed, recursion_limit=100)
    inputs = await build_inputs(graph, run, config, resumed=resumed)
    events = stream(
        graph,
        run,
        config=inputs.config,
        graph_input=inputs.graph_input,
        context=inputs.context,
        control=control or RunControl(),
        outcome=executed.outcome,
    )
    async for event in events:
        executed.events.append(event)
    return executed
