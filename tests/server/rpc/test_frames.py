"""Serialized responses, cut and packed."""

import pytest

from runwire.server.rpc.frames import MESSAGE_BYTES, framed, frames, pack
from runwire.v1 import events_pb2, runs_pb2


def entry(text: str) -> bytes:
    event = events_pb2.RunEvent(message=events_pb2.MessageEvent(text=text))
    return framed(event.SerializeToString())


def texts(data: bytes) -> list[str]:
    return [event.message.text for event in runs_pb2.RunStreamResponse.FromString(data).events]


@pytest.mark.parametrize("size", [0, 1, 120, 127, 128, 16_383, 16_384, 3_000_000])
def test_a_frame_is_a_response_with_one_event(size: int) -> None:
    assert texts(entry("x" * size)) == ["x" * size]


def test_frames_are_found_in_what_was_joined() -> None:
    entries = [entry("x" * size) for size in (0, 5, 200, 20_000, 2_000_000)]
    assert list(frames(b"".join(entries))) == entries


def test_what_is_no_response_has_no_frames() -> None:
    with pytest.raises(ValueError, match="byte 0"):
        list(frames(b"\x12\x00"))


def test_small_entries_travel_in_one_message() -> None:
    entries = [entry(str(index)) for index in range(500)]
    (message,) = pack(entries)
    assert texts(message) == [str(index) for index in range(500)]


def test_no_message_reaches_the_limit_and_nothing_is_lost_or_moved() -> None:
    sizes = [10, 400_000, 600_000, 600_000, 1, 1_000_000, 1_000_000, 40_000]
    wanted = [f"{index}" + "x" * size for index, size in enumerate(sizes)]
    messages = list(pack([entry(text) for text in wanted]))
    assert all(len(message) < MESSAGE_BYTES for message in messages)
    assert [text for message in messages for text in texts(message)] == wanted
    assert len(messages) == 4


def test_an_entry_above_the_limit_is_sent_frame_by_frame() -> None:
    parts = [entry(str(index) * 700_000) for index in range(4)]
    messages = list(pack([entry("before"), b"".join(parts), entry("after")]))
    assert all(len(message) < MESSAGE_BYTES for message in messages)
    assert b"".join(messages) == entry("before") + b"".join(parts) + entry("after")


def test_nothing_packs_to_nothing() -> None:
    assert list(pack([])) == []
