"""Places in streams, as tokens and back."""

from datetime import UTC, datetime

import pytest

from runwire.server.model.changes import Begun, ChangeKey, Horizon, Place, ThreadPlace
from runwire.server.model.events import EventId
from runwire.server.model.ids import new_id
from runwire.server.rpc.resume import place_token, read_place, read_thread_place, thread_token

NOW = datetime(2026, 11, 22, 17, 0, 0, tzinfo=UTC)
SEEN = Horizon(4_000_000_123, (4_000_000_001, 4_000_000_100))
UNTIL = Horizon(4_000_000_200, (4_000_000_150,))
RUN, THREAD = new_id(), new_id()

PLACES = {
    "begin": Place(time=NOW),
    "unfinished": Place(time=NOW, unfinished=True),
    "arrived": Place(time=NOW, seen=SEEN),
    "on its way": Place(time=NOW, seen=SEEN).heading(UNTIL, NOW).passing(ChangeKey(7, RUN)),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_place_is_what_its_token_says(place: Place) -> None:
    assert read_place(place_token(place)) == place
    begun = {RUN: Begun(EventId(2, 41)), new_id(): Begun(EventId(1, 3), complete=True)}
    thread_place = ThreadPlace(changes=place, begun=begun)
    assert read_thread_place(THREAD, thread_token(THREAD, thread_place)) == thread_place


def test_an_event_may_stand_behind_a_token() -> None:
    place = ThreadPlace(changes=PLACES["arrived"], begun={RUN: Begun(EventId(1, 2))})
    token = thread_token(THREAD, place)
    assert read_thread_place(THREAD, f"{token}/{RUN.upper()}/1-5") == place.having(
        RUN, Begun(EventId(1, 5))
    )


def test_a_token_is_good_for_its_own_stream_alone() -> None:
    token = thread_token(THREAD, ThreadPlace(changes=PLACES["arrived"]))
    assert read_thread_place(new_id(), token) is None
    assert read_place(token) is None
    assert read_thread_place(THREAD, place_token(PLACES["arrived"])) is None


def test_a_token_is_short() -> None:
    place = ThreadPlace(changes=PLACES["arrived"], begun={RUN: Begun(EventId(1, 1234))})
    assert len(thread_token(THREAD, place)) < 150


@pytest.mark.parametrize("position", range(0, 60, 7))
def test_a_token_that_was_changed_is_none(position: int) -> None:
    token = place_token(PLACES["arrived"])
    changed = "A" if token[position] != "A" else "B"
    assert read_place(token[:position] + changed + token[position + 1 :]) is None
