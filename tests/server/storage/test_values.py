from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from runwire.server.model.runs import (
    Cancel,
    CancelAction,
    CancelCause,
    Command,
    Durability,
    Goto,
    IfThreadMissing,
    Interrupt,
    MultitaskStrategy,
    OnCompletion,
    OnDisconnect,
    RunCheckpoint,
    RunConfig,
    RunError,
    RunSpec,
    StreamMode,
)
from runwire.server.storage import values

PLAIN = RunSpec(assistant_id="graph")

FULL = RunSpec(
    assistant_id="01a202fc-0859-7015-aead-cf52f2c36f35",
    assistant_version=3,
    thread_id="01a202fc-0859-7015-aead-cf52f2c36f36",
    input={"b": [1, 2.5, None, True, "ü\u0000"], "a": {"deep": [[]]}, "large": 2**63 - 1},
    command=Command(
        resume={"yes": None},
        has_resume=True,
        resume_by_interrupt={"id": [1]},
        update=[["channel", 1]],
        has_update=True,
        goto=(Goto(node="a"), Goto(node="b", input=None, has_input=True)),
    ),
    checkpoint=RunCheckpoint(checkpoint_id="c", checkpoint_ns="n", checkpoint_map={"": "c"}),
    config=RunConfig(tags=("x", "y"), recursion_limit=5, configurable={"k": {"v": 1}}),
    context={"user": "u"},
    metadata={"m": 1},
    stream_modes=(StreamMode.MESSAGES, StreamMode.EVENTS),
    stream_subgraphs=True,
    interrupt_before=("*",),
    interrupt_after=("a", "b"),
    multitask_strategy=MultitaskStrategy.ROLLBACK,
    if_thread_missing=IfThreadMissing.CREATE,
    on_completion=OnCompletion.KEEP,
    on_disconnect=OnDisconnect.CANCEL,
    start_delay=timedelta(days=365, microseconds=1),
    timeout=timedelta(microseconds=1),
    priority=-7,
    durability=Durability.EXIT,
    webhook="https://example.com/hook",
    trace={"traceparent": "00-1-2-01"},
    awaited_by=("r", "s"),
)


def stored(data: object) -> object:
    """Return JSON data as it comes back from a column."""
    return orjson.loads(orjson.dumps(data))


def test_the_full_example_leaves_nothing_at_its_default() -> None:
    same = [
        field.name
        for field in fields(RunSpec)
        if getattr(FULL, field.name) == getattr(PLAIN, field.name)
    ]
    assert same == []


@pytest.mark.parametrize("spec", [PLAIN, FULL], ids=["plain", "full"])
def test_a_specification_comes_back_as_it_was(spec: RunSpec) -> None:
    assert values.spec_from_data(stored(values.spec_to_data(spec))) == spec


@pytest.mark.parametrize("command", [Command(), Command(resume=None, has_resume=True)])
def test_what_a_command_says_and_does_not_say_comes_back(command: Command) -> None:
    spec = replace(PLAIN, command=command)
    assert values.spec_from_data(stored(values.spec_to_data(spec))) == spec


@pytest.mark.parametrize("given", [None, False, 0, "", [], {}])
def test_inputs_that_say_little_are_not_taken_for_none(given: object) -> None:
    spec = replace(PLAIN, input=given)
    assert values.spec_from_data(stored(values.spec_to_data(spec))).input == given


def test_interrupts_come_back_as_they_were() -> None:
    interrupts = (
        Interrupt(interrupt_id="i", value='{"a": 1}'),
        Interrupt(interrupt_id="j", value="0"),
    )
    assert values.interrupts_from_data(stored(values.interrupts_to_data(interrupts))) == interrupts
    assert values.interrupts_from_data(stored(values.interrupts_to_data(()))) == ()


def test_an_error_comes_back_as_it_was() -> None:
    error = RunError(type="E", message="m", node="n", attempt=2, error_id="i")
    assert values.error_from_data(stored(values.error_to_data(error))) == error
    assert values.error_from_data(values.error_to_data(None)) is None


def test_a_cancel_comes_back_as_it_was() -> None:
    time = datetime(2026, 1, 1, 2, 3, 4, 567_891, tzinfo=UTC)
    for action in CancelAction:
        for cause in CancelCause:
            cancel = Cancel(action=action, cause=cause, request_time=time, abandoned=True)
            assert values.cancel_from_data(stored(values.cancel_to_data(cancel))) == cancel
    assert values.cancel_from_data(values.cancel_to_data(None)) is None
