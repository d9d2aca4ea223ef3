"""Composition: what a server consists of, opened in order and closed in reverse."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runwire.server.core.assistants import Assistants
from runwire.server.core.creation import Rules
from runwire.server.core.crons import Crons
from runwire.server.core.default_assistants import ensure_defaults
from runwire.server.core.follow import Follower
from runwire.server.core.hearing import Hearing
from runwire.server.core.limits import RunLimits
from runwire.server.core.logs import RunLogs
from runwire.server.core.news import News
from runwire.server.core.overview import Overview
from runwire.server.core.places import Places
from runwire.server.core.retention import Retention, notes_kept
from runwire.server.core.run_changes import RunChanges
from runwire.server.core.runs import Runs
from runwire.server.core.states import States
from runwire.server.core.store import Store
from runwire.server.core.supersteps import Supersteps
from runwire.server.core.thread_streams import ThreadStreams
from runwire.server.core.threads import Threads
from runwire.server.core.webhooks import Webhooks
from runwire.server.graphs.config import GraphsConfig, apply_env, read_config
from runwire.server.graphs.embedding import Embedder
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.saver import RunwireSaver
from runwire.server.graphs.store import RunwireStore
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.model.faults import armed, fault, parse_faults
from runwire.server.model.threads import PruneStrategy, ThreadTtl
from runwire.server.rpc.events import encode_event
from runwire.server.rpc.server import Answering, Limits, RpcServer
from runwire.server.rpc.servers import About, Promises
from runwire.server.rpc.thread_streams import encode_state_update
from runwire.server.runner.crons import CronLoop
from runwire.server.runner.retention import RetentionSweeper
from runwire.server.runner.runner import Runner, RunnerOptions
from runwire.server.runner.webhooks import WebhookSender
from runwire.server.settings import Settings, reachable_address
from runwire.server.storage.opening import database_at
from runwire.server.webhooks import sender_options, url_policy

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.001
"""At Python's 5 ms a busy runner thread delays every call, and halves what is streamed."""

HEALTH_SECONDS = 1.0
"""How often the server asks itself how it is."""

DATABASE_SECONDS = 5.0
"""How long the database may take to answer a question."""

END_LEASE_SECONDS = 1.0
"""How long an exit may be held up so that others need not wait for this server's lease."""

LIVE_SECONDS = 30.0
"""A runner loop that has not turned for this long is not taken for slow any more."""


class App:
    """A server's parts, put together. `serving` opens them."""

    def __init__(
        self, settings: Settings, config: GraphsConfig, *, shares_port: bool = False
    ) -> None:
        self.settings = settings
        self.database = database_at(
            settings.database_url,
            sqlite_full_sync=settings.sqlite_full_sync,
            silence=settings.silence,
        )
        index = config.store_index
        embedder = None if index is None else Embedder(config, index)
        self.registry = Registry(
            config,
            saver=RunwireSaver(self.database),
            store=RunwireStore(self.database, ttl=config.store_ttl, embedder=embedder),
        )
        self.logs = RunLogs(encode_event)
        self.follower = Follower(self.database, self.logs)
        self.sender = WebhookSender(self.database, sender_options(settings, config))
        self.news = News(self.database)
        self.runner = Runner(
            self.database,
            self.registry,
            self.logs,
            encode_event,
            _runner_options(settings),
            on_webhook=self.sender.wake,
        )
        self.retention = RetentionSweeper(
            self.database,
            Retention(**_values_of(settings, Retention)),
            interval=_sweep_interval(settings, config),
        )
        self._webhook_urls = url_policy(settings, config)
        self._thread_ttl = _thread_ttl(settings, config)
        shared = (self.database, self.registry, self.runner)
        retention = settings.request_retention
        rules = self._rules()
        self.runs = Runs(self.database, self.logs, self.follower, self.runner, rules)
        self.assistants = Assistants(*shared, self.runs, request_retention=retention)
        self.threads = Threads(
            self.database,
            self.runs,
            Supersteps(*shared),
            request_retention=retention,
            default_ttl=self._thread_ttl,
        )
        self.states = States(*shared, encode_state_update)
        self.crons = Crons(self.database, self.runs, rules)
        self.cron_loop = CronLoop(self.crons)
        places = Places(notes_kept(settings.event_retention))
        self.thread_streams = ThreadStreams(self.database, self.follower, self.news, places)
        self.run_changes = RunChanges(self.database, self.news, places)
        self.store = Store(self.database, self.runner, ttl=config.store_ttl, embedder=embedder)
        self.rpc_server = RpcServer(
            settings.bind,
            self.answering() if settings.takes_calls else None,
            limits=Limits(
                request_bytes=settings.max_request_bytes, calls=settings.max_concurrent_calls
            ),
            heartbeat=settings.heartbeat_interval,
            reflection=settings.reflects,
            shares_port=shares_port,
            principal_header=settings.principal_header,
        )

    def answering(self) -> Answering:
        """Return what answers calls."""
        promises = Promises(**_values_of(self.settings, Promises))
        about = About(
            server_id=self.runner.server_id,
            graph_ids=self.registry.graph_ids,
            promises=promises,
        )
        return Answering(
            assistants=self.assistants,
            threads=self.threads,
            states=self.states,
            thread_streams=self.thread_streams,
            runs=self.runs,
            crons=self.crons,
            store=self.store,
            webhooks=Webhooks(self.database),
            webhook_urls=self._webhook_urls,
            run_changes=self.run_changes,
            overview=Overview(self.database),
            about=about,
        )

    def _rules(self) -> Rules:
        return Rules(
            graph_ids=self.registry.graph_ids,
            owner=self.runner.server_id,
            max_pending=self.settings.max_pending_runs,
            request_retention=self.settings.request_retention,
            encode=encode_event,
            thread_ttl=self._thread_ttl,
            limits=RunLimits(
                per_assistant=self.settings.max_runs_per_assistant,
                per_principal=self.settings.max_runs_per_principal,
            ),
        )

    @property
    def port(self) -> int:
        """The port that is listened on, also when any was asked for."""
        return self.rpc_server.port

    @property
    def address(self) -> str:
        """Where this machine reaches the server."""
        return reachable_address(self.settings.bind, self.port)

    def end_lease(self) -> None:
        """Let other servers take what is executed here, because this process is about to exit
        without further ado. From any thread."""
        self.runner.heartbeat.end_blocking(END_LEASE_SECONDS)

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        """Import every graph, and see to it that each has its default assistant."""
        await self.registry.load()
        await self.store.load()
        await ensure_defaults(self.database, self.registry)
        yield

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Say to whoever asks for the server's health that it is up, as long as it is."""
        self.rpc_server.set_serving(True)
        if self.settings.takes_calls:
            self.runner.heartbeat.announce(self.address)
        watch = asyncio.create_task(self._watch_health(), name="health")
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait([watch])
            self.rpc_server.set_serving(False)

    async def _watch_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            turns = self.runner.watchdog.lag < LIVE_SECONDS
            self.rpc_server.set_live(turns and not self.runner.is_exhausted)
            self.rpc_server.set_serving(await self._reaches_database())

    async def _reaches_database(self) -> bool:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self.assistants.get(self.registry.graph_ids[0])
        except (DatabaseUnavailable, TimeoutError):
            return False
        except Exception:
            # Whatever it is, the watch has to go on: it is what would notice the end of it.
            _logger.exception("the database could not be asked")
            return False
        return True

    @asynccontextmanager
    async def drained(self) -> AsyncIterator[None]:
        """On leaving, bring every run to a place where another server can go on, and what is sent
        to an end, then end the streams: their readers have seen as much as there was."""
        try:
            yield
        finally:
            fault("drain.before_release")
            await asyncio.gather(self.runner.drain(), self.sender.drain())
            fault("drain.after_release")
            self.follower.drain()
            self.news.drain()


SWEEP_INTERVAL = timedelta(seconds=60)
"""How often what is too old is taken, unless something else is set."""


@asynccontextmanager
async def serving(settings: Settings, *, shares_port: bool = False) -> AsyncIterator[App]:
    """Give a server that is up and ready, and stop it on leaving. `shares_port`: other processes
    of its supervisor listen on its port too.

    Raises `ConfigError`, `GraphLoadError`, `DatabaseInUse`, `DatabaseUnusable`, `SchemaTooNew`,
    `CannotListen`, `StorageFull`, `DatabaseUnavailable`, and OSError when the database's file
    cannot be had.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    config = read_config(settings.config)
    for warning in config.warnings:
        _logger.warning(warning)
    apply_env(config)
    app = App(settings, config, shares_port=shares_port)
    with armed(parse_faults(settings.faults)):
        async with (
            app.database,
            app.loaded(),
            app.follower,
            app.news,
            app.runner,
            app.retention,
            app.sender,
            app.database.hearing(Hearing(app.follower, app.runner, app.news, app.crons.wake)),
            app.rpc_server,
            app.drained(),
            app.cron_loop,
            app.ready(),
        ):
            yield app


def _runner_options(settings: Settings) -> RunnerOptions:
    values = _values_of(settings, RunnerOptions)
    return RunnerOptions(**{**values, "max_concurrent_runs": settings.slots})


def _values_of(settings: Settings, kind: "type[DataclassInstance]") -> dict[str, Any]:
    """Return the settings that a part takes; they have the same names there."""
    return {field.name: getattr(settings, field.name) for field in fields(kind)}


def _sweep_interval(settings: Settings, config: GraphsConfig) -> timedelta:
    return settings.retention_interval or config.sweep_interval or SWEEP_INTERVAL


def _thread_ttl(settings: Settings, config: GraphsConfig) -> ThreadTtl | None:
    """Return the TTL of new threads: what is set stands above what the file says."""
    default = config.thread_ttl or ThreadTtl(timedelta(0))
    duration, strategy = settings.thread_ttl, settings.thread_ttl_strategy
    return ThreadTtl(
        default.duration if duration is None else duration,
        default.strategy if strategy is None else PruneStrategy(strategy),
    )
