"""Every Python snippet of the guides, run against a server with the example agents.

The snippets of a section, which is what stands under one `##`, are run in their order and share
their names; `await` may stand at the top, as in a notebook. `client` is there from the start. What
a snippet prints is what the next block says if that is one of `text`, where … stands for anything.
"""

import ast
import asyncio
import inspect
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.receivers import SECRET, receiving
from tests.support.serving import serve_in_process
from tests.support.tls import Identity

from runwire.client import get_client

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LETTERS = ROOT / "tests" / "support" / "graphs" / "letters.py"
PAGES = (
    "docs/client.md",
    "docs/client-connections.md",
    "docs/crons.md",
    "docs/migration.md",
    "docs/remote-graph.md",
    "docs/store.md",
    "docs/streams.md",
)

# What the pages say a server and a receiver of webhooks are at, in place of which there are others.
SERVER = "localhost:50051"
RECEIVER = "https://example.com/hooks"


class Snippet(NamedTuple):
    """A block of Python on a page. `line` is that of its first line; `output` is what it prints,
    None if the page does not say."""

    line: int
    code: str
    output: str | None


class Section(NamedTuple):
    page: str
    title: str
    snippets: list[Snippet]


BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<output>.*?)^```$)?", re.M | re.S
)


def sections(page: str) -> Iterator[Section]:
    """Give the sections of a page that have snippets."""
    text = (ROOT / page).read_text(encoding="utf-8")
    starts = [match.start() for match in re.finditer(r"^## ", text, re.M)]
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        found = [
            Snippet(text.count("\n", 0, block.start("code")) + 1, block["code"], block["output"])
            for block in BLOCK.finditer(text, start, end)
        ]
        if found:
            yield Section(page, text[start:end].partition("\n")[0].strip("# "), found)


ALL = [section for page in PAGES for section in sections(page)]


def searchable_examples(directory: Path) -> Path:
    """Return a configuration file of the example agents, with a store that searches by meaning."""
    config = json.loads((EXAMPLES / "langgraph.json").read_text())
    for name, entry in config["graphs"].items():
        path = entry if isinstance(entry, str) else entry["path"]
        config["graphs"][name] = f"{EXAMPLES}/{path}"
    config["dependencies"] = [str(EXAMPLES), str(LETTERS.parent)]
    config["store"] = {"index": {"dims": 26, "embed": f"{LETTERS}:embed", "fields": ["text"]}}
    file = directory / "langgraph.json"
    file.write_text(json.dumps(config))
    return file


@pytest.fixture
async def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, str]]:
    """Where a server with the example agents is, and a receiver of webhooks, by the names that the
    pages have for them."""
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.chdir(tmp_path)
    caller = Identity("caller")
    for name, pem in (("ca", caller.ca), ("cert", caller.cert), ("key", caller.key)):
        (tmp_path / f"{name}.pem").write_bytes(pem)
    async with (
        receiving() as receiver,
        serve_in_process(
            tmp_path,
            graphs=searchable_examples(tmp_path),
            webhook_secret=SECRET,
            webhook_loopback=True,
            webhook_require_https=False,
        ) as server,
    ):
        yield {SERVER: server.address, RECEIVER: receiver.url}


@pytest.mark.parametrize("section", ALL, ids=lambda section: f"{section.page}:{section.title}")
async def test_the_snippets_of_a_section_run_and_print_what_they_say(
    section: Section, places: dict[str, str]
) -> None:
    async with get_client(places[SERVER]) as client:
        names: dict[str, Any] = {"client": client, "__name__": "snippet"}
        for snippet in section.snippets:
            printed = await run(snippet, section.page, places, names)
            if snippet.output is not None:
                assert matches(printed, snippet.output), f"it printed:\n{printed}"


async def run(snippet: Snippet, page: str, places: dict[str, str], names: dict[str, Any]) -> str:
    """Run a snippet and return what it printed. Its errors name the page and the line."""
    code = "\n" * (snippet.line - 1) + snippet.code
    for said, there in places.items():
        code = code.replace(said, there)
    compiled = compile(code, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    names["print"] = partial(print, file=printed)
    if compiled.co_flags & inspect.CO_COROUTINE:
        await eval(compiled, names)
    else:
        # The server is on this loop, and a snippet that does not await may wait for it.
        await asyncio.to_thread(exec, compiled, names)
    return printed.getvalue()


def matches(printed: str, said: str) -> bool:
    pattern = re.escape(said.strip()).replace("…", ".*?")
    return re.fullmatch(pattern, printed.strip(), re.S) is not None
