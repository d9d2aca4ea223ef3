"""Calls that are made from a node of a graph: what is known there without being said, and what is
done with it.

RemoteGraph hands on little of the node that it stands in. The rest is looked up where LangChain
keeps it for the code at hand, asynchronous or on a thread; nothing is imported for that.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runwire.client.parts import Parts

if TYPE_CHECKING:
    import grpc

    from runwire.client.schema import StreamPart
    from runwire.v1.events_pb2 import RunEvent

_LANGCHAIN = "langchain_core.runnables.config"
_TASK = "__pregel_task_id"
_RESUMING = "__pregel_resuming"
_ANSWERS = "__pregel_resume_map"
_OF_RUNWIRE = "__runwire_run"
_SCRATCHPAD = "__pregel_scratchpad"
_INTERRUPT = "__interrupt__"

_OF_THE_RUN = ("thread_id", "run_id", "assistant_id", "graph_id", "cron_id")
_OF_LANGGRAPH = frozenset({"checkpoint_id", "checkpoint_ns", "checkpoint_map"})
_BEGINNINGS = ("__", "langgraph_")

_SPARE = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is executing, by the `configurable` that LangGraph has for it."""

    configurable: Mapping[str, Any]

    @property
    def is_stateless(self) -> bool:
        """Whether the node's run is stateless: such a run of Runwire's is its own thread."""
        run_id = self.configurable.get("run_id")
        return run_id is not None and str(run_id) == str(self.configurable.get("thread_id"))

    def has_thread(self, thread_id: str | None) -> bool:
        """Whether that is the thread of the node's run."""
        return thread_id is not None and str(self.configurable.get("thread_id")) == str(thread_id)

    def without_own(self, configurable: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a run may be given of the node's `configurable`: not what LangGraph keeps
        there, nor what tells of the node's own run, because the other one has its own."""
        return {
            key: value
            for key, value in configurable.items()
            if key not in _OF_LANGGRAPH
            and not key.startswith(_BEGINNINGS)
            and not (key in _OF_THE_RUN and str(self.configurable.get(key)) == str(value))
        }

    @property
    def awaiting(self) -> list[str]:
        """The runs that wait while the node does: its own, and those above it, outermost first."""
        run_id = self.configurable.get("run_id")
        return [*self._told.get("awaited_by", ()), *([] if run_id is None else [str(run_id)])]

    @property
    def time_left(self) -> float | None:
        """How long a run may execute that the node waits for, in seconds; None if there is no
        limit. It is a little more than the node's own run has left: that one ends first, and for
        its own reason, unless its server is gone."""
        ends_at = self._told.get("ends_at")
        return None if ends_at is None else max(0.0, ends_at - time.monotonic()) + _SPARE

    @property
    def is_stopped(self) -> bool:
        """Whether the node's run was told to stop, as far as its server lets nodes know."""
        stopped = self._told.get("stopped")
        return stopped is not None and stopped.done()

    def stops_with(self, call: grpc.Future[Any] | grpc.Call) -> None:
        """Have a call cancelled when the node's run is told to stop: code on a thread cannot be,
        and would wait for the answer."""
        if (stopped := self._told.get("stopped")) is not None:
            reference = weakref.ref(call)  # the node may outlive many calls

            def cancel(_: object) -> None:
                if (found := reference()) is not None:
                    found.cancel()

            stopped.add_done_callback(cancel)

    @property
    def _told(self) -> Mapping[str, Any]:
        """What a Runwire server tells its nodes."""
        return self.configurable.get(_OF_RUNWIRE) or {}

    def stands_in(self, config: Mapping[str, Any] | None) -> bool:
        """Whether a run is started in the node's place, which RemoteGraph does when it *is* the
        node, and the node goes on after a question."""
        given = (config or {}).get("configurable") or {}
        return bool(given.get(_RESUMING))

    def answers_to(self, interrupt_ids: Collection[str]) -> Any:
        """Return what the node's run was resumed with, as far as it answers these questions; None
        if it does not."""
        answers = self.configurable.get(_ANSWERS) or {}
        if chosen := {key: answers[key] for key in interrupt_ids if key in answers}:
            return chosen
        take = getattr(self.configurable.get(_SCRATCHPAD), "get_null_resume", None)
        return take(True) if take is not None else None


def calling_node() -> Node | None:
    """Return the node that the code at hand belongs to; None outside of graphs."""
    variable = getattr(sys.modules.get(_LANGCHAIN), "var_child_runnable_config", None)
    config = variable.get() if variable is not None else None
    configurable = (config or {}).get("configurable") or {}
    return Node(configurable) if _TASK in configurable else None


class NodeParts(Parts):
    """The parts of a run that takes a node's place.

    Questions come last, when the run has come to its end, and all at once: RemoteGraph leaves the
    stream at the first one, and neither must the run be cancelled for that, nor what goes on beside
    the question be lost. A run that was cancelled ends with an error, not as if it were complete.
    """

    def __init__(self, modes: Any) -> None:
        super().__init__(modes)
        self._asked: list[StreamPart] = []

    def of(self, event: RunEvent) -> Iterable[StreamPart]:
        """Return the parts that an event makes."""
        told: list[StreamPart] = []
        for part in super().of(event):
            if _asks(part):
                self._asked.append(part)
            elif part.event == "end" and part.data["state"] == "cancelled":
                failure = {"error": "RunCancelled", "message": "the run was cancelled"}
                told.append(part._replace(event="error", data=failure))
            elif part.event == "end":
                told += [*self._questions(), part]
            else:
                told.append(part)
        return told

    def _questions(self) -> list[StreamPart]:
        of_root = [part for part in self._asked if part.event == "updates"]
        others = [part for part in self._asked if part.event != "updates"]
        found = {item["id"]: item for part in of_root for item in part.data[_INTERRUPT]}
        merged = [part._replace(data={_INTERRUPT: [*found.values()]}) for part in of_root[:1]]
        return [part._replace(id=self._last_id) for part in merged + others]


def _asks(part: StreamPart) -> bool:
    is_update = part.event.partition("|")[0] == "updates"
    return is_update and isinstance(part.data, dict) and _INTERRUPT in part.data
