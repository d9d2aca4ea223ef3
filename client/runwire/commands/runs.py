"""`runwire runs`: starting runs, following, finding and ending them."""

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    moment_of,
    object_of,
    refuse,
)
from runwire.commands.output import Row, moment, print_answer, print_json, print_list, safe
from runwire.commands.printer import OnRun, Printer, questions_of
from runwire.commands.starting import arguments_of, starts_runs, thread_for
from runwire.commands.status import StatusLine

if TYPE_CHECKING:
    from runwire.client import StreamPart, SyncRunwireClient

app = typer.Typer(
    help="Runs: start, follow, find and cancel them.", no_args_is_help=True, rich_markup_mode=None
)

QUEUE_SECONDS = 1.0
"""How often a run that waits is asked for its place, while somebody looks on."""


class Mode(StrEnum):
    """What can be streamed."""

    VALUES = "values"
    UPDATES = "updates"
    MESSAGES = "messages"
    MESSAGES_TUPLE = "messages-tuple"
    CUSTOM = "custom"
    TASKS = "tasks"
    CHECKPOINTS = "checkpoints"
    DEBUG = "debug"
    EVENTS = "events"


Modes = Annotated[
    list[Mode] | None,
    typer.Option(
        "--mode",
        help="What to stream; may be given several times. [default: messages-tuple, custom, "
        "values]",
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Assistant = Annotated[
    str, typer.Argument(metavar="ASSISTANT", help="A graph's id, or an assistant's.")
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep", help="The run goes on when this command goes away, and after Ctrl-C as well."
    ),
]
TALKING = (Mode.MESSAGES_TUPLE, Mode.CUSTOM, Mode.VALUES)


@app.command(
    epilog="Example: runwire runs stream chat --thread new "
    '--input \'{"messages": [{"role": "user", "content": "Hello"}]}\''
)
@starts_runs
def stream(
    assistant: Assistant,
    modes: Modes = None,
    keep: Keep = False,
    address: Address = "",
    as_json: AsJsonLines = False,
    **given: Any,
) -> None:
    """Start a run and print what it says, as it says it; Ctrl-C cancels it.

    So does all else that ends this command before the run: a terminal that is closed, a pipe whose
    reader leaves, as `head` does, a kill. With --keep, or started with `create`, the run goes on.

    Text that a model writes and events of the graph's own are printed as they come, then the
    questions at which the run pauses, or the final state if it has said nothing. Other modes are
    printed as JSON. Lost connections are made good.

    Exits with 0 when the run succeeded or paused, and 1 when it did not.
    """
    arguments = arguments_of(given)
    with StatusLine() as status:
        wanted = _modes(modes, status)
        printer = Printer(
            status, to_json=as_json, shown=frozenset(modes or ()), on_run=_announcing(address)
        )
        with connected(address, printer.lost) as client:
            thread_id = _announced_thread(client, given, printer)
            parts = client.runs.stream(
                thread_id,
                assistant,
                stream_mode=wanted,
                stream_subgraphs=True,
                on_disconnect="continue" if keep else "cancel",
                **arguments,
            )
            _attend(client, parts, printer, status, keep=keep)
            _say_how_to_answer(printer, assistant, printer.questions)
    raise typer.Exit(printer.exit_code)


@app.command(
    epilog='Example: runwire runs wait research --input \'{"question": "Why?"}\' | jq .report'
)
@starts_runs
def wait(
    assistant: Assistant,
    keep: Keep = False,
    address: Address = "",
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Start a run and print its output, as JSON, when it has ended; Ctrl-C cancels it.

    All else that ends this command cancels it as well, unless there is --keep: see `stream`.
    Questions at which it pauses are in the output as __interrupt__; if it failed, the output says
    why as __error__. Exits as `stream` does.
    """
    arguments = arguments_of(given)
    with StatusLine() as status:
        printer = Printer(status, quiet=True, on_run=_announcing(address))
        with connected(address, printer.lost) as client:
            thread_id = _announced_thread(client, given, printer)
            parts = client.runs.stream(
                thread_id,
                assistant,
                # A run has to stream something: of this there is the least.
                stream_mode="tasks" if status.is_possible else "custom",
                on_disconnect="continue" if keep else "cancel",
                **arguments,
            )
            _attend(client, parts, printer, status, keep=keep)
            output = client.runs.join(None, printer.run_id)
            print_json(output)
            _say_how_to_answer(printer, assistant, questions_of(output))
    raise typer.Exit(printer.exit_code)


@app.command(epilog="Example: runwire runs create research --thread new --input @question.json")
@starts_runs
def create(
    assistant: Assistant,
    modes: Modes = None,
    address: Address = "",
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Start a run in the background and print its id."""
    arguments = arguments_of(given)
    with connected(address) as client:
        run = client.runs.create(
            thread_for(client, given),
            assistant,
            stream_mode=_words(modes or TALKING),
            stream_subgraphs=True,
            **arguments,
        )
    if as_json:
        print_json(run)
        return
    print(run["run_id"])
    _announcing(address)(run["run_id"], run["thread_id"], run["state"])


@app.command(epilog="Example: runwire runs join 0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a")
def join(
    run_id: RunId,
    modes: Modes = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="EVENT", help="Begin after the event with this id."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Begin with what happens from now on.")] = (
        False
    ),
    output: Annotated[
        bool, typer.Option("--output", help="Print the output alone, when the run has ended.")
    ] = False,
    address: Address = "",
    as_json: AsJsonLines = False,
) -> None:
    """Print what a run says, from its beginning; Ctrl-C leaves, and the run goes on.

    Prints and exits as `stream` does, with --output as `wait`.
    """
    with StatusLine() as status:
        printer = Printer(
            status, to_json=as_json and not output, quiet=output, shown=frozenset(modes or ())
        )
        with connected(address, printer.lost) as client:
            parts = client.runs.join_stream(
                None,
                run_id,
                last_event_id=after,
                live_only=live or (output and after is None),
                stream_mode=_words(modes) if modes else None,
            )
            try:
                _print_parts(client, parts, printer, status)
            except KeyboardInterrupt:
                printer.note(f"left; run {run_id} goes on")
                raise
            if output:
                print_json(client.runs.join(None, run_id))
    raise typer.Exit(printer.exit_code)


@app.command(epilog="Example: runwire runs get 0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a --json")
def get(run_id: RunId, address: Address = "", as_json: AsJson = False) -> None:
    """Show a run: its state, how it ended, and what it was asked to do."""
    with connected(address) as client:
        print_answer(client.runs.get(None, run_id), to_json=as_json)


@app.command("list", epilog="Example: runwire runs list --status running --assistant chat")
def list_runs(
    thread: Annotated[
        str | None, typer.Option(metavar="THREAD", help="Only runs on this thread.")
    ] = None,
    assistant: Annotated[
        str | None, typer.Option(metavar="ASSISTANT", help="Only runs of this assistant.")
    ] = None,
    graph: Annotated[str | None, typer.Option(metavar="GRAPH", help="Only of this graph.")] = None,
    status: Annotated[
        Literal["pending", "running", "success", "error", "timeout", "interrupted"] | None,
        typer.Option(
            help="In langgraph_sdk's words: success finds runs that paused as well, interrupted "
            "those that were cancelled."
        ),
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Only runs whose metadata contains this.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only runs created then or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only runs created before.")
    ] = None,
    sort: Annotated[
        Literal["created_at", "updated_at", "ended_at"], typer.Option(help="What to sort by.")
    ] = "created_at",
    order: Annotated[Literal["asc", "desc"], typer.Option(help="In which direction.")] = "desc",
    limit: Limit = 20,
    offset: Offset = 0,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first unless said otherwise."""
    span = (moment_of("--since", since), moment_of("--until", until))
    with connected(address) as client:
        found = client.runs.list(
            thread,
            assistant_id=assistant,
            graph_id=graph,
            status=status,
            metadata=object_of("--metadata", metadata),
            created=None if span == (None, None) else span,
            sort_by=sort,
            sort_order=order,
            limit=limit,
            offset=offset,
        )
    print_list(found, _row, to_json=as_json, nothing="no runs")


@app.command(epilog="Example: runwire runs cancel 0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a --wait")
def cancel(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="The runs' ids.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(metavar="THREAD", help="All runs on this thread.")
    ] = None,
    assistant: Annotated[
        str | None, typer.Option(metavar="ASSISTANT", help="All runs of this assistant.")
    ] = None,
    status: Annotated[
        Literal["pending", "running", "all"] | None,
        typer.Option(help="All runs that wait, that execute, or both."),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Take back what the runs did, and the runs too.")
    ] = False,
    wait_for_it: Annotated[
        bool, typer.Option("--wait", help="Return only when the runs' code has stopped.")
    ] = False,
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Cancel runs: those that are named, or all that pass the filters.

    Exits with 1 if one of them could not be cancelled.
    """
    if not (run_ids or thread or assistant or status):
        refuse("name runs, or say which with --thread, --assistant or --status")
    with connected(address) as client:
        outcomes = client.runs.cancel_many(
            run_ids=run_ids or None,
            thread_id=thread,
            assistant_id=assistant,
            status=status,
            action="rollback" if rollback else "interrupt",
            wait=wait_for_it,
        )
    if as_json:
        print_json(outcomes)
    for outcome in outcomes:
        if outcome["reason"]:
            told = f"run {outcome['run_id']}: {outcome['message']}"
            print(safe(told, sys.stderr), file=sys.stderr)
        elif not as_json:
            state = outcome["run"]["state"] if outcome["run"] else "taken back"
            print(f"run {outcome['run_id']} {state}")
        if outcome["run"] and (more := _what_goes_on(outcome["run"])):
            print(more, file=sys.stderr)
    if not outcomes:
        print("no runs to cancel", file=sys.stderr)
    raise typer.Exit(NOT_ALL if any(outcome["reason"] for outcome in outcomes) else DONE)


@app.command(epilog="Example: runwire runs delete 0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a")
def delete(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN...", help="The runs' ids.")],
    address: Address = "",
    as_json: AsJson = False,
) -> None:
    """Delete the records of runs that have ended; what they did to their threads stays."""
    with connected(address) as client:
        for run_id in run_ids:
            client.runs.delete(None, run_id)
            if not as_json:
                print(f"run {run_id} deleted")
    if as_json:
        print_json({"deleted": run_ids})


def _row(run: Mapping[str, Any]) -> Row:
    return (
        ("run", run["run_id"]),
        ("state", run["state"]),
        ("graph", run["graph_id"]),
        ("created", moment(run["created_at"])),
        ("thread", run["thread_id"]),
        ("error", _error(run["error"])),
    )


def _error(error: Mapping[str, Any] | None) -> str | None:
    return None if error is None else f"{error['error']}: {error['message']}"


def _announcing(address: str) -> OnRun:
    """Return what says which run it is, and how somebody else can follow it."""
    where = f" --address {address}" if address else ""

    def announce(run_id: str, thread_id: str | None, state: str) -> None:
        waits = ", which waits for its turn" if state == "pending" else ""
        how = f"runwire runs join {run_id}{where}"
        print(f"run {run_id}{waits}; to follow it elsewhere: {how}", file=sys.stderr)

    return announce


def _announced_thread(
    client: "SyncRunwireClient", given: Mapping[str, Any], printer: Printer
) -> str | None:
    thread_id = thread_for(client, given)
    if given["thread"] == "new":
        printer.note(f"thread {thread_id}")
    return thread_id


def _say_how_to_answer(
    printer: Printer, assistant: str, questions: Sequence[Mapping[str, Any]]
) -> None:
    if printer.state == "interrupted" and printer.thread_id:
        answer = "JSON"
        if len(questions) > 1:  # then LangGraph takes no answer that does not say to which
            answers = ", ".join(f'"{question["id"]}": JSON' for question in questions)
            answer = f"'{{{answers}}}'"
        where = f"{assistant} --thread {printer.thread_id}"
        printer.note(f"to answer: runwire runs stream {where} --resume {answer}")


def _modes(modes: Sequence[Mode] | None, status: StatusLine) -> list[Any]:
    """Return what to stream; with a status line, the nodes for it too."""
    wanted = [*(modes or TALKING)]
    return _words([*wanted, Mode.TASKS] if status.is_possible else wanted)


def _words(modes: Iterable[Mode]) -> list[Any]:
    """Return modes as the client takes them."""
    return list(dict.fromkeys(str(mode) for mode in modes))


def _attend(
    client: "SyncRunwireClient",
    parts: Iterable["StreamPart"],
    printer: Printer,
    status: StatusLine,
    *,
    keep: bool,
) -> None:
    """Print the parts of a run that was started here, and cancel it on Ctrl-C unless it is kept."""
    try:
        _print_parts(client, parts, printer, status)
    except KeyboardInterrupt:
        if keep:
            known = f"run {printer.run_id}" if printer.run_id else "the run, if it was begun,"
            printer.note(f"left; {known} goes on")
        else:
            _cancel(client, printer)
        raise
    except BrokenPipeError:
        # The printer would try to end its line first, on the output that is gone.
        becomes = "goes on" if keep else "is cancelled (--keep lets it go on)"
        print(f"nobody reads the output any more; run {printer.run_id} {becomes}", file=sys.stderr)
        raise


def _print_parts(
    client: "SyncRunwireClient",
    parts: Iterable["StreamPart"],
    printer: Printer,
    status: StatusLine,
) -> None:
    for part in parts:
        printer.part(part.event, part.data, part.id)
        if part.event == "metadata" and part.data.get("state") == "pending" and status.is_possible:
            arguments = (client, printer, status)
            threading.Thread(target=_show_place, args=arguments, daemon=True).start()


def _show_place(client: "SyncRunwireClient", printer: Printer, status: StatusLine) -> None:
    """Show how many runs come before one that waits, until it says something."""
    from runwire.client import RunwireError

    # The client may be closed meanwhile, which is none of this thread's business.
    with suppress(RunwireError, RuntimeError):
        while not printer.begun.is_set():
            run = client.runs.get(None, printer.run_id)
            status.show(_place(run), unless=printer.begun)
            if run["state"] != "pending":
                return
            printer.begun.wait(QUEUE_SECONDS)


def _place(run: Mapping[str, Any]) -> str:
    position = run.get("queue_position")
    if run["state"] != "pending" or position is None:
        return f"{run['state']} …"
    more = " or more" if position["capped"] else ""
    on_thread, for_slot = position["runs_before_on_thread"], position["claimable_runs_before"]
    if on_thread:
        return f"pending: {on_thread}{more} before it on its thread …"
    return f"pending: {for_slot}{more} before it in the queue …"


def _cancel(client: "SyncRunwireClient", printer: Printer) -> None:
    """Cancel a run, and say whether it stopped."""
    from runwire.client import RunwireError

    printer.begun.set()
    if not printer.run_id:
        printer.note("left before the run was known; its server cancels it")
        return
    printer.note(f"cancelling run {printer.run_id} …; Ctrl-C again to leave")
    try:
        # It may have been cancelled already, because its stream has ended.
        with suppress(RunwireError):
            client.runs.cancel(None, printer.run_id, wait=True)
        run = client.runs.get(None, printer.run_id)
    except RunwireError as error:
        printer.note(f"run {printer.run_id}: {error}")
        return
    except KeyboardInterrupt:
        printer.note(f"left before run {printer.run_id} was known to be cancelled: it may go on")
        raise
    printer.note(f"run {printer.run_id} {run['state']}")
    if more := _what_goes_on(run):
        printer.note(more)


def _what_goes_on(run: Mapping[str, Any]) -> str:
    """Return a sentence about a cancelled run's code if it has not stopped, else nothing."""
    if not (run["cancel"] and run["cancel"]["abandoned"]):
        return ""
    return (
        f"run {run['run_id']}: its code did not stop in time and may still be running; what it "
        "does from now on does not count"
    )
