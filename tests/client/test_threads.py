"""Threads and their states, through a real server."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RunwireClient,
)


async def counted(client: RunwireClient, times: int = 1) -> str:
    """Return a thread on which the counter has run."""
    thread_id = (await client.threads.create())["thread_id"]
    for _ in range(times):
        await client.runs.wait(thread_id, "counter", input={})
    return thread_id


async def test_a_new_thread(client: RunwireClient) -> None:
    thread_id = str(uuid.uuid4())
    made = await client.threads.create(
        thread_id=thread_id, metadata={"user": "Ada"}, graph_id="counter"
    )
    assert made == {
        "thread_id": thread_id,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "state_updated_at": made["created_at"],
        "metadata": {"user": "Ada", "graph_id": "counter"},
        "status": "idle",
        "values": None,
        "interrupts": {},
        "error": None,
    }
    assert await client.threads.get(thread_id) == made


async def test_a_thread_that_begins_with_a_state(client: RunwireClient) -> None:
    supersteps: Any = [
        {"updates": [{"values": {"question": "why?"}, "as_node": "__start__"}]},
        {"updates": [{"command": {"update": {"answers": ["a"]}}, "as_node": "prepare"}]},
    ]
    made = await client.threads.create(graph_id="asks", supersteps=supersteps)
    assert made["values"] == {"question": "why?", "answers": ["a"]}
    assert made["status"] == "interrupted"
    history = await client.threads.get_history(made["thread_id"])
    assert [state["next"] for state in history] == [["ask"], ["prepare"]]
    supersteps[1]["updates"][0]["as_node"] = "nobody"
    thread_id = str(uuid.uuid4())
    with pytest.raises(ConflictError, match=r"supersteps\[1\]\.updates\[0\]: .*nobody"):
        await client.threads.create(thread_id=thread_id, graph_id="asks", supersteps=supersteps)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread_id)
    with pytest.raises(InvalidArgumentError, match="assistant_id: is required"):
        await client.threads.create(supersteps=supersteps)


async def test_an_id_that_is_taken(client: RunwireClient) -> None:
    made = await client.threads.create(metadata={"first": True})
    with pytest.raises(AlreadyExistsError):
        await client.threads.create(thread_id=made["thread_id"])
    again = await client.threads.create(thread_id=made["thread_id"], if_exists="do_nothing")
    assert again == made


async def test_metadata_is_merged(client: RunwireClient) -> None:
    made = await client.threads.create(metadata={"a": 1, "b": 1})
    changed = await client.threads.update(made["thread_id"], metadata={"b": None, "c": [2]})
    assert changed["metadata"] == {"a": 1, "c": [2]}
    nothing = await client.threads.update(made["thread_id"], metadata={"d": 1}, return_minimal=True)
    assert nothing is None


async def test_a_thread_tells_for_how_long_it_is_kept(client: RunwireClient) -> None:
    made = await client.threads.create(ttl=90)
    assert made["ttl"] == {
        "strategy": "delete",
        "ttl_minutes": 90.0,
        "expires_at": made["ttl"]["expires_at"],
    }
    assert made["ttl"]["expires_at"]
    age = datetime.fromisoformat(made["ttl"]["expires_at"]) - datetime.fromisoformat(
        str(made["updated_at"])
    )
    assert age == timedelta(minutes=90)
    changed = await client.threads.update(
        made["thread_id"], metadata={}, ttl={"ttl": 0.5, "strategy": "keep_latest"}
    )
    assert (changed["ttl"]["strategy"], changed["ttl"]["ttl_minutes"]) == ("keep_latest", 0.5)
    assert await client.threads.get(made["thread_id"], include=["ttl"]) == changed
    labelled = await client.threads.update(made["thread_id"], metadata={"a": 1})
    assert labelled["ttl"]["ttl_minutes"] == 0.5
    kept = await client.threads.update(made["thread_id"], metadata={}, ttl=0)
    assert "ttl" not in kept


@pytest.mark.parametrize(
    ("ttl", "error", "words"),
    [
        ({"minutes": 5}, TypeError, "'minutes'"),
        ({"strategy": "delete"}, TypeError, "a number of minutes"),
        (True, TypeError, "a number of minutes"),
        ({"ttl": 5, "strategy": "forget"}, ValueError, "'forget'"),
        (-1, InvalidArgumentError, "negative"),
        (600_000, InvalidArgumentError, "365 days"),
    ],
)
async def test_a_ttl_that_is_none_is_refused(
    client: RunwireClient, ttl: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await client.threads.create(ttl=ttl)


async def test_what_a_thread_takes_up(client: RunwireClient) -> None:
    thread_id = await counted(client, 3)
    storage = await client.threads.get_storage(thread_id)
    history = await client.threads.get_history(thread_id, limit=100)
    assert storage["thread_id"] == thread_id
    assert storage["checkpoints"]["count"] == len(history)
    assert storage["runs"]["count"] == 3
    total = 0
    for kind in ("checkpoints", "pending_writes", "runs", "event_segments"):
        use = storage[kind]  # type: ignore[literal-required]
        assert (use["count"] > 0, use["bytes"] > 0, use["at_least"]) == (True, True, False)
        total += use["bytes"]
    assert storage["total_bytes"] == total
    newest, oldest = (state["created_at"] for state in (history[0], history[-1]))
    told = (storage["newest_checkpoint_at"], storage["oldest_checkpoint_at"])
    for made, shown in zip(told, (newest, oldest), strict=True):
        assert made
        assert shown
        difference = datetime.fromisoformat(made) - datetime.fromisoformat(shown)
        assert abs(difference) < timedelta(seconds=1)


async def test_what_an_empty_thread_takes_up(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    storage = await client.threads.get_storage(thread_id)
    nothing = {"count": 0, "bytes": 0, "at_least": False}
    assert storage == {
        "thread_id": thread_id,
        "checkpoints": nothing,
        "pending_writes": nothing,
        "runs": nothing,
        "event_segments": nothing,
        "oldest_checkpoint_at": None,
        "newest_checkpoint_at": None,
        "total_bytes": 0,
    }
    with pytest.raises(NotFoundError) as raised:
        await client.threads.get_storage(str(uuid.uuid4()))
    assert raised.value.reason == "THREAD_NOT_FOUND"


async def test_a_copy_can_be_resumed(client: RunwireClient) -> None:
    thread_id = (await client.threads.create(metadata={"a": 1}))["thread_id"]
    await client.runs.wait(thread_id, "asks", input={"question": "why?"})
    copy_id = str(uuid.uuid4())
    made = await client.threads.copy(thread_id, new_thread_id=copy_id)
    assert (made["thread_id"], made["status"], made["metadata"]) == (
        copy_id,
        "interrupted",
        {"a": 1},
    )
    assert made["interrupts"] == (await client.threads.get(thread_id))["interrupts"]
    done: Any = await client.runs.wait(copy_id, "asks", command={"resume": "because"})
    assert done["answers"] == ["prepared", "because"]
    first, again = [await client.threads.copy(thread_id, request_id="copy") for _ in range(2)]
    assert first == again
    with pytest.raises(AlreadyExistsError):
        await client.threads.copy(thread_id, new_thread_id=copy_id)
    with pytest.raises(NotFoundError):
        await client.threads.copy(str(uuid.uuid4()))


async def test_pruned_threads_are_counted(client: RunwireClient) -> None:
    used, missing = await counted(client, 2), str(uuid.uuid4())
    pruned = await client.threads.prune([used, missing], strategy="keep_latest")
    assert pruned["pruned_count"] == 1
    assert [(each["thread_id"], each["reason"]) for each in pruned["results"]] == [
        (used, ""),
        (missing, "THREAD_NOT_FOUND"),
    ]
    assert len(await client.threads.get_history(used)) == 1
    assert (await client.threads.prune([used]))["pruned_count"] == 1
    assert (await client.threads.prune([]))["pruned_count"] == 0
    with pytest.raises(NotFoundError):
        await client.threads.get(used)


async def test_a_busy_thread_is_deleted_with_its_runs_unless_told_otherwise(
    client: RunwireClient,
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.create(thread_id, "counter", after_seconds=300)
    with pytest.raises(ConflictError):
        await client.threads.delete(thread_id, cancel_runs=False)
    await client.threads.delete(thread_id)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread_id)


async def test_deleted_is_gone(client: RunwireClient) -> None:
    thread_id = await counted(client)
    await client.threads.delete(thread_id)
    with pytest.raises(NotFoundError) as raised:
        await client.threads.get(thread_id)
    assert raised.value.reason == "THREAD_NOT_FOUND"
    assert raised.value.metadata == {"thread_id": thread_id}


async def test_search(client: RunwireClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("runwire.client.threads._PAGE_LIMIT", 2)
    made = [
        (await client.threads.create(metadata={"number": number, "kind": "plain"}))["thread_id"]
        for number in range(4)
    ]
    asking = (await client.threads.create(metadata={"kind": "asking"}))["thread_id"]
    await client.runs.wait(asking, "asks", input={"question": "why?"})

    async def found(**filters: Any) -> list[str]:
        return [thread["thread_id"] for thread in await client.threads.search(**filters)]

    assert await found() == [asking, *made[::-1]]
    assert await found(limit=3, offset=1) == made[::-1][:3]
    assert await found(sort_by="created_at", sort_order="asc") == [*made, asking]
    assert await found(metadata={"kind": "plain"}, limit=1) == [made[3]]
    assert await found(status="interrupted") == [asking]
    assert await found(ids=made[1:3]) == [made[2], made[1]]
    assert await found(ids=[]) == []
    chosen: Any = await client.threads.search(status="interrupted", select=["thread_id", "values"])
    assert chosen == [
        {"thread_id": asking, "values": {"question": "why?", "answers": ["prepared"]}}
    ]
    assert await found(values={"answers": ["prepared"]}) == [asking]
    assert await found(sort_by="thread_id", sort_order="asc") == sorted([*made, asking])
    assert await found(sort_by="status", limit=1) == [asking]
    assert await found(sort_by="state_updated_at") == [asking, *made[::-1]]


async def test_parts_of_threads_come_without_the_rest(client: RunwireClient) -> None:
    thread_id = (await client.threads.create(metadata={"user": "Ada"}))["thread_id"]
    await client.runs.wait(thread_id, "asks", input={"question": "why?"})
    extract = {"last": "values.answers[-1]", "none": "values.missing", "who": "metadata.user"}
    [thread] = await client.threads.search(select=["thread_id", "status"], extract=extract)
    assert thread == {
        "thread_id": thread_id,
        "status": "interrupted",
        "extracted": {"last": "prepared", "none": None, "who": "Ada"},
    }
    [thread] = await client.threads.search(extract={"all": "values"})
    assert thread["extracted"] == {"all": thread["values"]}
    with pytest.raises(InvalidArgumentError, match=r"extract\.a: must begin with one of values"):
        await client.threads.search(extract={"a": "config.b"})


async def test_threads_are_counted(client: RunwireClient) -> None:
    assert await client.threads.count() == 0
    for number in range(3):
        await client.threads.create(metadata={"even": number % 2 == 0})
    await counted(client)
    assert await client.threads.count() == 4
    assert await client.threads.count(metadata={"even": True}) == 2
    assert await client.threads.count(values={"count": 1}) == 1
    assert await client.threads.count(status="idle") == 4
    assert await client.threads.count(status="busy") == 0


async def test_a_thread_that_asks_shows_its_questions(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "asks_twice", input={"question": "why?"})
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "interrupted"
    questions = [interrupt for (interrupt,) in thread["interrupts"].values()]
    assert [question["id"] for question in questions] == list(thread["interrupts"])
    values = [question["value"]["question"] for question in questions]
    assert sorted(values) == ["and you?", "why?"]


async def test_a_thread_whose_run_failed_says_why(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "fails", input={"message": "boom"}, raise_error=False)
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    assert thread["error"]
    assert (thread["error"]["error"], thread["error"]["message"]) == ("ValueError", "boom")


async def test_the_state_of_a_thread_without_one(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    assert await client.threads.get_state(thread_id) == {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": {},
        "created_at": None,
        "checkpoint": {
            "thread_id": thread_id,
            "checkpoint_ns": "",
            "checkpoint_id": None,
            "checkpoint_map": {},
        },
        "parent_checkpoint": None,
        "interrupts": [],
    }
    assert await client.threads.get_history(thread_id) == []


async def test_the_state_of_a_thread(client: RunwireClient) -> None:
    thread_id = await counted(client, 2)
    state = await client.threads.get_state(thread_id)
    assert state["values"] == {"count": 2, "log": ["?", "?"]}
    assert state["next"] == []
    assert state["metadata"]
    assert state["metadata"]["source"] == "loop"
    assert state["checkpoint"]["thread_id"] == thread_id
    assert state["parent_checkpoint"]
    before = await client.threads.get_state(thread_id, state["parent_checkpoint"])
    assert before["values"] == {"count": 1, "log": ["?"]}
    assert before["next"] == ["count"]
    assert before["tasks"][0]["name"] == "count"
    by_id = await client.threads.get_state(
        thread_id, checkpoint_id=state["parent_checkpoint"]["checkpoint_id"]
    )
    assert by_id == before


async def test_a_part_of_a_state(client: RunwireClient) -> None:
    thread_id = await counted(client)
    state: Any = await client.threads.get_state(thread_id, select=["values.count", "next"])
    assert state == {"values": {"count": 1}, "next": []}
    history: Any = await client.threads.get_history(thread_id, limit=1, select=["next"])
    assert history == [{"next": []}]


async def test_states_of_subgraphs(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "asks_in_subgraph", input={"question": "why?"})
    state = await client.threads.get_state(thread_id, subgraphs=True)
    (task,) = state["tasks"]
    assert task["name"] == "inner"
    assert task["interrupts"] == state["interrupts"]
    assert task["state"]
    assert task["state"]["next"] == ["ask"]
    assert task["state"]["checkpoint"]["checkpoint_ns"].startswith("inner:")


async def test_history(client: RunwireClient) -> None:
    thread_id = await counted(client, 3)
    states = await client.threads.get_history(thread_id, limit=100)
    counts = [state["values"].get("count", 0) for state in states]  # type: ignore[union-attr]
    assert counts == sorted(counts, reverse=True)
    assert [state["checkpoint"] for state in states[1:]] == [
        state["parent_checkpoint"] for state in states[:-1]
    ]
    first, *older = states
    assert await client.threads.get_history(thread_id, limit=2) == states[:2]
    before = await client.threads.get_history(thread_id, before=first["checkpoint"], limit=100)
    assert before == older
    by_id = first["checkpoint"]["checkpoint_id"]
    assert await client.threads.get_history(thread_id, before=by_id, limit=100) == older
    inputs = await client.threads.get_history(thread_id, metadata={"source": "input"}, limit=100)
    assert len(inputs) == 3


async def test_a_state_is_changed_as_by_a_node(client: RunwireClient) -> None:
    thread_id = await counted(client)
    made = await client.threads.update_state(
        thread_id, {"count": 10, "log": ["by hand"]}, as_node="count"
    )
    state = await client.threads.get_state(thread_id)
    assert made == {"checkpoint": state["checkpoint"]}
    assert state["values"] == {"count": 11, "log": ["?", "by hand"]}
    assert state["parent_checkpoint"]
    fork = await client.threads.update_state(
        thread_id, {"count": 100}, as_node="count", checkpoint=state["parent_checkpoint"]
    )
    forked = await client.threads.get_state(thread_id, fork["checkpoint"])
    assert forked["values"] == {"count": 101, "log": ["?"]}


async def test_a_thread_without_a_graph_is_told_which_one_to_use(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    with pytest.raises(ConflictError, match="assistant_id") as raised:
        await client.threads.update_state(thread_id, {"count": 1})
    assert raised.value.reason == "STATE_UPDATE_REFUSED"
    await client.threads.update_state(
        thread_id, {"count": 5}, as_node="count", assistant_id="counter"
    )
    assert (await client.threads.get_state(thread_id))["values"] == {"count": 5, "log": []}


async def test_a_change_that_the_graph_refuses(client: RunwireClient) -> None:
    thread_id = await counted(client)
    with pytest.raises(ConflictError) as raised:
        await client.threads.update_state(thread_id, {"count": 1}, as_node="nobody")
    assert raised.value.reason == "STATE_UPDATE_REFUSED"
    with pytest.raises(NotFoundError) as missing:
        await client.threads.get_state(thread_id, checkpoint_id=str(uuid.uuid4()))
    assert missing.value.reason == "CHECKPOINT_NOT_FOUND"


async def test_what_this_version_does_not_have_is_said(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    with pytest.raises(NotImplementedError, match="include"):
        await client.threads.get(thread_id, include=["ttl", "more"])
    with pytest.raises(NotImplementedError, match="sort_by"):
        await client.threads.search(sort_by="name")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="status"):
        await client.threads.search(status="paused")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        await client.threads.search(limit=-1)
    with pytest.raises(TypeError, match="only one"):
        await client.threads.get_state(
            thread_id,
            {
                "thread_id": thread_id,
                "checkpoint_ns": "",
                "checkpoint_id": "a",
                "checkpoint_map": None,
            },
            "b",
        )
