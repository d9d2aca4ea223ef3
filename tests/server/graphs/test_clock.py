"""LangGraph's checkpoint clock."""

import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids
from langgraph.checkpoint.memory import InMemorySaver
from tests.support.execution import execute, make_run

from runwire.server.graphs.clock import seed_checkpoint_clock
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.state import get_state
from runwire.server.model.ids import new_id

RUN_ID = "01a20303-10de-7003-8432-c0dabab27656"
"""A UUID of version 7, as the server makes them, and not of version 6."""


@pytest.fixture(autouse=True)
def own_clock() -> Iterator[None]:
    """Give each test a clock that starts anew."""
    before = checkpoint_ids._last_v6_timestamp
    yield
    checkpoint_ids._last_v6_timestamp = before


def id_in(seconds: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an id as a server whose clock is ahead by `seconds` makes it."""
    before = checkpoint_ids._last_v6_timestamp
    with monkeypatch.context() as patch:
        now = time.time_ns() + int(seconds * 1e9)
        patch.setattr(time, "time_ns", lambda: now)
        made = str(checkpoint_ids.uuid6())
    checkpoint_ids._last_v6_timestamp = before
    return made


def test_ids_come_after_the_head_of_a_server_whose_clock_is_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = id_in(3600, monkeypatch)
    assert str(checkpoint_ids.uuid6()) < head

    seed_checkpoint_clock(head)

    assert str(checkpoint_ids.uuid6()) > head


def test_an_older_head_does_not_turn_the_clock_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, old = id_in(3600, monkeypatch), id_in(-3600, monkeypatch)
    seed_checkpoint_clock(ahead)

    seed_checkpoint_clock(old)

    assert str(checkpoint_ids.uuid6()) > ahead


@pytest.mark.parametrize("head", [None, "", "none", str(UUID(int=5)), RUN_ID])
def test_what_is_not_a_checkpoint_id_changes_nothing(head: str | None) -> None:
    before = checkpoint_ids._last_v6_timestamp

    seed_checkpoint_clock(head)

    assert checkpoint_ids._last_v6_timestamp == before


async def test_a_run_after_one_of_a_server_ahead_is_not_hidden(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = new_id()
    real = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() + 3_600_000_000_000)
        await execute(registry, make_run("counter", thread_id, input={"count": 1}))
    checkpoint_ids._last_v6_timestamp = None
    saver: InMemorySaver = registry._saver  # type: ignore[assignment]
    head = saver.get_tuple({"configurable": {"thread_id": thread_id}})
    assert head is not None
    seed_checkpoint_clock(head.config["configurable"]["checkpoint_id"])

    await execute(registry, make_run("counter", thread_id, input={"count": 1}))

    async with registry.open("counter", "threads.read", config={}, checkpointed=True) as graph:
        state = await get_state(graph, thread_id)
    assert '"count":4' in state.values
