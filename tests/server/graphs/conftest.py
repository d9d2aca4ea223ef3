"""What tests of the graphs floor start from."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from tests.support.attempts import Attempts

from runwire.server.graphs.config import GraphsConfig, read_config
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.saver import RunwireSaver
from runwire.server.storage.database import Database

SUPPORT = Path(__file__).parents[2] / "support" / "graphs" / "langgraph.json"

WriteConfig = Callable[..., GraphsConfig]


@pytest.fixture(autouse=True)
def own_imports() -> Iterator[None]:
    """Let no test see what another has imported or put on the path."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "site-packages" not in file and "runwire" not in name:
            del sys.modules[name]


@pytest.fixture
async def registry() -> Registry:
    """The graphs that tests of all floors share, with everything kept in memory."""
    found = Registry(read_config(SUPPORT), saver=InMemorySaver(), store=InMemoryStore())
    await found.load()
    return found


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Write a configuration and the files it names; return it as read."""

    def write(content: dict[str, Any], **files: str) -> GraphsConfig:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps(content))
        return read_config(path)

    return write


@pytest.fixture
def saver(database: Database) -> RunwireSaver:
    """The server's own saver."""
    return RunwireSaver(database)


@pytest.fixture
def attempts(database: Database) -> Attempts:
    """Makes threads and runs in the database."""
    return Attempts(database)
