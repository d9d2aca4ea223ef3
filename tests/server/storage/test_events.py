import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from tests.support.records import a_run, add_run

from runwire.server.model.events import SEGMENT_BYTES, START, EventId, Segment
from runwire.server.model.ids import new_id
from runwire.server.storage.events import add_segments, last_event, read_segments


@pytest.fixture
def run_id(connection: Connection) -> str:
    return add_run(connection, a_run()).run_id


def fill(connection: Connection, run_id: str) -> list[Segment]:
    """Store three segments of a first attempt and two of a second."""
    segments = [
        Segment(run_id, 1, 1, (1, 1, 1), b"abc"),
        Segment(run_id, 1, 4, (2,), b"de"),
        Segment(run_id, 1, 5, (0, 70_000), b"x" * 70_000),
        Segment(run_id, 2, 1, (1, 1), b"fg"),
        Segment(run_id, 2, 3, (1,), b"h", True),
    ]
    for segment in reversed(segments):
        add_segments(connection, [segment])
    return segments


def test_segments_come_back_in_order_and_whole(connection: Connection, run_id: str) -> None:
    segments = fill(connection, run_id)
    first = read_segments(connection, run_id, START)
    rest = read_segments(connection, run_id, EventId(1, first[-1].last_index))
    assert first + rest == segments
    assert read_segments(connection, new_id(), START) == []


def test_a_reader_gets_no_more_at_once_than_it_should_hold(
    connection: Connection, run_id: str
) -> None:
    segments = fill(connection, run_id)
    assert sum(len(segment.data) for segment in segments[:3]) > SEGMENT_BYTES
    assert read_segments(connection, run_id, START) == segments[:3]


@pytest.mark.parametrize(
    ("after", "first"),
    [
        (EventId(0, 1), 0),
        (EventId(1, 0), 0),
        (EventId(1, 1), 0),
        (EventId(1, 3), 1),
        (EventId(1, 4), 2),
        (EventId(1, 5), 2),
        (EventId(1, 6), 3),
        (EventId(1, 7), 3),
        (EventId(1, 10**18), 3),
        (EventId(2, 0), 3),
        (EventId(2, 2), 4),
        (EventId(2, 3), 5),
        (EventId(3, 0), 5),
    ],
)
def test_reading_begins_with_the_segment_that_holds_the_next_event(
    connection: Connection, run_id: str, after: EventId, first: int
) -> None:
    segments = fill(connection, run_id)
    assert read_segments(connection, run_id, after)[:1] == segments[first:][:1]


def test_a_tail_that_was_lost_is_passed_over(connection: Connection, run_id: str) -> None:
    add_segments(connection, [Segment(run_id, 1, 1, (1, 1), b"ab")])
    add_segments(connection, [Segment(run_id, 2, 1, (1,), b"c")])
    found = read_segments(connection, run_id, EventId(1, 7))
    assert [segment.data for segment in found] == [b"c"]


def test_the_last_event_is_that_of_the_last_attempt(connection: Connection, run_id: str) -> None:
    assert last_event(connection, run_id) is None
    fill(connection, run_id)
    assert last_event(connection, run_id) == EventId(2, 3)


def test_a_place_is_taken_once(connection: Connection, run_id: str) -> None:
    add_segments(connection, [Segment(run_id, 1, 1, (1, 1), b"ab")])
    with pytest.raises(IntegrityError):
        add_segments(connection, [Segment(run_id, 1, 1, (1,), b"x")])


def test_events_belong_to_a_run(connection: Connection) -> None:
    with pytest.raises(IntegrityError):
        add_segments(connection, [Segment(new_id(), 1, 1, (1,), b"x")])
