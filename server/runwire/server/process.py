"""A server as a process: signals, how it stops, and what its exit code says."""

import gc
import logging
import sys
from importlib.metadata import version
from typing import Any

import uvloop

from runwire.server.app import App, serving
from runwire.server.banner import choose_sample, render_banner
from runwire.server.exits import CLOSE_SECONDS, FAILED, STOPPED, exit_after, say_why
from runwire.server.graphs.config import ConfigError
from runwire.server.graphs.loading import GraphLoadError
from runwire.server.log_output import configure_logs, is_pretty
from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.rpc.server import CannotListen
from runwire.server.seat import Seat
from runwire.server.settings import Settings, unknown_variables
from runwire.server.signals import StopSignals
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.files import DatabaseInUse
from runwire.server.storage.migrate import SchemaTooNew

_logger = logging.getLogger(__name__)

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


def run_server(settings: Settings, seat: Seat | None = None) -> int:
    """Serve until a signal says to stop; return the process's exit code. `seat`: this is one of
    several server processes, and leaves to its supervisor what is said once for all."""
    configure_logs(settings.log_level, settings.log_format, process=seat.number if seat else None)
    if seat is None:
        for name in unknown_variables():
            _logger.warning("%s is not a setting: see runwire serve --help", name)
    leftover_seconds = LEFTOVER_SECONDS
    try:
        if uvloop.run(_serve(settings, seat)):
            leftover_seconds = 0.0
    except _EXPECTED as error:
        say_why(settings.log_format, error)
        return FAILED
    finally:
        # User code may have left threads behind that never end, and Python would wait for them.
        exit_after(leftover_seconds, "threads that do not end are left behind")
    return STOPPED


async def _serve(settings: Settings, seat: Seat | None) -> bool:
    """Serve until a signal says to stop. Return whether code is left behind that does not stop."""
    app: App | None = None

    def let_others_go_on() -> None:
        if app is not None:
            app.end_lease()

    def leaves_code() -> bool:
        return app is not None and app.runner.left_behind

    def leave(seconds: float, why: str) -> None:
        exit_after(seconds, f"{why}: what still runs is left behind", let_others_go_on)

    limit = settings.drain_grace.total_seconds() + CLOSE_SECONDS
    stop = StopSignals(
        lambda: leave(limit, "stopping takes too long"), lambda: leave(0, "told to stop twice")
    )
    with stop.received():
        async with serving(settings, shares_port=seat is not None) as app:
            await _announce(app, seat)
            # What is there now stays: collections of garbage need not look at it again, which
            # would hold up every call for a tenth of a second now and then.
            gc.collect()
            gc.freeze()
            # A run makes thousands of objects that die young without any collection.
            gc.set_threshold(*COLLECT_AFTER)
            await stop.requested()
            _logger.info("stopping")
    _logger.info("stopped")
    return leaves_code()


async def _announce(app: App, seat: Seat | None) -> None:
    pretty = is_pretty(app.settings.log_format, sys.stderr)
    if seat is not None:
        seat.report({"banner": await _banner(app) if pretty else "", "facts": _facts(app)})
    elif pretty:
        sys.stderr.write(await _banner(app))
    else:
        _logger.info("serving", extra=_facts(app))


async def _banner(app: App) -> str:
    graph_ids = app.registry.graph_ids
    takes_calls = app.settings.takes_calls
    sample = await choose_sample(app.assistants, graph_ids) if takes_calls else None
    return render_banner(app.settings, app.address, graph_ids, sample)


def _facts(app: App) -> dict[str, Any]:
    settings = app.settings
    return {
        "address": app.address,
        "port": app.port,
        "graphs": app.registry.graph_ids,
        "database": settings.database_shown,
        "reflection": settings.reflects,
        "takes_calls": settings.takes_calls,
        "executes_runs": settings.executes_runs,
        "version": version("runwire"),
    }
