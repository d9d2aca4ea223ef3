"""A run's context as the graph's type."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from runwire.server.graphs.context import ContextMismatch, coerce_context, context_of


@dataclass
class Settings:
    model: str
    depth: int = 3
    tags: list[str] = field(default_factory=list)


@dataclass
class Defaults:
    depth: int = 3


class Checked(BaseModel):
    model: str
    depth: int = 3


class Loose(TypedDict, total=False):
    model: str


def test_a_dataclass_is_made_from_the_context() -> None:
    assert coerce_context(Settings, {"model": "m"}) == Settings("m")


def test_a_pydantic_model_is_made_and_checked() -> None:
    assert coerce_context(Checked, {"model": "m", "depth": "5"}) == Checked(model="m", depth=5)


@pytest.mark.parametrize("schema", [None, Loose])
def test_without_a_class_to_make_the_context_stays_a_dict(schema: Any) -> None:
    assert coerce_context(schema, {"model": "m", "more": 1}) == {"model": "m", "more": 1}
    assert coerce_context(schema, None) is None


def test_defaults_are_a_context_when_there_is_none() -> None:
    assert coerce_context(Defaults, None) == Defaults()
    assert coerce_context(Settings, None) is None


@pytest.mark.parametrize(
    ("schema", "context", "message"),
    [
        (Settings, {}, "context.model: required"),
        (Settings, {"model": "m", "dept": 1}, "context.dept: no such field; known: model, depth"),
        (Checked, {"depth": 1}, "context.model: Field required"),
        (Checked, {"model": "m", "depth": "x"}, "context.depth: Input should be a valid integer"),
    ],
)
def test_what_does_not_fit_is_told_by_field(
    schema: Any, context: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContextMismatch) as caught:
        coerce_context(schema, context)

    assert str(caught.value).startswith(message)


def test_what_a_context_raises_itself_is_told() -> None:
    @dataclass
    class Picky:
        depth: int

        def __post_init__(self) -> None:
            if self.depth < 0:
                raise ValueError("depth is negative")

    with pytest.raises(ContextMismatch, match="context: depth is negative"):
        coerce_context(Picky, {"depth": -1})


def test_older_callers_give_the_context_in_configurable() -> None:
    configurable = {"model": "m", "user_id": "u"}

    assert context_of(Settings, None, configurable) == Settings("m")
    assert context_of(Checked, None, configurable) == Checked(model="m")
    assert context_of(Loose, None, configurable) == {"model": "m"}
    assert context_of(None, None, configurable) is None


def test_a_context_is_not_mixed_with_configurable() -> None:
    assert context_of(Settings, {"model": "a"}, {"model": "b", "depth": 9}) == Settings("a")
