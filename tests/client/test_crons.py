"""Crons, through a real server."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runwire.client import AlreadyExistsError, InvalidArgumentError, NotFoundError, RunwireClient
from runwire.client.arguments import payload
from runwire.client.convert import cron_of
from runwire.v1 import crons_pb2, errors_pb2

END = datetime(2090, 5, 1, 12, tzinfo=UTC)


async def test_a_cron_is_made_with_what_it_is_given(client: RunwireClient) -> None:
    made = await client.crons.create(
        "echo",
        schedule="30 9 * * MON-FRI",
        timezone="Europe/Berlin",
        input={"text": "hi"},
        metadata={"team": "blue"},
        config={"tags": ["t"], "recursion_limit": 7},
        context={"a": 1},
        interrupt_before=["answer"],
        interrupt_after="*",
        on_run_completed="keep",
        multitask_strategy="reject",
        end_time=END,
        enabled=False,
        stream_mode=["updates", "custom"],
        stream_subgraphs=True,
        stream_resumable=True,
        durability="exit",
    )
    assistant = await client.assistants.get("echo")
    assert made["assistant_id"] == assistant["assistant_id"]
    assert (made["thread_id"], made["on_run_completed"]) == (None, "keep")
    assert (made["schedule"], made["timezone"]) == ("30 9 * * MON-FRI", "Europe/Berlin")
    assert made["end_time"] == "2090-05-01T12:00:00.000000+00:00"
    assert (made["enabled"], made["next_run_date"], made["user_id"]) == (False, None, None)
    assert made["metadata"] == {"team": "blue"}
    assert made["payload"] == {
        "assistant_id": "echo",
        "schedule": "30 9 * * MON-FRI",
        "timezone": "Europe/Berlin",
        "input": {"text": "hi"},
        "metadata": {"team": "blue"},
        "config": {"tags": ["t"], "recursion_limit": 7},
        "context": {"a": 1},
        "interrupt_before": ["answer"],
        "interrupt_after": ["*"],
        "stream_mode": ["updates", "custom"],
        "stream_subgraphs": True,
        "multitask_strategy": "reject",
        "durability": "exit",
    }
    assert await client.crons.get(made["cron_id"]) == made


async def test_a_cron_on_a_thread_names_it_and_goes_with_it(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    made = await client.crons.create_for_thread(thread_id, "echo", schedule="@daily")
    assert (made["thread_id"], made["on_run_completed"]) == (thread_id, None)
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert made["next_run_date"] == f"{tomorrow}T00:00:00.000000+00:00"
    await client.threads.delete(thread_id)
    with pytest.raises(NotFoundError) as raised:
        await client.crons.get(made["cron_id"])
    assert raised.value.reason == "CRON_NOT_FOUND"


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (None, "UTC"),
        ("Asia/Kolkata", "Asia/Kolkata"),
        (ZoneInfo("Asia/Kolkata"), "Asia/Kolkata"),
        (UTC, "UTC"),
    ],
)
async def test_a_zone_is_given_by_its_name_or_as_it_is(
    client: RunwireClient, zone: str | tzinfo | None, name: str
) -> None:
    made = await client.crons.create("echo", schedule="* * * * *", timezone=zone, enabled=False)
    assert made["timezone"] == name


async def test_what_is_no_zone_or_schedule_is_refused(client: RunwireClient) -> None:
    with pytest.raises(ValueError, match="has no name"):
        await client.crons.create(
            "echo", schedule="* * * * *", timezone=timezone(timedelta(hours=5))
        )
    with pytest.raises(InvalidArgumentError, match="schedule"):
        await client.crons.create("echo", schedule="* * *")
    with pytest.raises(InvalidArgumentError, match="time_zone"):
        await client.crons.create("echo", schedule="* * * * *", timezone="Mars/Base")


async def test_the_same_request_makes_one_cron(client: RunwireClient) -> None:
    first = await client.crons.create("echo", schedule="@daily", request_id="one")
    assert await client.crons.create("echo", schedule="@daily", request_id="one") == first
    with pytest.raises(AlreadyExistsError):
        await client.crons.create("echo", schedule="@hourly", request_id="one")


async def test_a_change_leaves_the_rest(client: RunwireClient) -> None:
    made = await client.crons.create(
        "echo", schedule="@daily", input={"text": "a"}, metadata={"a": 1}, end_time=END
    )
    cron_id = made["cron_id"]
    changed = await client.crons.update(
        cron_id, schedule="@hourly", timezone="Asia/Kolkata", metadata={"b": 2}, enabled=False
    )
    assert (changed["schedule"], changed["timezone"]) == ("@hourly", "Asia/Kolkata")
    assert (changed["metadata"], changed["enabled"]) == ({"a": 1, "b": 2}, False)
    assert changed["payload"]["input"] == {"text": "a"}
    assert changed["end_time"] == made["end_time"]
    changed = await client.crons.update(cron_id, end_time=None)
    assert changed["end_time"] is None
    changed = await client.crons.update(cron_id, end_time=END.replace(tzinfo=None))
    assert changed["end_time"] == made["end_time"]
    changed = await client.crons.update(
        cron_id,
        input={"text": "b"},
        config={"tags": ["t"]},
        context={"c": 1},
        interrupt_before=["answer"],
        interrupt_after=[],
        on_run_completed="keep",
        stream_mode="custom",
        stream_subgraphs=False,
        durability="async",
    )
    arguments = changed["payload"]
    assert arguments["input"] == {"text": "b"}
    assert arguments["config"] == {"tags": ["t"]}
    assert arguments["context"] == {"c": 1}
    assert (arguments["interrupt_before"], arguments["interrupt_after"]) == (["answer"], [])
    assert (arguments["stream_mode"], arguments["stream_subgraphs"]) == (["custom"], False)
    assert (arguments["durability"], changed["on_run_completed"]) == ("async", "keep")
    assert changed["schedule"] == "@hourly"
    assert await client.crons.update(cron_id) == changed


async def test_crons_are_searched_and_counted(client: RunwireClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    one = await client.crons.create("echo", schedule="@yearly", metadata={"n": 1})
    two = await client.crons.create_for_thread(thread_id, "counter", schedule="@daily")
    three = await client.crons.create("echo", schedule="@hourly", enabled=False)

    async def found(**filters: Any) -> list[str]:
        return [cron["cron_id"] for cron in await client.crons.search(**filters)]

    everything = [three["cron_id"], two["cron_id"], one["cron_id"]]
    assert await found() == everything
    assert await found(sort_by="cron_id", sort_order="asc") == everything[::-1]
    assert await found(sort_by="next_run_date", sort_order="asc", limit=2) == [
        two["cron_id"],
        one["cron_id"],
    ]
    assert await found(limit=1, offset=1) == [two["cron_id"]]
    assert await found(assistant_id="echo") == [three["cron_id"], one["cron_id"]]
    assert await found(thread_id=thread_id) == [two["cron_id"]]
    assert await found(enabled=False) == [three["cron_id"]]
    assert await found(metadata={"n": 1}) == [one["cron_id"]]
    (chosen,) = await client.crons.search(metadata={"n": 1}, select=["schedule", "enabled"])
    assert chosen == {"schedule": "@yearly", "enabled": True}
    assert await client.crons.count() == 3
    assert await client.crons.count(assistant_id="echo") == 2
    assert await client.crons.count(thread_id=thread_id) == 1
    assert await client.crons.count(metadata={"n": 2}) == 0


async def test_a_deleted_cron_is_gone(client: RunwireClient) -> None:
    made = await client.crons.create("echo", schedule="@yearly")
    await client.crons.delete(made["cron_id"])
    with pytest.raises(NotFoundError):
        await client.crons.delete(made["cron_id"])


def test_what_a_cron_has_done_is_told() -> None:
    cron = crons_pb2.Cron(
        last_fire_time=END,
        last_run_id="r",
        last_error={"reason": errors_pb2.ERROR_REASON_THREAD_BUSY, "message": "busy"},
        missed_fires=3,
        principal="ada",
        metadata=payload({}, "metadata"),
    )
    told = cron_of(cron)
    assert told["last_run_date"] == "2090-05-01T12:00:00.000000+00:00"
    assert told["last_run_id"] == "r"
    assert told["last_error"] == {"reason": "THREAD_BUSY", "message": "busy"}
    assert (told["missed_fires"], told["user_id"]) == (3, "ada")
