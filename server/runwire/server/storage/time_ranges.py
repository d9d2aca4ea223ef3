"""Spans of time as conditions."""

from typing import Any

from sqlalchemy import Column, ColumnElement

from runwire.server.model.requests import TimeRange


def within(column: Column[Any], span: TimeRange) -> list[ColumnElement[bool]]:
    """Return the conditions that a column holds a moment of a span; none if it is open."""
    conditions = []
    if span.start is not None:
        conditions.append(column >= span.start)
    if span.end is not None:
        conditions.append(column < span.end)
    return conditions
