"""Creating runs: one transaction that resolves, checks, decides and stores."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from runwire.server.core.assistants import resolve
from runwire.server.core.endings import cancel_active, cancel_pending, settle_thread
from runwire.server.core.limits import NO_LIMITS, RunLimits, check_limits, hold_limits
from runwire.server.core.logs import Encode
from runwire.server.core.requests import remember, replay
from runwire.server.core.setups import find_origin
from runwire.server.model.assistants import Assistant
from runwire.server.model.errors import (
    CheckpointNotFound,
    QueueFull,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
    WaitsForItself,
)
from runwire.server.model.faults import fault
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    Cancel,
    CancelAction,
    CancelCause,
    IfThreadMissing,
    MultitaskStrategy,
    OnCompletion,
    Run,
    RunCheckpoint,
    RunConfig,
    RunSpec,
    RunState,
)
from runwire.server.model.threads import CheckpointRef, ThreadTtl
from runwire.server.storage import claims, locks, runs, servers, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.server.storage.notifications import Kind, notify


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What does not change from one creation to the next.

    `graph_ids` are the graphs that this server knows, `owner` is this server, `thread_ttl` is that
    of threads that are made together with a run.
    """

    graph_ids: Sequence[str]
    owner: str
    max_pending: int
    request_retention: timedelta
    encode: Encode
    thread_ttl: ThreadTtl | None = None
    limits: RunLimits = NO_LIMITS


@dataclass(slots=True)
class Creation:
    """What a creation did, for its caller to act on once it is committed.

    `started` are runs that this server has claimed; `stopping` runs that are being cancelled;
    `ended` runs that were cancelled while pending.
    """

    runs: list[Run] = field(default_factory=list)
    replayed: bool = False
    started: list[Run] = field(default_factory=list)
    stopping: list[str] = field(default_factory=list)
    ended: list[Run] = field(default_factory=list)


def create_runs(
    connection: Connection,
    specs: Sequence[RunSpec],
    request: RequestKey | None,
    rules: Rules,
    *,
    slots: int,
    principal: str = "",
    cron_id: str | None = None,
) -> Creation:
    """Create a run for each of `specs`, all or none, on behalf of `principal`; start up to `slots`
    of them at once, none if this server holds no lease. `cron_id` is the cron that makes them.

    Each is treated as if it came alone, in order. Raises what is wrong with a spec or with the
    state in which it finds its thread; then nothing is stored. Raises `RunNotFound` for a request
    that came before and whose runs have been deleted since.
    """
    now = current_time(connection)
    if request is not None:
        known = replay(connection, request, since=now - rules.request_retention)
        if known is not None:
            return Creation(runs=_found(connection, known), replayed=True)
    if slots > 0 and not servers.may_act(connection, rules.owner, now):
        slots = 0
    creation = Creation()
    if rules.limits.per_assistant or rules.limits.per_principal:
        pins = {(spec.assistant_id, spec.assistant_version) for spec in specs}
        found = [resolve(connection, *pin, rules.graph_ids).assistant_id for pin in pins]
        hold_limits(connection, found, principal, rules.limits)
    if len(specs) > 1:
        _hold_threads(connection, specs)
    for spec in specs:
        free = slots - len(creation.started)
        _create_run(connection, spec, rules, creation, free, now, principal, cron_id)
    made = {run.run_id for run in creation.runs}
    if made & {run.run_id for run in creation.ended} or made & set(creation.stopping):
        # A later one has cancelled an earlier one.
        creation.runs = _found(connection, [run.run_id for run in creation.runs])
    if request is not None:
        remember(connection, request, [run.run_id for run in creation.runs], now)
    fault("create.before_commit")
    return creation


def _hold_threads(connection: Connection, specs: Sequence[RunSpec]) -> None:
    """Lock the threads of several runs, and the names of those that may have to be made."""
    thread_ids = {spec.thread_id for spec in specs if spec.thread_id is not None}
    makers = [spec for spec in specs if spec.if_thread_missing is IfThreadMissing.CREATE]
    for thread_id in sorted(thread_ids & {spec.thread_id for spec in makers}):
        locks.hold_name(connection, "thread", thread_id)
    locks.hold_threads(connection, thread_ids)


def _found(connection: Connection, run_ids: list[str]) -> list[Run]:
    found = []
    for run_id in run_ids:
        run = runs.get_run(connection, run_id)
        if run is None:
            raise RunNotFound(run_id)
        found.append(run)
    return found


def _create_run(
    connection: Connection,
    spec: RunSpec,
    rules: Rules,
    creation: Creation,
    slots: int,
    now: datetime,
    principal: str,
    cron_id: str | None,
) -> None:
    assistant, thread_id = _place_of(connection, spec, rules, now)
    if thread_id is not None and spec.checkpoint is not None:
        spec = replace(spec, checkpoint=find_checkpoint(connection, thread_id, spec.checkpoint))
    blocked = False
    if thread_id is not None:
        _apply_strategy(connection, thread_id, spec, rules, creation, now)
        queue = claims.queue_of_thread(connection, thread_id)
        blocked = queue.active or queue.head is not None
    check_limits(connection, assistant.assistant_id, principal, rules.limits)
    run = _new_run(spec, assistant, thread_id, now, principal, cron_id)
    delayed = spec.start_delay > timedelta(0)
    if slots > 0 and not delayed and not blocked:
        run = replace(run, state=RunState.RUNNING, attempt=1, owner=rules.owner, start_time=now)
        creation.started.append(run)
    elif claims.count_pending(connection, up_to=rules.max_pending) >= rules.max_pending:
        raise QueueFull(rules.max_pending)
    runs.add_run(
        connection,
        run,
        runnable=run.state is RunState.PENDING and not delayed and thread_id is None,
        wake_time=run.due_time if delayed else None,
    )
    if run.state is RunState.PENDING:
        settle_thread(connection, thread_id, now)
    elif thread_id is not None:  # nobody comes before it, and nobody after it can be claimed
        threads.set_state(connection, thread_id, busy=True, now=now)
    if run.state is RunState.PENDING and (delayed or thread_id is None):
        notify(connection, Kind.WORK)
    creation.runs.append(run)


def _place_of(
    connection: Connection, spec: RunSpec, rules: Rules, now: datetime
) -> tuple[Assistant, str | None]:
    """Return what will run, and on which thread. The assistant is kept until the run is there to be
    seen."""
    pin = (spec.assistant_id, spec.assistant_version, rules.graph_ids)
    if spec.thread_id is None:
        assistant = resolve(connection, *pin, keep=True)
        return assistant, _thread_of(connection, spec, rules, now)
    if spec.if_thread_missing is IfThreadMissing.CREATE:
        resolve(connection, *pin)  # what is wrong is told before a thread is made
    thread_id = _thread_of(connection, spec, rules, now)
    # Kept only now: locks of threads come first.
    return resolve(connection, *pin, keep=True), thread_id


def _thread_of(connection: Connection, spec: RunSpec, rules: Rules, now: datetime) -> str | None:
    """Return the thread that the run will be on, made if the spec says so; None if stateless."""
    if spec.thread_id is None:
        if spec.on_completion is OnCompletion.KEEP:
            made = threads.add_thread(connection, new_id(), {}, now, rules.thread_ttl)
            return made.thread_id
        return None
    hold_thread(connection, spec.thread_id, spec.if_thread_missing, rules.thread_ttl, now)
    return spec.thread_id


def hold_thread(
    connection: Connection,
    thread_id: str,
    if_missing: IfThreadMissing,
    ttl: ThreadTtl | None,
    now: datetime,
) -> None:
    """Keep the queue of a thread from being changed by others before this transaction ends; make
    the thread if it is missing and may be. Raises `ThreadNotFound`."""
    if threads.lock_queue(connection, thread_id):
        return
    if if_missing is IfThreadMissing.FAIL:
        raise ThreadNotFound(thread_id)
    locks.hold_name(connection, "thread", thread_id)
    if not threads.lock_queue(connection, thread_id):
        threads.add_thread(connection, thread_id, {}, now, ttl)


def find_checkpoint(connection: Connection, thread_id: str, wanted: RunCheckpoint) -> RunCheckpoint:
    """Return the checkpoint that a run is to start from; one without an id is the newest of its
    namespace. That of a subgraph comes with those of the graphs above it, from which the run is
    to start: without them LangGraph would start from the newest.

    Raises `CheckpointNotFound`, also for one that its map names.
    """
    reference = CheckpointRef(
        checkpoint_id=wanted.checkpoint_id,
        checkpoint_ns=wanted.checkpoint_ns,
        checkpoint_map=wanted.checkpoint_map,
    )
    origin = find_origin(connection, thread_id, reference)
    if origin is None:
        raise CheckpointNotFound(thread_id, wanted.checkpoint_id)
    for checkpoint_ns, checkpoint_id in wanted.checkpoint_map.items():
        place = CheckpointRef(checkpoint_id=checkpoint_id, checkpoint_ns=checkpoint_ns)
        find_origin(connection, thread_id, place)
    if not wanted.checkpoint_ns or wanted.checkpoint_map:
        return wanted
    above = origin.metadata.get("parents") or {}
    return replace(
        wanted, checkpoint_map={**above, wanted.checkpoint_ns: origin.place.checkpoint_id}
    )


def _apply_strategy(
    connection: Connection,
    thread_id: str,
    spec: RunSpec,
    rules: Rules,
    creation: Creation,
    now: datetime,
) -> None:
    """Do to the thread's runs in flight what the new run's strategy says."""
    strategy = spec.multitask_strategy
    if strategy is MultitaskStrategy.ENQUEUE and not spec.awaited_by:
        return
    in_flight = claims.in_flight_of_thread(connection, thread_id)
    if strategy is MultitaskStrategy.ENQUEUE:
        for run in in_flight:
            if run.run_id in spec.awaited_by:
                raise WaitsForItself(thread_id, run.run_id)
        return
    if strategy is MultitaskStrategy.REJECT:
        if in_flight:
            raise ThreadBusy(thread_id)
        return
    action = CancelAction(strategy.value)
    cancel = Cancel(action=action, cause=CancelCause.MULTITASK, request_time=now)
    for run in in_flight:
        if run.state is RunState.PENDING:
            ended = cancel_pending(connection, run, cancel, rules.encode, now)
            creation.ended += [ended] if ended else []
        else:
            cancel_active(connection, run, cancel, now)
            creation.stopping.append(run.run_id)


def _new_run(
    spec: RunSpec,
    assistant: Assistant,
    thread_id: str | None,
    now: datetime,
    principal: str,
    cron_id: str | None,
) -> Run:
    return Run(
        run_id=new_id(),
        thread_id=thread_id,
        assistant_id=assistant.assistant_id,
        assistant_version=assistant.version,
        graph_id=assistant.graph_id,
        state=RunState.PENDING,
        spec=spec,
        config=_merged_config(assistant.config, spec.config),
        context=_merged_context(assistant, spec),
        metadata=spec.metadata,
        attempt=0,
        owner=None,
        create_time=now,
        due_time=now + spec.start_delay,
        update_time=now,
        principal=principal,
        cron_id=cron_id,
    )


def _merged_config(base: RunConfig, own: RunConfig) -> RunConfig:
    limit = own.recursion_limit if own.recursion_limit is not None else base.recursion_limit
    return RunConfig(
        tags=(*base.tags, *(tag for tag in own.tags if tag not in base.tags)),
        recursion_limit=limit,
        configurable={**base.configurable, **own.configurable},
    )


def _merged_context(assistant: Assistant, spec: RunSpec) -> dict[str, object] | None:
    if assistant.context is None and spec.context is None:
        return None
    return {**(assistant.context or {}), **(spec.context or {})}
