from itertools import pairwise

import pytest

from runwire.server.model.events import (
    SEGMENT_BYTES,
    START,
    EventId,
    LogEntry,
    Segment,
    segment_of,
    segments_of,
)


def test_ids_are_ordered_by_attempt_and_then_by_index() -> None:
    ordered = [START, EventId(0, 1), EventId(1, 1), EventId(1, 2), EventId(1, 10), EventId(2, 1)]
    assert all(first < second for first, second in pairwise(ordered))


@pytest.mark.parametrize("event_id", [EventId(0, 1), EventId(1, 42), EventId(10**17, 10**17)])
def test_an_id_is_read_as_it_is_written(event_id: EventId) -> None:
    assert EventId.parse(str(event_id)) == event_id


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "-", "1-", "-1", "1--1", "1-1-1"),
        *("a-1", "1-b", " 1-1", "1-1 ", "1-1\n", "+1-1", "1_0-1", "0x1-1"),
        *("²-1", "٣-1", "1-٣"),
        *(f"{10**18}-1", f"1-{10**18}"),
    ],
)
def test_what_no_event_has_for_an_id_is_none(text: str) -> None:
    assert EventId.parse(text) is None


def segment(**more: bool) -> Segment:
    return Segment("run", 2, 5, (1, 0, 3), b"abcd", **more)


def test_a_segment_knows_its_last_index() -> None:
    assert segment().last_index == 7


def test_a_segment_is_cut_into_its_entries() -> None:
    assert segment().entries(START) == [
        LogEntry(EventId(2, 5), b"a"),
        LogEntry(EventId(2, 6), b""),
        LogEntry(EventId(2, 7), b"bcd"),
    ]


@pytest.mark.parametrize(
    ("after", "indexes"),
    [
        (EventId(1, 99), [5, 6, 7]),
        (EventId(2, 4), [5, 6, 7]),
        (EventId(2, 5), [6, 7]),
        (EventId(2, 6), [7]),
        (EventId(2, 7), []),
        (EventId(3, 0), []),
    ],
)
def test_a_segment_can_be_read_from_its_middle(after: EventId, indexes: list[int]) -> None:
    entries = segment().entries(after)
    assert [entry.id.index for entry in entries] == indexes
    assert [entry.data for entry in entries] == [b"a", b"", b"bcd"][len(b"abc") - len(indexes) :]


def test_only_the_last_entry_of_a_final_segment_is_final() -> None:
    assert [entry.final for entry in segment(final=True).entries(START)] == [False, False, True]
    assert [entry.final for entry in segment(final=True).entries(EventId(2, 6))] == [True]


def test_entries_make_a_segment_and_come_back_out_of_it() -> None:
    entries = [
        LogEntry(EventId(3, 1), b"x"),
        LogEntry(EventId(3, 2), b"yz"),
        LogEntry(EventId(3, 3), b"", final=True),
    ]
    made = segment_of("run", entries)
    assert made == Segment("run", 3, 1, (1, 2, 0), b"xyz", True)
    assert made.entries(START) == entries


def test_entries_that_are_too_many_for_a_segment_make_several() -> None:
    sizes = [SEGMENT_BYTES, 1, SEGMENT_BYTES - 1, 1, 3 * SEGMENT_BYTES, 1]
    entries = [LogEntry(EventId(1, index), b"x" * size) for index, size in enumerate(sizes, 1)]
    segments = segments_of("run", entries)
    assert [segment.lengths for segment in segments] == [
        (SEGMENT_BYTES,),
        (1, SEGMENT_BYTES - 1),
        (1,),
        (3 * SEGMENT_BYTES,),
        (1,),
    ]
    assert [entry for segment in segments for entry in segment.entries(START)] == entries
    assert segments_of("run", []) == []
