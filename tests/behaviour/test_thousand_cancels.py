"""Cancels at any moment of a run's life: a thousand of them."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import grpc
import pytest
from tests.support.callers import Stubs, of_json
from tests.support.statuses import Failure

from runwire.v1 import core_pb2, runs_pb2

RUNS = 500
"""On each of the two databases."""
AT_A_TIME = 25
LONGEST = 0.06
"""Seconds within which each run is cancelled: some are over by then."""


@pytest.mark.timeout(150)
async def test_each_run_has_one_end_that_agrees_with_its_events_and_with_the_answer(
    stubs: Stubs, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(1_000_000)
    record_property("seed", seed)
    chance = random.Random(seed)
    turns = asyncio.Semaphore(AT_A_TIME)
    waits = [(chance.uniform(0, LONGEST), chance.uniform(0, LONGEST)) for _ in range(RUNS)]
    ends = await asyncio.gather(*(cancel_one(stubs, turns, *wait) for wait in waits))
    record_property("ends", dict(Counter(ends)))  # xdist sends no subclasses
    assert set(ends) == {core_pb2.RUN_STATE_CANCELLED, core_pb2.RUN_STATE_SUCCEEDED}


async def cancel_one(stubs: Stubs, turns: asyncio.Semaphore, nap: float, wait: float) -> int:
    """Let a run sleep for `nap` seconds, cancel it after `wait`; return its state when it has
    ended, having checked all that tells of it."""
    async with turns:
        spec = core_pb2.RunSpec(assistant_id="slow_async", input=of_json({"seconds": nap}))
        created = await stubs.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec))
        run_id = created.run.run_id
        await asyncio.sleep(wait)
        answered = await answer_to_cancel(stubs, run_id)
        joined = await stubs.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=run_id))
        state: int = joined.run.state
        assert state == answered
        stream = stubs.runs.JoinRunStream(runs_pb2.JoinRunStreamRequest(run_id=run_id))
        events = [event async for response in stream for event in response.events]
        ended = [event.run_ended.state for event in events if event.HasField("run_ended")]
        assert ended == [state]
        assert events[-1].HasField("run_ended")
        again = await stubs.runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id))
        assert (again.run.state, again.run.HasField("cancel")) == (
            state,
            state == core_pb2.RUN_STATE_CANCELLED,
        )
        return state


async def answer_to_cancel(stubs: Stubs, run_id: str) -> int:
    """Cancel a run and wait for it; return the state that the answer says it has."""
    request = runs_pb2.CancelRunRequest(run_id=run_id, wait=True)
    try:
        return (await stubs.runs.CancelRun(request)).run.state
    except grpc.aio.AioRpcError as error:
        failure = Failure(error)
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "RUN_FINISHED")
        assert failure.variables["state"] == "succeeded"
        return core_pb2.RUN_STATE_SUCCEEDED
