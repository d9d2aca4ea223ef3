"""Reading the fields of a request, and gathering all that is wrong with them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson
from google.protobuf.duration_pb2 import Duration

from runwire.server.model.errors import InvalidFields, PayloadTooLarge
from runwire.server.model.ids import canonical_id, default_assistant_id
from runwire.server.model.requests import METADATA_BYTES, Order, TimeRange
from runwire.server.model.webhook_urls import UrlPolicy, problem_of_url
from runwire.server.rpc import payloads
from runwire.server.rpc.enums import E, Words
from runwire.server.rpc.json_limits import Offence
from runwire.v1 import core_pb2, payload_pb2

MAX_ITEMS = 1000
"""The longest list or map of a request that has no limit of its own."""

MAX_VIOLATIONS = 50
"""After so many mistakes a request is not read on: one of 32 MiB can hold millions."""

LONGEST = timedelta(days=365)

_UNKNOWN = "is a value that this server does not know"
_MAX_SECONDS = int(LONGEST.total_seconds())

T = TypeVar("T")


class Fields:
    """Reads the fields of one request.

    A method takes the field's path and its content, and returns what the content means. What is
    wrong is noted, and something harmless returned instead: `check` ends the reading.
    """

    def __init__(self) -> None:
        self._violations: list[tuple[str, str]] = []

    def refuse(self, field: str, description: str) -> None:
        """Note that a field is wrong. Raises `InvalidFields` if that is too much."""
        self._violations.append((field, description))
        if len(self._violations) == MAX_VIOLATIONS:
            self.check()

    def check(self) -> None:
        """Raise `InvalidFields` if anything was wrong."""
        if self._violations:
            raise InvalidFields(self._violations)

    def required(self, field: str, text: str) -> str:
        """Read a text that must not be empty."""
        if not text:
            self.refuse(field, "is required")
        return text

    def short(self, field: str, text: str, at_most: int) -> str:
        """Read a text that must not have more characters than this."""
        if len(text) > at_most:
            self.refuse(field, f"has more than {at_most} characters")
        return text

    def required_id(self, field: str, text: str) -> str:
        """Read the id of a run, a thread or an assistant that must be there."""
        return self.optional_id(field, self.required(field, text)) or ""

    def optional_id(self, field: str, text: str) -> str | None:
        """Read an id, in any case of letters; None if it is empty."""
        if not text:
            return None
        canonical = canonical_id(text)
        if canonical is None:
            self.refuse(field, "is not a UUID in its usual form of 36 characters")
        return canonical

    def fits(self, field: str, items: Collection[Any], at_most: int = MAX_ITEMS) -> bool:
        """Return whether a list or a map is not too long."""
        if len(items) > at_most:
            self.refuse(field, f"has {len(items)} items, at most {at_most} are taken")
        return len(items) <= at_most

    def ids(self, field: str, texts: Sequence[str], *, at_most: int) -> list[str]:
        """Read a list of ids."""
        if not self.fits(field, texts, at_most):
            return []
        return [self.required_id(f"{field}[{i}]", text) for i, text in enumerate(texts)]

    def names(self, field: str, texts: Sequence[str]) -> tuple[str, ...]:
        """Read a list of texts none of which may be empty."""
        if not self.fits(field, texts):
            return ()
        for index, text in enumerate(texts):
            self.required(f"{field}[{index}]", text)
        return tuple(texts)

    def word(self, field: str, number: int, words: Words[E], default: E) -> E:
        """Read an enum whose UNSPECIFIED means `default`."""
        if not number:
            return default
        word = words.word(number)
        if word is None:
            self.refuse(field, f"{_UNKNOWN}: {number}")
        return default if word is None else word

    def words(self, field: str, numbers: Sequence[int], words: Words[E]) -> tuple[E, ...]:
        """Read a list of enum values none of which may be UNSPECIFIED."""
        read: list[E] = []
        if not self.fits(field, numbers):
            return ()
        for index, number in enumerate(numbers):
            word = words.word(number)
            if word is None:
                self.refuse(
                    f"{field}[{index}]",
                    f"{_UNKNOWN}: {number}" if number else "must not be unspecified",
                )
            else:
                read.append(word)
        return tuple(read)

    def order(self, number: int, orders: Mapping[int, Order]) -> Order:
        """Read the order of a list."""
        if number not in orders:
            self.refuse("order", f"{_UNKNOWN}: {number}")
        return orders.get(number, orders[0])

    def data(self, field: str, payload: payload_pb2.Payload) -> Any:
        """Read a payload; None also if there is no value."""
        try:
            return payloads.read(payload)
        except Offence as offence:
            self.refuse(f"{field}{offence.path}", offence.description)
            return None

    def object(self, field: str, payload: payload_pb2.Payload) -> dict[str, Any] | None:
        """Read a payload that must be a JSON object; None if there is no value."""
        if not payloads.is_set(payload):
            return None
        violations = len(self._violations)
        data = self.data(field, payload)
        if isinstance(data, dict):
            return data
        if len(self._violations) == violations:
            self.refuse(field, "must be a JSON object")
        return None

    def metadata(self, field: str, payload: payload_pb2.Payload) -> dict[str, Any]:
        """Read a payload of labels; empty if there is none. Raises `PayloadTooLarge` at once."""
        size = len(payload.json.encode())
        if size <= METADATA_BYTES:
            data = self.object(field, payload) or {}
            size = len(orjson.dumps(data)) if payload.HasField("value") else size
        else:
            data = {}
        if size > METADATA_BYTES:
            raise PayloadTooLarge(field, size, METADATA_BYTES)
        return data

    def duration(self, field: str, duration: Duration) -> timedelta:
        """Read a duration of at most a year, rounded up to microseconds, so that what is more than
        nothing stays more than nothing."""
        wrong = ""
        if duration.seconds < 0 or duration.nanos < 0:
            wrong = "must not be negative"
        elif duration.nanos >= 1_000_000_000:
            wrong = "has nanoseconds of a second or more"
        elif (duration.seconds, duration.nanos) > (_MAX_SECONDS, 0):
            wrong = f"must be at most {LONGEST.days} days"
        if wrong:
            self.refuse(field, wrong)
            return timedelta(0)
        return timedelta(seconds=duration.seconds, microseconds=-(-duration.nanos // 1000))

    def span(self, field: str, span: core_pb2.TimeRange) -> TimeRange:
        """Read a span of time."""
        start = self._moment(f"{field}.start_time", span, "start_time")
        end = self._moment(f"{field}.end_time", span, "end_time")
        if start is not None and end is not None and end <= start:
            self.refuse(f"{field}.end_time", "must be after start_time")
        return TimeRange(start, end)

    def _moment(self, field: str, span: core_pb2.TimeRange, name: str) -> datetime | None:
        if not span.HasField(name):
            return None
        try:
            moment: datetime = getattr(span, name).ToDatetime(UTC)
        except (ValueError, OverflowError):
            self.refuse(field, "is no moment from the year 1 to the year 9999")
            return None
        return moment

    def webhook(self, field: str, url: str, policy: UrlPolicy) -> str:
        """Read the URL of a webhook; empty if there is none."""
        if url and (problem := problem_of_url(url, policy)):
            self.refuse(field, problem)
        return url

    def assistant(self, field: str, text: str) -> str:
        """Read the id of an assistant or of a graph that must be there."""
        return canonical_id(self.required(field, text)) or text


def assistant_filter(text: str) -> str:
    """Return the id of the assistant that a filter names by its id or by its graph's; empty if it
    names none."""
    return (canonical_id(text) or default_assistant_id(text)) if text else ""
