"""Write the synchronous client in client/runwire/client/sync/ from the asynchronous one, or tell
whether it is fresh.

`python client/make_sync.py` writes; with `--check` nothing is written, and the exit code is 1 if
anything is missing, left over or different. The two faces have one definition: every module that
awaits anything is translated word by word. Only the channel, where gRPC itself differs, is written
by hand for both.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

CLIENT = Path(__file__).resolve().parent / "runwire" / "client"
SYNC = CLIENT / "sync"
BY_HAND = {"__init__.py", "channel.py"}
MARK = "# Made from ../{name} by client/make_sync.py: change that one.\n"

# Words of code, beside the names of clients. What the library knows itself is not repeated.
WORDS = {
    "get_client": "get_sync_client",
    "aclose": "close",
    "aclosing": "closing",
}

# Pieces of text, in code and in what it says. Each has to occur, lest the list outlive its reasons.
PIECES = {
    "from collections.abc import Awaitable, Callable": "from collections.abc import Callable",
    "Awaitable[Answer]": "Answer",
    "Awaitable[tuple[Sequence[Item], str]]": "tuple[Sequence[Item], str]",
    "or as `async with`. It belongs to the event loop on\n    which it is first used.": (
        "or as `with`. Any number of threads may\n    use it at once."
    ),
    "closed with `aclose`": "closed with `close`",
}


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only tell whether it is fresh")
    check = parser.parse_args().check
    wanted = translated()
    present = {file.name: file.read_text() for file in SYNC.glob("*.py")}
    names = sorted((wanted.keys() | present.keys()) - BY_HAND)
    stale = [name for name in names if wanted.get(name) != present.get(name)]
    if check:
        for name in stale:
            print(f"client/runwire/client/sync/{name} is stale: run `python client/make_sync.py`")
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (SYNC / name).write_text(wanted[name])
        else:
            (SYNC / name).unlink()
    return 0


def translated() -> dict[str, str]:
    """Return the modules of the synchronous client by their files' names."""
    sources = [file for file in sorted(CLIENT.glob("*.py")) if awaits(file.read_text())]
    sources = [file for file in sources if file.name not in BY_HAND]
    with tempfile.TemporaryDirectory() as temporary:
        clients = {name: f"Sync{name}" for file in sources for name in clients_in(file)}
        rule = unasync.Rule(f"{CLIENT}/", f"{temporary}/", {**WORDS, **clients})
        unasync.unasync_files([str(file) for file in sources], [rule])
        made = {file.name: Path(temporary, file.name).read_text() for file in sources}
    return tidied(finish(made))


def awaits(text: str) -> bool:
    """Return whether a module is asynchronous, or hands on what is."""
    return any(word in text for word in ("async ", "await ", "AsyncIterator", "Awaitable"))


def clients_in(file: Path) -> list[str]:
    """Return the names of the clients that a module defines; langgraph_sdk gives them a prefix."""
    return re.findall(r"^class (\w+Client)\b", file.read_text(), re.MULTILINE)


def finish(made: dict[str, str]) -> dict[str, str]:
    """Replace pieces of text, and let the modules import one another."""
    pieces = {
        **PIECES,
        **{
            f"from runwire.client.{name.removesuffix('.py')} import": (
                f"from runwire.client.sync.{name.removesuffix('.py')} import"
            )
            for name in {*made, *BY_HAND}
        },
    }
    for piece in PIECES:
        if not any(piece in text for text in made.values()):
            raise SystemExit(f"client/make_sync.py: nothing has {piece!r} any more")
    finished = {}
    for name, text in made.items():
        for piece, replacement in pieces.items():
            text = text.replace(piece, replacement)
        finished[name] = MARK.format(name=name) + text
    return finished


def tidied(made: dict[str, str]) -> dict[str, str]:
    """Return modules as ruff wants them: words that are shorter make other lines."""
    with tempfile.TemporaryDirectory(dir=SYNC.parent, prefix=".sync-") as temporary:
        for name, text in made.items():
            Path(temporary, name).write_text(text)
        for command in (["check", "--fix", "--select", "I,F401"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--quiet", temporary]
            subprocess.run(ruff, check=True)
        return {name: Path(temporary, name).read_text() for name in made}


if __name__ == "__main__":
    sys.exit(main())
