"""Every method of both faces, called on a real server: results are what langgraph_sdk says."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import schema
from tests.support.callers import MISSING_ID
from tests.support.migration import differences_on_the_page
from tests.support.sdk_arguments import all_methods
from tests.support.sdk_face import Face, face_on
from tests.support.sdk_surface import FACES
from tests.support.serving import serve_in_process
from tests.support.typed import misfits, seen
from typing_extensions import is_typeddict

from runwire.client import NotFoundError

# langgraph_sdk's second form of parts has no kind for those of "events".
MODES = ["values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints"]

NO_RESULTS = {
    *("Command", "CronUpdate", "LangSmithTracing", "RunCreate", "Send"),
    "AssistantBase",  # what others are made of
}

TOLD_OF: list[Any] = [
    ("recorded", {"say": "hi"}),
    ("nested", {"seen": []}),
    ("custom_events", {"count": 1}),
]
"""What has parts of all kinds, together."""

BEGINNING = [{"updates": [{"values": {"question": "why?"}, "as_node": "__start__"}]}]


async def use_assistants(face: Face) -> None:
    made = await face("assistants.create", "echo", metadata={"a": 1}, name="Echo")
    assistant_id = made["assistant_id"]
    await face("assistants.update", assistant_id, config={"tags": ["b"]}, context={"c": 1})
    await face("assistants.get", assistant_id)
    await face("assistants.search", metadata={"a": 1})
    await face("assistants.search", response_format="object")
    await face("assistants.get_graph", "nested", xray=True)
    await face("assistants.get_schemas", "counter")
    assert await face("assistants.get_subgraphs", "nested", recurse=True)
    assert len(await face("assistants.get_versions", assistant_id)) == 2
    await face("assistants.set_latest", assistant_id, 1)
    await face("assistants.delete", assistant_id)
    assert await face("assistants.count", metadata={"a": 1}) == 0


async def use_threads(face: Face) -> None:
    made = await face("threads.create", graph_id="asks_in_subgraph", supersteps=BEGINNING, ttl=60)
    thread_id = made["thread_id"]
    await face("threads.update", thread_id, metadata={"team": "blue"})
    assert await face("threads.update", thread_id, metadata={}, return_minimal=True) is None
    await face("threads.get", thread_id, include=["ttl"])
    await face("runs.wait", thread_id, "asks_in_subgraph", input=None)
    state = await face("threads.get_state", thread_id, subgraphs=True)
    assert state["tasks"]
    await face("threads.update_state", thread_id, {"answers": ["by hand"]}, as_node="inner")
    assert await face("threads.get_history", thread_id)
    (found,) = await face(
        "threads.search", metadata={"team": "blue"}, extract={"q": "values.question"}
    )
    assert found["extracted"] == {"q": "why?"}
    assert await face("threads.count", metadata={"team": "blue"}) == 1
    assert await face("threads.join_stream", thread_id, last_event_id="-", take=1)
    assert (await face("threads.get_storage", thread_id))["checkpoints"]["count"] > 0
    copy = await face("threads.copy", thread_id)
    assert (await face("threads.prune", [copy["thread_id"]]))["pruned_count"] == 1
    await face("threads.delete", thread_id)


async def use_runs(face: Face) -> None:
    thread_id = (await face("threads.create"))["thread_id"]
    told: list[Any] = []
    made = await face(
        "runs.create", thread_id, "counter", input={"count": 1}, on_run_created=told.append
    )
    assert [*misfits(told[0], schema.RunCreateMetadata, "told")] == []
    run_id = made["run_id"]
    assert await face("runs.join", thread_id, run_id)
    await face("runs.get", thread_id, run_id)
    await face("runs.list", thread_id)
    assert await face("runs.join_stream", thread_id, run_id)
    for version in ("v1", "v2"):
        for graph_id, given in TOLD_OF:
            for modes in (MODES, "debug"):
                options = {"stream_mode": modes, "stream_subgraphs": True, "version": version}
                on = (await face("threads.create"))["thread_id"]
                assert await face("runs.stream", on, graph_id, input=given, **options)
    failed = await face("runs.wait", None, "fails", input={"message": "no"}, raise_error=False)
    assert failed["__error__"]["message"] == "no"
    batch = [{"thread_id": None, "assistant_id": "echo", "input": {}}]
    (stateless,) = await face("runs.create_batch", batch)
    await face("runs.join", None, stateless["run_id"])
    slow = [
        (await face("runs.create", None, "slow_async", input={"seconds": 60}))["run_id"]
        for _ in range(2)
    ]
    assert await face("runs.watch", include_unfinished=True, take=1)
    await face("runs.cancel", None, slow[0], wait=True)
    (outcome,) = await face("runs.cancel_many", run_ids=slow[1:], wait=True)
    assert outcome["run"]["cancel_reason"] == "client"
    cancelled = await face("runs.get", None, slow[0])
    assert (cancelled["status"], cancelled["state"]) == ("interrupted", "cancelled")
    await face("runs.delete", thread_id, run_id)


async def use_crons(face: Face) -> None:
    thread_id = (await face("threads.create"))["thread_id"]
    daily = {"schedule": "0 0 1 1 *", "input": {"text": "hi"}, "timezone": "Europe/Berlin"}
    made = await face("crons.create", "echo", **daily, metadata={"a": 1})
    on_thread = await face("crons.create_for_thread", thread_id, "echo", **daily)
    await face("crons.get", made["cron_id"])
    await face("crons.update", made["cron_id"], enabled=False)
    assert len(await face("crons.search")) == 2
    assert await face("crons.count", metadata={"a": 1}) == 1
    for cron in (made, on_thread):
        await face("crons.delete", cron["cron_id"])


async def use_store(face: Face) -> None:
    await face("store.put_item", ["n"], "k", {"a": 1}, ttl=5)
    await face("store.get_item", ["n"], "k")
    assert (await face("store.search_items", ["n"]))["items"]
    assert (await face("store.list_namespaces"))["namespaces"] == [["n"]]
    await face("store.delete_item", ["n"], "k")
    assert await face("store.get_item", ["n"], "k") is None


async def use_webhooks(face: Face) -> None:
    assert await face("webhooks.list") == []
    assert await face("webhooks.replay_all") == 0
    for method in ("webhooks.get", "webhooks.replay"):
        with pytest.raises(NotFoundError):
            await face(method, MISSING_ID)


async def use_servers(face: Face) -> None:
    assert await face("servers.get_info")
    assert await face("servers.get_queue_stats")


JOURNEYS: list[Any] = [
    use_assistants,
    use_threads,
    use_runs,
    use_crons,
    use_store,
    use_webhooks,
    use_servers,
]


def result_shapes() -> set[str]:
    """The typed dicts of langgraph_sdk that are results."""
    shapes = {name for name, kind in vars(schema).items() if is_typeddict(kind)}
    return shapes - NO_RESULTS


@pytest.mark.parametrize("name", FACES)
async def test_every_method_gives_what_langgraph_sdk_says_but_for_what_the_page_lists(
    name: str, tmp_path: Path
) -> None:
    async with serve_in_process(tmp_path) as app, face_on(name, app.address) as face:
        for journey in JOURNEYS:
            await journey(face)
    assert face.called == {f"{noun}.{method}" for noun, method, _ in all_methods(name)}
    results = {found for found in differences_on_the_page() if found.kind == "result"}
    assert face.found - results == set()
    assert result_shapes() - seen == set()
    of_typed_dicts = {found for found in results if found.where[0].isupper()}
    assert of_typed_dicts <= face.found


IN_SCHEMA = (schema.Interrupt, ["Interrupt.response_schema"])
IN_NAMESPACES = (schema.ListNamespaceResponse, ["ListNamespaceResponse.namespaces"])


@pytest.mark.parametrize(
    ("value", "hint", "found"),
    [
        ({"value": 1}, schema.Interrupt, ["Interrupt.id"]),
        ({"value": 1, "id": 1}, schema.Interrupt, ["Interrupt.id"]),
        ({"value": 1, "id": "i", "response_schema": []}, *IN_SCHEMA),
        ({"namespaces": [["a"], [1]]}, *IN_NAMESPACES),
        (True, int, ["where"]),
        ("yesterday", schema.RunStatus, ["where"]),
        ("2026-01-01T00:00:00+00:00", datetime | None, []),
        ("2026-01-01T00:00:00", datetime, ["where"]),
        ([{}], list[dict[str, Any]] | None, []),
    ],
)
def test_what_does_not_fit_is_found(value: Any, hint: Any, found: list[str]) -> None:
    assert [*misfits(value, hint, "where")] == found
