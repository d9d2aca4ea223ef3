"""Which graph shows a checkpoint, and set up how: as it was for whoever wrote the checkpoint."""

from runwire.server.graphs.setups import Setup
from runwire.server.graphs.state import lasting_namespace
from runwire.server.model.errors import CheckpointNotFound
from runwire.server.model.runs import RunConfig
from runwire.server.model.threads import CheckpointRef
from runwire.server.storage import assistants, origins
from runwire.server.storage.database import Connection
from runwire.server.storage.origins import Origin, Writer


def find_origin(connection: Connection, thread_id: str, wanted: CheckpointRef) -> Origin | None:
    """Return where the checkpoint that is `wanted` comes from; None if the thread has none at all.

    Raises `CheckpointNotFound` for one that is named and is not there.
    """
    checkpoint_id = named_checkpoint(wanted)
    found = None
    for checkpoint_ns in namespaces(wanted):
        found = found or origins.get_origin(connection, thread_id, checkpoint_ns, checkpoint_id)
    if found is None and (checkpoint_id or wanted.checkpoint_ns):
        raise CheckpointNotFound(thread_id, checkpoint_id, wanted.checkpoint_ns)
    return found


def named_checkpoint(wanted: CheckpointRef) -> str:
    """Return the id of the checkpoint that is `wanted`; empty for the newest. LangGraph names that
    of a subgraph also by its namespace in a map."""
    return wanted.checkpoint_id or wanted.checkpoint_map.get(wanted.checkpoint_ns, "")


def namespaces(wanted: CheckpointRef) -> list[str]:
    """Return where to look for what is `wanted`: a task tells the namespace of its call, also of a
    subgraph that keeps one history for all its calls."""
    return list(dict.fromkeys((wanted.checkpoint_ns, lasting_namespace(wanted.checkpoint_ns))))


def find_setup(connection: Connection, thread_id: str, writer: Writer) -> Setup:
    """Return a graph as it was set up for the writer of a checkpoint.

    That is its run's configuration, as long as the run's record is there; then that of its
    assistant, at the version that the run had; and if that was deleted too, none.
    """
    config, context = RunConfig(), None
    configured = None
    if writer.configured_by:
        configured = origins.get_configuration(connection, writer.configured_by)
    if configured is not None:
        config, context = configured
    elif writer.assistant_id:
        assistant = assistants.get_version(
            connection, writer.assistant_id, writer.assistant_version
        )
        if assistant is not None and assistant.graph_id == writer.graph_id:
            config, context = assistant.config, assistant.context
    return Setup(
        graph_id=writer.graph_id,
        thread_id=thread_id,
        assistant_id=writer.assistant_id,
        run_id=writer.configured_by,
        config=config,
        context=context,
    )
