"""`runwire queue`: what waits, what executes, and where."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runwire.commands.calling import Address, AsJson, connected
from runwire.commands.output import (
    ANY_WIDTH,
    Row,
    console,
    moment,
    print_json,
    print_json_line,
    print_table,
    table_of,
)

if TYPE_CHECKING:
    from rich.console import Group

    from runwire.client import SyncRunwireClient

EXAMPLE = "Example: runwire queue --watch"

Seen = Mapping[str, Any]


def queue(
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Again and again until Ctrl-C; with --json, a line each."),
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="With --watch: seconds from one to the next.")
    ] = 2.0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Show how many runs wait and execute, and the servers that are alive."""
    with connected(address) as client:
        if not watch:
            seen = _look(client)
            _print(seen, as_json=as_json)
        elif sys.stdout.isatty() and not as_json:
            _watch_on_terminal(client, interval)
        else:
            while True:
                seen = _look(client)
                if as_json:
                    print_json_line(seen)
                else:
                    _print(seen, as_json=False)
                    print(flush=True)
                time.sleep(interval)


def _watch_on_terminal(client: "SyncRunwireClient", interval: float) -> None:
    from rich.live import Live

    with Live(_tables(_look(client)), console=console(sys.stdout), auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(_tables(_look(client)), refresh=True)


def _look(client: "SyncRunwireClient") -> Seen:
    return {
        "queue": client.servers.get_queue_stats(),
        "servers": client.servers.get_info()["servers"],
    }


def _print(seen: Seen, *, as_json: bool) -> None:
    if as_json:
        print_json(seen)
    elif sys.stdout.isatty():
        console(sys.stdout, width=ANY_WIDTH).print(_tables(seen))
    else:
        for place, rows in enumerate(_parts(seen).values()):
            if place:
                print()
            print_table(rows)


def _tables(seen: Seen) -> "Group":
    from rich.console import Group

    return Group(*(table_of(rows, title) for title, rows in _parts(seen).items()))


def _parts(seen: Seen) -> dict[str, list[Row]]:
    """Return the tables, by their titles; those that would be empty are left out."""
    stats = seen["queue"]
    parts = {
        "Runs": [_stats_row(stats)],
        "Graphs": [_graph_row(graph) for graph in stats["graphs"]],
        "Servers": [_server_row(server) for server in seen["servers"]],
    }
    return {title: rows for title, rows in parts.items() if rows}


def _stats_row(stats: Mapping[str, Any]) -> Row:
    more = "+" if stats["capped"] else ""
    return (
        ("pending", f"{stats['pending_runs']}{more}"),
        ("delayed", stats["delayed_runs"]),
        ("running", stats["running_runs"]),
        ("cancelling", stats["cancelling_runs"]),
        ("claimable", stats["claimable_runs"]),
        ("free slots", stats["free_slots"]),
        ("oldest pending", _age(stats["oldest_pending_seconds"])),
    )


def _graph_row(graph: Mapping[str, Any]) -> Row:
    return (
        ("graph", graph["graph_id"]),
        ("pending", graph["pending_runs"]),
        ("delayed", graph["delayed_runs"]),
        ("running", graph["running_runs"]),
        ("cancelling", graph["cancelling_runs"]),
    )


def _server_row(server: Mapping[str, Any]) -> Row:
    slots = f"{server['executing_runs']}/{server['max_concurrent_runs']}"
    return (
        ("address", server["address"]),
        ("host", server["host_name"]),
        ("version", server["version"]),
        ("calls", server["takes_calls"]),
        ("runs", slots if server["executes_runs"] else None),
        ("draining", server["draining"]),
        ("since", moment(server["started_at"])),
        ("server", server["server_id"]),
    )


def _age(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.1f} s"
