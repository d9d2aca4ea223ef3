"""Streams that break off and go on: nothing lost, nothing twice."""

import asyncio
import json
import random
import sys
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import grpc
import pytest
from tests.support.names import serve_names
from tests.support.scripted import (
    QUICK,
    RUN_ID,
    THREAD_ID,
    ScriptedRuns,
    break_off,
    client_of,
    custom,
    drain,
    ended,
    event,
    failure,
    hang,
    in_parts,
    json_payload,
    serve,
    started,
)

from runwire.client import (
    NotFoundError,
    OutOfRangeError,
    Reconnect,
    StreamPart,
    UnavailableError,
    get_client,
)
from runwire.v1 import core_pb2, events_pb2, runs_pb2

LOG = [started(1), *(custom(f"1-{index}", str(index)) for index in range(2, 42)), ended("1-42")]
NUMBERS = list(range(2, 42))


async def collect(stream: Any) -> list[StreamPart]:
    return [part async for part in stream]


def numbers(parts: list[StreamPart]) -> list[Any]:
    return [part.data for part in parts if part.event == "custom"]


async def test_a_stream_names_its_run_first_and_its_end_last() -> None:
    async with client_of(ScriptedRuns(LOG)) as client:
        parts = await collect(client.runs.stream(THREAD_ID, "chat", stream_mode="custom"))
    assert parts[0] == StreamPart(
        "metadata",
        {
            "run_id": RUN_ID,
            "thread_id": THREAD_ID,
            "attempt": 1,
            "status": "running",
            "state": "running",
        },
    )
    assert numbers(parts) == NUMBERS
    assert [part.id for part in parts[1:]] == [f"1-{index}" for index in range(2, 43)]
    assert parts[-1].event == "end"
    assert parts[-1].data["status"] == "success"


@pytest.mark.parametrize("cut", [None, break_off], ids=["drained", "broken off"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_stream_that_breaks_anywhere_gives_every_part_once(seed: int, cut: Any) -> None:
    places = random.Random(seed)
    cuts = [places.randrange(12) for _ in range(12)]
    servicer = ScriptedRuns(LOG, cuts, **({"cut": cut} if cut else {}))
    async with client_of(servicer) as client:
        parts = await collect(client.runs.stream(THREAD_ID, "chat", stream_mode="custom"))
    assert [part.event for part in parts] == ["metadata", *["custom"] * 40, "end"]
    assert numbers(parts) == NUMBERS
    assert len(servicer.calls) > 1


async def test_a_call_that_breaks_before_the_first_event_is_sent_again_as_it_was() -> None:
    servicer = ScriptedRuns(LOG, [0, 0])
    async with client_of(servicer) as client:
        parts = await collect(client.runs.stream(None, "chat", stream_mode="custom"))
    assert numbers(parts) == NUMBERS
    first, *others = servicer.calls
    assert len(first.request_id) == 36
    assert others == [first, first]


async def test_a_stream_is_joined_after_the_last_event_that_came() -> None:
    servicer = ScriptedRuns(LOG, [10])
    async with client_of(servicer) as client:
        await collect(client.runs.stream(None, "chat", stream_mode="custom"))
    join = servicer.calls[1]
    assert (join.run_id, join.after_event_id) == (RUN_ID, "1-9")


async def test_a_reader_of_what_is_new_goes_on_at_its_place_before_its_first_event() -> None:
    servicer = ScriptedRuns(LOG, [1], break_off)
    servicer.place = "1-30"
    async with client_of(servicer) as client:
        parts = await collect(
            client.runs.join_stream(None, RUN_ID, stream_mode="custom", live_only=True)
        )
    assert numbers(parts) == list(range(31, 42))
    live, join = servicer.calls
    assert (live.live_only, join.live_only, join.after_event_id) == (True, False, "1-30")


@pytest.mark.parametrize("named", ["{},{}", "ipv4:{},{}"])
async def test_a_stream_goes_on_with_another_server_when_its_own_stops(named: str) -> None:
    async with AsyncExitStack() as stack:
        leaving, staying = ScriptedRuns(LOG, [10]), ScriptedRuns(LOG)
        address = await stack.enter_async_context(serve(staying))
        gone = AsyncExitStack()
        url = named.format(await gone.enter_async_context(serve(leaving)), address)
        stops: list[asyncio.Task[None]] = []

        async def stop(context: Any) -> None:
            stops.append(asyncio.create_task(gone.aclose()))
            await drain(context)

        leaving.cut = stop
        client = await stack.enter_async_context(get_client(url, reconnect=QUICK))
        while not leaving.calls:  # in turn, once there is a connection to each
            parts = await collect(client.runs.stream(None, "chat", stream_mode="custom"))
            assert numbers(parts) == NUMBERS
        assert [type(call).__name__ for call in leaving.calls] == ["RunStreamRequest"]
        assert "1-9" in [getattr(call, "after_event_id", "") for call in staying.calls]
        await asyncio.gather(*stops)


async def test_calls_go_to_each_of_several_servers() -> None:
    async with AsyncExitStack() as stack:
        servicers = [ScriptedRuns(LOG) for _ in range(3)]
        addresses = [await stack.enter_async_context(serve(each)) for each in servicers]
        client = await stack.enter_async_context(get_client(",".join(addresses), reconnect=QUICK))
        await collect(client.runs.stream(None, "chat", stream_mode="custom"))
        while not all(servicer.calls for servicer in servicers):
            await collect(client.runs.stream(None, "chat", stream_mode="custom"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs more than one address of the loopback")
async def test_a_stream_goes_on_where_its_name_leads_by_then() -> None:
    async with serve_names("127.0.0.1") as names, AsyncExitStack() as gone:
        leaving, coming = ScriptedRuns(LOG, [10], hang), ScriptedRuns(LOG)
        address = await gone.enter_async_context(serve(leaving))
        port = int(address.rpartition(":")[2])
        url = f"dns://{names.address}/agents.example:{port}"
        async with get_client(url, reconnect=QUICK) as client:
            stream = client.runs.stream(None, "chat", stream_mode="custom")
            got = [await anext(stream) for _ in range(9)]
            names.hosts = ("127.0.0.2",)
            async with serve(coming, port, host="127.0.0.2"):
                await gone.aclose()
                got += await collect(stream)
    assert numbers(got) == NUMBERS
    assert [call.after_event_id for call in coming.calls] == ["1-9"]


async def test_a_stream_outlives_the_age_that_its_connection_may_reach() -> None:
    async def last(context: Any) -> None:
        await asyncio.sleep(0.25)

    servicer = ScriptedRuns(LOG, [10, 10, 10], last)
    age = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 50)]
    async with serve(servicer, options=age) as address, get_client(address) as client:
        parts = await collect(client.runs.stream(None, "chat", stream_mode="custom"))
    assert numbers(parts) == NUMBERS
    assert len(servicer.calls) > 1


async def test_a_stream_that_ends_before_its_run_is_joined_again() -> None:
    servicer = ScriptedRuns(LOG[:5])
    async with client_of(servicer) as client:
        parts = client.runs.stream(None, "chat", stream_mode="custom")
        got = [await anext(parts) for _ in range(5)]
        servicer.log = LOG
        got += await collect(parts)
    assert numbers(got) == NUMBERS


async def test_large_events_are_put_together_whatever_breaks() -> None:
    text = json.dumps("x" * 1000)
    parts_of_big = in_parts(custom("1-2", text), 90)
    log = [started(1), *parts_of_big, custom("1-3", "3"), ended("1-4")]
    servicer = ScriptedRuns(log, [6, 4, 9])
    async with client_of(servicer) as client:
        parts = await collect(client.runs.stream(None, "chat", stream_mode="custom"))
    assert numbers(parts) == ["x" * 1000, 3]
    assert [call.after_event_id for call in servicer.calls[1:]] == ["1-1", "1-1", "1-1"]


def delta(event_id: str, text: str, **more: Any) -> events_pb2.RunEvent:
    message = events_pb2.MessageEvent(
        message_id="m", type="AIMessageChunk", delta=True, text=text, **more
    )
    return event(event_id, message=message)


async def test_a_new_attempt_drops_what_the_dead_one_left_of_a_message() -> None:
    log = [
        started(1),
        delta("1-2", "Hel", metadata=json_payload('{"langgraph_node": "a"}')),
        delta("1-3", "lo"),
        started(2),
        delta("2-2", "Good", metadata=json_payload('{"langgraph_node": "b"}')),
        delta("2-3", "bye"),
        ended("2-4"),
    ]
    async with client_of(ScriptedRuns(log, [4])) as client:
        parts = await collect(client.runs.stream(None, "chat", stream_mode="messages"))
    texts = [part.data[0]["content"] for part in parts if part.event == "messages/partial"]
    assert texts == ["Hel", "Hello", "Good", "Goodbye"]
    assert [part.data for part in parts if part.event == "metadata"][1:] == [
        {"run_id": RUN_ID, "attempt": 2, "resumed_from_checkpoint": True}
    ]
    assert [part.data for part in parts if part.event == "messages/metadata"] == [
        {"m": {"metadata": {"langgraph_node": "a"}}},
        {"m": {"metadata": {"langgraph_node": "b"}}},
    ]


async def test_assembly_goes_on_over_a_reconnect_within_an_attempt() -> None:
    log = [started(1), *(delta(f"1-{index}", str(index)) for index in range(2, 8)), ended("1-8")]
    async with client_of(ScriptedRuns(log, [4, 3])) as client:
        parts = await collect(client.runs.stream(None, "chat", stream_mode="messages"))
    assert parts[-2].data[0]["content"] == "234567"


async def test_a_joined_stream_begins_where_it_is_asked_to() -> None:
    servicer = ScriptedRuns(LOG, [3])
    async with client_of(servicer) as client:
        parts = await collect(client.runs.join_stream(None, RUN_ID, last_event_id="1-30"))
    assert numbers(parts) == NUMBERS[29:]
    assert [call.after_event_id for call in servicer.calls] == ["1-30", "1-32"]


async def test_a_live_stream_that_broke_misses_nothing_after_its_first_event() -> None:
    servicer = ScriptedRuns(LOG, [3])
    async with client_of(servicer) as client:
        await collect(client.runs.join_stream(None, RUN_ID, live_only=True))
    assert [(call.live_only, call.after_event_id) for call in servicer.calls] == [
        (True, ""),
        (False, "1-2"),
    ]


async def test_a_joined_run_on_another_thread_is_not_found() -> None:
    async with client_of(ScriptedRuns(LOG)) as client:
        with pytest.raises(NotFoundError, match="has no run"):
            await collect(client.runs.join_stream(RUN_ID, RUN_ID))


async def test_events_that_are_gone_are_an_error_that_names_the_oldest_left() -> None:
    async def expire(context: Any) -> None:
        await context.abort_with_status(
            failure(grpc.StatusCode.OUT_OF_RANGE, "EVENTS_EXPIRED", "gone", oldest_event_id="2-1")
        )

    async with client_of(ScriptedRuns(LOG, [0], expire)) as client:
        with pytest.raises(OutOfRangeError) as raised:
            await collect(client.runs.join_stream(None, RUN_ID, last_event_id="1-3"))
    assert raised.value.metadata == {"oldest_event_id": "2-1"}


async def test_a_stream_outlives_a_server_that_is_away_for_a_while() -> None:
    servicer = ScriptedRuns(LOG, [20], hang)
    async with serve(servicer) as address:
        client = get_client(address, reconnect=QUICK)
        stream = client.runs.stream(None, "chat", stream_mode="custom")
        got = [await anext(stream) for _ in range(5)]
        reading = asyncio.create_task(collect(stream), name="reading")
    await asyncio.sleep(0.3)
    assert not reading.done()
    async with serve(servicer, int(address.rpartition(":")[2])), client:
        got += await reading
    assert numbers(got) == NUMBERS


async def test_each_loss_of_a_server_is_told_once() -> None:
    told: list[UnavailableError] = []
    watched = replace(QUICK, on_lost=told.append)
    async with client_of(ScriptedRuns(LOG, cuts=[5, 0, 0, 5]), reconnect=watched) as client:
        parts = await collect(client.runs.stream(THREAD_ID, "chat", stream_mode="custom"))
    assert numbers(parts) == NUMBERS
    assert len(told) == 2


async def test_a_server_that_never_was_is_not_lost() -> None:
    told: list[UnavailableError] = []
    watched = Reconnect(first_pause=0.01, give_up_after=0.05, on_lost=told.append)
    async with get_client("127.0.0.1:9", reconnect=watched) as client:
        with pytest.raises(UnavailableError):
            await collect(client.runs.stream(None, "chat"))
    assert told == []


async def test_a_server_that_stays_away_ends_the_stream_with_an_error() -> None:
    reconnect = Reconnect(first_pause=0.01, longest_pause=0.02, give_up_after=0.2)
    async with client_of(ScriptedRuns(LOG, [5, *[0] * 1000]), reconnect=reconnect) as client:
        stream = client.runs.stream(None, "chat", stream_mode="custom")
        assert numbers([await anext(stream) for _ in range(4)]) == NUMBERS[:3]
        with pytest.raises(UnavailableError) as raised:
            await anext(stream)
    assert raised.value.reason == "DRAINING"


async def test_a_connection_that_breaks_after_the_end_of_the_run_is_no_loss() -> None:
    told: list[UnavailableError] = []
    read = asyncio.Event()

    async def break_off_when_read(context: Any) -> None:
        await read.wait()
        await break_off(context)

    impatient = Reconnect(give_up_after=0, on_lost=told.append)
    servicer = ScriptedRuns(LOG, cut_at_end=break_off_when_read)
    async with client_of(servicer, reconnect=impatient) as client:
        async for part in client.runs.stream(THREAD_ID, "chat", on_disconnect="cancel"):
            if part.event == "end":
                read.set()
    assert read.is_set()
    assert told == []
    assert len(servicer.calls) == 1


async def test_without_reconnecting_a_break_is_an_error_at_once() -> None:
    servicer = ScriptedRuns(LOG, [5])
    async with client_of(servicer, reconnect=Reconnect(give_up_after=0)) as client:
        with pytest.raises(UnavailableError):
            await collect(client.runs.stream(None, "chat", stream_mode="custom"))
    assert len(servicer.calls) == 1


async def test_snapshots_alone_are_no_progress() -> None:
    """A server that lets one join and breaks off, over and over, does not hold one for ever."""
    reconnect = Reconnect(first_pause=0.01, longest_pause=0.02, give_up_after=0.2)
    async with client_of(ScriptedRuns(LOG, [1] * 1000), reconnect=reconnect) as client:
        with pytest.raises(UnavailableError):
            await collect(client.runs.stream(None, "chat", stream_mode="custom"))


async def test_leaving_a_stream_ends_its_call() -> None:
    waits, gone = asyncio.Event(), asyncio.Event()

    async def wait(context: Any) -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async with client_of(ScriptedRuns(LOG, [5], wait)) as client:
        stream: Any = client.runs.stream(None, "chat", stream_mode="custom")
        async with aclosing(stream) as parts:
            async for part in parts:
                if part.id == "1-3":
                    await waits.wait()
                    break
        async with asyncio.timeout(60):
            await gone.wait()


@pytest.mark.parametrize("wish", ["cancel", "continue"])
async def test_a_stream_that_was_joined_again_still_says_what_becomes_of_its_run(wish: Any) -> None:
    servicer = ScriptedRuns(LOG, [4])
    async with client_of(servicer) as client:
        await collect(client.runs.stream(THREAD_ID, "chat", on_disconnect=wish))
    assert [call.on_disconnect for call in servicer.calls[1:]] == [
        core_pb2.ON_DISCONNECT_CANCEL if wish == "cancel" else core_pb2.ON_DISCONNECT_CONTINUE
    ]


async def test_who_leaves_while_the_server_is_away_cancels_the_run_if_it_can() -> None:
    servicer = ScriptedRuns(LOG, [4, 0, 0, 0, 0])
    servicer.answers = [runs_pb2.CancelRunResponse()]
    settings = {"reconnect": Reconnect(first_pause=0.01, longest_pause=0.01, give_up_after=0.02)}
    async with client_of(servicer, **settings) as client:
        with pytest.raises(UnavailableError):
            await collect(client.runs.stream(THREAD_ID, "chat", on_disconnect="cancel"))
    assert servicer.calls[-1] == runs_pb2.CancelRunRequest(run_id=RUN_ID)


async def test_who_leaves_while_the_stream_is_joined_again_cancels_the_run() -> None:
    joining = asyncio.Event()

    async def cut(context: Any) -> None:
        if len(servicer.calls) == 1:
            await drain(context)
        joining.set()
        await hang(context)

    servicer = ScriptedRuns(LOG, [4, 0], cut)
    servicer.answers = [runs_pb2.CancelRunResponse()]
    async with client_of(servicer) as client:
        parts = client.runs.stream(THREAD_ID, "chat", on_disconnect="cancel")
        reading = asyncio.create_task(collect(parts), name="reading")
        await joining.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert servicer.calls[-1] == runs_pb2.CancelRunRequest(run_id=RUN_ID)


async def test_closing_the_client_ends_its_streams_with_an_error() -> None:
    async with client_of(ScriptedRuns(LOG, [3], hang)) as client:
        parts = client.runs.stream(None, "chat", stream_mode="custom")
        reading = asyncio.create_task(collect(parts), name="reading")
        await asyncio.sleep(0.1)
        await client.aclose()
        with pytest.raises(UnavailableError, match="closed"):
            await reading


async def test_closing_the_client_ends_a_pause_between_tries() -> None:
    lost = asyncio.Event()
    patient = Reconnect(
        first_pause=100, longest_pause=100, give_up_after=100, on_lost=lambda _: lost.set()
    )
    async with client_of(ScriptedRuns(LOG, [3]), reconnect=patient) as client:
        parts = client.runs.stream(None, "chat", stream_mode="custom")
        reading = asyncio.create_task(collect(parts), name="reading")
        await lost.wait()
        await client.aclose()
        with pytest.raises(UnavailableError, match="closed"):
            async with asyncio.timeout(60):
                await reading


async def test_a_cancelled_reader_is_cancelled() -> None:
    async with client_of(ScriptedRuns(LOG, [3], hang)) as client:
        parts = client.runs.stream(None, "chat", stream_mode="custom")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await collect(parts)


async def test_kinds_of_event_that_are_not_known_are_passed_over() -> None:
    unknown = event("1-2")
    log = [started(1), unknown, custom("1-3", "3"), event(heartbeat=events_pb2.Heartbeat())]
    servicer = ScriptedRuns([*log, ended("1-4")], [3])
    async with client_of(servicer) as client:
        parts = await collect(client.runs.stream(None, "chat", stream_mode="custom"))
    assert [part.event for part in parts] == ["metadata", "custom", "end"]
    assert servicer.calls[1].after_event_id == "1-2"


async def test_a_failed_run_ends_its_stream_with_an_error_part() -> None:
    error = core_pb2.RunError(type="ValueError", message="boom", node="speak", attempt=1)
    log = [started(1), ended("1-2", core_pb2.RUN_STATE_FAILED, error=error)]
    async with client_of(ScriptedRuns(log)) as client:
        parts = await collect(client.runs.stream(None, "chat"))
    assert parts[-1].event == "error"
    assert parts[-1].data == {
        "error": "ValueError",
        "message": "boom",
        "node": "speak",
        "attempt": 1,
        "error_id": None,
    }


async def test_a_cancelled_run_says_so_at_the_end_of_its_stream() -> None:
    cancel = core_pb2.RunCancel(
        action=core_pb2.CANCEL_ACTION_INTERRUPT, cause=core_pb2.CANCEL_CAUSE_CLIENT
    )
    log = [ended("0-1", core_pb2.RUN_STATE_CANCELLED, cancel=cancel)]
    async with client_of(ScriptedRuns(log)) as client:
        parts = await collect(client.runs.stream(None, "chat"))
    assert parts[-1].event == "end"
    assert parts[-1].data["status"] == "interrupted"
    assert parts[-1].data["state"] == "cancelled"
    assert parts[-1].data["cancel"]["cause"] == "client"


async def test_the_callback_hears_of_the_run_once() -> None:
    told: list[Any] = []
    async with client_of(ScriptedRuns(LOG, [3, 3])) as client:
        await collect(client.runs.stream(THREAD_ID, "chat", on_run_created=told.append))
    assert told == [{"run_id": RUN_ID, "thread_id": THREAD_ID}]
