"""The enums of the contract and of the model have the same words."""

import pytest

from runwire.server.rpc import enums
from runwire.v1 import assistants_pb2, core_pb2, threads_pb2

PAIRS = [
    (enums.RUN_STATES, core_pb2.RunState),
    (enums.STREAM_MODES, core_pb2.StreamMode),
    (enums.MULTITASK_STRATEGIES, core_pb2.MultitaskStrategy),
    (enums.IF_THREAD_MISSING, core_pb2.IfThreadMissing),
    (enums.ON_COMPLETION, core_pb2.OnCompletion),
    (enums.ON_DISCONNECT, core_pb2.OnDisconnect),
    (enums.DURABILITIES, core_pb2.Durability),
    (enums.CANCEL_ACTIONS, core_pb2.CancelAction),
    (enums.CANCEL_CAUSES, core_pb2.CancelCause),
    (enums.IF_EXISTS, core_pb2.IfExists),
    (enums.THREAD_STATES, threads_pb2.ThreadState),
]


@pytest.mark.parametrize(("words", "wire"), PAIRS, ids=lambda value: type(value).__name__)
def test_each_value_but_unspecified_has_a_word_and_back(words: enums.Words, wire: object) -> None:
    numbers = wire.values()
    assert words.word(0) is None
    assert words.word(10_000) is None
    for number in numbers:
        if number:
            word = words.word(number)
            assert word is not None
            assert words.number(word) == number


@pytest.mark.parametrize(
    ("orders", "wire"),
    [
        (enums.THREAD_ORDERS, threads_pb2.ThreadOrder),
        (enums.ASSISTANT_ORDERS, assistants_pb2.AssistantOrder),
    ],
)
def test_each_order_is_known(orders: dict[int, object], wire: object) -> None:
    assert set(orders) == set(wire.values())
