"""`langgraph.json`: which graphs there are, where their code is, and the environment they want."""

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from runwire.server.graphs.webhooks import URL_USED, USED, WebhooksConfig, read_webhooks
from runwire.server.model.ids import canonical_id
from runwire.server.model.items import StoreIndex, StoreTtl, wrong_path
from runwire.server.model.threads import PruneStrategy, ThreadTtl

_READ = ("graphs", "env", "dependencies", "checkpointer", "store", "webhooks", "$schema")

_NOT_USED = frozenset(
    {
        "_INTERNAL_docker_tag",
        "api_version",
        "auth",
        "base_image",
        "dockerfile_lines",
        "encryption",
        "http",
        "image_distro",
        "keep_pkg_tools",
        "node_version",
        "pip_config_file",
        "pip_installer",
        "priority",
        "python_version",
        "source",
        "ui",
        "ui_config",
    }
)
"""What LangGraph's own servers and builders read from the file and this one does not."""

_JAVASCRIPT = (".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx")


class ConfigError(Exception):
    """The configuration file is wrong. The message names the file and the key."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEntry:
    """Where one graph is: `source` is a file relative to the configuration, or a module."""

    graph_id: str
    source: str
    attribute: str
    description: str = ""

    @property
    def is_file(self) -> bool:
        """Whether `source` is a file and not a dotted module name."""
        return "/" in self.source or "\\" in self.source or self.source.endswith(".py")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphsConfig:
    """A configuration file as read.

    `directories` (the file's own first) hold the graphs' code and belong on `sys.path`.
    `thread_ttl` is for new threads, `store_ttl` for items of the store, `sweep_interval` how often
    what has expired is looked for, `webhooks` which of them are called, `store_index` how items of
    the store are found by their meaning.
    `warnings` are sentences for the log.
    """

    path: Path
    graphs: Mapping[str, GraphEntry]
    env: Mapping[str, str]
    directories: tuple[Path, ...]
    thread_ttl: ThreadTtl | None = None
    sweep_interval: timedelta | None = None
    store_ttl: StoreTtl = field(default_factory=StoreTtl)
    webhooks: WebhooksConfig = field(default_factory=WebhooksConfig)
    store_index: StoreIndex | None = None
    warnings: tuple[str, ...] = ()

    @property
    def base(self) -> Path:
        """The directory that the file's paths are relative to."""
        return self.path.parent


def read_config(path: Path) -> GraphsConfig:
    """Return the configuration in the file at `path`. Imports and applies nothing.

    Raises `ConfigError`.
    """
    path = path.resolve()
    content = _read_object(path)
    env, env_warnings = _read_env(path, content.get("env", {}))
    checkpointer = _read_part(path, "checkpointer", content.get("checkpointer"))
    ttl = _read_part(path, "checkpointer.ttl", checkpointer.get("ttl"))
    store = _read_part(path, "store", content.get("store"))
    store_ttl = _read_part(path, "store.ttl", store.get("ttl"))
    intervals = (
        _read_minutes(path, f"{key}.sweep_interval_minutes", part.get("sweep_interval_minutes"))
        for key, part in (("checkpointer.ttl", ttl), ("store.ttl", store_ttl))
    )
    hooks = _read_part(path, "webhooks", content.get("webhooks"))
    hook_urls = _read_part(path, "webhooks.url", hooks.get("url"))
    return GraphsConfig(
        path=path,
        graphs=_read_graphs(path, content.get("graphs")),
        env=env,
        directories=_read_dependencies(path, content.get("dependencies", [])),
        thread_ttl=_read_ttl(path, ttl),
        sweep_interval=min((one for one in intervals if one is not None), default=None),
        store_ttl=_read_store_ttl(path, store_ttl),
        webhooks=_read_webhooks(path, hooks, hook_urls),
        store_index=_read_store_index(path, store.get("index")),
        warnings=(
            *_strange_keys(path, content),
            *_not_used(path, "checkpointer", checkpointer, ("ttl",)),
            *_not_used(path, "checkpointer.ttl", ttl, _TTL_KEYS),
            *_not_used(path, "store", store, ("ttl", "index")),
            *_not_used(path, "store.index", store.get("index") or {}, _INDEX_KEYS),
            *_not_used(path, "store.ttl", store_ttl, _STORE_TTL_KEYS),
            *_not_used(path, "webhooks", hooks, USED),
            *_not_used(path, "webhooks.url", hook_urls, URL_USED),
            *env_warnings,
        ),
    )


def apply_env(config: GraphsConfig) -> list[str]:
    """Set the configuration's environment variables that are not set yet; return their names.

    To be called before any graph is imported, which is when libraries read theirs.
    """
    missing = {name: value for name, value in config.env.items() if name not in os.environ}
    os.environ.update(missing)
    return sorted(missing)


def _read_object(path: Path) -> dict[str, Any]:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(path, f"the key {twice!r} is there twice")
        return found

    try:
        content = json.loads(path.read_text("utf-8"), object_pairs_hook=without_duplicates)
    except FileNotFoundError:
        raise ConfigError(path, "there is no such file") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(path, f"cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(path, f"not JSON: {error.msg} ({where})") from None
    if not isinstance(content, dict):
        raise ConfigError(path, "must hold a JSON object")
    return content


def _read_graphs(path: Path, value: Any) -> dict[str, GraphEntry]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(path, 'graphs: must name at least one graph, {"chat": "./chat.py:graph"}')
    return {graph_id: _read_graph(path, graph_id, entry) for graph_id, entry in value.items()}


def _read_graph(path: Path, graph_id: str, value: Any) -> GraphEntry:
    key = f"graphs.{graph_id}"
    _check_graph_id(path, key, graph_id)
    entry = {"path": value} if isinstance(value, str) else value
    location = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(location, str):
        raise ConfigError(path, f'{key}: must be "file.py:attribute" or an object with a "path"')
    source, colon, attribute = location.rpartition(":")
    if source.endswith(_JAVASCRIPT):
        raise ConfigError(path, f"{key}: {source} is not Python, and only Python graphs are run")
    if not colon or not source or not attribute.isidentifier():
        raise ConfigError(
            path, f'{key}: {location!r} must be "file.py:attribute" or "package.module:attribute"'
        )
    description = entry.get("description") or ""
    if not isinstance(description, str):
        raise ConfigError(path, f"{key}.description: must be a string")
    return GraphEntry(
        graph_id=graph_id, source=source, attribute=attribute, description=description
    )


def _check_graph_id(path: Path, key: str, graph_id: str) -> None:
    if not graph_id.strip() or len(graph_id) > 128:
        raise ConfigError(path, f"{key}: a graph's id has 1 to 128 characters")
    if any(unicodedata.category(character).startswith("C") for character in graph_id):
        raise ConfigError(path, f"{key!r}: a graph's id has no control characters")
    if canonical_id(graph_id.lower()):
        raise ConfigError(path, f"{key}: a graph's id must not look like an assistant's (a UUID)")


def _read_env(path: Path, value: Any) -> tuple[dict[str, str], list[str]]:
    if isinstance(value, str):
        return _read_env_file(path, value)
    if not isinstance(value, dict):
        raise ConfigError(path, "env: must be an object, or the path of a file")
    found = {}
    for name, setting in value.items():
        if isinstance(setting, bool) or not isinstance(setting, str | int | float):
            raise ConfigError(path, f"env.{name}: must be a string or a number")
        if not name or "=" in name or "\0" in name or "\0" in str(setting):
            raise ConfigError(path, f"env.{name}: cannot be an environment variable")
        found[name] = str(setting)
    return found, []


def _read_env_file(path: Path, name: str) -> tuple[dict[str, str], list[str]]:
    file = path.parent / name
    if not file.is_file():
        # Such files are rarely committed: a fresh clone has none.
        return {}, [f"{path.name}: env: there is no file {name}, nothing was read from it"]
    try:
        values = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"env: {name} cannot be read: {error}") from None
    return {key: setting for key, setting in values.items() if setting is not None}, []


def _read_dependencies(path: Path, value: Any) -> tuple[Path, ...]:
    """Return the directories that `dependencies` names.

    Its other items are packages, which whoever builds the environment installs; a server does not.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(path, "dependencies: must be a list of strings")
    directories = [path.parent]
    for item in value:
        if not re.match(r"\.|/|~", item):
            continue
        directory = (path.parent / Path(item).expanduser()).resolve()
        if not directory.is_dir():
            raise ConfigError(path, f"dependencies: there is no directory {item}")
        directories.append(directory)
    return tuple(dict.fromkeys(directories))


_TTL_KEYS = ("strategy", "default_ttl", "sweep_interval_minutes")
_INDEX_KEYS = ("dims", "embed", "fields")
_STORE_TTL_KEYS = ("default_ttl", "refresh_on_read", "sweep_interval_minutes")


def _read_part(path: Path, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(path, f"{key}: must be an object")
    return value


def _read_ttl(path: Path, ttl: dict[str, Any]) -> ThreadTtl | None:
    strategy = ttl.get("strategy", PruneStrategy.DELETE.value)
    if strategy not in list(PruneStrategy):
        words = " or ".join(repr(word.value) for word in PruneStrategy)
        raise ConfigError(path, f"checkpointer.ttl.strategy: must be {words}")
    duration = _read_minutes(path, "checkpointer.ttl.default_ttl", ttl.get("default_ttl"))
    return None if duration is None else ThreadTtl(duration, PruneStrategy(strategy))


def _read_store_ttl(path: Path, ttl: dict[str, Any]) -> StoreTtl:
    refreshes = ttl.get("refresh_on_read", True)
    if not isinstance(refreshes, bool):
        raise ConfigError(path, "store.ttl.refresh_on_read: must be true or false")
    default = _read_minutes(path, "store.ttl.default_ttl", ttl.get("default_ttl"))
    return StoreTtl(default, refreshes)


def _read_store_index(path: Path, value: Any) -> StoreIndex | None:
    if value is None:
        return None
    index = _read_part(path, "store.index", value)
    dims, embed, fields = index.get("dims"), index.get("embed"), index.get("fields") or ["$"]
    if isinstance(dims, bool) or not isinstance(dims, int) or not 1 <= dims <= _MOST_DIMS:
        raise ConfigError(path, f"store.index.dims: must be a number from 1 to {_MOST_DIMS}")
    if not isinstance(embed, str) or not all(embed.partition(":")):
        raise ConfigError(path, 'store.index.embed: must be "file.py:function" or "provider:model"')
    if not isinstance(fields, list) or not all(isinstance(one, str) and one for one in fields):
        raise ConfigError(path, "store.index.fields: must be a list of paths")
    for one in fields:
        if wrong := wrong_path(one):
            raise ConfigError(path, f"store.index.fields: {one[:64]!r} {wrong}")
    return StoreIndex(dims=dims, embed=embed, fields=tuple(fields))


def _read_minutes(path: Path, key: str, minutes: Any) -> timedelta | None:
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, int | float):
        raise ConfigError(path, f"{key}: must be a number of minutes")
    if not 0 < minutes <= _MOST_MINUTES:
        raise ConfigError(path, f"{key}: must be more than 0 and at most {_MOST_MINUTES} minutes")
    return timedelta(minutes=minutes)


_MOST_DIMS = 16_000
"""As many as PostgreSQL's vectors have."""

_MOST_MINUTES = 365 * 24 * 60


def _read_webhooks(path: Path, part: dict[str, Any], urls: dict[str, Any]) -> WebhooksConfig:
    try:
        return read_webhooks(part, urls)
    except ValueError as error:
        raise ConfigError(path, str(error)) from None


def _not_used(path: Path, place: str, content: dict[str, Any], used: tuple[str, ...]) -> list[str]:
    others = [f"{place}.{key}" for key in sorted(set(content) - set(used))]
    return [f"{path.name}: not used by Runwire: {', '.join(others)}"] if others else []


def _strange_keys(path: Path, content: dict[str, Any]) -> list[str]:
    others = sorted(set(content) - set(_READ))
    not_used = [key for key in others if key in _NOT_USED]
    unknown = [key for key in others if key not in _NOT_USED]
    warnings = []
    if not_used:
        warnings.append(f"{path.name}: not used by Runwire: {', '.join(not_used)}")
    if unknown:
        warnings.append(f"{path.name}: unknown keys: {', '.join(unknown)}")
    return warnings
