"""Write docs/cli.md from the help of the commands, or tell whether it is fresh.

`python client/make_cli_docs.py` writes; with `--check` nothing is written, and the exit code is 1
if the page is not what the commands say of themselves.
"""

import argparse
import inspect
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo, OptionInfo

from runwire.commands.main import SERVER_COMMANDS, app, server_commands

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

PARAGRAPH = "\n\n"

BEGINNING = """\
<!-- Made from the commands' help by client/make_cli_docs.py: change that. -->

# The command line

`runwire` calls a server, from anywhere, with `pip install 'runwire[cli]'`; the extra `server` \
brings these commands too.
`runwire --install-completion` completes commands, options and choices in bash, zsh and fish.

| | |
|---|---|
| which server | `--address`, `RUNWIRE_ADDRESS`, or 127.0.0.1:50051; a list for servers that \
share a database: `10.0.0.1:50051,10.0.0.2:50051` |
| credentials | `RUNWIRE_TOKEN` is sent as `authorization: Bearer …`, over TLS or within this \
machine |
| certificates | `RUNWIRE_CLIENT_CA`, a PEM file, says who may have signed the server's; \
`RUNWIRE_CLIENT_CERT` and `RUNWIRE_CLIENT_KEY` are the caller's own, for mutual TLS |
| answers | on standard output; everything else, such as a run's id and how it ended, on standard\
 error |
| programs | `--json`: one JSON document, or a line of JSON for each part of a stream, and \
nothing else on standard output |
| terminals | colours (none with `NO_COLOR`) and a line that says what a run does just now; plain\
 text everywhere else |
| Ctrl-C | cancels a run that `runs stream` or `runs wait` has started, and says so; leaves \
everything else as it is |
| a closed terminal or pipe, a kill | cancels such a run too; with `--keep` it goes on, also \
after Ctrl-C |

| exit code | |
|---|---|
| 0 | done; a run has succeeded, or paused at an interrupt |
| 1 | a run ended otherwise, or not all that was asked for could be done |
| 2 | the call failed, or the command was used wrongly: a sentence on standard error says why |
| 130 | left with Ctrl-C |

JSON that an option takes may stand in a file (`--input @question.json`) or come from standard \
input (`--input -`).
"""


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only tell whether it is fresh")
    page = "\n".join([BEGINNING, *written()])
    if not parser.parse_args().check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/cli.md is stale: run `python client/make_cli_docs.py`")
    return 1


def written() -> Iterator[str]:
    """Give the page's parts after its beginning."""
    for group in app.registered_groups:
        typer_app: Any = group.typer_instance
        yield f"## runwire {group.name}\n\n{typer_app.info.help}\n"
        for command in typer_app.registered_commands:
            name = command.name or command.callback.__name__
            yield from section("###", f"runwire {group.name} {name}", command)
    for command in app.registered_commands:
        yield from section("##", f"runwire {command.callback.__name__}", command)
    yield "## Commands of the server\n"
    yield "With the extra `server`; `runwire serve --help` names every setting.\n"
    yield "| | |\n|---|---|"
    for name in SERVER_COMMANDS:
        help_text = server_commands().commands[name].help
        yield f"| `runwire {name}` | {cell(help_text.strip().split(PARAGRAPH)[0])} |"
    yield ""


def section(level: str, name: str, command: Any) -> Iterator[str]:
    """Give what one command says of itself."""
    parameters = inspect.signature(command.callback).parameters.values()
    taken = [(each, *get_args(each.annotation)) for each in parameters]
    arguments = [part for part in taken if isinstance(part[2], ArgumentInfo)]
    options = [part for part in taken if isinstance(part[2], OptionInfo)]
    usage = " ".join([name, *(info.metavar for _, _, info in arguments), "[OPTIONS]"])
    yield f"{level} {name}\n"
    yield f"```sh\n{usage}\n{command.epilog.removeprefix('Example: ')}\n```\n"
    yield f"{inspect.getdoc(command.callback)}\n"
    yield "| | |\n|---|---|"
    for _, _, info in arguments:
        yield f"| `{info.metavar}` | {cell(info.help)} |"
    for parameter, kind, info in options:
        yield f"| {names_of(parameter, kind, info)} | {cell(info.help)}{default_of(parameter)} |"
    yield ""


def names_of(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> str:
    """Return an option's names, and what it takes."""
    # The first name is where an option that is no annotation would have its default.
    given = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    names = given or [f"--{parameter.name.replace('_', '-')}"]
    shown = ", ".join(f"`{name}`" for name in names)
    if kind in (bool, bool | None):
        return shown
    words = " \\| ".join(f"`{word}`" for word in words_of(kind))
    return f"{shown} {words or info.metavar or 'NUMBER'}"


def words_of(kind: Any) -> list[str]:
    """Return the words that an option takes, none if it takes others."""
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [*kind]
    return [word for part in get_args(kind) for word in words_of(part)]


def default_of(parameter: inspect.Parameter) -> str:
    """Return an option's default, nothing where the help says it, or nothing is the default."""
    default = parameter.default
    return "" if default in (None, "", False, parameter.empty) else f" [default: {default}]"


def cell(text: str) -> str:
    """Return a text as it may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
