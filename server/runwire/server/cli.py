"""The commands of the server: `runwire serve`, `worker`, `migrate`, `dev`, `health`, `doctor`.

`runwire.commands` puts them beside those that call a server. What a command needs is imported when
it runs: LangGraph takes seconds, and asking for help should not. A command's answer goes to
standard output, everything else to standard error.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runwire.commands.calling import Address, AsJson, default_address, refuse
from runwire.commands.output import print_json
from runwire.server.options import flags_of, takes_settings
from runwire.server.settings import (
    AnySettings,
    DevSettings,
    MigrateSettings,
    Settings,
    SettingsError,
    WorkerSettings,
    read_settings,
    take_seat,
)

SOMETHING_WRONG = 1

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


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
    address: Address = "",
    service: Annotated[
        str, typer.Option(help="Ask for one service, such as liveness or runwire.v1.RunService.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Ask a server whether it serves.

    Exits with 0 when it does, 1 when it does not, and 2 when it cannot be asked.
    """
    from runwire.server.health import ask_health

    where = address or default_address()
    answer, sentence = ask_health(where, service, timeout)
    if as_json:
        print_json({"address": where, "service": service, "health": answer.name.lower()})
    if answer or not as_json:
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


def _read(kind: type[AnySettings], given: Mapping[str, object]) -> AnySettings:
    try:
        return read_settings(kind, given)
    except SettingsError as error:
        refuse(f"runwire cannot start:\n{error}")
