"""The command line: `runwire serve`, `worker`, `migrate`, `dev`, `health`, `doctor`, `runs stream`.

What a command needs is imported when it runs: LangGraph takes seconds, and asking for help should
not. A command's answer goes to standard output, everything else to standard error.
"""

import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any, NoReturn

try:
    import typer
except ModuleNotFoundError:
    # The command is installed with the client too, which needs little of what a server needs.
    sys.exit("The server is not installed. Install it with: pip install 'runwire[server]'")

from runwire.server.options import flags_of, takes_settings
from runwire.server.settings import (
    DEFAULT_BIND,
    AnySettings,
    DevSettings,
    MigrateSettings,
    Settings,
    SettingsError,
    WorkerSettings,
    default_address,
    read_settings,
    take_seat,
)

SOMETHING_WRONG = 1
WRONG_USE = 2

_ADDRESS_HELP = f"Where the server is. [env: RUNWIRE_ADDRESS] [default: {DEFAULT_BIND}]"

app = typer.Typer(
    name="runwire",
    help="Runs LangGraph agents as a gRPC service.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Its tables cut names off to fit the terminal.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
runs = typer.Typer(help="Runs on a server that is up.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runs, name="runs")


def main() -> None:
    """Run the command that the process's arguments name."""
    # Before grpc is imported: its core would tell of every connection that goes away.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"runwire {installed_version('runwire')}")
        raise typer.Exit


@app.callback()
def command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Run LangGraph agents as a gRPC service."""


@app.command()
@takes_settings(Settings)
def serve(**given: object) -> None:
    """Serve the graphs that a configuration file names, until SIGTERM or Ctrl-C.

    Runs that execute then are released at their next step, and go on when a server starts again on
    the same database.

    Exits with 0 when it was told to stop, 1 when it could not start or had to leave a run behind
    that would not stop, and 2 when its settings are wrong.
    """
    _run("serve", _read(Settings, given), given)


@app.command()
@takes_settings(WorkerSettings)
def worker(**given: object) -> None:
    """Execute runs that servers on the same database accept, until SIGTERM or Ctrl-C.

    Answers nothing but health, at --bind, so that probes find out how it is. Stops and exits as
    `serve` does.
    """
    _run("worker", _read(WorkerSettings, given), given)


@app.command()
@takes_settings(MigrateSettings)
def migrate(**given: object) -> None:
    """Bring the database to what this version needs, and do not serve.

    Servers do so themselves as they start: this is for those who want it done before, or by a
    database user who may do more. Exits with 0 when it is done, or nothing was to be done, 1 when
    it could not be done, and 2 when settings are wrong.
    """
    settings = _read(MigrateSettings, given)
    from runwire.server.migration import migrate_database

    raise typer.Exit(migrate_database(settings.database_url))


@app.command()
@takes_settings(DevSettings)
def dev(**given: object) -> None:
    """Serve as `serve` does, and start again whenever the graphs' code changes.

    The database is kept, so that threads go on where they were.
    """
    settings = _read(DevSettings, given)
    from runwire.server.reload import serve_with_reload

    serve_with_reload(settings, [*_this_command(), "serve", *flags_of(settings, given)])


def _run(command: str, settings: Settings, given: Mapping[str, object]) -> NoReturn:
    if settings.processes > 1:
        from runwire.server.supervisor import supervise

        again = [*_this_command(), command, *flags_of(settings, given)]
        raise typer.Exit(supervise(settings, again))
    seat = None
    if (text := take_seat()) is not None:
        from runwire.server.seat import Seat

        seat = Seat.parse(text)
        # Before the graphs' packages are imported: that takes seconds.
        seat.hold()
    from runwire.server.process import run_server

    raise typer.Exit(run_server(settings, seat))


def _this_command() -> list[str]:
    script = Path(sys.argv[0])
    if script.name == "runwire":
        return [str(script)]
    # -P: a module of the user's that is called like one of Python's is not taken for it.
    return [sys.executable, "-P", "-m", "runwire.server"]


@app.command()
def health(
    address: Annotated[str, typer.Option(help=_ADDRESS_HELP)] = "",
    service: Annotated[
        str, typer.Option(help="Ask for one service, such as liveness or runwire.v1.RunService.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 3.0,
) -> None:
    """Ask a server whether it serves.

    Exits with 0 when it does, 1 when it does not, and 2 when it cannot be asked.
    """
    from runwire.server.health import ask_health

    answer, sentence = ask_health(_address(address), service, timeout)
    print(sentence, file=sys.stderr if answer else sys.stdout)
    raise typer.Exit(answer)


@app.command()
@takes_settings(Settings)
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of lines.")
    ] = False,
    **given: object,
) -> None:
    """Look whether a server with these settings could start, and how those that run are.

    Settings, graphs, the database with its schema and its clock, the servers that are alive, runs
    whose server is gone, and the queue. Changes nothing.

    Exits with 0 when all is well or only worth a look, and 1 when something is wrong.
    """
    from runwire.server.doctor import examine, print_checks, refused

    try:
        checks = examine(read_settings(Settings, given))
    except SettingsError as error:
        checks = refused(str(error))
    raise typer.Exit(0 if print_checks(checks, as_json=as_json) else SOMETHING_WRONG)


@runs.command()
def stream(
    assistant: Annotated[str, typer.Argument(help="A graph's id, or an assistant's.")],
    run_input: Annotated[
        str, typer.Option("--input", help="The run's input as JSON; - reads standard input.")
    ] = "",
    resume: Annotated[
        str, typer.Option(help="Instead of an input: the answer to an interrupt, as JSON.")
    ] = "",
    context: Annotated[str, typer.Option(help="The run's context, a JSON object.")] = "",
    thread: Annotated[
        str, typer.Option(help="The thread to run on; `new` makes one. Stateless without it.")
    ] = "",
    address: Annotated[str, typer.Option(help=_ADDRESS_HELP)] = "",
) -> None:
    """Start a run and print what it says, as it says it; Ctrl-C cancels it.

    Text that a model writes and events of the graph's own are printed as they come, and the final
    state if there were none. Exits with 0 when the run succeeded or paused, 1 when it did not, and
    2 when the call failed.
    """
    from runwire.server.streaming import Printer, Request, stream_run

    request = Request(
        assistant_id=assistant,
        input=_json("--input", sys.stdin.read() if run_input == "-" else run_input),
        resume=_json("--resume", resume),
        context=_json("--context", context),
        thread_id=thread,
    )
    printer = Printer(sys.stdout, sys.stderr)
    raise typer.Exit(stream_run(_address(address), request, printer))


def _json(option: str, text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        _refuse(f"{option} is not JSON: {error}")


def _address(given: str) -> str:
    try:
        return given or default_address()
    except ValueError as error:
        _refuse(f"RUNWIRE_BIND: {error}")


def _read(kind: type[AnySettings], given: Mapping[str, object]) -> AnySettings:
    try:
        return read_settings(kind, given)
    except SettingsError as error:
        _refuse(f"runwire cannot start:\n{error}")


def _refuse(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise typer.Exit(WRONG_USE)
