"""The script `runwire`: the commands that call a server, and those of the server if it is there."""

import os
import sys
from importlib.metadata import version as installed_version
from typing import Annotated, Any

try:
    import typer
    from typer.core import TyperGroup
    from typer.main import get_command
except ModuleNotFoundError:
    # The script is installed with the client, which needs little of what a command line needs.
    print(
        "The command line is not installed. Install it with: pip install 'runwire[cli]', "
        "or 'runwire[server]' to serve graphs as well",
        file=sys.stderr,
    )
    sys.exit(2)

from runwire.commands import assistants, crons, queue, runs, threads
from runwire.commands.calling import refuse

SERVER_COMMANDS = ("serve", "worker", "dev", "migrate", "doctor", "health")
"""Commands that the extra `server` brings; they are loaded when one of them is meant."""


class Commands(TyperGroup):
    """The commands that call a server, and after them the server's own."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands that are installed."""
        return [
            *super().list_commands(ctx),
            *(name for name in SERVER_COMMANDS if server_commands()),
        ]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, None if there is none of this name."""
        if cmd_name not in SERVER_COMMANDS:
            return super().get_command(ctx, cmd_name)
        if (server := server_commands()) is None:
            refuse("The server is not installed. Install it with: pip install 'runwire[server]'")
        return server.commands[cmd_name]


app = typer.Typer(
    name="runwire",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Its tables cut names off to fit the terminal.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a run did not succeed or not all could be done, 2 the call "
    "failed or was wrong, 130 left with Ctrl-C. RUNWIRE_TOKEN: sent with every call over TLS, "
    "or within this machine, as authorization: Bearer.",
)
app.add_typer(runs.app, name="runs")
app.add_typer(threads.app, name="threads")
app.add_typer(assistants.app, name="assistants")
app.add_typer(crons.app, name="crons")
app.command(epilog=queue.EXAMPLE)(queue.queue)


def main() -> None:
    """Run the command that the process's arguments name."""
    # Before grpc is imported: its core would tell of every connection that goes away.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal does not know is no reason to stop.
        getattr(stream, "reconfigure", _nothing)(errors="backslashreplace")
    app(prog_name="runwire")


def _nothing(**_settings: Any) -> None:
    """Leave a stream as it is that is none of Python's own."""


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
    """Run LangGraph agents as a gRPC service, and call one."""


def server_commands() -> Any:
    """Return the server's commands as a group, None if what they need is not installed."""
    try:
        from runwire.server.cli import app as server_app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("runwire"):
            raise
        return None
    return get_command(server_app)
