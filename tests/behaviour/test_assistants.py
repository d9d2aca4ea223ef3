"""Which assistant a run uses, and what it may set for itself alone."""

from typing import Any

import pytest
from tests.support.callers import MISSING_ID, Client, Stubs, collect, data_in

from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
)
from runwire.v1 import assistants_pb2


async def told(client: Client, assistant_id: str, **options: Any) -> dict[str, Any]:
    """Return what a node saw of the run that it belonged to."""
    output = await client.runs.wait(None, assistant_id, input={}, **options)
    return dict(output["told"])


# ------------------------------------------------------------------- by id, by graph id


async def test_a_graph_s_id_stands_for_its_default_assistant(client: Client) -> None:
    default = await client.assistants.get("echo")
    by_graph = await client.runs.create(None, "echo", input={"text": "a"})
    by_id = await client.runs.create(None, default["assistant_id"], input={"text": "b"})

    assert default["graph_id"] == default["name"] == "echo"
    assert default["description"] == "Answers with what it was told."
    assert by_graph["assistant_id"] == by_id["assistant_id"] == default["assistant_id"]
    assert await client.runs.join(None, by_graph["run_id"]) == {"text": "a", "answer": "a"}
    assert await client.runs.join(None, by_id["run_id"]) == {"text": "b", "answer": "b"}


async def test_an_assistant_s_id_is_taken_in_any_case_of_letters(client: Client) -> None:
    assistant = await client.assistants.create("counter", context={"name": "upper"})

    output = await client.runs.wait(None, assistant["assistant_id"].upper(), input={})

    assert output["log"] == ["upper"]


async def test_two_assistants_of_one_graph_differ_in_their_context(client: Client) -> None:
    ada = await client.assistants.create("counter", context={"name": "Ada", "step": 10})
    bob = await client.assistants.create("counter", context={"name": "Bob"}, name="Bob's")

    assert (ada["name"], bob["name"]) == ("counter", "Bob's")
    assert await client.runs.wait(None, ada["assistant_id"], input={}) == {
        "count": 10,
        "log": ["Ada"],
    }
    assert await client.runs.wait(None, bob["assistant_id"], input={}) == {
        "count": 1,
        "log": ["Bob"],
    }


async def test_an_assistant_that_is_neither_an_id_nor_a_graph_s_is_not_found(
    client: Client,
) -> None:
    for unknown in ("ecko", MISSING_ID, "not a uuid", "ECHO"):
        with pytest.raises(NotFoundError) as caught:
            await client.runs.create(None, unknown, input={})
        assert caught.value.reason == "ASSISTANT_NOT_FOUND"
        assert caught.value.metadata == {"assistant_id": unknown}
        with pytest.raises(NotFoundError) as caught:
            await client.assistants.get(unknown)
        assert caught.value.reason == "ASSISTANT_NOT_FOUND"


async def test_an_assistant_that_was_deleted_cannot_run(client: Client) -> None:
    assistant = await client.assistants.create("echo")
    ended = await client.runs.create(None, assistant["assistant_id"], input={})
    await client.runs.join(None, ended["run_id"])

    await client.assistants.delete(assistant["assistant_id"])

    with pytest.raises(NotFoundError) as caught:
        await client.runs.create(None, assistant["assistant_id"], input={})
    assert caught.value.reason == "ASSISTANT_NOT_FOUND"
    assert (await client.runs.get(None, ended["run_id"]))["state"] == "succeeded"


async def test_an_id_that_is_taken_is_refused_unless_the_caller_wants_what_there_is(
    client: Client,
) -> None:
    made = await client.assistants.create("echo", name="first")
    assistant_id = made["assistant_id"]

    with pytest.raises(AlreadyExistsError) as caught:
        await client.assistants.create("echo", assistant_id=assistant_id, name="second")
    assert caught.value.reason == "ASSISTANT_EXISTS"
    kept = await client.assistants.create(
        "echo", assistant_id=assistant_id, name="second", if_exists="do_nothing"
    )
    assert kept == made


async def test_a_default_assistant_can_be_changed_by_its_graph_s_id_but_not_moved_or_deleted(
    client: Client,
) -> None:
    default = await client.assistants.get("remembers")

    changed = await client.assistants.update("remembers", metadata={"owner": "tests"})

    assert changed["assistant_id"] == default["assistant_id"]
    assert changed["version"] == default["version"] + 1
    assert (await client.assistants.get("remembers"))["metadata"]["owner"] == "tests"
    for refused in (
        client.assistants.update("remembers", graph_id="echo"),
        client.assistants.delete(default["assistant_id"]),
    ):
        with pytest.raises(ConflictError) as caught:
            await refused
        assert caught.value.reason == "DEFAULT_ASSISTANT"


async def test_an_assistant_with_a_run_in_flight_is_not_deleted(client: Client) -> None:
    assistant = await client.assistants.create("slow_async")
    run = await client.runs.create(None, assistant["assistant_id"], input={"seconds": 60})

    with pytest.raises(ConflictError) as caught:
        await client.assistants.delete(assistant["assistant_id"], cancel_runs=False)
    assert caught.value.reason == "ASSISTANT_IN_USE"

    await client.runs.cancel(None, run["run_id"], wait=True)
    await client.assistants.delete(assistant["assistant_id"])


async def test_assistants_are_found_by_graph_name_and_metadata(client: Client) -> None:
    for name, graph_id in (("Alpha", "echo"), ("alphabet", "counter"), ("Beta", "echo")):
        await client.assistants.create(graph_id, name=name, metadata={"test": "search"})

    async def found(**wanted: Any) -> list[str]:
        some = await client.assistants.search(metadata={"test": "search"}, **wanted)
        return [assistant["name"] for assistant in some]

    assert await found() == ["Beta", "alphabet", "Alpha"]
    assert await found(graph_id="echo", sort_by="created_at", sort_order="asc") == ["Alpha", "Beta"]
    assert await found(name="ALPHA") == ["alphabet", "Alpha"]
    assert await found(limit=1, offset=1) == ["alphabet"]
    assert await found(name="gamma") == []


async def test_an_assistant_s_schemas_say_what_its_graph_takes_and_gives(
    client: Client, stubs: Stubs
) -> None:
    schemas = await client.assistants.get_schemas("counter")
    functional = await stubs.assistants.GetAssistantSchemas(
        assistants_pb2.GetAssistantSchemasRequest(assistant_id="functional")
    )

    assert schemas["graph_id"] == "counter"
    assert schemas["input_schema"]["properties"].keys() == {"count", "log"}
    assert schemas["context_schema"]["properties"].keys() == {"step", "name"}
    assert functional.schemas.HasField("input_schema")


# ------------------------------------------------------------------- versions


async def test_a_run_can_pin_an_older_version(client: Client) -> None:
    assistant = await client.assistants.create("counter", context={"name": "one"})
    assistant_id = assistant["assistant_id"]
    second = await client.assistants.update(assistant_id, context={"name": "two"})
    third = await client.assistants.update(assistant_id, graph_id="echo")

    assert (assistant["version"], second["version"], third["version"]) == (1, 2, 3)
    for version, log in ((1, ["one"]), (2, ["two"])):
        run = await client.runs.create(None, assistant_id, input={}, assistant_version=version)
        assert (run["assistant_version"], run["graph_id"]) == (version, "counter")
        assert (await client.runs.join(None, run["run_id"]))["log"] == log
    newest = await client.runs.create(None, assistant_id, input={"text": "three"})
    assert (newest["assistant_version"], newest["graph_id"]) == (3, "echo")
    assert (await client.runs.join(None, newest["run_id"]))["answer"] == "three"


async def test_a_version_that_never_was_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.runs.create(None, "fails", input={}, assistant_version=7)

    assert caught.value.reason == "ASSISTANT_VERSION_NOT_FOUND"
    assert caught.value.metadata["version"] == "7"


async def test_a_run_that_waits_keeps_the_version_it_was_created_with(
    client: Client, thread_id: str
) -> None:
    assistant = await client.assistants.create("counter", context={"name": "old"})
    blocking = await client.runs.create(thread_id, "slow_async", input={"seconds": 60})
    waiting = await client.runs.create(thread_id, assistant["assistant_id"], input={})
    assert waiting["state"] == "pending"
    await client.assistants.update(assistant["assistant_id"], context={"name": "new"})

    await client.runs.cancel(thread_id, blocking["run_id"])

    assert (await client.runs.join(thread_id, waiting["run_id"]))["log"] == ["old"]


async def test_a_change_that_changes_nothing_makes_no_version(client: Client) -> None:
    made = await client.assistants.create("echo", name="same", metadata={"a": 1, "b": 2})

    same = await client.assistants.update(made["assistant_id"], name="same", metadata={"a": 1})
    merged = await client.assistants.update(made["assistant_id"], metadata={"a": None, "c": 3})

    assert same["version"] == 1
    assert (merged["version"], merged["metadata"]) == (2, {"b": 2, "c": 3})


# ------------------------------------------------------------------- per run


async def test_a_run_s_config_is_merged_over_the_assistant_s_for_that_run_alone(
    client: Client,
) -> None:
    assistant = await client.assistants.create(
        "tells",
        config={"tags": ["a"], "recursion_limit": 50, "configurable": {"colour": "red", "size": 1}},
    )
    assistant_id = assistant["assistant_id"]
    own = {"tags": ["b", "a"], "recursion_limit": 60, "configurable": {"size": 2}}

    with_own = await told(client, assistant_id, config=own)
    without = await told(client, assistant_id)

    assert with_own["configurable"]["colour"] == without["configurable"]["colour"] == "red"
    assert (with_own["configurable"]["size"], without["configurable"]["size"]) == (2, 1)
    assert (with_own["recursion_limit"], without["recursion_limit"]) == (60, 50)
    assert set(with_own["tags"]) >= {"a", "b"}
    assert "b" not in without["tags"]


async def test_a_run_s_context_is_merged_over_the_assistant_s_for_that_run_alone(
    client: Client,
) -> None:
    assistant = await client.assistants.create("counter", context={"name": "Ada", "step": 5})
    assistant_id = assistant["assistant_id"]

    own = await client.runs.wait(None, assistant_id, input={}, context={"step": 7})
    plain = await client.runs.wait(None, assistant_id, input={})

    assert own == {"count": 7, "log": ["Ada"]}
    assert plain == {"count": 5, "log": ["Ada"]}


async def test_a_run_s_metadata_reach_its_nodes_and_its_checkpoints(
    client: Client, thread_id: str
) -> None:
    output = await client.runs.wait(thread_id, "tells", input={}, metadata={"order": 4711})
    state = await client.threads.get_state(thread_id)

    assert output["told"]["metadata"]["order"] == 4711
    assert state["metadata"]["order"] == 4711


async def test_a_run_s_metadata_are_what_it_was_given_and_nothing_else(
    client: Client,
) -> None:
    assistant = await client.assistants.create("echo", metadata={"team": "blue"})

    run = await client.runs.create(
        None, assistant["assistant_id"], input={}, metadata={"order": 4711}
    )

    assert run["metadata"] == {"order": 4711}


async def test_a_node_sees_the_run_it_belongs_to(client: Client, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "tells", input={}, config={"tags": ["mine"]})
    seen = (await client.runs.join(thread_id, run["run_id"]))["told"]

    assert seen["run_id"] == seen["configurable"]["run_id"] == run["run_id"]
    assert seen["thread_id"] == seen["configurable"]["thread_id"] == thread_id
    assert seen["assistant_id"] == seen["configurable"]["assistant_id"] == run["assistant_id"]
    assert seen["graph_id"] == seen["configurable"]["graph_id"] == "tells"
    assert seen["colour"] == "green"
    assert seen["recursion_limit"] == 10_007
    assert seen["has_store"]


async def test_what_the_server_fills_in_cannot_be_set_by_a_caller(client: Client) -> None:
    reserved = [
        "thread_id", "run_id", "assistant_id", "graph_id", "checkpoint_id", "checkpoint_ns",
        "checkpoint_map", "langgraph_auth_user", "__pregel_checkpointer",
    ]  # fmt: skip
    for key in reserved:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.runs.create(None, "tells", input={}, config={"configurable": {key: "x"}})
        assert caught.value.violations[0][0] == f"spec.config.configurable.{key}"


async def test_a_recursion_limit_ends_a_run_that_takes_more_steps(client: Client) -> None:
    output = await client.runs.wait(
        None, "steps", input={"steps": 9}, config={"recursion_limit": 3}, raise_error=False
    )

    assert output["__error__"]["error"] == "GraphRecursionError"


# ------------------------------------------------------------------- time travel


async def test_a_run_from_an_older_checkpoint_forks_the_thread_there(
    client: Client, thread_id: str
) -> None:
    for name in ("one", "two", "three"):
        await client.runs.wait(thread_id, "counter", input={}, context={"name": name})
    history = await client.threads.get_history(thread_id, limit=100)
    after_one = next(state for state in history if state["values"] == {"count": 1, "log": ["one"]})

    output = await client.runs.wait(
        thread_id,
        "counter",
        input={},
        context={"name": "fork"},
        checkpoint_id=after_one["checkpoint"]["checkpoint_id"],
    )

    assert output == {"count": 2, "log": ["one", "fork"]}
    assert (await client.threads.get_state(thread_id))["values"] == output
    forked = await client.threads.get_history(thread_id, limit=100)
    assert len(forked) > len(history)
    old = [state["checkpoint"]["checkpoint_id"] for state in history]
    assert [state["checkpoint"]["checkpoint_id"] for state in forked][-len(old) :] == old


async def test_a_run_without_input_goes_on_from_an_older_checkpoint(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "two_steps", input={"question": "again?"})
    history = await client.threads.get_history(thread_id)
    before_second = next(state for state in history if state["next"] == ["second"])

    parts = await collect(
        client.runs.stream(
            thread_id,
            "two_steps",
            checkpoint=before_second["checkpoint"],
            stream_mode="updates",
        )
    )

    assert data_in(parts, "updates") == [{"second": {"answers": ["second"]}}]
    assert (await client.threads.get_state(thread_id))["values"]["answers"] == [
        "first",
        "second",
    ]


async def test_a_checkpoint_that_the_thread_does_not_have_is_not_found(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "a"})
    elsewhere = (await client.threads.create())["thread_id"]
    await client.runs.wait(elsewhere, "echo", input={"text": "b"})
    foreign = (await client.threads.get_state(elsewhere))["checkpoint"]["checkpoint_id"]

    for wrong in (MISSING_ID, foreign, "x"):
        with pytest.raises(NotFoundError) as caught:
            await client.runs.create(thread_id, "echo", input={}, checkpoint_id=wrong)
        assert caught.value.reason == "CHECKPOINT_NOT_FOUND"
        assert caught.value.metadata == {"thread_id": thread_id, "checkpoint_id": wrong}
