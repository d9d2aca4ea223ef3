"""The directory in which a test meets the graphs in `tests/support/graphs/waiting.py`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwire.server.model.runs import Run
from tests.support.engine import Engine, until


@dataclass
class Meeting:
    """Where graphs say that they are at work, wait for the test, and write down what they did."""

    directory: Path

    def input(self, **more: Any) -> dict[str, Any]:
        """Return a graph's input that names this place."""
        return {"directory": str(self.directory), **more}

    async def start(self, engine: Engine, graph_id: str, **more: Any) -> Run:
        """Start a run and return it when its node is at work. `more` is its input's, but for what
        is in `spec`."""
        spec = more.pop("spec", {})
        (self.directory / "started").unlink(missing_ok=True)
        run = await engine.start(graph_id, self.input(**more), **spec)
        await until((self.directory / "started").exists)
        return run

    def open(self) -> None:
        """Let graphs that wait go on."""
        (self.directory / "open").touch()

    def notes(self, run: Run | None = None) -> list[str]:
        """Return what was written down, of a run if one is given."""
        return [
            note["what"] for note in self.ledger() if run is None or note["run_id"] == run.run_id
        ]

    def ledger(self) -> list[dict[str, Any]]:
        """Return everything that was written down, in its order."""
        file = self.directory / "ledger"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]
