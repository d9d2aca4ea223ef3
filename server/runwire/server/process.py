"""A server as a process: signals, how it stops, and what its exit code says."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from runwire.server.app import App, serving
from runwire.server.banner import choose_sample, render_banner
from runwire.server.graphs.config import ConfigError
from runwire.server.graphs.loading import GraphLoadError
from runwire.server.log_output import configure_logs, is_pretty
from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.rpc.server import CannotListen
from runwire.server.settings import Settings, unknown_variables
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.files import DatabaseInUse
from runwire.server.storage.migrate import SchemaTooNew

_logger = logging.getLogger(__name__)

STOPPED = 0
FAILED = 1

ONE_SIGNAL_SECONDS = 1.0
"""Signals closer together than this count as one: a terminal's Ctrl-C reaches every process in the
foreground, and a wrapper such as `uv run` passes it on once more."""

CLOSE_SECONDS = 15.0
"""How long everything but the runs may take to stop."""

COLLECT_AFTER = (20_000, 20, 50)
"""When to look for cycles: at Python's thresholds that took a seventh of the time of short runs."""

LEFTOVER_SECONDS = 3.0
"""How long threads, and what libraries do at exit, may take once everything is closed."""

_EXPECTED = (
    ConfigError,
    GraphLoadError,
    DatabaseInUse,
    DatabaseUnusable,
    SchemaTooNew,
    CannotListen,
    StorageFull,
    DatabaseUnavailable,
    OSError,
)


def run_server(settings: Settings) -> int:
    """Serve until a signal says to stop; return the process's exit code."""
    configure_logs(settings.log_level, settings.log_format)
    for name in unknown_variables():
        _logger.warning("%s is not a setting: see runwire serve --help", name)
    try:
        asyncio.run(_serve(settings))
    except _EXPECTED as error:
        _say_why(settings, error)
        return FAILED
    finally:
        # User code may have left threads behind that never end, and Python would wait for them.
        _exit_after(LEFTOVER_SECONDS, "threads that do not end are left behind")
    return STOPPED


async def _serve(settings: Settings) -> None:
    stop = StopSignals(settings.drain_grace.total_seconds())
    with stop.received():
        async with serving(settings) as app:
            await _announce(app)
            # What is there now stays: collections of garbage need not look at it again, which
            # would hold up every call for a tenth of a second now and then.
            gc.collect()
            gc.freeze()
            # A run makes thousands of objects that die young without any collection.
            gc.set_threshold(*COLLECT_AFTER)
            await stop.requested()
            _logger.info("stopping")
    _logger.info("stopped")


class StopSignals:
    """SIGTERM and SIGINT. The first one asks, a second one does not wait for an answer."""

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._asked: float | None = None
        self._stop = asyncio.Event()
        self._starting = asyncio.current_task()

    @contextmanager
    def received(self) -> Iterator[None]:
        """Receive signals in this block. One that comes before `requested` is waited for ends the
        block at once: what has not begun needs no grace."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive)
        try:
            yield
        except asyncio.CancelledError:
            if self._asked is None:
                raise

    async def requested(self) -> None:
        """Return when the process is asked to stop."""
        self._starting = None
        await self._stop.wait()

    def _receive(self) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            self._stop.set()
            limit = self._drain_seconds + CLOSE_SECONDS
            _exit_after(limit, "stopping takes too long: what still runs is left behind")
            if self._starting is not None:
                self._starting.cancel()
        elif now - self._asked > ONE_SIGNAL_SECONDS:
            _exit_after(0, "told to stop twice: what still runs is left behind")


def _exit_after(seconds: float, reason: str) -> None:
    """End the process by force unless it has ended by itself until then.

    What is left behind is in the database, and the next server on it goes on from there.
    """

    def exit_now() -> None:
        _logger.warning(reason)
        logging.shutdown()
        os._exit(FAILED)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()


def _say_why(settings: Settings, error: Exception) -> None:
    if is_pretty(settings.log_format, sys.stderr):
        sys.stderr.write(f"runwire cannot start: {error}\n")
    else:
        _logger.critical("cannot start", extra={"reason": str(error)})


async def _announce(app: App) -> None:
    settings = app.settings
    graph_ids = app.registry.graph_ids
    if is_pretty(settings.log_format, sys.stderr):
        sample = None
        if settings.takes_calls:
            sample = await choose_sample(app.assistants, graph_ids)
        sys.stderr.write(render_banner(settings, app.address, graph_ids, sample))
        return
    facts = {
        "address": app.address,
        "port": app.port,
        "graphs": graph_ids,
        "database": str(settings.database_path),
        "reflection": settings.reflects,
        "takes_calls": settings.takes_calls,
        "executes_runs": settings.executes_runs,
        "version": version("runwire"),
    }
    _logger.info("serving", extra=facts)
