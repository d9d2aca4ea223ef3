"""The parts of LangGraph's stream as events, and what they say about the run's outcome."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langgraph.types import Interrupt as GraphInterrupt

from runwire.server.graphs.failures import describe_task_error
from runwire.server.graphs.messages import MessageEvents
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.serialize import to_json
from runwire.server.model.events import Data, Event, EventBody, TaskEnded, TaskStarted
from runwire.server.model.runs import Interrupt, JsonText, RunSpec, StreamMode

_INTERRUPT = "__interrupt__"
_NOTHING: Any = object()

_COORDINATES = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")


class Outcome:
    """How a run's attempt stands, and, once its stream has ended, how it came out.

    `paused`: the graph waits, at interrupts or at a breakpoint. `interrupts` are the open ones.
    `at_breakpoint`: it stopped without an interrupt. `unchanged`: it failed or was stopped before
    it had written a checkpoint.
    """

    __slots__ = (
        "_outputs",
        "_text",
        "_values",
        "at_breakpoint",
        "interrupts",
        "paused",
        "unchanged",
    )

    def __init__(self) -> None:
        self.paused = False
        self.unchanged = False
        self.interrupts: tuple[Interrupt, ...] = ()
        self.at_breakpoint = False
        self._values: Any = _NOTHING
        self._text: JsonText | None = None
        self._outputs: str | Sequence[str] = ()

    def values_json(self) -> JsonText | None:
        """Return the last values of the graph itself, its whole state; None if there were none."""
        if self._text is None and self._values is not _NOTHING:
            self._text = to_json(self._values)
        return self._text

    def output_json(self) -> JsonText | None:
        """Return what the graph's output schema shows of the last values: what `invoke` returns."""
        shown = output_of(self._values, self._outputs)
        return self.values_json() if shown is self._values else to_json(shown)

    def keep_values(self, values: Any, outputs: str | Sequence[str]) -> None:
        """Take `values` as the last ones; `outputs` are the channels of the graph's output."""
        self._values, self._outputs, self._text = values, outputs, None

    def open_interrupts(self, interrupts: Iterable[GraphInterrupt]) -> None:
        """Note interrupts that the graph has just met. Some come twice, in two modes."""
        known = {interrupt.interrupt_id for interrupt in self.interrupts}
        new = [item for item in to_interrupts(interrupts) if item.interrupt_id not in known]
        self.interrupts = (*self.interrupts, *new)


def output_of(values: Any, outputs: str | Sequence[str]) -> Any:
    """Return what a graph's output schema, of the channels `outputs`, shows of its values."""
    if isinstance(outputs, str) or not isinstance(values, dict) or values.keys() <= {*outputs}:
        return values
    return {name: values[name] for name in outputs if name in values}


class PartReader:
    """Reads one stream's parts in order."""

    def __init__(self, graph: Graph, spec: RunSpec, outcome: Outcome) -> None:
        self._wanted = frozenset(str(mode) for mode in spec.stream_modes)
        self._subgraphs = spec.stream_subgraphs
        self._outputs = graph.output_channels
        self._outcome = outcome
        self._messages = MessageEvents()
        self._bodies: dict[str, Callable[[Any], EventBody]] = {
            "messages": lambda data: self._messages.event(*data),
            "updates": lambda data: Data(StreamMode.UPDATES, to_json(data)),
            "custom": lambda data: Data(StreamMode.CUSTOM, to_json(data)),
            "tasks": _task,
            "checkpoints": lambda data: Data(StreamMode.CHECKPOINTS, to_json(_checkpoint(data))),
            "debug": lambda data: Data(StreamMode.DEBUG, to_json(_debug(data))),
        }

    def event(
        self,
        mode: str,
        namespace: tuple[str, ...],
        data: Any,
        interrupts: tuple[GraphInterrupt, ...],
    ) -> Event | None:
        """Return a part as an event, or None if the run did not ask for its mode."""
        # Without subgraphs LangGraph gives the graph's own parts only, though those that its
        # functional tasks write carry their namespace.
        where = namespace if self._subgraphs else ()
        if mode == "values":
            body = self._values(data, interrupts, is_root=not where)
            return None if body is None else Event(body, where)
        if mode == "updates" and _INTERRUPT in data and not where:
            self._outcome.open_interrupts(data[_INTERRUPT])
            self._outcome.at_breakpoint = not data[_INTERRUPT]
        if mode not in self._wanted:
            return None
        return Event(self._bodies[mode](data), where)

    def _values(
        self, data: Any, interrupts: tuple[GraphInterrupt, ...], *, is_root: bool
    ) -> Data | None:
        wanted = "values" in self._wanted
        if not is_root:
            text = to_json(data) if wanted else ""
            return Data(StreamMode.VALUES, text, to_interrupts(interrupts)) if wanted else None
        if interrupts:
            self._outcome.open_interrupts(interrupts)
        if not (interrupts and isinstance(self._outputs, str) and data == {}):
            # That is no output, but the place where LangGraph puts the interrupts of a function.
            self._outcome.keep_values(data, self._outputs)
        if not wanted:
            return None
        text = self._outcome.values_json() or "null"
        return Data(StreamMode.VALUES, text, self._outcome.interrupts)


def to_interrupts(interrupts: Iterable[GraphInterrupt]) -> tuple[Interrupt, ...]:
    """Return LangGraph's interrupts as ours."""
    return tuple(_interrupt(item.id, item.value, item.response_schema) for item in interrupts)


def _interrupt(interrupt_id: str, value: Any, schema: Any) -> Interrupt:
    return Interrupt(
        interrupt_id=interrupt_id,
        value=to_json(value),
        # One that surfaces has JSON Schema here, and no type.
        response_schema=to_json(schema) if isinstance(schema, dict) else "",
    )


def _task(data: dict[str, Any]) -> TaskStarted | TaskEnded:
    if "result" not in data:
        triggers = tuple(str(trigger) for trigger in data["triggers"])
        return TaskStarted(data["id"], data["name"], to_json(data["input"]), triggers)
    interrupts = tuple(
        _interrupt(item["id"], item["value"], item.get("response_schema"))
        for item in data["interrupts"]
    )
    error = describe_task_error(data["error"])
    return TaskEnded(data["id"], data["name"], error, to_json(data["result"]), interrupts)


def _debug(data: dict[str, Any]) -> dict[str, Any]:
    payload = data["payload"]
    return {
        **data,
        "payload": _checkpoint(payload) if data["type"] == "checkpoint" else _told(payload),
    }


def _checkpoint(data: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without what the server, or the caller in secret, put into configs."""
    return {
        **data,
        "config": _coordinates(data["config"]),
        "parent_config": _coordinates(data["parent_config"]),
        "tasks": [_told(task) for task in data["tasks"]],
    }


def _told(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task whose error, if it has one, is told as callers may read it."""
    error = task.get("error")
    return task if error is None else {**task, "error": describe_task_error(error)}


def _coordinates(config: dict[str, Any] | None) -> dict[str, Any] | None:
    if config is None:
        return None
    configurable = config["configurable"]
    return {"configurable": {k: configurable[k] for k in _COORDINATES if k in configurable}}
