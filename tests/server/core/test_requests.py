from datetime import timedelta

import pytest
from tests.support.records import at
from tests.support.transactions import MovableClock, Server

from runwire.server.core.requests import remember, replay
from runwire.server.model.errors import RequestIdReused
from runwire.server.model.requests import RequestKey

KEY = RequestKey("CreateThread", "id", b"hash")


def test_a_new_request_has_no_answer(server: Server) -> None:
    assert replay(server.connection, KEY, since=at(0)) is None


def test_a_repeated_request_has_the_answer_of_the_first(server: Server) -> None:
    remember(server.connection, KEY, ["a", "b"], at(1))
    assert replay(server.connection, KEY, since=at(0)) == ["a", "b"]
    with pytest.raises(RequestIdReused) as error:
        replay(server.connection, RequestKey("CreateThread", "id", b"other"), since=at(0))
    assert error.value.variables == {"request_id": "id"}


def test_an_answer_that_is_too_old_is_none_and_can_be_replaced(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    remember(server.connection, KEY, ["a"], moving_clock.time)
    since = moving_clock.time + timedelta(seconds=1)
    assert replay(server.connection, KEY, since=since) is None
    remember(server.connection, RequestKey("CreateThread", "id", b"other"), ["b"], at(5))
    other = RequestKey("CreateThread", "id", b"other")
    assert replay(server.connection, other, since=since) == ["b"]
