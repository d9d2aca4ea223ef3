"""A run's context, as the type that the graph declares for it."""

import dataclasses
from typing import Any

from pydantic import BaseModel, ValidationError


class ContextMismatch(ValueError):
    """A context that does not fit the graph's context schema. The message names the field."""


def coerce_context(schema: Any, context: dict[str, Any] | None) -> Any:
    """Return `context` as an instance of `schema`, as LangGraph would make it.

    A dataclass or pydantic model is made from the dict; anything else (a TypedDict, no schema)
    is the dict itself. Without a context the schema's defaults are one, if it has them all.
    Raises `ContextMismatch`.
    """
    if not isinstance(schema, type):
        return context
    if not (issubclass(schema, BaseModel) or dataclasses.is_dataclass(schema)):
        return context
    if context is None:
        return _defaults(schema)
    if not issubclass(schema, BaseModel):
        _check_names(schema, context)
    try:
        return schema(**context)
    except ValidationError as error:
        raise ContextMismatch(_sentence(error)) from error
    except (TypeError, ValueError) as error:
        raise ContextMismatch(f"context: {error}") from error


def context_of(schema: Any, context: dict[str, Any] | None, configurable: dict[str, Any]) -> Any:
    """Return the context of a run: `context`, or what the older `configurable` has of its fields.

    Not the other way round: a context may hold secrets, and LangGraph writes what is configurable
    into every checkpoint. Raises `ContextMismatch`.
    """
    if context is None:
        names = _field_names(schema)
        context = {name: value for name, value in configurable.items() if name in names} or None
    return coerce_context(schema, context)


def _field_names(schema: Any) -> frozenset[str]:
    if not isinstance(schema, type):
        return frozenset()
    if issubclass(schema, BaseModel):
        return frozenset(schema.model_fields)
    return frozenset(getattr(schema, "__annotations__", {})) | frozenset(
        getattr(schema, "__dataclass_fields__", {})
    )


def _defaults(schema: Any) -> Any:
    try:
        return schema()
    except (TypeError, ValueError):
        return None  # it has required fields: the graph sees that there is no context


def _check_names(schema: Any, context: dict[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    if unknown := sorted(set(context) - set(fields)):
        known = ", ".join(fields) or "none"
        raise ContextMismatch(f"context.{unknown[0]}: no such field; known: {known}")
    for name, field in fields.items():
        no_default = field.default is dataclasses.MISSING
        if name not in context and no_default and field.default_factory is dataclasses.MISSING:
            raise ContextMismatch(f"context.{name}: required")


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in ("context", *first["loc"]))
    return f"{path}: {first['msg']}"
