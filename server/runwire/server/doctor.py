"""`runwire doctor`: whether a server could start here, and how those that run are.

Each check needs what the one before has found, so that the first thing that is wrong is the last
that is looked at where nothing more can be known.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from runwire.server.core.overview import MAX_COUNTED, list_alive, read_queue
from runwire.server.durations import format_duration
from runwire.server.graphs.config import ConfigError, apply_env, read_config
from runwire.server.graphs.loading import GraphLoadError
from runwire.server.graphs.registry import Registry
from runwire.server.model.queues import QueueStats
from runwire.server.model.servers import Server
from runwire.server.settings import Settings, unknown_variables
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.inspecting import Inspection, holder_of, inspecting
from runwire.server.storage.migrate import HEAD, is_known, revision
from runwire.server.storage.queues import count_active, count_orphans

CLOCK_TOLERANCE = timedelta(seconds=1)
"""How far this machine's clock may be from the database's before it is told. Nothing depends on
it but what people make of the times in two logs."""


class Verdict(StrEnum):
    """What a check has found."""

    OK = "ok"
    WARNING = "warning"
    """Worth a look, and no server is hindered by it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, a sentence about it, and the sentence's facts as data."""

    name: str
    verdict: Verdict
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)


def print_checks(checks: Iterator[Check], *, as_json: bool) -> bool:
    """Print checks, a line for each as it comes, or all as one JSON object; return whether none
    has failed."""
    done = []
    for check in checks:
        done.append(check)
        if not as_json:
            sys.stdout.write(f"{check.verdict:<8} {check.name:<9} {check.sentence}\n")
            sys.stdout.flush()
    well = all(check.verdict is not Verdict.FAILED for check in done)
    if as_json:
        sys.stdout.write(json.dumps({"ok": well, "checks": [_data(each) for each in done]}) + "\n")
    return well


def _data(check: Check) -> dict[str, Any]:
    fixed = {"name": check.name, "verdict": check.verdict.value, "sentence": check.sentence}
    return {**check.facts, **fixed}


def examine(settings: Settings) -> Iterator[Check]:
    """Look at everything that a server with these settings needs, and at those that run."""
    yield _settings(settings)
    yield _graphs(settings)
    path = settings.database_path if settings.is_embedded else None
    if path is not None and not path.exists():
        sentence = f"{path} is not there yet: the first server that starts makes it"
        yield Check("database", Verdict.OK, sentence)
        return
    try:
        with inspecting(settings.database_url) as inspection:
            yield from _database(settings, inspection)
    except DatabaseUnusable as error:
        yield Check("database", Verdict.FAILED, str(error))


def refused(reason: str) -> Iterator[Check]:
    """Return the only check there is when the settings are wrong."""
    yield Check("settings", Verdict.FAILED, "; ".join(reason.splitlines()))


def _settings(settings: Settings) -> Check:
    unknown = unknown_variables()
    if unknown:
        return Check("settings", Verdict.WARNING, f"{', '.join(sorted(unknown))}: not a setting")
    return Check("settings", Verdict.OK, f"{settings.bind}, {settings.database_shown}")


def _graphs(settings: Settings) -> Check:
    try:
        config = read_config(settings.config)
        apply_env(config)
        registry = Registry(config, saver=None, store=None)
        # What a graph's code prints is not this command's answer.
        with contextlib.redirect_stdout(sys.stderr):
            asyncio.run(registry.load())
    except (ConfigError, GraphLoadError) as error:
        return Check("graphs", Verdict.FAILED, " ".join(str(error).split()))
    facts = {"graphs": registry.graph_ids}
    if config.warnings:
        return Check("graphs", Verdict.WARNING, "; ".join(config.warnings), facts)
    return Check("graphs", Verdict.OK, ", ".join(registry.graph_ids), facts)


def _database(settings: Settings, inspection: Inspection) -> Iterator[Check]:
    # Before it is called well: a file that is no database is only found out by reading it.
    current = inspection.read(revision)
    clock = inspection.clock()
    product, milliseconds = inspection.product(), clock.round_trip / timedelta(milliseconds=1)
    yield Check(
        "database",
        Verdict.OK,
        f"{product} at {settings.database_shown} answers in {milliseconds:.1f} ms",
        {"product": product, "round_trip_seconds": clock.round_trip.total_seconds()},
    )
    yield _schema(current)
    if not settings.is_embedded:
        yield _clock(clock.ahead)
    if current == HEAD:
        yield from _service(settings, inspection)


def _schema(current: str | None) -> Check:
    facts = {"schema": current, "needed": HEAD}
    if current == HEAD:
        return Check("schema", Verdict.OK, f"{current}, which this version needs", facts)
    if current is None:
        sentence = f"nothing is there yet: the first server that starts makes {HEAD}"
    elif is_known(current):
        sentence = f"{current} is behind {HEAD}: the next server that starts migrates it"
    else:
        sentence = f"{current} was made by a newer version; this one knows up to {HEAD}"
        return Check("schema", Verdict.FAILED, sentence, facts)
    return Check("schema", Verdict.WARNING, sentence, facts)


def _clock(ahead: timedelta) -> Check:
    seconds = ahead.total_seconds()
    facts = {"ahead_seconds": seconds}
    how = "ahead of" if seconds >= 0 else "behind"
    sentence = f"the database's is {abs(seconds):.3f} s {how} this machine's"
    verdict = Verdict.OK if abs(ahead) <= CLOCK_TOLERANCE else Verdict.WARNING
    return Check("clock", verdict, sentence, facts)


def _service(settings: Settings, inspection: Inspection) -> Iterator[Check]:
    """Look at the servers that run, and at what they have to do."""
    alive = inspection.read(list_alive)
    if settings.is_embedded:
        # The row of a server that has a file for itself says nothing of its death.
        holder = holder_of(settings.database_path)
        alive = alive if holder is not None else []
        active = inspection.read(lambda connection: count_active(connection, up_to=MAX_COUNTED))
        orphans = 0 if alive else active
    else:
        orphans = inspection.read(
            lambda connection: count_orphans(
                connection, current_time(connection), up_to=MAX_COUNTED
            )
        )
    yield _servers(alive)
    yield _orphans(orphans, bool(alive))
    yield _queue(inspection.read(read_queue), alive)


def _servers(alive: list[Server]) -> Check:
    told = [
        {
            "server_id": each.server_id,
            "host_name": each.name,
            "version": each.version,
            "takes_calls": each.takes_calls,
            "executes_runs": each.executes_runs,
            "executing_runs": each.executing,
            "max_concurrent_runs": each.max_concurrent_runs,
            "draining": each.draining,
        }
        for each in alive
    ]
    facts = {"servers": told}
    if not alive:
        return Check("servers", Verdict.WARNING, "none is alive", facts)
    names = "; ".join(_described(each) for each in alive)
    versions = sorted({each.version for each in alive})
    if len(versions) > 1:
        names += f"; they are of different versions: {', '.join(versions)}"
    verdict = Verdict.OK if len(versions) == 1 else Verdict.WARNING
    return Check("servers", verdict, f"{len(alive)} alive: {names}", facts)


def _described(server: Server) -> str:
    does = f"executes {server.executing} of at most {server.max_concurrent_runs} runs"
    if not server.executes_runs:
        does = "takes calls only"
    elif not server.takes_calls:
        does += " only"
    return f"{server.name} {does}{', draining' if server.draining else ''}"


def _orphans(orphans: int, any_alive: bool) -> Check:
    facts = {"orphans": orphans}
    if not orphans:
        return Check("orphans", Verdict.OK, "every run that executes has its server", facts)
    who = "a server that is alive takes them soon" if any_alive else "the next server takes them"
    sentence = f"{orphans} runs whose server is gone: {who}"
    return Check("orphans", Verdict.WARNING, sentence, facts)


def _queue(stats: QueueStats, alive: list[Server]) -> Check:
    pending = sum(graph.pending for graph in stats.graphs)
    delayed = sum(graph.delayed for graph in stats.graphs)
    active = sum(graph.running + graph.cancelling for graph in stats.graphs)
    oldest = stats.oldest_claimable
    sentence = f"{pending} runs wait, {delayed} wait for a time, {active} execute"
    if oldest is not None:
        sentence += f"; the oldest that could begin has waited for {format_duration(oldest)}"
    facts = {
        "pending_runs": pending,
        "delayed_runs": delayed,
        "active_runs": active,
        "claimable_runs": stats.claimable,
        "oldest_claimable_seconds": None if oldest is None else oldest.total_seconds(),
        "capped": stats.capped,
    }
    if pending and alive and not any(each.executes_runs for each in alive):
        sentence += "; no server that is alive executes runs"
        return Check("queue", Verdict.FAILED, sentence, facts)
    known = {graph_id for each in alive if each.executes_runs for graph_id in each.graph_ids}
    unknown = {each.graph_id for each in stats.graphs if each.pending} - known
    if alive and unknown:
        sentence += f"; no server that is alive has the graphs {', '.join(sorted(unknown))}"
        return Check("queue", Verdict.WARNING, sentence, facts)
    return Check("queue", Verdict.OK, sentence, facts)
