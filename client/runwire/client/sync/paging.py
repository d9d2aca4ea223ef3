# Made from ../paging.py by client/make_sync.py: change that one.
"""Lists as langgraph_sdk's users ask for them, by limit and offset, from a server with pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

if TYPE_CHECKING:
    from google.protobuf.message import Message

Item = TypeVar("Item")

Fetch = Callable[[int, str], tuple[Sequence[Item], str]]
"""Takes a page's size and the token it is known by; returns its items and the next page's token."""


def collect(
    fetch: Fetch[Item], limit: int, offset: int, *, page_limit: int
) -> tuple[list[Item], bool]:
    """Return `limit` items after the first `offset`, fewer if there are no more, and whether there
    are more.

    `page_limit` is the most that the server gives at once. Raises ValueError for negative numbers.
    """
    if limit < 0 or offset < 0:
        raise ValueError("limit, offset: must not be negative")
    wanted = offset + limit
    found: list[Item] = []
    token = ""
    while len(found) < wanted:
        items, token = fetch(min(wanted, page_limit), token)
        found += items
        if not token:
            break
    return found[offset:wanted], bool(token) or len(found) > wanted


def order_of(
    sort_by: str | None, sort_order: str | None, orders: Mapping[tuple[str, str], Any]
) -> Any:
    """Return the order of a list; None, which is the server's choice, if none is asked for.

    Newest first if only the field is given, by time of creation if only the direction is. Raises
    NotImplementedError for a field that the server does not sort by, ValueError for a direction
    that is none.
    """
    if sort_by is None and sort_order is None:
        return None
    if sort_order not in (None, "asc", "desc"):
        raise ValueError(f"sort_order: {sort_order!r} is not one of asc, desc")
    key = (sort_by or "created_at", sort_order or "desc")
    if key not in orders:
        known = ", ".join(dict.fromkeys(name for name, _ in orders))
        raise NotImplementedError(f"sort_by: this version of Runwire sorts by {known}")
    return orders[key]


def mask_of(kind: type[Message], select: Sequence[str] | None) -> FieldMask | None:
    """Return the fields of a message that the server is asked for; None, which is all of them, if
    `select` is empty or None. What it does not know is refused later, by `chosen`."""
    names = [field.partition(".")[0] for field in select or ()]
    paths = [_RENAMED.get(name, name) for name in names]
    known = kind.DESCRIPTOR.fields_by_name
    return FieldMask(paths=[path for path in paths if path in known]) if paths else None


_RENAMED = {"created_at": "create_time", "updated_at": "update_time"}


def chosen(item: Mapping[str, Any], fields: Collection[str] | None) -> Any:
    """Return the chosen fields of a result; all of them if `fields` is empty or None.

    "values.messages" chooses one key of the values. Raises ValueError for a field that there is
    not.
    """
    if not fields:
        return item
    result: dict[str, Any] = {}
    for field in fields:
        name, _, key = field.partition(".")
        if name not in item or (key and name != "values"):
            raise ValueError(f"select: there is no field {field!r}")
        if not key:
            result[name] = item[name]
        elif key in (item["values"] or {}):
            result.setdefault("values", {})[key] = item["values"][key]
    return result
