"""What all commands share that call a server: where it is, how it is called, and how they end."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from runwire.commands.output import safe

if TYPE_CHECKING:
    from runwire.client import RunwireError, SyncRunwireClient, UnavailableError

DONE = 0
NOT_ALL = 1
FAILED = 2

DEFAULT_ADDRESS = "127.0.0.1:50051"

TLS_VARIABLES = {
    "ca": "RUNWIRE_CLIENT_CA",
    "cert": "RUNWIRE_CLIENT_CERT",
    "key": "RUNWIRE_CLIENT_KEY",
}
"""The variables with the paths of PEM files, by what the client's `Tls` calls these."""

Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Where the server is. Servers that share a database: a list, as in "
        "10.0.0.1:50051,10.0.0.2:50051, or dns:///name:50051. TLS: https://name:443. "
        f"[env: RUNWIRE_ADDRESS] [default: {DEFAULT_ADDRESS}]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
AsJsonLines = Annotated[
    bool, typer.Option("--json", help="Print a line of JSON for each part, for programs.")
]
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]
Offset = Annotated[int, typer.Option(min=0, help="How many to leave out before them.")]

JSON_HELP = "JSON; @FILE reads it from a file, - from standard input."

_WHERE_TO_LOOK = {
    "THREAD_NOT_FOUND": "runwire threads list",
    "RUN_NOT_FOUND": "runwire runs list",
    "ASSISTANT_NOT_FOUND": "runwire assistants list",
    "CRON_NOT_FOUND": "runwire crons list",
    "thread_id": "runwire threads list",
    "run_id": "runwire runs list",
    "cron_id": "runwire crons list",
}
"""By a failure's reason, or by the field that was refused."""


@contextmanager
def connected(
    address: str, on_lost: Callable[["UnavailableError"], None] | None = None
) -> Iterator["SyncRunwireClient"]:
    """Give a client of the server at an address, the default one if it is empty.

    What goes wrong with a call ends the command with a sentence about it.
    """
    from runwire.client import RunwireError

    try:
        with _client_of(address or default_address(), on_lost) as client:
            yield client
    except RunwireError as error:
        refuse(_sentence(error))
    except (TypeError, ValueError, NotImplementedError) as error:
        # An argument that the client cannot send: its message begins with the name.
        refuse(str(error))


def _client_of(
    address: str, on_lost: Callable[["UnavailableError"], None] | None
) -> "SyncRunwireClient":
    """Return a client with the credentials of the environment. Raises ValueError."""
    from runwire.client import Reconnect, get_sync_client
    from runwire.client.securing import Tls

    files: dict[str, Any] = {
        name: os.environ.get(variable) or None for name, variable in TLS_VARIABLES.items()
    }
    try:
        return get_sync_client(
            address,
            token=os.environ.get("RUNWIRE_TOKEN") or None,
            tls=Tls(**files) if any(files.values()) else None,
            reconnect=Reconnect(on_lost=on_lost),
        )
    except OSError as error:
        refuse(f"{error.filename} cannot be read: {error.strerror}")


def default_address(environment: Mapping[str, str] = os.environ) -> str:
    """Return where a command of this machine finds the server: RUNWIRE_ADDRESS, or what a server
    with this environment would bind to, by the address that reaches it."""
    if address := environment.get("RUNWIRE_ADDRESS"):
        return address
    bind = environment.get("RUNWIRE_BIND") or DEFAULT_ADDRESS
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal():
        refuse(f"RUNWIRE_BIND: {bind!r} is not host:port; set RUNWIRE_ADDRESS, or give --address")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def _sentence(error: "RunwireError") -> str:
    sentence = error.message
    fields = []
    for field, description in getattr(error, "violations", ()):
        fields.append(field.rpartition(".")[2])
        if description not in sentence:
            sentence += f"; {field}: {description}"
    places = [_WHERE_TO_LOOK[name] for name in (error.reason, *fields) if name in _WHERE_TO_LOOK]
    if error.code == "UNAVAILABLE" and not error.reason:
        sentence += "; say where it is with --address or RUNWIRE_ADDRESS"
    elif places:
        sentence += f" (see: {places[0]})"
    return " ".join(sentence.split())


def refuse(sentence: str) -> NoReturn:
    """End the command because a call failed or the command was used wrongly."""
    print(safe(sentence, sys.stderr), file=sys.stderr)
    raise typer.Exit(FAILED)


def json_of(option: str, text: str | None) -> Any:
    """Return the JSON that an option holds or points to, None if it is not given."""
    if text is None:
        return None
    found = _read(option, text)
    try:
        return json.loads(found)
    except ValueError as error:
        # The shell takes the quotes away that make a text of a word.
        hint = f"; a text is written as '\"{found}\"'" if found.isalpha() else ""
        refuse(f"{option} is not JSON: {error}{hint}")


def object_of(option: str, text: str | None) -> dict[str, Any] | None:
    """Return the JSON object that an option holds or points to, None if it is not given."""
    value = json_of(option, text)
    if value is None or isinstance(value, dict):
        return value
    refuse(f'{option} must be a JSON object, such as {{"key": "value"}}')


def _read(option: str, text: str) -> str:
    if text == "-":
        try:
            return sys.stdin.read()
        except UnicodeDecodeError:
            refuse(f"{option}: standard input is not UTF-8")
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        refuse(f"{option}: {text[1:]} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        refuse(f"{option}: {text[1:]} is not UTF-8")


def moment_of(option: str, text: str | None) -> datetime | None:
    """Return the time that an option holds, in UTC if it does not say; None if it is not given."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{option} is no time: write it as in 2026-01-31T12:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
