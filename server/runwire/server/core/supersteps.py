"""What a thread that is to be made begins with: supersteps, applied by an assistant's graph."""

from collections.abc import Sequence

from runwire.server.core.assistants import resolve
from runwire.server.core.local import LocalRunner
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.setups import Setup, open_setup
from runwire.server.graphs.state import PlannedUpdate
from runwire.server.graphs.supersteps import plan_supersteps
from runwire.server.model.assistants import Assistant
from runwire.server.model.attempts import StateUpdate, current_writer
from runwire.server.model.threads import StateSnapshot, Superstep, ThreadState
from runwire.server.storage import threads
from runwire.server.storage.database import Connection, Database


class Supersteps:
    """Applies supersteps to threads that are not there yet."""

    def __init__(self, database: Database, registry: Registry, runner: LocalRunner) -> None:
        self._database = database
        self._registry = registry
        self._runner = runner

    async def plan(
        self, thread_id: str, assistant_id: str, supersteps: Sequence[Superstep]
    ) -> PlannedUpdate:
        """Return what supersteps leave on a new thread, to be stored together with it.

        Raises `AssistantNotFound`, `GraphNotFound`, `StateNotShown`, `StateUpdateRefused`.
        """

        def find(connection: Connection) -> Assistant:
            return resolve(connection, assistant_id, None, self._registry.graph_ids)

        assistant = await self._database.read(find)
        setup = Setup(
            graph_id=assistant.graph_id,
            thread_id=thread_id,
            assistant_id=assistant.assistant_id,
            config=assistant.config,
            context=assistant.context,
        )
        metadata = {
            "assistant_id": assistant.assistant_id,
            "assistant_version": assistant.version,
        }

        async def plan() -> PlannedUpdate:
            current_writer.set(StateUpdate(thread_id, assistant.graph_id))
            async with open_setup(self._registry, setup, "threads.update") as graph:
                return await plan_supersteps(graph, setup, supersteps, metadata)

        return await self._runner.call(plan)


def remains_of(snapshot: StateSnapshot) -> threads.Remains:
    """Return what a state that no run has left shows on its thread."""
    unfinished = snapshot.next or snapshot.interrupts
    return threads.Remains(
        rest_state=ThreadState.INTERRUPTED if unfinished else ThreadState.IDLE,
        values=snapshot.values,
        interrupts=snapshot.interrupts,
    )
