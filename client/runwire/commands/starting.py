"""The options of all commands that start runs."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from runwire.commands.calling import JSON_HELP, json_of, object_of, refuse

if TYPE_CHECKING:
    from runwire.client import SyncRunwireClient

Command = Callable[..., None]

Words = list[str] | None

OPTIONS: dict[str, Any] = {
    "run_input": Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="JSON", help=f"The run's input: {JSON_HELP}"),
    ],
    "resume": Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="Instead of an input: the answer to the interrupt at which the thread waits, or "
            "an object with an answer for each interrupt's id. Needs --thread.",
        ),
    ],
    "update": Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Instead of an input: an update of the state."),
    ],
    "goto": Annotated[
        Words, typer.Option(metavar="NODE", help="Instead of an input: go on at this node.")
    ],
    "thread": Annotated[
        str | None,
        typer.Option(
            metavar="THREAD",
            help="The thread to run on, made if it is not there; `new` makes one. Without it the "
            "run is stateless: nothing is kept.",
        ),
    ],
    "context": Annotated[
        str | None, typer.Option(metavar="JSON", help="The run's context, a JSON object.")
    ],
    "config": Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="The run's config: a JSON object with tags, recursion_limit, configurable.",
        ),
    ],
    "metadata": Annotated[
        str | None, typer.Option(metavar="JSON", help="A JSON object to find the run by.")
    ],
    "assistant_version": Annotated[
        int | None,
        typer.Option("--version", min=1, help="The assistant's version; the newest by default."),
    ],
    "checkpoint_id": Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="CHECKPOINT",
            help="Go on from this checkpoint of the thread instead of its newest.",
        ),
    ],
    "multitask_strategy": Annotated[
        Literal["enqueue", "reject", "interrupt", "rollback"] | None,
        typer.Option("--multitask", help="If the thread is busy. [default: enqueue]"),
    ],
    "interrupt_before": Annotated[
        Words, typer.Option(metavar="NODE", help="Pause before this node; * is any.")
    ],
    "interrupt_after": Annotated[
        Words, typer.Option(metavar="NODE", help="Pause after this node; * is any.")
    ],
    "after_seconds": Annotated[
        float | None, typer.Option("--delay", min=0, help="Seconds to wait before it begins.")
    ],
    "timeout": Annotated[
        float | None, typer.Option(min=0, help="Seconds that it may execute. [default: no limit]")
    ],
    "priority": Annotated[
        int | None,
        typer.Option(min=-100, max=100, help="Higher ones begin first. [default: 0]"),
    ],
    "durability": Annotated[
        Literal["sync", "async", "exit"] | None,
        typer.Option(help="When checkpoints are written. [default: sync]"),
    ],
    "on_completion": Annotated[
        Literal["delete", "keep"] | None,
        typer.Option(help="What becomes of a stateless run's state. [default: delete]"),
    ],
    "webhook": Annotated[
        str | None, typer.Option(metavar="URL", help="Called when the run has ended.")
    ],
}

_PASSED_ON = (
    "assistant_version",
    "checkpoint_id",
    "multitask_strategy",
    "interrupt_before",
    "interrupt_after",
    "after_seconds",
    "timeout",
    "priority",
    "durability",
    "on_completion",
    "webhook",
)


def starts_runs(command: Command) -> Command:
    """Give a command that takes `**given` the options of all that start runs, before those of its
    own."""
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(command).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in OPTIONS.items()
    ]
    parameters = [own[0], *added, *own[1:]]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def arguments_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the client's methods that start runs are to be given. Refuses what cannot be."""
    command = _command(given)
    if given["run_input"] is not None and command is not None:
        refuse("--input and --resume, --update or --goto: a run takes one or the other")
    if given["resume"] is not None and given["thread"] in (None, "new"):
        refuse("--resume needs --thread: give the thread whose run has asked")
    return {
        **{name: given[name] for name in _PASSED_ON if given[name] not in (None, [])},
        "input": json_of("--input", given["run_input"]),
        "command": command,
        "context": object_of("--context", given["context"]),
        "config": object_of("--config", given["config"]),
        "metadata": object_of("--metadata", given["metadata"]),
        "if_not_exists": "create" if command is None else "reject",
    }


def thread_for(client: "SyncRunwireClient", given: Mapping[str, Any]) -> str | None:
    """Return the id of the thread to run on, None for a stateless run."""
    if given["thread"] != "new":
        return given["thread"] or None
    return str(client.threads.create()["thread_id"])


def _command(given: Mapping[str, Any]) -> dict[str, Any] | None:
    command: dict[str, Any] = {}
    if given["resume"] is not None:
        command["resume"] = json_of("--resume", given["resume"])
    if given["update"] is not None:
        command["update"] = json_of("--update", given["update"])
    if given["goto"]:
        command["goto"] = given["goto"]
    return command or None
