"""User data that is wrong: where it is, what is wrong with it, and that nothing is stored of it."""

import json
from typing import Any

import pytest
from google.protobuf import struct_pb2
from tests.support.callers import Client, Stubs
from tests.support.refusals import STARTS, assert_refused, refusal, starting

from runwire.client import ResourceExhaustedError
from runwire.v1 import assistants_pb2, core_pb2, payload_pb2, runs_pb2, threads_pb2

pytestmark = pytest.mark.usefixtures("nothing_stored")

DEEP = "[" * 65 + "]" * 65

BAD_JSON = [
    ("", "", "is not JSON"),
    ("{", "", "is not JSON"),
    ("nonsense", "", "is not JSON"),
    ('{"a": 1} 2', "", "is not JSON"),
    ("NaN", "", "is NaN"),
    ('{"a": [1, NaN]}', ".a[1]", "is NaN"),
    ('{"a": {"b c": -Infinity}}', '.a["b c"]', "is -Infinity"),
    ('{"a": 1e999}', ".a", "too large"),
    ('{"messages": [{}, {"id": 18446744073709551616}]}', ".messages[1].id", "64-bit"),
    ('{"a": -9223372036854775809}', ".a", "64-bit"),
    (f'{{"a": {"9" * 5000}}}', ".a", "64-bit"),
    ('{"a": "\\ud800"}', ".a", "lone surrogate"),
    ('{"\\udfff": 1}', "", "lone surrogate"),
    (DEEP, "[0]" * 64, "64 levels"),
    ("[" * 100_000, "", ""),
    ("[" * 100_000 + "]" * 100_000, "", "64 levels"),
]


@pytest.mark.parametrize(("text", "path", "words"), BAD_JSON, ids=range(len(BAD_JSON)))
async def test_json_that_is_not_taken_is_refused_by_the_path_of_what_is_wrong(
    stubs: Stubs, text: str, path: str, words: str
) -> None:
    payload = payload_pb2.Payload(json=text)
    for method in STARTS:
        spec = core_pb2.RunSpec(assistant_id="echo", input=payload)
        request, spec_path = starting(method, spec)
        failed = await refusal(stubs, method, request)
        [(field, description)] = failed.fields.items()
        assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert f"{spec_path}.input{path}".startswith(field.rstrip("…"))
        assert words in description


def places(payload: payload_pb2.Payload, thread_id: str) -> list[tuple[str, Any, str]]:
    """Return requests with a payload in each of its places, and the path of that."""
    spec = core_pb2.RunSpec
    command = core_pb2.Command
    config = core_pb2.RunConfig(configurable=payload)
    on_thread: dict[str, Any] = {"assistant_id": "echo", "thread_id": thread_id}
    specs = {
        "input": spec(assistant_id="echo", input=payload),
        "context": spec(assistant_id="echo", context=payload),
        "metadata": spec(assistant_id="echo", metadata=payload),
        "config.configurable": spec(assistant_id="echo", config=config),
        "command.resume": spec(**on_thread, command=command(resume=payload)),
        "command.update": spec(**on_thread, command=command(update=payload)),
        "command.resume_by_interrupt.x": spec(
            **on_thread, command=command(resume_by_interrupt={"x": payload})
        ),
        "command.goto[0].input": spec(
            **on_thread, command=command(goto=[core_pb2.Goto(node="answer", input=payload)])
        ),
    }
    update = assistants_pb2.UpdateAssistantRequest
    return [
        *(
            ("CreateRun", runs_pb2.CreateRunRequest(spec=each), f"spec.{path}")
            for path, each in specs.items()
        ),
        ("CreateThread", threads_pb2.CreateThreadRequest(metadata=payload), "metadata"),
        (
            "UpdateThread",
            threads_pb2.UpdateThreadRequest(thread_id=thread_id, metadata=payload),
            "metadata",
        ),
        ("ListThreads", threads_pb2.ListThreadsRequest(metadata=payload), "metadata"),
        (
            "UpdateThreadState",
            threads_pb2.UpdateThreadStateRequest(thread_id=thread_id, values=payload),
            "values",
        ),
        (
            "ListThreadStates",
            threads_pb2.ListThreadStatesRequest(thread_id=thread_id, metadata=payload),
            "metadata",
        ),
        ("ListRuns", runs_pb2.ListRunsRequest(metadata=payload), "metadata"),
        ("CancelRuns", runs_pb2.CancelRunsRequest(metadata=payload), "metadata"),
        (
            "CreateAssistant",
            assistants_pb2.CreateAssistantRequest(graph_id="echo", context=payload),
            "context",
        ),
        (
            "CreateAssistant",
            assistants_pb2.CreateAssistantRequest(graph_id="echo", metadata=payload),
            "metadata",
        ),
        (
            "CreateAssistant",
            assistants_pb2.CreateAssistantRequest(graph_id="echo", config=config),
            "config.configurable",
        ),
        ("UpdateAssistant", update(assistant_id="echo", context=payload), "context"),
        ("UpdateAssistant", update(assistant_id="echo", metadata=payload), "metadata"),
        ("UpdateAssistant", update(assistant_id="echo", config=config), "config.configurable"),
        (
            "ListAssistantVersions",
            assistants_pb2.ListAssistantVersionsRequest(assistant_id="echo", metadata=payload),
            "metadata",
        ),
        ("ListAssistants", assistants_pb2.ListAssistantsRequest(metadata=payload), "metadata"),
    ]


async def test_every_payload_of_every_request_is_checked(
    stubs: Stubs, there: dict[str, str]
) -> None:
    for method, request, path in places(payload_pb2.Payload(json='{"a": NaN}'), there["thread"]):
        assert_refused(await refusal(stubs, method, request), f"{path}.a")


async def test_every_payload_is_checked_as_a_value_too(stubs: Stubs, there: dict[str, str]) -> None:
    value = struct_pb2.Value()
    value.struct_value["a"] = float("inf")
    for method, request, path in places(payload_pb2.Payload(value=value), there["thread"]):
        assert_refused(await refusal(stubs, method, request), f"{path}.a")
    without_kind = payload_pb2.Payload(value=struct_pb2.Value())
    spec = core_pb2.RunSpec(assistant_id="echo", input=without_kind)
    failed = await refusal(stubs, "CreateRun", runs_pb2.CreateRunRequest(spec=spec))
    assert_refused(failed, "spec.input")


async def test_what_must_be_an_object_is_refused_if_it_is_not(
    stubs: Stubs, there: dict[str, str]
) -> None:
    free = {"spec.input", "values", "spec.command.resume", "spec.command.goto[0].input"}
    for text in ("[1]", '"text"', "5", "true"):
        for method, request, path in places(payload_pb2.Payload(json=text), there["thread"]):
            if path not in free and "resume_by_interrupt" not in path:
                assert_refused(await refusal(stubs, method, request), path)


async def test_labels_that_are_too_large_are_refused_by_their_size(
    stubs: Stubs, there: dict[str, str]
) -> None:
    large = json.dumps({"a": "x" * 65_536})
    for method, request, path in places(payload_pb2.Payload(json=large), there["thread"]):
        if not path.endswith("metadata"):
            continue
        failed = await refusal(stubs, method, request)
        assert (failed.code, failed.reason) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
        assert failed.variables == {"field": path, "size": str(len(large)), "limit": "65536"}
        assert not failed.retries


async def test_a_request_that_is_too_large_is_refused_by_its_size(client: Client) -> None:
    with pytest.raises(ResourceExhaustedError) as caught:
        await client.runs.create(None, "echo", input={"text": "x" * (33 * 1024 * 1024)})

    assert caught.value.reason == "PAYLOAD_TOO_LARGE"
    assert caught.value.metadata["limit"] == str(32 * 1024 * 1024)
