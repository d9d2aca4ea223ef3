"""Starting the server again whenever code changes: what `runwire dev` adds to `serve`."""

import logging
import shlex
from pathlib import Path

from watchfiles import Change, DefaultFilter, run_process

from runwire.server.graphs.config import ConfigError, read_config
from runwire.server.log_output import configure_logs
from runwire.server.settings import Settings

_logger = logging.getLogger(__name__)

KILL_SECONDS = 5
"""How much longer than its drain's grace a server may take to stop before it is killed."""


class CodeFilter(DefaultFilter):
    """Lets through changes of code and configuration."""

    suffixes = (".py", ".json", ".env", ".toml")
    ignore_dirs = (*DefaultFilter.ignore_dirs, ".runwire")

    def __call__(self, change: Change, path: str) -> bool:
        """Whether a changed file means that the server starts again."""
        return path.endswith(self.suffixes) and super().__call__(change, path)


def serve_with_reload(settings: Settings, command: list[str]) -> None:
    """Run `command`, a server with `settings`, and run it again after every change of its graphs'
    code; until Ctrl-C. A server that fails is started again by the next change."""
    configure_logs(settings.log_level, settings.log_format)
    logging.getLogger("watchfiles.main").setLevel(logging.ERROR)  # it warns of every Ctrl-C
    run_process(
        *_directories(settings.config),
        target=shlex.join(command),
        target_type="command",
        watch_filter=CodeFilter(),
        callback=_say_what_changed,
        sigint_timeout=round(settings.drain_grace.total_seconds()) + KILL_SECONDS,
    )


def _directories(config: Path) -> tuple[Path, ...]:
    try:
        return read_config(config).directories
    except ConfigError:
        # The server says what is wrong; a change of the file is what it waits for.
        return (config.resolve().parent,)


def _say_what_changed(changes: set[tuple[Change, str]]) -> None:
    names = sorted({Path(path).name for _, path in changes})
    _logger.info("%s changed: starting again", ", ".join(names))
