"""The service of assistants over a real socket."""

import json
from typing import Any

import pytest
from tests.server.rpc.conftest import Served
from tests.support.statuses import failure_of

from runwire.server.model.ids import default_assistant_id, new_id
from runwire.v1 import assistants_pb2 as wire
from runwire.v1 import core_pb2, runs_pb2

FULL: dict[str, Any] = {
    "graph_id": "counter",
    "name": "Ada Lovelace",
    "description": "counts by two",
    "config": {
        "tags": ["t"],
        "recursion_limit": 7,
        "configurable": {"json": '{"name":"ada"}'},
    },
    "context": {"json": '{"step":2}'},
    "metadata": {"json": '{"team":"é"}'},
}


async def create(served: Served, **request: Any) -> wire.Assistant:
    wanted = wire.CreateAssistantRequest(**{"graph_id": "echo", **request})
    return (await served.assistants.CreateAssistant(wanted)).assistant


async def update(served: Served, **request: Any) -> wire.Assistant:
    wanted = wire.UpdateAssistantRequest(**request)
    return (await served.assistants.UpdateAssistant(wanted)).assistant


async def get(served: Served, assistant_id: str) -> wire.Assistant:
    request = wire.GetAssistantRequest(assistant_id=assistant_id)
    return (await served.assistants.GetAssistant(request)).assistant


async def test_an_assistant_is_told_in_full(served: Served) -> None:
    assistant = await create(served, **FULL)
    assert assistant.version == 1
    for name in ("graph_id", "name", "description"):
        assert getattr(assistant, name) == FULL[name]
    assert assistant.config == core_pb2.RunConfig(**FULL["config"])
    assert assistant.context.json == '{"step":2}'
    assert assistant.metadata.json == '{"team":"é"}'
    assert await get(served, assistant.assistant_id) == assistant


async def test_an_assistant_has_the_name_of_its_graph_if_none_is_given(served: Served) -> None:
    assistant = await create(served)
    assert assistant.name == "echo"
    assert not assistant.HasField("context")
    assert assistant.metadata.json == "{}"


async def test_a_graph_has_a_default_assistant_by_its_name(served: Served) -> None:
    by_graph = await get(served, "echo")
    assert by_graph.assistant_id == default_assistant_id("echo")
    assert await get(served, by_graph.assistant_id.upper()) == by_graph
    assert by_graph.description == "Answers with what it was told."


async def test_a_run_uses_what_its_assistant_says(served: Served) -> None:
    assistant = await create(served, **FULL)
    spec = {"assistant_id": assistant.assistant_id, "input": {"json": "{}"}}
    answer = await served.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))
    assert answer.output.json == '{"count":2,"log":["ada"]}'
    assert answer.run.assistant_id == assistant.assistant_id


async def test_an_id_can_be_given_once(served: Served) -> None:
    assistant_id = new_id()
    first = await create(served, assistant_id=assistant_id)
    request = wire.CreateAssistantRequest(assistant_id=assistant_id, graph_id="echo")
    failure = await failure_of(served.assistants.CreateAssistant(request))
    assert (failure.code, failure.reason) == ("ALREADY_EXISTS", "ASSISTANT_EXISTS")
    again = await create(served, assistant_id=assistant_id, name="x", if_exists=2)
    assert again == first


async def test_a_repeated_create_gives_the_same_assistant(served: Served) -> None:
    first, again = [await create(served, request_id="r", **FULL) for _ in range(2)]
    assert first == again


@pytest.mark.parametrize(("field", "most"), [("name", 512), ("description", 16_384)])
async def test_what_people_read_has_a_limit(served: Served, field: str, most: int) -> None:
    made = await create(served, **{field: "é" * most})
    assert getattr(made, field) == "é" * most
    longer: dict[str, Any] = {field: "é" * (most + 1)}
    new = wire.CreateAssistantRequest(graph_id="echo", **longer)
    change = wire.UpdateAssistantRequest(assistant_id=made.assistant_id, **longer)
    for call in (
        served.assistants.CreateAssistant(new),
        served.assistants.UpdateAssistant(change),
    ):
        failure = await failure_of(call)
        assert (failure.code, [*failure.fields]) == ("INVALID_ARGUMENT", [field])


async def test_a_change_makes_a_version_and_leaves_the_rest(served: Served) -> None:
    old = await create(served, **FULL)
    new = await update(served, assistant_id=old.assistant_id, name="Bob", description="")
    assert (new.name, new.description, new.version) == ("Bob", "", 2)
    assert new.config == old.config
    assert new.context == old.context
    new = await update(
        served,
        assistant_id=old.assistant_id,
        graph_id="echo",
        config={"tags": ["u"]},
        context={"json": "{}"},
        metadata={"json": '{"team": null, "more": 1}'},
    )
    assert new.version == 3
    assert new.graph_id == "echo"
    assert new.config == core_pb2.RunConfig(tags=["u"])
    assert new.context.json == "{}"
    assert new.metadata.json == '{"more":1}'
    assert await update(served, assistant_id=old.assistant_id, name="Bob") == new


async def test_a_name_that_is_taken_away_is_the_graphs(served: Served) -> None:
    old = await create(served, **FULL)
    new = await update(served, assistant_id=old.assistant_id, name="")
    assert new.name == old.graph_id
    moved = await update(served, assistant_id=old.assistant_id, name="", graph_id="echo")
    assert moved.name == "echo"


async def test_a_default_assistant_is_changed_by_its_graphs_name_but_not_moved(
    served: Served,
) -> None:
    changed = await update(served, assistant_id="echo", name="Echo")
    assert (changed.name, changed.version) == ("Echo", 2)
    moved = wire.UpdateAssistantRequest(assistant_id="echo", graph_id="counter")
    failure = await failure_of(served.assistants.UpdateAssistant(moved))
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "DEFAULT_ASSISTANT")
    delete = wire.DeleteAssistantRequest(assistant_id=changed.assistant_id)
    failure = await failure_of(served.assistants.DeleteAssistant(delete))
    assert failure.reason == "DEFAULT_ASSISTANT"
    assert failure.variables == {"assistant_id": changed.assistant_id, "graph_id": "echo"}


async def test_assistants_are_listed_in_order_and_pages(served: Served) -> None:
    made = [(await create(served, graph_id="tells", name=name)).name for name in ("b", "C", "a")]
    orders = {
        "ASSISTANT_ORDER_UNSPECIFIED": [*made[::-1], "tells"],
        "ASSISTANT_ORDER_CREATE_TIME_ASC": ["tells", *made],
        "ASSISTANT_ORDER_UPDATE_TIME_DESC": [*made[::-1], "tells"],
    }
    for order, wanted in orders.items():
        request, found = wire.ListAssistantsRequest(graph_id="tells", order=order), []
        request.page_size = 3
        for _ in range(2):
            page = await served.assistants.ListAssistants(request)
            found += [assistant.name for assistant in page.assistants]
            request.page_token = page.next_page_token
        assert found == wanted, order
        assert not page.next_page_token
    for key in ("name", "assistant_id", "update_time"):
        for direction in ("ASC", "DESC"):
            order = f"ASSISTANT_ORDER_{key.upper()}_{direction}"
            request = wire.ListAssistantsRequest(graph_id="tells", order=order)
            page = await served.assistants.ListAssistants(request)
            assert {assistant.name for assistant in page.assistants} == {*made, "tells"}
            keys = [getattr(assistant, key) for assistant in page.assistants]
            if key == "update_time":
                keys = [time.ToNanoseconds() for time in keys]
            assert keys == sorted(keys, reverse=direction == "DESC")
    for order, first in (("ASC", "asks"), ("DESC", "uncompiled")):
        request = wire.ListAssistantsRequest(order=f"ASSISTANT_ORDER_GRAPH_ID_{order}", page_size=1)
        page = await served.assistants.ListAssistants(request)
        assert page.assistants[0].graph_id == first


async def test_a_list_is_counted_over_all_of_its_pages(served: Served) -> None:
    for _ in range(3):
        await create(served, graph_id="tells")
    request = wire.ListAssistantsRequest(graph_id="tells", page_size=3, count_total=True)
    first = await served.assistants.ListAssistants(request)
    assert (len(first.assistants), first.total_size) == (3, 4)
    request.page_token, request.count_total = first.next_page_token, False
    second = await served.assistants.ListAssistants(request)
    assert len(second.assistants) == 1
    assert not second.HasField("total_size")
    nothing = wire.ListAssistantsRequest(graph_id="nothing", count_total=True)
    page = await served.assistants.ListAssistants(nothing)
    assert page.HasField("total_size")
    assert page.total_size == 0


async def test_a_list_holds_the_fields_that_are_asked_for(served: Served) -> None:
    assistant = await create(served, **FULL)
    request = wire.ListAssistantsRequest(name="Ada Lovelace")
    request.read_mask.FromJsonString("assistantId,config.tags,metadata")
    page = await served.assistants.ListAssistants(request)
    assert list(page.assistants) == [
        wire.Assistant(
            assistant_id=assistant.assistant_id,
            config={"tags": ["t"]},
            metadata=assistant.metadata,
        )
    ]
    request.read_mask.paths[:] = ["*"]
    assert list((await served.assistants.ListAssistants(request)).assistants) == [assistant]
    request.read_mask.paths[:] = ["name", "colour", "config.colour", ""]
    failure = await failure_of(served.assistants.ListAssistants(request))
    assert set(failure.fields) == {f"read_mask.paths[{index}]" for index in (1, 2, 3)}


async def test_versions_are_told_in_full_and_one_of_them_is_made_the_latest(
    served: Served,
) -> None:
    made = await create(served, **FULL)
    changed = await update(
        served, assistant_id=made.assistant_id, graph_id="echo", context={"json": "{}"}
    )
    request = wire.ListAssistantVersionsRequest(assistant_id=made.assistant_id, page_size=1)
    newest = await served.assistants.ListAssistantVersions(request)
    request.page_token = newest.next_page_token
    oldest = await served.assistants.ListAssistantVersions(request)
    assert not oldest.next_page_token
    assert [(item.version, item.graph_id) for item in newest.versions] == [(2, "echo")]
    first = oldest.versions[0]
    for field in first.DESCRIPTOR.fields_by_name:
        assert getattr(first, field) == getattr(made, field), field
    assert newest.versions[0].create_time == changed.update_time

    wanted = wire.SetLatestAssistantVersionRequest(assistant_id=made.assistant_id, version=1)
    restored = (await served.assistants.SetLatestAssistantVersion(wanted)).assistant
    assert await get(served, made.assistant_id) == restored
    restored.update_time.CopyFrom(made.update_time)
    assert restored == made


async def test_a_version_that_is_not_there_is_named(served: Served) -> None:
    assistant_id = (await create(served)).assistant_id
    for version in (0, -1):
        request = wire.SetLatestAssistantVersionRequest(assistant_id="", version=version)
        failure = await failure_of(served.assistants.SetLatestAssistantVersion(request))
        assert set(failure.fields) == {"assistant_id", "version"}
    request = wire.SetLatestAssistantVersionRequest(assistant_id=assistant_id, version=2)
    failure = await failure_of(served.assistants.SetLatestAssistantVersion(request))
    assert (failure.code, failure.reason) == ("NOT_FOUND", "ASSISTANT_VERSION_NOT_FOUND")
    assert failure.variables == {"assistant_id": assistant_id, "version": "2"}


async def test_a_list_is_filtered(served: Served) -> None:
    assistant = await create(served, **FULL)
    for filters in (
        {"name": "A LoVe"},
        {"name": "Ada Lovelace", "graph_id": "counter"},
        {"metadata": {"json": '{"team": "é"}'}},
    ):
        page = await served.assistants.ListAssistants(wire.ListAssistantsRequest(**filters))
        assert list(page.assistants) == [assistant]


async def test_a_deleted_assistant_is_gone(served: Served) -> None:
    assistant_id = (await create(served)).assistant_id
    request = wire.DeleteAssistantRequest(assistant_id=assistant_id)
    await served.assistants.DeleteAssistant(request)
    for call in (
        served.assistants.DeleteAssistant(request),
        get(served, assistant_id),
        update(served, assistant_id=assistant_id, name="x"),
        served.assistants.GetAssistantSchemas(
            wire.GetAssistantSchemasRequest(assistant_id=assistant_id)
        ),
    ):
        failure = await failure_of(call)
        assert failure.reason == "ASSISTANT_NOT_FOUND"
        assert failure.variables == {"assistant_id": assistant_id}


async def test_an_assistant_in_use_is_kept(served: Served) -> None:
    assistant_id = (await create(served, graph_id="slow_async")).assistant_id
    spec = {"assistant_id": assistant_id, "input": {"json": '{"seconds": 30}'}}
    await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec))
    request = wire.DeleteAssistantRequest(assistant_id=assistant_id)
    failure = await failure_of(served.assistants.DeleteAssistant(request))
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "ASSISTANT_IN_USE")


async def test_schemas_are_told(served: Served) -> None:
    request = wire.GetAssistantSchemasRequest(assistant_id="counter")
    answer = await served.assistants.GetAssistantSchemas(request)
    assert answer.graph_id == "counter"
    schemas = answer.schemas
    assert set(json.loads(schemas.input_schema.json)["properties"]) == {"count", "log"}
    assert set(json.loads(schemas.context_schema.json)["properties"]) == {"step", "name"}
    for field in ("output_schema", "state_schema"):
        assert json.loads(getattr(schemas, field).json)
    assert not schemas.errors


async def drawn(served: Served, **request: Any) -> wire.GetAssistantGraphResponse:
    wanted = wire.GetAssistantGraphRequest(assistant_id="nested", **request)
    return await served.assistants.GetAssistantGraph(wanted)


async def test_a_graph_is_told_as_nodes_edges_and_text(served: Served) -> None:
    graph = await drawn(served)
    assert graph.graph_id == "nested"
    assert [node.node_id for node in graph.nodes] == ["__start__", "before", "inner", "__end__"]
    before, end = graph.nodes[1], graph.nodes[3]
    assert (before.name, before.type) == ("before", "runnable")
    assert json.loads(before.data.json)["name"] == "before"
    assert not end.type
    assert not end.HasField("data")
    assert wire.GraphEdge(source="before", target="inner") in graph.edges
    assert "before --> inner;" in graph.mermaid


async def test_a_graph_is_looked_into_as_deep_as_is_asked_for(served: Served) -> None:
    for request, shown in (
        ({}, "inner"),
        ({"xray_depth": 0}, "inner"),
        ({"xray_all": False}, "inner"),
        ({"xray_depth": 1}, "inner:inner_node"),
        ({"xray_all": True}, "inner:inner_node"),
    ):
        graph = await drawn(served, **request)
        assert shown in [node.node_id for node in graph.nodes], request
        assert len(graph.nodes) == 4
    failure = await failure_of(drawn(served, xray_depth=-1))
    assert set(failure.fields) == {"xray_depth"}


async def test_subgraphs_are_told_with_their_schemas(served: Served) -> None:
    request = wire.ListAssistantSubgraphsRequest(assistant_id="nested", recurse=True)
    found = (await served.assistants.ListAssistantSubgraphs(request)).subgraphs
    assert [item.namespace for item in found] == ["inner"]
    assert set(json.loads(found[0].schemas.state_schema.json)["properties"]) == {"seen"}
    request.namespace = "outer"
    assert not (await served.assistants.ListAssistantSubgraphs(request)).subgraphs


@pytest.mark.parametrize("graph_id", ["nope", "../../x", "os:system"])
async def test_a_graph_that_is_not_there_is_named(served: Served, graph_id: str) -> None:
    request = wire.CreateAssistantRequest(graph_id=graph_id)
    failure = await failure_of(served.assistants.CreateAssistant(request))
    assert (failure.code, failure.reason) == ("NOT_FOUND", "GRAPH_NOT_FOUND")
    assert failure.variables == {"graph_id": graph_id}


async def test_what_is_wrong_is_named(served: Served) -> None:
    request = wire.CreateAssistantRequest(
        assistant_id="x",
        config={"configurable": {"json": '{"thread_id": 1}'}, "recursion_limit": 0},
        context={"json": "1"},
        metadata={"json": "[]"},
        if_exists=9,
    )
    failure = await failure_of(served.assistants.CreateAssistant(request))
    assert set(failure.fields) == {
        "assistant_id",
        "graph_id",
        "config.configurable.thread_id",
        "config.recursion_limit",
        "context",
        "metadata",
        "if_exists",
    }
    changes = wire.UpdateAssistantRequest(graph_id="", context={"json": "null"})
    failure = await failure_of(served.assistants.UpdateAssistant(changes))
    assert set(failure.fields) == {"assistant_id", "graph_id", "context"}
