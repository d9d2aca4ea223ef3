"""Parts of LangGraph's stream."""

from langgraph.types import Interrupt as GraphInterrupt

from runwire.server.graphs.parts import Outcome, to_interrupts
from runwire.server.model.runs import Interrupt


def test_an_outcome_without_values_has_no_text() -> None:
    assert Outcome().values_json() is None
    assert Outcome().output_json() is None


def test_an_outcome_tells_the_last_values() -> None:
    outcome = Outcome()
    outcome.keep_values({"a": 1}, ["a"])
    assert outcome.values_json() == '{"a":1}'

    outcome.keep_values({"a": 2, "b": 3}, ["a"])

    assert outcome.values_json() == '{"a":2,"b":3}'
    assert outcome.output_json() == '{"a":2}'


def test_the_output_of_a_single_channel_is_the_value_itself() -> None:
    outcome = Outcome()
    outcome.keep_values({"a": 2, "b": 3}, "__end__")

    assert outcome.output_json() == '{"a":2,"b":3}'


def test_an_interrupt_that_comes_twice_is_open_once() -> None:
    outcome = Outcome()
    first, second = GraphInterrupt(value=1, id="a"), GraphInterrupt(value=2, id="b")

    outcome.open_interrupts([first])
    outcome.open_interrupts([first, second])

    assert outcome.interrupts == to_interrupts([first, second])
    assert outcome.interrupts[0] == Interrupt(interrupt_id="a", value="1")
