"""The events of a run as the parts that langgraph_sdk's streams are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from runwire.client.convert import (
    cancel_of,
    failure_of,
    interrupt_of,
    status_of,
    time_of,
    value_of,
    word,
)
from runwire.client.messages import Messages, message_of
from runwire.client.schema import StreamPart
from runwire.v1 import core_pb2

if TYPE_CHECKING:
    from runwire.v1.events_pb2 import RunEvent

Told = list[tuple[str, Any]]
"""What one event tells: kinds of part with their data. Most events tell one thing."""


class Parts:
    """Turns the events of one run into parts, in order.

    `modes` are the stream modes asked for, in langgraph_sdk's words: "messages" gives each message
    as far as it has come, "messages-tuple", which is also the default, its pieces as they come.
    """

    def __init__(self, modes: str | Sequence[str] | None) -> None:
        wanted = {modes} if isinstance(modes, str) else set(modes or ())
        self._whole_messages = "messages" in wanted
        self._message_pieces = "messages-tuple" in wanted or not self._whole_messages
        self._messages = Messages()
        self._last_id: str | None = None
        self._tellers: dict[str, Callable[[RunEvent], Told]] = {
            "run": _run,
            "attempt_started": self._attempt_started,
            "values": _values,
            "updates": lambda event: [("updates", value_of(event.updates.data))],
            "message": self._message,
            "custom": lambda event: [("custom", value_of(event.custom.data))],
            "task": _task,
            "checkpoint": lambda event: [("checkpoints", value_of(event.checkpoint.data))],
            "debug": lambda event: [("debug", value_of(event.debug.data))],
            "langchain_event": lambda event: [("events", value_of(event.langchain_event.data))],
            "run_ended": _run_ended,
        }

    def of(self, event: RunEvent) -> Iterable[StreamPart]:
        """Return the parts that an event makes; none for kinds that are not for users.

        The event's id comes with its last part: who goes on after an earlier one gets that event
        again.
        """
        teller = self._tellers.get(event.WhichOneof("event") or "")
        told = teller(event) if teller else []
        parts = []
        for place, (kind, data) in enumerate(told, start=1):
            name = "|".join((kind, *event.namespace))
            if place == len(told):
                self._last_id = event.id or self._last_id
            parts.append(StreamPart(name, data, self._last_id))
        return parts

    def _attempt_started(self, event: RunEvent) -> Told:
        self._messages.forget()
        started = event.attempt_started
        if started.attempt == 1:
            return []
        return [
            (
                "metadata",
                {
                    "run_id": event.run_id,
                    "attempt": started.attempt,
                    "resumed_from_checkpoint": started.resumed_from_checkpoint,
                },
            )
        ]

    def _message(self, event: RunEvent) -> Told:
        message = event.message
        metadata = self._messages.metadata(message)
        told: Told = []
        if self._message_pieces:
            told.append(("messages", [message_of(message), metadata]))
        if self._whole_messages:
            if message.HasField("metadata"):
                told.append(("messages/metadata", {message.message_id: {"metadata": metadata}}))
            kind = "messages/partial" if message.delta else "messages/complete"
            told.append((kind, [self._messages.assemble(message)]))
        return told


def _run(event: RunEvent) -> Told:
    run = event.run
    return [
        (
            "metadata",
            {
                "run_id": run.run_id,
                "thread_id": run.thread_id or None,
                "attempt": run.attempt,
                "status": status_of(run.state),
                "state": word(core_pb2.RunState, run.state),
            },
        )
    ]


def _values(event: RunEvent) -> Told:
    return [("values", with_interrupts(value_of(event.values.data), event.values.interrupts))]


def with_interrupts(values: Any, interrupts: Sequence[core_pb2.Interrupt]) -> Any:
    """Return values with the interrupts that they wait at, under `__interrupt__`."""
    if not interrupts:
        return values
    told = [interrupt_of(interrupt) for interrupt in interrupts]
    return {**(values if isinstance(values, dict) else {}), "__interrupt__": told}


def _task(event: RunEvent) -> Told:
    task = event.task
    data: dict[str, Any] = {"id": task.task_id, "name": task.name}
    if task.WhichOneof("phase") == "start":
        data |= {"input": value_of(task.start.input), "triggers": [*task.start.triggers]}
    else:
        result = task.result
        data |= {
            "error": result.error or None,
            "result": value_of(result.result) if result.HasField("result") else {},
            "interrupts": [interrupt_of(interrupt) for interrupt in result.interrupts],
        }
    return [("tasks", data)]


def _run_ended(event: RunEvent) -> Told:
    ended = event.run_ended
    if ended.HasField("error"):
        return [("error", failure_of(ended.error))]
    return [
        (
            "end",
            {
                "run_id": event.run_id,
                "status": status_of(ended.state),
                "state": word(core_pb2.RunState, ended.state),
                "cancel": cancel_of(ended.cancel) if ended.HasField("cancel") else None,
                "ended_at": time_of(ended, "end_time"),
            },
        )
    ]


def as_v2(part: StreamPart) -> dict[str, Any] | None:
    """Return a part in the second form that langgraph_sdk has for them; it has none for the end."""
    kind, *namespace = part.event.split("|")
    if kind == "end":
        return None
    data, interrupts = part.data, []
    if kind == "values" and isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "__interrupt__"}
        interrupts = part.data.get("__interrupt__", [])
    return {"type": kind, "ns": namespace, "data": data, "interrupts": interrupts}
