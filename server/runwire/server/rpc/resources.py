"""Runs, threads, assistants, crons and their parts, from the model to the wire."""

from collections.abc import Sequence

from runwire.server.model.assistants import Assistant
from runwire.server.model.crons import Cron, CronError
from runwire.server.model.queues import QueuePosition
from runwire.server.model.runs import (
    Cancel,
    Command,
    Interrupt,
    Run,
    RunConfig,
    RunError,
    RunSpec,
)
from runwire.server.model.threads import (
    CheckpointRef,
    StateSnapshot,
    StateTask,
    Thread,
    ThreadStorage,
    Use,
)
from runwire.server.rpc import enums
from runwire.server.rpc.payloads import of_data, of_optional, of_text
from runwire.v1 import assistants_pb2, core_pb2, crons_pb2, threads_pb2


def run_message(run: Run) -> core_pb2.Run:
    """Return a run, without what it was asked to do."""
    return core_pb2.Run(
        run_id=run.run_id,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        assistant_version=run.assistant_version,
        graph_id=run.graph_id,
        state=enums.RUN_STATES.number(run.state),
        metadata=of_data(run.metadata),
        multitask_strategy=enums.MULTITASK_STRATEGIES.number(run.spec.multitask_strategy),
        attempt=run.attempt,
        error=error_message(run.error),
        cancel=cancel_message(run.cancel),
        create_time=run.create_time,
        start_time=run.start_time,
        end_time=run.end_time,
        update_time=run.update_time,
        priority=run.spec.priority,
        principal=run.principal,
        cron_id=run.cron_id,
    )


def full_run_message(run: Run) -> core_pb2.Run:
    """Return a run with what it was asked to do."""
    message = run_message(run)
    message.spec.CopyFrom(spec_message(run.spec))
    return message


def position_message(position: QueuePosition) -> core_pb2.QueuePosition:
    """Return what comes before a pending run."""
    return core_pb2.QueuePosition(
        runs_before_on_thread=position.on_thread,
        claimable_runs_before=position.claimable,
        capped=position.capped,
    )


def error_message(error: RunError | None) -> core_pb2.RunError | None:
    """Return why a run failed, if it did."""
    if error is None:
        return None
    return core_pb2.RunError(
        type=error.type,
        message=error.message,
        node=error.node,
        attempt=error.attempt,
        error_id=error.error_id,
    )


def cancel_message(cancel: Cancel | None) -> core_pb2.RunCancel | None:
    """Return a run's cancel, if there is one."""
    if cancel is None:
        return None
    return core_pb2.RunCancel(
        action=enums.CANCEL_ACTIONS.number(cancel.action),
        cause=enums.CANCEL_CAUSES.number(cancel.cause),
        abandoned=cancel.abandoned,
        request_time=cancel.request_time,
    )


def interrupt_messages(interrupts: Sequence[Interrupt]) -> list[core_pb2.Interrupt]:
    """Return open interrupts."""
    return [
        core_pb2.Interrupt(
            interrupt_id=interrupt.interrupt_id,
            value=of_text(interrupt.value),
            response_schema=of_text(schema) if (schema := interrupt.response_schema) else None,
        )
        for interrupt in interrupts
    ]


def spec_message(spec: RunSpec) -> core_pb2.RunSpec:
    """Return what a run was asked to do, with the defaults that applied."""
    return core_pb2.RunSpec(
        assistant_id=spec.assistant_id,
        assistant_version=spec.assistant_version,
        thread_id=spec.thread_id,
        input=None if spec.input is None else of_data(spec.input),
        command=_command_message(spec.command) if spec.command else None,
        checkpoint=_spec_checkpoint(spec),
        config=config_message(spec.config) if spec.config != RunConfig() else None,
        context=None if spec.context is None else of_data(spec.context),
        metadata=of_data(spec.metadata) if spec.metadata else None,
        stream_modes=[enums.STREAM_MODES.number(mode) for mode in spec.stream_modes],
        stream_subgraphs=spec.stream_subgraphs,
        interrupt_before=spec.interrupt_before,
        interrupt_after=spec.interrupt_after,
        multitask_strategy=enums.MULTITASK_STRATEGIES.number(spec.multitask_strategy),
        if_thread_missing=enums.IF_THREAD_MISSING.number(spec.if_thread_missing),
        on_completion=enums.ON_COMPLETION.number(spec.on_completion),
        on_disconnect=enums.ON_DISCONNECT.number(spec.on_disconnect),
        start_delay=spec.start_delay or None,
        timeout=spec.timeout,
        durability=enums.DURABILITIES.number(spec.durability),
        priority=spec.priority,
        webhook=spec.webhook,
    )


def _command_message(command: Command) -> core_pb2.Command:
    answers = command.resume_by_interrupt.items()
    return core_pb2.Command(
        resume=of_data(command.resume) if command.has_resume else None,
        resume_by_interrupt={interrupt_id: of_data(answer) for interrupt_id, answer in answers},
        update=of_data(command.update) if command.has_update else None,
        goto=[
            core_pb2.Goto(node=goto.node, input=of_data(goto.input) if goto.has_input else None)
            for goto in command.goto
        ],
    )


def _spec_checkpoint(spec: RunSpec) -> core_pb2.CheckpointRef | None:
    if spec.checkpoint is None:
        return None
    return core_pb2.CheckpointRef(
        thread_id=spec.thread_id,
        checkpoint_ns=spec.checkpoint.checkpoint_ns,
        checkpoint_id=spec.checkpoint.checkpoint_id,
        checkpoint_map=spec.checkpoint.checkpoint_map,
    )


def config_message(config: RunConfig) -> core_pb2.RunConfig:
    """Return LangGraph's configuration."""
    return core_pb2.RunConfig(
        tags=config.tags,
        recursion_limit=config.recursion_limit,
        configurable=of_data(config.configurable) if config.configurable else None,
    )


def assistant_message(assistant: Assistant) -> assistants_pb2.Assistant:
    """Return an assistant."""
    return assistants_pb2.Assistant(
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        name=assistant.name,
        description=assistant.description,
        config=config_message(assistant.config),
        context=None if assistant.context is None else of_data(assistant.context),
        metadata=of_data(assistant.metadata),
        version=assistant.version,
        create_time=assistant.create_time,
        update_time=assistant.update_time,
    )


def assistant_version_message(assistant: Assistant) -> assistants_pb2.AssistantVersion:
    """Return what an assistant was at a version."""
    return assistants_pb2.AssistantVersion(
        assistant_id=assistant.assistant_id,
        version=assistant.version,
        graph_id=assistant.graph_id,
        name=assistant.name,
        description=assistant.description,
        config=config_message(assistant.config),
        context=None if assistant.context is None else of_data(assistant.context),
        metadata=of_data(assistant.metadata),
        create_time=assistant.create_time,
    )


def thread_message(thread: Thread) -> threads_pb2.Thread:
    """Return a thread."""
    return threads_pb2.Thread(
        thread_id=thread.thread_id,
        state=enums.THREAD_STATES.number(thread.state),
        metadata=of_data(thread.metadata),
        values=of_optional(thread.values),
        interrupts=interrupt_messages(thread.interrupts),
        error=error_message(thread.error),
        create_time=thread.create_time,
        update_time=thread.update_time,
        state_update_time=thread.state_update_time,
        ttl=_ttl_message(thread),
        extracted={name: of_text(part) for name, part in thread.extracted.items()},
    )


def _ttl_message(thread: Thread) -> threads_pb2.ThreadTtl | None:
    if thread.ttl is None:
        return None
    return threads_pb2.ThreadTtl(
        duration=thread.ttl.duration,
        strategy=enums.PRUNE_STRATEGIES.number(thread.ttl.strategy),
        expire_time=thread.expire_time,
    )


def storage_message(storage: ThreadStorage) -> threads_pb2.ThreadStorage:
    """Return what a thread takes up."""
    return threads_pb2.ThreadStorage(
        thread_id=storage.thread_id,
        checkpoints=_use_message(storage.checkpoints),
        pending_writes=_use_message(storage.pending_writes),
        runs=_use_message(storage.runs),
        event_segments=_use_message(storage.event_segments),
        oldest_checkpoint_time=storage.oldest_checkpoint_time,
        newest_checkpoint_time=storage.newest_checkpoint_time,
        total_bytes=storage.total_bytes,
    )


def _use_message(use: Use) -> threads_pb2.StorageUse:
    return threads_pb2.StorageUse(count=use.count, bytes=use.bytes, at_least=use.at_least)


def checkpoint_message(
    thread_id: str, checkpoint: CheckpointRef | None
) -> core_pb2.CheckpointRef | None:
    """Return the name of a checkpoint of a thread, if there is one."""
    if checkpoint is None:
        return None
    return core_pb2.CheckpointRef(
        thread_id=thread_id,
        checkpoint_ns=checkpoint.checkpoint_ns,
        checkpoint_id=checkpoint.checkpoint_id,
        checkpoint_map=checkpoint.checkpoint_map,
    )


def state_message(thread_id: str, state: StateSnapshot) -> threads_pb2.StateSnapshot:
    """Return the state of a thread at a checkpoint; without one, there are no values."""
    exists = state.checkpoint is not None
    shown = exists and not state.not_shown
    return threads_pb2.StateSnapshot(
        values=of_optional(state.values) if shown else None,
        next=state.next,
        tasks=[_task_message(thread_id, task) for task in state.tasks],
        metadata=of_optional(state.metadata) if exists else None,
        create_time=state.create_time,
        checkpoint=checkpoint_message(thread_id, state.checkpoint),
        parent_checkpoint=checkpoint_message(thread_id, state.parent_checkpoint),
        interrupts=interrupt_messages(state.interrupts),
        not_shown=state.not_shown,
    )


def _task_message(thread_id: str, task: StateTask) -> threads_pb2.StateTask:
    return threads_pb2.StateTask(
        task_id=task.task_id,
        name=task.name,
        path=of_text(task.path),
        error=task.error,
        interrupts=interrupt_messages(task.interrupts),
        checkpoint=checkpoint_message(thread_id, task.checkpoint),
        state=state_message(thread_id, task.state) if task.state else None,
        result=of_optional(task.result),
    )


def cron_message(cron: Cron) -> crons_pb2.Cron:
    """Return a cron."""
    return crons_pb2.Cron(
        cron_id=cron.cron_id,
        assistant_id=cron.assistant_id,
        thread_id=cron.thread_id,
        schedule=cron.schedule,
        time_zone=cron.time_zone,
        spec=spec_message(cron.spec),
        enabled=cron.enabled,
        end_time=cron.end_time,
        metadata=of_data(cron.metadata),
        next_fire_time=cron.next_fire_time,
        last_fire_time=cron.last_fire_time,
        last_run_id=cron.last_run_id,
        last_error=_cron_error_message(cron.last_error) if cron.last_error else None,
        missed_fires=cron.missed_fires,
        principal=cron.principal,
        create_time=cron.create_time,
        update_time=cron.update_time,
    )


def _cron_error_message(error: CronError) -> crons_pb2.CronError:
    reason = f"ERROR_REASON_{error.reason}"
    return crons_pb2.CronError(reason=reason, message=error.message)
