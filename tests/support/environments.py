"""Environments for processes that tests start."""

import os
from collections.abc import Mapping


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without anything that sets up a server, and `more`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RUNWIRE_") and name != "DATABASE_URL"
    }
    return {**inherited, **(more or {})}
