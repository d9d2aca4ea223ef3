"""Import of the code that a configuration names. A failure says file, line and cause."""

import importlib
import importlib.util
import linecache
import re
import sys
import traceback
import zlib
from pathlib import Path
from types import ModuleType

from runwire.server.graphs.config import GraphEntry, GraphsConfig


class GraphLoadError(Exception):
    """A graph cannot be had from its code. The message names the graph and is for its author."""

    def __init__(self, graph_id: str, message: str) -> None:
        super().__init__(f"graph {graph_id!r}: {message}")


def put_on_path(directories: tuple[Path, ...]) -> None:
    """Make the modules in `directories` importable, as if Python had been started there."""
    missing = [str(path) for path in directories if str(path) not in sys.path]
    sys.path[:0] = missing


def load_attribute(entry: GraphEntry, config: GraphsConfig) -> object:
    """Import the code that `entry` names and return what its attribute holds.

    Raises `GraphLoadError`. Blocks for as long as the import takes.
    """
    module = _import_file(entry, config) if entry.is_file else _import_module(entry, config)
    try:
        return getattr(module, entry.attribute)
    except AttributeError:
        name = entry.source if entry.is_file else module.__name__
        raise GraphLoadError(
            entry.graph_id, f"{name} has no attribute {entry.attribute!r}"
        ) from None


def _import_module(entry: GraphEntry, config: GraphsConfig) -> ModuleType:
    try:
        return importlib.import_module(entry.source)
    except (Exception, SystemExit) as error:
        raise _explained(error, entry, config) from error


def _import_file(entry: GraphEntry, config: GraphsConfig) -> ModuleType:
    file = _find_file(entry, config)
    name = _importable_name(file, config) or _made_up_name(entry.source)
    loaded = sys.modules.get(name)
    if loaded is not None and _is_from(loaded, file):
        return loaded
    try:
        return _execute(name, file)
    except (Exception, SystemExit) as error:
        raise _explained(error, entry, config) from error


def _find_file(entry: GraphEntry, config: GraphsConfig) -> Path:
    file = (config.base / entry.source).resolve()
    if not file.is_file():
        raise GraphLoadError(entry.graph_id, f"there is no file {entry.source}")
    if not any(file.is_relative_to(directory) for directory in config.directories):
        raise GraphLoadError(
            entry.graph_id,
            f"{entry.source} is outside of {config.base} and of the configuration's dependencies",
        )
    return file


def _importable_name(file: Path, config: GraphsConfig) -> str | None:
    """Return the dotted name under which Python itself would import `file`, if there is one.

    With it, a graph's file and another module that imports it share one set of classes; and the
    name is the same at every start, which checkpoints count on: they name the classes of what
    they hold.
    """
    for directory in config.directories:
        if not file.is_relative_to(directory):
            continue
        parts = file.relative_to(directory).with_suffix("").parts
        name = ".".join(parts)
        if all(part.isidentifier() for part in parts) and _spec_is_from(name, file):
            return name
    return None


def _spec_is_from(name: str, file: Path) -> bool:
    try:
        # Runs the __init__ of the packages above, which may fail; the file is then tried alone.
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - see above
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file


def _made_up_name(source: str) -> str:
    """Return a module name that follows from the configuration alone."""
    readable = re.sub(r"\W+", "_", source.removesuffix(".py")).strip("_")
    return f"graph_file_{readable}_{zlib.crc32(source.encode()):08x}"


def _is_from(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == file


def _execute(name: str, file: Path) -> ModuleType:
    if _spec_is_from(name, file):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up while it executes
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _explained(error: BaseException, entry: GraphEntry, config: GraphsConfig) -> GraphLoadError:
    """Return `error` as one sentence and the line of the user's code that it came from."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        cause, place = f"{kind}: {error.msg}", (error.filename, error.lineno or 0)
    else:
        cause, found = f"{kind}: {error}" if str(error) else kind, _place(error, config)
        if found is None:
            return GraphLoadError(entry.graph_id, f"{entry.source} cannot be imported: {cause}")
        place = found
    line = linecache.getline(*place).strip()
    where = f"{_shown(Path(place[0]), config)}, line {place[1]}"
    return GraphLoadError(entry.graph_id, f"{where}: {cause}" + (f"\n    {line}" if line else ""))


def _place(error: BaseException, config: GraphsConfig) -> tuple[str, int] | None:
    """Return the deepest place in the user's own code that `error` passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        file = Path(frame.filename)
        installed = "site-packages" in file.parts
        inside = any(file.is_relative_to(directory) for directory in config.directories)
        if frame.lineno is not None and inside and not installed:
            return frame.filename, frame.lineno
    return None


def _shown(file: Path, config: GraphsConfig) -> str:
    inside = file.is_relative_to(config.base)
    return str(file.relative_to(config.base) if inside else file)
