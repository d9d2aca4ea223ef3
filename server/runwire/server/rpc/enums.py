"""The enums of the contract and those of the model: the same words on both sides."""

from enum import StrEnum
from typing import Any, Generic, TypeVar

from runwire.server.model import changes, runs, threads, webhooks
from runwire.server.model.requests import NEWEST_FIRST, Order, SortKey
from runwire.v1 import (
    assistants_pb2,
    core_pb2,
    crons_pb2,
    runs_pb2,
    threads_pb2,
    webhooks_pb2,
)

E = TypeVar("E", bound=StrEnum)


class Words(Generic[E]):
    """One enum of the contract, value by value."""

    def __init__(self, wire: Any, model: type[E]) -> None:
        prefix = wire.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
        self._numbers: dict[E, Any] = {word: wire.Value(f"{prefix}{word.name}") for word in model}
        self._words = {number: word for word, number in self._numbers.items()}

    def number(self, word: E) -> Any:
        """Return the wire's value of a word."""
        return self._numbers[word]

    def word(self, number: int) -> E | None:
        """Return the word of a wire's value; None if it is unknown, or UNSPECIFIED."""
        return self._words.get(number)


RUN_STATES = Words(core_pb2.RunState, runs.RunState)
STREAM_MODES = Words(core_pb2.StreamMode, runs.StreamMode)
MULTITASK_STRATEGIES = Words(core_pb2.MultitaskStrategy, runs.MultitaskStrategy)
IF_THREAD_MISSING = Words(core_pb2.IfThreadMissing, runs.IfThreadMissing)
ON_COMPLETION = Words(core_pb2.OnCompletion, runs.OnCompletion)
ON_DISCONNECT = Words(core_pb2.OnDisconnect, runs.OnDisconnect)
DURABILITIES = Words(core_pb2.Durability, runs.Durability)
CANCEL_ACTIONS = Words(core_pb2.CancelAction, runs.CancelAction)
CANCEL_CAUSES = Words(core_pb2.CancelCause, runs.CancelCause)
THREAD_STATES = Words(threads_pb2.ThreadState, threads.ThreadState)
PRUNE_STRATEGIES = Words(threads_pb2.PruneStrategy, threads.PruneStrategy)
DELIVERY_STATES = Words(webhooks_pb2.WebhookDeliveryState, webhooks.DeliveryState)

THREAD_STREAM_MODES = Words(threads_pb2.ThreadStreamMode, changes.ThreadStreamMode)


class IfExists(StrEnum):
    """What happens when something is created under an id that is taken."""

    FAIL = "fail"
    RETURN_EXISTING = "return_existing"


IF_EXISTS = Words(core_pb2.IfExists, IfExists)

THREAD_ORDERS: dict[int, Order] = {
    threads_pb2.THREAD_ORDER_UNSPECIFIED: NEWEST_FIRST,
    threads_pb2.THREAD_ORDER_CREATE_TIME_DESC: NEWEST_FIRST,
    threads_pb2.THREAD_ORDER_CREATE_TIME_ASC: Order(SortKey.CREATE_TIME, descending=False),
    threads_pb2.THREAD_ORDER_UPDATE_TIME_DESC: Order(SortKey.UPDATE_TIME, descending=True),
    threads_pb2.THREAD_ORDER_UPDATE_TIME_ASC: Order(SortKey.UPDATE_TIME, descending=False),
    threads_pb2.THREAD_ORDER_STATE_UPDATE_TIME_DESC: Order(
        SortKey.STATE_UPDATE_TIME, descending=True
    ),
    threads_pb2.THREAD_ORDER_STATE_UPDATE_TIME_ASC: Order(
        SortKey.STATE_UPDATE_TIME, descending=False
    ),
    threads_pb2.THREAD_ORDER_THREAD_ID_DESC: Order(SortKey.THREAD_ID, descending=True),
    threads_pb2.THREAD_ORDER_THREAD_ID_ASC: Order(SortKey.THREAD_ID, descending=False),
    threads_pb2.THREAD_ORDER_STATE_DESC: Order(SortKey.STATE, descending=True),
    threads_pb2.THREAD_ORDER_STATE_ASC: Order(SortKey.STATE, descending=False),
}

RUN_ORDERS: dict[int, Order] = {
    runs_pb2.RUN_ORDER_UNSPECIFIED: NEWEST_FIRST,
    runs_pb2.RUN_ORDER_CREATE_TIME_DESC: NEWEST_FIRST,
    runs_pb2.RUN_ORDER_CREATE_TIME_ASC: Order(SortKey.CREATE_TIME, descending=False),
    runs_pb2.RUN_ORDER_UPDATE_TIME_DESC: Order(SortKey.UPDATE_TIME, descending=True),
    runs_pb2.RUN_ORDER_UPDATE_TIME_ASC: Order(SortKey.UPDATE_TIME, descending=False),
    runs_pb2.RUN_ORDER_END_TIME_DESC: Order(SortKey.END_TIME, descending=True),
    runs_pb2.RUN_ORDER_END_TIME_ASC: Order(SortKey.END_TIME, descending=False),
}

ASSISTANT_ORDERS: dict[int, Order] = {
    assistants_pb2.ASSISTANT_ORDER_UNSPECIFIED: NEWEST_FIRST,
    assistants_pb2.ASSISTANT_ORDER_CREATE_TIME_DESC: NEWEST_FIRST,
    assistants_pb2.ASSISTANT_ORDER_CREATE_TIME_ASC: Order(SortKey.CREATE_TIME, descending=False),
    assistants_pb2.ASSISTANT_ORDER_UPDATE_TIME_DESC: Order(SortKey.UPDATE_TIME, descending=True),
    assistants_pb2.ASSISTANT_ORDER_UPDATE_TIME_ASC: Order(SortKey.UPDATE_TIME, descending=False),
    assistants_pb2.ASSISTANT_ORDER_NAME_ASC: Order(SortKey.NAME, descending=False),
    assistants_pb2.ASSISTANT_ORDER_NAME_DESC: Order(SortKey.NAME, descending=True),
    assistants_pb2.ASSISTANT_ORDER_ASSISTANT_ID_ASC: Order(SortKey.ASSISTANT_ID, descending=False),
    assistants_pb2.ASSISTANT_ORDER_ASSISTANT_ID_DESC: Order(SortKey.ASSISTANT_ID, descending=True),
    assistants_pb2.ASSISTANT_ORDER_GRAPH_ID_ASC: Order(SortKey.GRAPH_ID, descending=False),
    assistants_pb2.ASSISTANT_ORDER_GRAPH_ID_DESC: Order(SortKey.GRAPH_ID, descending=True),
}

CRON_ORDERS: dict[int, Order] = {
    crons_pb2.CRON_ORDER_UNSPECIFIED: NEWEST_FIRST,
    **{
        crons_pb2.CronOrder.Value(f"CRON_ORDER_{key.name}_{direction}"): Order(
            key, descending=direction == "DESC"
        )
        for key in (
            SortKey.CREATE_TIME,
            SortKey.UPDATE_TIME,
            SortKey.NEXT_FIRE_TIME,
            SortKey.END_TIME,
            SortKey.ASSISTANT_ID,
            SortKey.THREAD_ID,
        )
        for direction in ("ASC", "DESC")
    },
}
