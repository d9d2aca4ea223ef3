"""Requests that are wrong: what they are answered, and that they leave nothing behind."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.callers import MISSING_ID, Stubs, of_json
from tests.support.refusals import STARTS, assert_refused, refusal, starting

from runwire.client import InvalidArgumentError, RunwireClient
from runwire.v1 import assistants_pb2, core_pb2, payload_pb2, runs_pb2, threads_pb2

pytestmark = pytest.mark.usefixtures("nothing_stored")

UNKNOWN = 4711
"""A number that no enum of the contract has."""


# ------------------------------------------------------------------- what is not there

NOT_THERE: list[tuple[str, Any, str, dict[str, str]]] = [
    (
        "CreateAssistant",
        assistants_pb2.CreateAssistantRequest(graph_id="nothing"),
        "GRAPH_NOT_FOUND",
        {"graph_id": "nothing"},
    ),
    (
        "UpdateAssistant",
        assistants_pb2.UpdateAssistantRequest(assistant_id="echo", graph_id="nothing"),
        "GRAPH_NOT_FOUND",
        {"graph_id": "nothing"},
    ),
    *(
        (
            method,
            getattr(assistants_pb2, f"{method}Request")(assistant_id=assistant_id),
            "ASSISTANT_NOT_FOUND",
            {"assistant_id": assistant_id},
        )
        for method in (
            "GetAssistant",
            "UpdateAssistant",
            "ListAssistantVersions",
            "DeleteAssistant",
            "GetAssistantGraph",
            "GetAssistantSchemas",
            "ListAssistantSubgraphs",
        )
        for assistant_id in (MISSING_ID, "nothing")
    ),
    *(
        (
            method,
            getattr(threads_pb2, f"{method}Request")(thread_id=MISSING_ID),
            "THREAD_NOT_FOUND",
            {"thread_id": MISSING_ID},
        )
        for method in (
            "GetThread",
            "UpdateThread",
            "DeleteThread",
            "GetThreadState",
            "UpdateThreadState",
            "ListThreadStates",
        )
    ),
    *(
        (
            method,
            getattr(runs_pb2, f"{method}Request")(run_id=MISSING_ID),
            "RUN_NOT_FOUND",
            {"run_id": MISSING_ID},
        )
        for method in ("GetRun", "DeleteRun", "JoinRun", "JoinRunStream", "CancelRun")
    ),
]


@pytest.mark.parametrize(
    ("method", "request_", "reason", "variables"),
    NOT_THERE,
    ids=[f"{case[0]}-{case[2]}" for case in NOT_THERE],
)
async def test_what_is_not_there_is_not_found_by_its_name(
    stubs: Stubs, method: str, request_: Any, reason: str, variables: dict[str, str]
) -> None:
    failed = await refusal(stubs, method, request_)

    assert (failed.code, failed.reason) == ("NOT_FOUND", reason)
    assert failed.variables == variables
    assert not failed.fields
    assert not failed.retries


@pytest.mark.parametrize("method", STARTS)
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"assistant_id": "nothing"}, "ASSISTANT_NOT_FOUND"),
        ({"assistant_id": MISSING_ID}, "ASSISTANT_NOT_FOUND"),
        ({"assistant_version": 99}, "ASSISTANT_VERSION_NOT_FOUND"),
        ({"thread_id": MISSING_ID}, "THREAD_NOT_FOUND"),
    ],
)
async def test_a_run_of_what_is_not_there_is_not_created(
    stubs: Stubs, method: str, wrong: dict[str, Any], reason: str
) -> None:
    spec = core_pb2.RunSpec(**{"assistant_id": "echo", "input": of_json({}), **wrong})

    failed = await refusal(stubs, method, starting(method, spec)[0])

    assert (failed.code, failed.reason) == ("NOT_FOUND", reason)


async def test_a_checkpoint_that_is_not_there_is_not_found(
    stubs: Stubs, there: dict[str, str]
) -> None:
    for name in (MISSING_ID, "x" * 100):
        checkpoint = core_pb2.CheckpointRef(checkpoint_id=name)
        spec = core_pb2.RunSpec(
            assistant_id="echo", thread_id=there["thread"], checkpoint=checkpoint
        )
        for method, request in (
            ("CreateRun", runs_pb2.CreateRunRequest(spec=spec)),
            (
                "GetThreadState",
                threads_pb2.GetThreadStateRequest(thread_id=there["thread"], checkpoint=checkpoint),
            ),
            (
                "UpdateThreadState",
                threads_pb2.UpdateThreadStateRequest(
                    thread_id=there["thread"], checkpoint=checkpoint
                ),
            ),
        ):
            failed = await refusal(stubs, method, request)
            assert (failed.code, failed.reason) == ("NOT_FOUND", "CHECKPOINT_NOT_FOUND"), method
            assert failed.variables == {"thread_id": there["thread"], "checkpoint_id": name}


# ------------------------------------------------------------------- texts that PostgreSQL has not

ZEROS: list[tuple[str, Any, str]] = [
    ("CreateAssistant", assistants_pb2.CreateAssistantRequest(graph_id="echo", name="a\0"), "name"),
    ("CreateAssistant", assistants_pb2.CreateAssistantRequest(graph_id="echo\0"), "graph_id"),
    ("ListAssistants", assistants_pb2.ListAssistantsRequest(name="\0"), "name"),
    ("CreateThread", threads_pb2.CreateThreadRequest(request_id="a\0b"), "request_id"),
    *(
        (method, request, f"{path}.{where}")
        for spec, where in (
            (core_pb2.RunSpec(assistant_id="a\0"), "assistant_id"),
            (
                core_pb2.RunSpec(
                    assistant_id="echo", config=core_pb2.RunConfig(tags=["fine", "not\0"])
                ),
                "config.tags[1]",
            ),
        )
        for method in STARTS
        for request, path in [starting(method, spec)]
    ),
]


@pytest.mark.parametrize(("method", "request_", "field"), ZEROS)
async def test_a_text_that_no_database_could_keep_is_refused(
    stubs: Stubs, method: str, request_: Any, field: str
) -> None:
    assert_refused(await refusal(stubs, method, request_), field)


# ------------------------------------------------------------------- malformed ids

MALFORMED = [
    "x",
    "0192f0c3",
    "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1",
    "0192f0c32b3c7d4e8f5a6b7c8d9e0f1a",
    "{0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a}",
    "urn:uuid:0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
    "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1z",
    "'; DROP TABLE runs; --",
    "../../etc/passwd",
    "\x00",
    "é" * 36,
    "0" * 100_000,
]

IDS: list[tuple[str, Any, str]] = [
    *(
        (method, runs_pb2, "run_id")
        for method in ("GetRun", "DeleteRun", "JoinRun", "JoinRunStream", "CancelRun")
    ),
    *(
        (method, threads_pb2, "thread_id")
        for method in (
            "CreateThread",
            "GetThread",
            "UpdateThread",
            "DeleteThread",
            "GetThreadState",
            "UpdateThreadState",
            "ListThreadStates",
        )
    ),
    ("ListRuns", runs_pb2, "thread_id"),
    ("CancelRuns", runs_pb2, "thread_id"),
]


@pytest.mark.parametrize("malformed", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_id_is_refused_by_its_field(stubs: Stubs, malformed: str) -> None:
    for method, module, field in IDS:
        request = getattr(module, f"{method}Request")(**{field: malformed})
        assert_refused(await refusal(stubs, method, request), field)
    spec = core_pb2.RunSpec(assistant_id="echo", thread_id=malformed)
    for method in STARTS:
        request, path = starting(method, spec)
        assert_refused(await refusal(stubs, method, request), f"{path}.thread_id")
    many: list[tuple[str, Any, str]] = [
        ("CancelRuns", runs_pb2, "run_ids"),
        ("ListThreads", threads_pb2, "thread_ids"),
    ]
    for method, module, field in many:
        request = getattr(module, f"{method}Request")(**{field: [MISSING_ID, malformed]})
        assert_refused(await refusal(stubs, method, request), f"{field}[1]")
    create = assistants_pb2.CreateAssistantRequest(graph_id="echo", assistant_id=malformed)
    assert_refused(await refusal(stubs, "CreateAssistant", create), "assistant_id")


# ------------------------------------------------------------------- enums

ENUMS: list[tuple[str, Any, str]] = [
    ("CreateThread", threads_pb2.CreateThreadRequest(), "if_exists"),
    ("CreateAssistant", assistants_pb2.CreateAssistantRequest(graph_id="echo"), "if_exists"),
    ("ListThreads", threads_pb2.ListThreadsRequest(), "order"),
    ("ListAssistants", assistants_pb2.ListAssistantsRequest(), "order"),
    ("ListThreads", threads_pb2.ListThreadsRequest(), "states"),
    ("PruneThreads", threads_pb2.PruneThreadsRequest(thread_ids=[MISSING_ID]), "strategy"),
    ("ListRuns", runs_pb2.ListRunsRequest(), "states"),
    ("ListRuns", runs_pb2.ListRunsRequest(), "order"),
    ("CancelRuns", runs_pb2.CancelRunsRequest(thread_id=MISSING_ID), "states"),
    ("CancelRuns", runs_pb2.CancelRunsRequest(thread_id=MISSING_ID), "action"),
    ("CancelRun", runs_pb2.CancelRunRequest(run_id=MISSING_ID), "action"),
    ("JoinRunStream", runs_pb2.JoinRunStreamRequest(run_id=MISSING_ID), "stream_modes"),
    ("JoinRunStream", runs_pb2.JoinRunStreamRequest(run_id=MISSING_ID), "on_disconnect"),
    ("ThreadStream", threads_pb2.ThreadStreamRequest(thread_id=MISSING_ID), "modes"),
    ("ThreadStream", threads_pb2.ThreadStreamRequest(thread_id=MISSING_ID), "stream_modes"),
    ("WatchRuns", runs_pb2.WatchRunsRequest(), "states"),
]

SPEC_ENUMS = (
    "stream_modes",
    "multitask_strategy",
    "if_thread_missing",
    "on_completion",
    "on_disconnect",
    "durability",
)


def with_enum(message: Any, field: str, number: int) -> Any:
    """Return a copy of a message with a number in an enum, or in a list of them."""
    copy = type(message)()
    copy.CopyFrom(message)
    if message.DESCRIPTOR.fields_by_name[field].is_repeated:
        getattr(copy, field).append(number)
    else:
        setattr(copy, field, number)
    return copy


async def test_unknown_numbers_of_enums_are_refused(stubs: Stubs) -> None:
    for method, request, field in ENUMS:
        listed = request.DESCRIPTOR.fields_by_name[field].is_repeated
        for number in (UNKNOWN, -1):
            failed = await refusal(stubs, method, with_enum(request, field, number))
            assert_refused(failed, f"{field}[0]" if listed else field)
        if listed:
            failed = await refusal(stubs, method, with_enum(request, field, 0))
            assert_refused(failed, f"{field}[0]")


@pytest.mark.parametrize("method", STARTS)
async def test_unknown_numbers_of_a_specification_s_enums_are_refused(
    stubs: Stubs, method: str
) -> None:
    for field in SPEC_ENUMS:
        spec = with_enum(core_pb2.RunSpec(assistant_id="echo"), field, UNKNOWN)
        request, path = starting(method, spec)
        place = f"{path}.{field}[0]" if field == "stream_modes" else f"{path}.{field}"
        assert_refused(await refusal(stubs, method, request), place)
    unset = with_enum(core_pb2.RunSpec(assistant_id="echo"), "stream_modes", 0)
    request, path = starting(method, unset)
    assert_refused(await refusal(stubs, method, request), f"{path}.stream_modes[0]")


def test_every_enum_of_a_request_is_tried() -> None:
    tried = {(method, field) for method, _, field in ENUMS}
    for module in (assistants_pb2, threads_pb2, runs_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                for field in method.input_type.fields:
                    if field.enum_type is not None:
                        assert (method.name, field.name) in tried
    enums = {field.name for field in core_pb2.RunSpec.DESCRIPTOR.fields if field.enum_type}
    assert enums == set(SPEC_ENUMS)


# ------------------------------------------------------------------- empty requests

EMPTY = {
    "CreateAssistant": "graph_id",
    "GetAssistant": "assistant_id",
    "UpdateAssistant": "assistant_id",
    "ListAssistantVersions": "assistant_id",
    "SetLatestAssistantVersion": "assistant_id",
    "DeleteAssistant": "assistant_id",
    "GetAssistantGraph": "assistant_id",
    "GetAssistantSchemas": "assistant_id",
    "ListAssistantSubgraphs": "assistant_id",
    "GetThread": "thread_id",
    "UpdateThread": "thread_id",
    "DeleteThread": "thread_id",
    "CopyThread": "thread_id",
    "PruneThreads": "thread_ids",
    "GetThreadState": "thread_id",
    "UpdateThreadState": "thread_id",
    "ListThreadStates": "thread_id",
    "GetThreadStorage": "thread_id",
    "ThreadStream": "thread_id",
    "CreateRun": "spec",
    "RunStream": "spec",
    "RunWait": "spec",
    "BatchCreateRuns": "specs",
    "GetRun": "run_id",
    "DeleteRun": "run_id",
    "JoinRun": "run_id",
    "JoinRunStream": "run_id",
    "CancelRun": "run_id",
    "CancelRuns": "run_ids",
}
TAKEN_EMPTY = {"WatchRuns", "CreateThread", "ListThreads", "ListAssistants", "ListRuns"}


async def test_an_empty_request_is_told_what_it_lacks(stubs: Stubs) -> None:
    methods = {
        method.name: (module, method)
        for module in (assistants_pb2, threads_pb2, runs_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods.keys() == EMPTY.keys() | TAKEN_EMPTY
    for method, field in EMPTY.items():
        request = getattr(methods[method][0], f"{method}Request")()
        failed = await refusal(stubs, method, request)
        assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD"), method
        assert next(iter(failed.fields)) == field, method


async def test_an_empty_specification_is_told_what_it_lacks(stubs: Stubs) -> None:
    for method in STARTS:
        request, path = starting(method, core_pb2.RunSpec())
        assert_refused(await refusal(stubs, method, request), f"{path}.assistant_id")


# ------------------------------------------------------------------- fields at odds

WRONG_SPECS: list[tuple[dict[str, Any], list[str]]] = [
    ({"assistant_version": 0}, ["assistant_version"]),
    ({"assistant_version": -5}, ["assistant_version"]),
    (
        {
            "thread_id": MISSING_ID,
            "command": core_pb2.Command(resume=of_json(1)),
            "input": of_json(1),
        },
        ["input"],
    ),
    ({"command": core_pb2.Command(resume=of_json(1))}, ["command"]),
    ({"thread_id": MISSING_ID, "command": core_pb2.Command()}, ["command"]),
    (
        {
            "thread_id": MISSING_ID,
            "command": core_pb2.Command(resume=of_json(1), resume_by_interrupt={"a": of_json(1)}),
        },
        ["command.resume"],
    ),
    (
        {
            "thread_id": MISSING_ID,
            "command": core_pb2.Command(resume_by_interrupt={"a": payload_pb2.Payload()}),
        },
        ["command.resume_by_interrupt.a"],
    ),
    (
        {"thread_id": MISSING_ID, "command": core_pb2.Command(update=of_json([["only"]]))},
        ["command.update"],
    ),
    (
        {"thread_id": MISSING_ID, "command": core_pb2.Command(goto=[core_pb2.Goto()])},
        ["command.goto[0].node"],
    ),
    ({"checkpoint": core_pb2.CheckpointRef(checkpoint_id="x")}, ["checkpoint"]),
    (
        {
            "thread_id": MISSING_ID,
            "checkpoint": core_pb2.CheckpointRef(
                thread_id="0192f0c3-0000-7d4e-8f5a-6b7c8d9e0f1a", checkpoint_id="x"
            ),
        },
        ["checkpoint.thread_id"],
    ),
    ({"config": core_pb2.RunConfig(recursion_limit=0)}, ["config.recursion_limit"]),
    ({"config": core_pb2.RunConfig(tags=["a", ""])}, ["config.tags[1]"]),
    (
        {"config": core_pb2.RunConfig(configurable=of_json({"thread_id": "x", "__x": 1}))},
        ["config.configurable.thread_id", "config.configurable.__x"],
    ),
    ({"stream_modes": [1, 2, 1]}, ["stream_modes"]),
    ({"interrupt_before": ["*", "answer"]}, ["interrupt_before"]),
    ({"interrupt_after": ["answer", ""]}, ["interrupt_after[1]"]),
    ({"start_delay": Duration(seconds=-1)}, ["start_delay"]),
    ({"start_delay": Duration(seconds=366 * 86400)}, ["start_delay"]),
    ({"start_delay": Duration(nanos=2**31 - 1)}, ["start_delay"]),
    ({"timeout": Duration()}, ["timeout"]),
    ({"priority": 101}, ["priority"]),
    ({"priority": -101}, ["priority"]),
    ({"timeout": Duration(nanos=-1)}, ["timeout"]),
    ({"timeout": Duration(seconds=2**62)}, ["timeout"]),
    (
        {
            "assistant_id": "",
            "thread_id": "x",
            "input": payload_pb2.Payload(json="NaN"),
            "timeout": Duration(),
        },
        ["thread_id", "assistant_id", "input", "timeout"],
    ),
]


@pytest.mark.parametrize(
    ("wrong", "fields"), WRONG_SPECS, ids=["-".join(case[1]) for case in WRONG_SPECS]
)
@pytest.mark.parametrize("method", STARTS)
async def test_every_mistake_in_a_specification_is_named(
    stubs: Stubs, method: str, wrong: dict[str, Any], fields: list[str]
) -> None:
    spec = core_pb2.RunSpec(**{"assistant_id": "echo", **wrong})
    request, path = starting(method, spec)

    assert_refused(await refusal(stubs, method, request), *(f"{path}.{field}" for field in fields))


async def test_other_fields_at_odds_are_named(stubs: Stubs, there: dict[str, str]) -> None:
    thread_id, run_id = there["thread"], there["run"]
    too_many = [MISSING_ID] * 501
    cases: list[tuple[str, Any, str]] = [
        (
            "JoinRunStream",
            runs_pb2.JoinRunStreamRequest(run_id=run_id, after_event_id="1-1", live_only=True),
            "after_event_id",
        ),
        (
            "JoinRunStream",
            runs_pb2.JoinRunStreamRequest(run_id=run_id, after_event_id="newest"),
            "after_event_id",
        ),
        ("CreateRun", with_request_id(runs_pb2.CreateRunRequest, 129), "request_id"),
        ("CreateThread", threads_pb2.CreateThreadRequest(request_id="x" * 129), "request_id"),
        ("ListRuns", runs_pb2.ListRunsRequest(page_size=-1), "page_size"),
        (
            "CancelRuns",
            runs_pb2.CancelRunsRequest(run_ids=[run_id], page_size=-1),
            "page_size",
        ),
        ("ListThreads", threads_pb2.ListThreadsRequest(page_size=-1), "page_size"),
        ("ListAssistants", assistants_pb2.ListAssistantsRequest(page_size=-1), "page_size"),
        (
            "ListAssistantVersions",
            assistants_pb2.ListAssistantVersionsRequest(assistant_id="echo", page_size=-1),
            "page_size",
        ),
        (
            "GetAssistantGraph",
            assistants_pb2.GetAssistantGraphRequest(assistant_id="echo", xray_depth=-1),
            "xray_depth",
        ),
        ("ListRuns", runs_pb2.ListRunsRequest(page_token="made up"), "page_token"),
        ("CancelRuns", runs_pb2.CancelRunsRequest(run_ids=too_many), "run_ids"),
        (
            "ListThreads",
            threads_pb2.ListThreadsRequest(thread_ids=too_many),
            "thread_ids",
        ),
        (
            "GetThreadState",
            threads_pb2.GetThreadStateRequest(
                thread_id=thread_id, checkpoint=core_pb2.CheckpointRef(thread_id=MISSING_ID)
            ),
            "checkpoint.thread_id",
        ),
        (
            "ListThreadStates",
            threads_pb2.ListThreadStatesRequest(
                thread_id=thread_id,
                before=core_pb2.CheckpointRef(thread_id=MISSING_ID, checkpoint_id=MISSING_ID),
            ),
            "before.thread_id",
        ),
        (
            "UpdateAssistant",
            assistants_pb2.UpdateAssistantRequest(assistant_id="echo", graph_id=""),
            "graph_id",
        ),
    ]
    for method, request, field in cases:
        assert_refused(await refusal(stubs, method, request), field)


def with_request_id(request: Any, length: int) -> Any:
    return request(
        spec=core_pb2.RunSpec(assistant_id="echo", input=of_json({})), request_id="x" * length
    )


async def test_the_client_hands_on_what_the_server_found_wrong(client: RunwireClient) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.runs.create("not an id", "", input={}, timeout=-1)

    assert [field for field, _ in caught.value.violations] == [
        "spec.thread_id",
        "spec.assistant_id",
        "spec.timeout",
    ]
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.metadata == {"field": "spec.thread_id"}


async def test_a_page_token_belongs_to_its_list(stubs: Stubs, there: dict[str, str]) -> None:
    first = runs_pb2.ListRunsRequest(thread_id=there["thread"], page_size=1)
    token = (await stubs.runs.ListRuns(first)).next_page_token

    assert token
    for request in (
        runs_pb2.ListRunsRequest(page_token=token),
        runs_pb2.ListRunsRequest(thread_id=there["thread"], page_token=token[:-4]),
        runs_pb2.ListRunsRequest(thread_id=there["thread"], page_token="AAAA" + token[4:]),
    ):
        assert_refused(await refusal(stubs, "ListRuns", request), "page_token")
