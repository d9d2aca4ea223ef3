"""What a server says on a terminal when it is ready: what is served where, and a line to paste."""

import json
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

from runwire.server.core.assistants import Assistants
from runwire.server.settings import DEFAULT_BIND, Settings

GRAPHS_TRIED = 5
"""How many graphs are asked what they take: the banner is not worth a slow start."""

VALUES = {"string": "hello", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
"""What a sample input has for a field, by the field's type in the JSON schema."""


class Sample(NamedTuple):
    """A graph to try, and an input that it takes."""

    graph_id: str
    input: Any


ROLES = {
    (True, True): "",
    (True, False): ", takes calls and executes no runs",
    (False, True): ", executes runs and answers nothing but health",
}
"""What the first line says about whether the server takes calls and executes runs."""


def render_banner(
    settings: Settings, address: str, graph_ids: list[str], sample: Sample | None
) -> str:
    """Return the banner, several lines long, of a server that listens on `address`; `sample` is
    what to try, if anything can be."""
    reach = "this machine only" if settings.is_loopback else "open to other machines"
    facts = {
        "listens on": f"{address}, {reach}, in the clear",
        "graphs": f"{', '.join(graph_ids)} ({settings.config})",
        "database": settings.database_shown,
        "reflection": "on" if settings.reflects else "off",
    }
    lines = [
        f"Runwire {version('runwire')}{ROLES[settings.takes_calls, settings.executes_runs]}",
        *(f"  {name:<11} {value}" for name, value in facts.items()),
    ]
    if sample is not None:
        lines += ["", "Stream a run, from another terminal:", f"  {_own_line(address, sample)}"]
    if sample is not None and settings.reflects:
        lines += ["or with any gRPC tool:", f"  {_tool_line(address, sample)}"]
    return "\n".join([*lines, "", ""])


async def choose_sample(assistants: Assistants, graph_ids: list[str]) -> Sample:
    """Return a graph that chats, if there is one among the first few, or else the first."""
    samples = []
    for graph_id in graph_ids[:GRAPHS_TRIED]:
        try:
            schema = (await assistants.schemas(graph_id))[1].input
        except Exception:  # noqa: BLE001 - a factory is user code, and this is only a banner
            schema = None
        samples.append(Sample(graph_id, sample_input(json.loads(schema or "{}"))))
        if "messages" in samples[-1].input:
            return samples[-1]
    return samples[0]


def sample_input(schema: Any) -> Any:
    """Return an input that fits a graph's JSON schema, as far as a guess can."""
    properties = schema.get("properties", {})
    if "messages" in properties:
        return {"messages": [{"role": "user", "content": "What is 6 * 7?"}]}
    wanted = schema.get("required") or list(properties)[:1]
    return {name: _sample_value(properties.get(name, {})) for name in wanted}


def _sample_value(schema: Any) -> Any:
    return schema.get("default", VALUES.get(schema.get("type"), "hello"))


def _own_line(address: str, sample: Sample) -> str:
    command = [*this_command(), "runs", "stream", sample.graph_id, "--input"]
    elsewhere = [] if address == DEFAULT_BIND else ["--address", address]
    return shlex.join([*command, json.dumps(sample.input), *elsewhere])


def _tool_line(address: str, sample: Sample) -> str:
    """Return the line for buf, which comes with the development tools, or else for grpcurl."""
    method = "runwire.v1.RunService/RunStream"
    spec = {"assistant_id": sample.graph_id, "input": {"value": sample.input}}
    call = ["-H", "runwire-payload: value", "-d", json.dumps({"spec": spec})]
    buf = Path(sys.executable).with_name("buf")
    if not buf.exists():
        return shlex.join(["grpcurl", "-plaintext", *call, address, method])
    options = ["--http2-prior-knowledge", "--protocol", "grpc"]
    return shlex.join([_typed(buf), "curl", *options, *call, f"http://{address}/{method}"])


def this_command() -> list[str]:
    """Return how the command that runs now is typed in this directory."""
    script = Path(sys.argv[0])
    return (
        [_typed(script)] if script.name == "runwire" else [sys.executable, "-m", "runwire.server"]
    )


def _typed(program: Path) -> str:
    """Return a program by name if that finds it, or else by its path from here."""
    found = which(program.name)
    if found is not None and Path(found).resolve() == program.resolve():
        return program.name
    here, path = Path.cwd(), program.absolute()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
