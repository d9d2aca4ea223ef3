"""Pages of lists: how many to answer with, and the tokens that say where the next page begins."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from runwire.server.rpc.fields import Fields

_DIGEST_BYTES = 12

_MAY_CHANGE = frozenset({"page_token", "page_size", "count_total", "read_mask", "extract"})
"""Fields of a request for a list that may differ from one page to the next."""


@dataclass(frozen=True, slots=True)
class PageSizes:
    """How many items a page has: if the caller does not say, and at most."""

    default: int
    limit: int


RESOURCES = PageSizes(default=50, limit=500)
CANCELS = PageSizes(default=1000, limit=1000)
STATES = PageSizes(default=10, limit=1000)
ITEMS = PageSizes(default=10, limit=100)
NAMESPACES = PageSizes(default=100, limit=1000)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The page that a request asks for. `cursor` is where it begins; None for the first one."""

    limit: int
    cursor: str | None
    wanted: bytes

    def next_token(self, cursor: str | None) -> str:
        """Return the token of the page that begins at `cursor`; empty if there is none."""
        if cursor is None:
            return ""
        place = cursor.encode()
        return base64.urlsafe_b64encode(_digest(self.wanted, place) + place).decode()


def read_page(request: Any, fields: Fields, sizes: PageSizes = RESOURCES) -> PageRequest:
    """Read the fields `page_size` and `page_token` of a request."""
    if request.page_size < 0:
        fields.refuse("page_size", "must not be negative")
    limit = min(request.page_size or sizes.default, sizes.limit)
    wanted = _wanted(request)
    cursor = _cursor(request.page_token, wanted) if request.page_token else None
    if request.page_token and cursor is None:
        fields.refuse("page_token", "is not the next_page_token of an answer to the same request")
    return PageRequest(limit, cursor, wanted)


def _wanted(request: Any) -> bytes:
    """Return what tells requests with different filters apart. What is shown of the items may
    change on the way."""
    same = type(request)()
    same.CopyFrom(request)
    for field in _MAY_CHANGE.intersection(request.DESCRIPTOR.fields_by_name):
        same.ClearField(field)
    name: str = request.DESCRIPTOR.full_name
    return name.encode() + b"\0" + bytes(same.SerializeToString(deterministic=True))


def _cursor(token: str, wanted: bytes) -> str | None:
    try:
        decoded = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        digest, place = decoded[:_DIGEST_BYTES], decoded[_DIGEST_BYTES:]
        return place.decode() if digest == _digest(wanted, place) else None
    except (binascii.Error, ValueError):
        return None


def _digest(wanted: bytes, place: bytes) -> bytes:
    # Not a secret: it keeps honest callers from mixing up tokens, and cursors from being made up
    # by accident. Who forges one sees no more than the list that they may read anyway.
    state = hashlib.blake2b(wanted, digest_size=_DIGEST_BYTES)
    state.update(b"\0" + place)
    return state.digest()
