"""Serialized stream responses as bytes: cut into frames, and packed into messages.

A response has one repeated field, so that serialized responses one after the other are one
response. A frame is the least piece of that kind: one event, or one part of an event.
"""

from collections.abc import Iterable, Iterator

MESSAGE_BYTES = 1024 * 1024
"""Every message is smaller than this, so that a client with gRPC's usual limit of 4 MiB never
loses a stream."""

_EVENTS_TAG = 0x0A
"""Field 1, with a length: `events`."""


def framed(event: bytes) -> bytes:
    """Return a serialized RunEvent as a serialized response."""
    return b"\x0a" + _varint(len(event)) + event


def frames(data: bytes) -> Iterator[bytes]:
    """Yield the frames of a serialized response."""
    start = 0
    while start < len(data):
        if data[start] != _EVENTS_TAG:
            raise ValueError(f"not a stream response: byte {start} is {data[start]:#x}")
        length, begin = _read_varint(data, start + 1)
        yield data[start : begin + length]
        start = begin + length


def pack(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Yield messages that hold serialized responses, in order, as few as their size allows."""
    batch: list[bytes] = []
    size = 0
    for piece in _small_pieces(entries):
        if size + len(piece) >= MESSAGE_BYTES and batch:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(piece)
        size += len(piece)
    if batch:
        yield b"".join(batch)


def _small_pieces(entries: Iterable[bytes]) -> Iterator[bytes]:
    for entry in entries:
        if len(entry) < MESSAGE_BYTES:
            yield entry
        else:
            yield from frames(entry)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Return the number that begins at `start`, and where it ends."""
    number = shift = 0
    while True:
        byte = data[start]
        number |= (byte & 0x7F) << shift
        start += 1
        if byte < 0x80:
            return number, start
        shift += 7
