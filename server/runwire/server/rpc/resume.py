"""Places in streams that go on for ever, as the tokens by which callers know them."""

import base64
import binascii
import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

from runwire.server.model.changes import Begun, ChangeKey, Horizon, Place, ThreadPlace
from runwire.server.model.events import EventId
from runwire.server.model.ids import canonical_id

_DIGEST_BYTES = 6

_RUNS = "runs"
"""What tokens of WatchRuns are of; others are of a thread, by its id."""

_COMPLETE = "!"


def place_token(place: Place) -> str:
    """Return a place among the changes of runs as a token."""
    return _token(_RUNS, _of_place(place))


def read_place(token: str) -> Place | None:
    """Return the place that a token of `place_token` is of; None if it is none."""
    data = _read(_RUNS, token)
    return None if data is None else _to_place(data)


def thread_token(thread_id: str, place: ThreadPlace) -> str:
    """Return a place in the stream of a thread as a token."""
    begun = {
        run_id: f"{has.last}{_COMPLETE if has.complete else ''}"
        for run_id, has in place.begun.items()
    }
    return _token(thread_id, [*_of_place(place.changes), begun])


def read_thread_place(thread_id: str, token: str) -> ThreadPlace | None:
    """Return the place that a token of `thread_token` is of; None if it is none. What may be behind
    it, "/<run id>/<event id>", is an event: the place is after that one then."""
    token, *more = token.split("/")
    data = _read(thread_id, token)
    if data is None:
        return None
    begun = {run_id: _to_begun(text) for run_id, text in data[-1].items()}
    place = ThreadPlace(changes=_to_place(data[:-1]), begun=begun)
    return _after_event(place, *more) if more else place


def _after_event(place: ThreadPlace, run: str, event: str = "", *rest: str) -> ThreadPlace | None:
    run_id, last = canonical_id(run), EventId.parse(event)
    if run_id is None or last is None or rest:
        return None
    return place.having(run_id, Begun(last))


def _of_place(place: Place) -> list[Any]:
    return [
        _of_time(place.time),
        _of_horizon(place.seen),
        place.until and [_of_time(place.until_time), _of_horizon(place.until), *place.after],
        place.unfinished,
    ]


def _to_place(data: list[Any]) -> Place:
    time, seen, heading, unfinished = data
    place = Place(time=_to_time(time), seen=_to_horizon(seen), unfinished=unfinished)
    if heading is None:
        return place
    until_time, until, *after = heading
    return place.heading(_to_horizon(until), _to_time(until_time)).passing(ChangeKey(*after))


def _to_begun(text: str) -> Begun:
    last = EventId.parse(text.removesuffix(_COMPLETE))
    assert last is not None
    return Begun(last, text.endswith(_COMPLETE))


def _of_horizon(horizon: Horizon) -> list[int]:
    # What is open is a little less than what comes next: numbers of few digits.
    return [horizon.next, *(horizon.next - number for number in horizon.open)]


def _to_horizon(data: list[int]) -> Horizon:
    following, *behind = data
    return Horizon(following, tuple(following - number for number in behind))


def _of_time(time: datetime | None) -> int:
    assert time is not None
    return int(time.timestamp())


def _to_time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _token(scope: str, data: list[Any]) -> str:
    body = orjson.dumps(data)
    return base64.urlsafe_b64encode(_digest(scope, body) + body).decode()


def _read(scope: str, token: str) -> list[Any] | None:
    try:
        decoded = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    digest, body = decoded[:_DIGEST_BYTES], decoded[_DIGEST_BYTES:]
    if digest != _digest(scope, body):
        return None
    data: list[Any] = orjson.loads(body)
    return data


def _digest(scope: str, body: bytes) -> bytes:
    # Not a secret, as with the tokens of pages: it keeps honest callers from mixing up tokens. Who
    # forges one sees no more than what the stream tells anyway.
    return hashlib.blake2b(scope.encode() + b"\0" + body, digest_size=_DIGEST_BYTES).digest()
