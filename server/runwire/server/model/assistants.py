"""Assistants: a graph plus configuration, versioned."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runwire.server.model.runs import RunConfig


@dataclass(frozen=True, slots=True)
class Configured:
    """What the configuration says of a graph to people."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistant:
    """An assistant at one version: the latest unless a version was asked for."""

    assistant_id: str
    graph_id: str
    name: str
    description: str
    config: RunConfig
    context: dict[str, Any] | None
    metadata: dict[str, Any]
    version: int
    create_time: datetime
    update_time: datetime
