"""Assistants, through a real server."""

import uuid
from typing import Any

import pytest

from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RunwireClient,
)


async def test_an_assistant_is_made_with_what_it_is_given(client: RunwireClient) -> None:
    assistant_id = str(uuid.uuid4())
    made = await client.assistants.create(
        "counter",
        {"tags": ["a"], "recursion_limit": 7, "configurable": {"name": "Ada"}},
        context={"step": 2},
        metadata={"team": "blue", "big": 2**62},
        assistant_id=assistant_id,
        name="Counter of twos",
        description="Counts",
    )
    assert made["assistant_id"] == assistant_id
    assert made["graph_id"] == "counter"
    assert made["config"] == {
        "tags": ["a"],
        "recursion_limit": 7,
        "configurable": {"name": "Ada"},
    }
    assert made["context"] == {"step": 2}
    assert made["metadata"] == {"team": "blue", "big": 2**62}
    assert (made["name"], made["description"]) == ("Counter of twos", "Counts")
    assert made["version"] == 1
    assert str(made["created_at"]).endswith("+00:00")
    assert await client.assistants.get(assistant_id) == made


async def test_an_assistant_is_made_with_nothing_but_a_graph(client: RunwireClient) -> None:
    made = await client.assistants.create("echo")
    assert made["name"] == "echo"
    assert made["description"] is None
    assert (made["config"], made["context"], made["metadata"]) == ({}, {}, {})


async def test_the_graph_s_id_names_its_default_assistant(client: RunwireClient) -> None:
    default = await client.assistants.get("echo")
    assert default["graph_id"] == "echo"
    assert await client.assistants.get(default["assistant_id"]) == default
    with pytest.raises(ConflictError) as raised:
        await client.assistants.delete(default["assistant_id"])
    assert raised.value.reason == "DEFAULT_ASSISTANT"


async def test_an_id_that_is_taken(client: RunwireClient) -> None:
    assistant_id = str(uuid.uuid4())
    made = await client.assistants.create("echo", assistant_id=assistant_id, name="first")
    with pytest.raises(AlreadyExistsError) as raised:
        await client.assistants.create("echo", assistant_id=assistant_id)
    assert raised.value.reason == "ASSISTANT_EXISTS"
    assert raised.value.metadata == {"assistant_id": assistant_id}
    again = await client.assistants.create(
        "counter", assistant_id=assistant_id, if_exists="do_nothing"
    )
    assert again == made


async def test_the_same_request_makes_one_assistant(client: RunwireClient) -> None:
    first = await client.assistants.create("echo", request_id="one")
    assert await client.assistants.create("echo", request_id="one") == first
    with pytest.raises(AlreadyExistsError) as raised:
        await client.assistants.create("counter", request_id="one")
    assert raised.value.reason == "REQUEST_ID_REUSED"


async def test_a_change_makes_a_version_and_leaves_the_rest(client: RunwireClient) -> None:
    made = await client.assistants.create(
        "counter", {"tags": ["a"]}, metadata={"a": 1, "b": 1}, name="one", context={"step": 2}
    )
    assistant_id = made["assistant_id"]
    changed = await client.assistants.update(
        assistant_id, metadata={"b": None, "c": 2}, name="two", config={}, description="new"
    )
    assert changed["version"] == 2
    assert changed["metadata"] == {"a": 1, "c": 2}
    assert (changed["name"], changed["description"]) == ("two", "new")
    assert changed["config"] == {}
    assert changed["context"] == {"step": 2}
    assert changed["graph_id"] == "counter"
    assert await client.assistants.update(assistant_id) == changed


async def test_deleted_is_gone(client: RunwireClient) -> None:
    made = await client.assistants.create("echo")
    await client.assistants.delete(made["assistant_id"])
    for call in (client.assistants.get, client.assistants.delete, client.assistants.update):
        with pytest.raises(NotFoundError) as raised:
            await call(made["assistant_id"])
        assert raised.value.reason == "ASSISTANT_NOT_FOUND"


async def test_deleted_with_its_threads_and_what_runs(client: RunwireClient) -> None:
    made = await client.assistants.create("slow_async")
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, made["assistant_id"], input={"seconds": 60})
    with pytest.raises(ConflictError) as raised:
        await client.assistants.delete(made["assistant_id"], cancel_runs=False)
    assert raised.value.reason == "ASSISTANT_IN_USE"

    await client.assistants.delete(made["assistant_id"], delete_threads=True)

    for call in (
        client.assistants.get(made["assistant_id"]),
        client.threads.get(thread_id),
        client.runs.get(thread_id, run["run_id"]),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_deleted_with_what_runs_but_not_its_threads(client: RunwireClient) -> None:
    made = await client.assistants.create("slow_async")
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, made["assistant_id"], input={"seconds": 60})

    await client.assistants.delete(made["assistant_id"])

    assert (await client.runs.get(thread_id, run["run_id"]))["state"] == "cancelled"
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_what_is_wrong_is_named(client: RunwireClient) -> None:
    with pytest.raises(NotFoundError) as unknown:
        await client.assistants.create("nothing")
    assert unknown.value.reason == "GRAPH_NOT_FOUND"
    with pytest.raises(InvalidArgumentError) as wrong:
        await client.assistants.create("echo", {"recursion_limit": 0}, assistant_id="x")
    fields = [field for field, _ in wrong.value.violations]
    assert sorted(fields) == ["assistant_id", "config.recursion_limit"]


async def test_schemas(client: RunwireClient) -> None:
    schemas = await client.assistants.get_schemas("counter")
    assert schemas["graph_id"] == "counter"
    assert schemas["input_schema"]
    assert set(schemas["input_schema"]["properties"]) == {"count", "log"}
    assert schemas["context_schema"]
    assert set(schemas["context_schema"]["properties"]) == {"step", "name"}
    assert set(schemas) == {
        "graph_id",
        *(f"{name}_schema" for name in ("input", "output", "state", "config", "context")),
        "errors",
    }
    assert schemas["errors"] == {}


async def test_a_graph_is_told_as_langgraph_draws_it(client: RunwireClient) -> None:
    flat = await client.assistants.get_graph("nested")
    assert flat["nodes"][2] == {
        "id": "inner",
        "type": "runnable",
        "data": {"id": ["langgraph", "graph", "state", "CompiledStateGraph"], "name": "inner"},
    }
    assert flat["nodes"][3] == {"id": "__end__"}
    assert {"source": "before", "target": "inner"} in flat["edges"]
    assert "before --> inner;" in flat["mermaid"]
    for xray in (True, 1, 7):
        deep = await client.assistants.get_graph("nested", xray=xray)
        assert "inner:inner_node" in [node["id"] for node in deep["nodes"]]
    assert await client.assistants.get_graph("nested", xray=0) == flat
    functional = await client.assistants.get_graph("functional")
    assert {"source": "functional", "target": "__end__", "conditional": True} in functional["edges"]


async def test_subgraphs(client: RunwireClient) -> None:
    found = await client.assistants.get_subgraphs("nested")
    assert set(found) == {"inner"}
    state = found["inner"]["state_schema"]
    assert state
    assert set(state["properties"]) == {"seen"}
    assert await client.assistants.get_subgraphs("nested", "inner", True) == found
    assert await client.assistants.get_subgraphs("nested", namespace="outer") == {}
    assert await client.assistants.get_subgraphs("echo", recurse=True) == {}


async def test_search(client: RunwireClient) -> None:
    made = [
        await client.assistants.create("counter", name=f"Number {number}", metadata={"n": number})
        for number in range(5)
    ]
    names = [f"Number {number}" for number in range(5)]

    async def found(**filters: Any) -> list[str]:
        return [item["name"] for item in await client.assistants.search(name="number", **filters)]

    assert await found() == names[::-1]
    assert await found(sort_order="asc") == names
    assert await found(sort_by="name", sort_order="desc") == names[::-1]
    assert await found(limit=2, offset=1) == ["Number 3", "Number 2"]
    assert await found(limit=0) == []
    assert await found(offset=5) == []
    assert await found(metadata={"n": 3}) == ["Number 3"]
    assert await found(graph_id="echo") == []
    chosen: list[Any] = await client.assistants.search(
        metadata={"n": 4}, select=["assistant_id", "metadata"]
    )
    assert chosen == [{"assistant_id": made[4]["assistant_id"], "metadata": {"n": 4}}]


async def test_search_sorts_by_every_key(client: RunwireClient) -> None:
    for name, graph_id in (("b", "echo"), ("a", "tells"), ("c", "counter")):
        await client.assistants.create(graph_id, name=name, metadata={"test": "sort"})
    keys: list[Any] = ["assistant_id", "graph_id", "name", "created_at", "updated_at"]
    orders: list[Any] = ["asc", "desc"]
    for key in keys:
        for order in orders:
            found = await client.assistants.search(
                metadata={"test": "sort"}, sort_by=key, sort_order=order
            )
            values = [item[key] for item in found]
            assert values == sorted(values, reverse=order == "desc")
            assert len(values) == 3


async def test_assistants_are_counted(client: RunwireClient) -> None:
    for number in range(3):
        await client.assistants.create("counter", name=f"Number {number}", metadata={"n": number})
    assert await client.assistants.count(name="number") == 3
    assert await client.assistants.count(name="number", metadata={"n": 1}) == 1
    assert await client.assistants.count(name="number", graph_id="echo") == 0


async def test_versions_are_told_and_one_of_them_is_made_the_latest(
    client: RunwireClient,
) -> None:
    made = await client.assistants.create(
        "counter", {"tags": ["a"]}, context={"step": 2}, metadata={"n": 1}, name="one"
    )
    assistant_id = made["assistant_id"]
    await client.assistants.update(
        assistant_id, graph_id="echo", config={}, context={"step": 3}, metadata={"n": 2}
    )
    await client.assistants.update(assistant_id, description="three")

    versions = await client.assistants.get_versions(assistant_id)
    assert [version["version"] for version in versions] == [3, 2, 1]
    first = {name: value for name, value in made.items() if name != "updated_at"}
    assert versions[2] == first
    assert await client.assistants.get_versions(assistant_id, {"n": 1}) == versions[2:]
    assert await client.assistants.get_versions(assistant_id, None, 1, 1) == versions[1:2]

    restored = await client.assistants.set_latest(assistant_id, 1)
    assert restored == {**made, "updated_at": restored["updated_at"]}
    changed = await client.assistants.update(assistant_id, name="four")
    assert (changed["version"], changed["context"]) == (4, {"step": 2})
    with pytest.raises(NotFoundError) as raised:
        await client.assistants.set_latest(assistant_id, 9)
    assert raised.value.reason == "ASSISTANT_VERSION_NOT_FOUND"


async def test_search_goes_over_pages(client: RunwireClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("runwire.client.assistants._PAGE_LIMIT", 2)
    for number in range(5):
        await client.assistants.create("counter", name=f"Number {number}")
    first = await client.assistants.search(name="number", limit=4, response_format="object")
    assert [item["name"][-1] for item in first["assistants"]] == ["4", "3", "2", "1"]
    assert first["next"] == "4"
    rest = await client.assistants.search(
        name="number", limit=4, offset=int(first["next"]), response_format="object"
    )
    assert [item["name"][-1] for item in rest["assistants"]] == ["0"]
    assert rest["next"] is None


async def test_what_this_version_does_not_have_is_said(client: RunwireClient) -> None:
    with pytest.raises(ValueError, match="response_format"):
        await client.assistants.search(response_format="list")  # type: ignore[call-overload]
    with pytest.raises(NotImplementedError, match="params"):
        await client.assistants.get("echo", params={"a": "b"})
    with pytest.raises(ValueError, match="select: there is no field 'nam'"):
        await client.assistants.search(select=["nam"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="if_exists"):
        await client.assistants.create("echo", if_exists="ignore")  # type: ignore[arg-type]
