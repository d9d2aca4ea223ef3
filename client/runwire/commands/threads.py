"""`runwire threads`: conversations, and their states."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from runwire.commands.calling import (
    DONE,
    NOT_ALL,
    Address,
    AsJson,
    AsJsonLines,
    Limit,
    Offset,
    connected,
    json_of,
    object_of,
    refuse,
)
from runwire.commands.output import (
    Row,
    moment,
    print_answer,
    print_json,
    print_json_line,
    print_list,
    safe,
)
from runwire.commands.output import (
    as_json as json_text,
)
from runwire.commands.printer import Printer
from runwire.commands.status import StatusLine

app = typer.Typer(
    help="Threads: conversations, and their states.", no_args_is_help=True, rich_markup_mode=None
)


class Mode(StrEnum):
    """What can be streamed of a thread."""

    RUN_MODES = "run_modes"
    LIFECYCLE = "lifecycle"
    STATE_UPDATE = "state_update"


ThreadId = Annotated[str, typer.Argument(metavar="THREAD", help="The thread's id.")]
ThreadIds = Annotated[list[str], typer.Argument(metavar="THREAD...", help="The threads' ids.")]
Metadata = Annotated[
    str | None, typer.Option(metavar="JSON", help="A JSON object to find the thread by.")
]
Ttl = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="MINUTES",
        help="For how many minutes it is kept when nothing happens on it; 0 is for ever. "
        "[default: what the server says]",
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option("--checkpoint", metavar="CHECKPOINT", help="This checkpoint, not the newest."),
]
Select = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="FIELD", help="Only this field; with --json."),
]


@app.command(epilog='Example: runwire threads create --graph chat --metadata \'{"user": "ada"}\'')
def create(
    thread_id: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="Its id; the server makes one.")
    ] = None,
    graph: Annotated[
        str | None, typer.Option(metavar="GRAPH", help="The graph it is for, a part of metadata.")
    ] = None,
    metadata: Metadata = None,
    ttl: Ttl = None,
    if_exists: Annotated[
        Literal["raise", "do_nothing"] | None,
        typer.Option(help="What to do if there is one with this --id. [default: raise]"),
    ] = None,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Create a thread and print its id."""
    with connected(address) as client:
        thread = client.threads.create(
            thread_id=thread_id,
            graph_id=graph,
            metadata=object_of("--metadata", metadata),
            ttl=ttl,
            if_exists=if_exists,
        )
    if as_json:
        print_json(thread)
    else:
        print(thread["thread_id"])


@app.command(epilog="Example: runwire threads get 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d")
def get(thread_id: ThreadId, address: Address = "", as_json: AsJson = False) -> None:
    """Show a thread: its status, what it asks, and its values."""
    with connected(address) as client:
        print_answer(client.threads.get(thread_id), to_json=as_json, skip=())


@app.command("list", epilog="Example: runwire threads list --status interrupted")
def list_threads(
    status: Annotated[
        Literal["idle", "busy", "interrupted", "error"] | None,
        typer.Option(help="Only threads of this status."),
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only those whose metadata contains this.")
    ] = None,
    values: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only those whose values contain this.")
    ] = None,
    sort: Annotated[
        Literal["created_at", "updated_at", "state_updated_at", "thread_id", "status"],
        typer.Option(help="What to sort by."),
    ] = "created_at",
    order: Annotated[Literal["asc", "desc"], typer.Option(help="In which direction.")] = "desc",
    limit: Limit = 20,
    offset: Offset = 0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """List threads, the newest first unless said otherwise."""
    with connected(address) as client:
        found = client.threads.search(
            status=status,
            metadata=object_of("--metadata", metadata),
            values=object_of("--values", values),
            sort_by=sort,
            sort_order=order,
            limit=limit,
            offset=offset,
        )
    print_list(found, _row, to_json=as_json, nothing="no threads")


@app.command(epilog="Example: runwire threads state 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d --json")
def state(
    thread_id: ThreadId,
    checkpoint: Checkpoint = None,
    subgraphs: Annotated[
        bool, typer.Option("--subgraphs", help="With the states of subgraphs that wait.")
    ] = False,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Show a thread's state: its values, what comes next, and what it asks."""
    with connected(address) as client:
        found = client.threads.get_state(thread_id, checkpoint_id=checkpoint, subgraphs=subgraphs)
        print_answer(found, to_json=as_json, skip=())


@app.command(
    epilog="Example: runwire threads history 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d --limit 5"
)
def history(
    thread_id: ThreadId,
    before: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Only states older than this one.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only those whose metadata contains this.")
    ] = None,
    limit: Limit = 10,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """List a thread's states, the newest first."""
    with connected(address) as client:
        states = client.threads.get_history(
            thread_id,
            before=before,
            metadata=object_of("--metadata", metadata),
            limit=limit,
        )
    print_list(states, _state_row, to_json=as_json, nothing="no states yet")


@app.command(
    epilog="Example: runwire threads update 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d "
    "--values '{\"approved\": true}' --as-node review"
)
def update(
    thread_id: ThreadId,
    metadata: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Merged into the thread's; null removes a key."),
    ] = None,
    ttl: Ttl = None,
    values: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Updates the state, which adds a checkpoint."),
    ] = None,
    as_node: Annotated[
        str | None, typer.Option(metavar="NODE", help="With --values: as if this node gave them.")
    ] = None,
    checkpoint: Checkpoint = None,
    assistant: Annotated[
        str | None,
        typer.Option(
            metavar="ASSISTANT", help="With --values: whose graph takes them, if none has run yet."
        ),
    ] = None,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Change a thread's metadata or TTL, or, with --values, its state."""
    updates_state = values is not None
    if updates_state == (metadata is not None or ttl is not None):
        refuse("give either --values, for the state, or --metadata and --ttl, for the thread")
    if not updates_state and (as_node or checkpoint or assistant):
        refuse("--as-node, --checkpoint and --assistant need --values")
    with connected(address) as client:
        answer: Any
        if updates_state:
            answer = client.threads.update_state(
                thread_id,
                json_of("--values", values),
                as_node=as_node,
                checkpoint_id=checkpoint,
                assistant_id=assistant,
            )
        else:
            labels = object_of("--metadata", metadata) or {}
            answer = client.threads.update(thread_id, metadata=labels, ttl=ttl)
    print_answer(answer, to_json=as_json)


@app.command(epilog="Example: runwire threads copy 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d")
def copy(
    thread_id: ThreadId,
    new_thread_id: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="The copy's; the server makes one.")
    ] = None,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Copy a thread with its history, and print the copy's id."""
    with connected(address) as client:
        thread = client.threads.copy(thread_id, new_thread_id=new_thread_id)
    if as_json:
        print_json(thread)
    else:
        print(thread["thread_id"])


@app.command(epilog="Example: runwire threads delete 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d")
def delete(
    thread_ids: ThreadIds,
    keep_runs: Annotated[
        bool,
        typer.Option("--keep-busy", help="Fail on a thread with runs that have not ended."),
    ] = False,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Delete threads with their runs, which are cancelled first, and their histories."""
    with connected(address) as client:
        for thread_id in thread_ids:
            client.threads.delete(thread_id, cancel_runs=not keep_runs)
            if not as_json:
                print(f"thread {thread_id} deleted")
    if as_json:
        print_json({"deleted": thread_ids})


@app.command(
    epilog="Example: runwire threads prune 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d "
    "--strategy keep_latest"
)
def prune(
    thread_ids: ThreadIds,
    strategy: Annotated[
        Literal["delete", "keep_latest"],
        typer.Option(help="Delete the threads, or their histories alone."),
    ] = "delete",
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Delete threads, or their histories, and leave those alone on which a run has not ended.

    Exits with 1 if any was left alone.
    """
    with connected(address) as client:
        outcomes = client.threads.prune(thread_ids, strategy=strategy)
    if as_json:
        print_json(outcomes)
    for outcome in outcomes["results"]:
        if outcome["reason"]:
            told = f"thread {outcome['thread_id']}: {outcome['message']}"
            print(safe(told, sys.stderr), file=sys.stderr)
        elif not as_json:
            print(f"thread {outcome['thread_id']} pruned")
    left = outcomes["pruned_count"] < len(outcomes["results"])
    raise typer.Exit(NOT_ALL if left else DONE)


@app.command(epilog="Example: runwire threads stream 0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d")
def stream(
    thread_id: ThreadId,
    modes: Annotated[
        list[Mode] | None,
        typer.Option(
            "--mode",
            help="What its runs say, how their states change, updates of the thread's state; may "
            "be given several times. [default: run_modes]",
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="Begin after the part with this id, which --json shows; - is the beginning. "
            "[default: from now on]",
        ),
    ] = None,
    address: Address = "",
    as_json: AsJsonLines = False,
) -> None:
    """Print all that happens on a thread, whoever starts its runs, until Ctrl-C."""
    with StatusLine() as status:
        printer = Printer(status)
        run_id = ""
        with connected(address, lambda error: printer.lost(error)) as client:
            parts = client.threads.join_stream(
                thread_id,
                last_event_id=after,
                stream_mode=[mode.value for mode in modes or (Mode.RUN_MODES,)],
            )
            for part in parts:
                printer.heard()
                if as_json:
                    print_json_line(part._asdict())
                elif not part.run_id or part.event in ("lifecycle", "state_update"):
                    told = f"{part.event} {json_text(part.data)}"
                    print(safe(told, sys.stdout), flush=True)
                else:
                    if part.run_id != run_id:
                        run_id = part.run_id
                        printer = Printer(status)
                        if part.event != "metadata":  # its beginning was before
                            printer.run_id = run_id
                        printer.note(f"run {part.run_id} of {part.assistant_id}")
                    printer.part(part.event, part.data)


def _row(thread: Mapping[str, Any]) -> Row:
    return (
        ("thread", thread["thread_id"]),
        ("status", thread["status"]),
        ("updated", moment(thread["updated_at"])),
        ("asks", len(thread["interrupts"]) or None),
        ("metadata", thread["metadata"] or None),
    )


def _state_row(found: Mapping[str, Any]) -> Row:
    metadata = found["metadata"]
    return (
        ("checkpoint", found["checkpoint"]["checkpoint_id"]),
        ("created", moment(found["created_at"])),
        ("step", metadata.get("step")),
        ("source", metadata.get("source")),
        ("next", ", ".join(found["next"]) or None),
        ("run", metadata.get("run_id")),
    )
