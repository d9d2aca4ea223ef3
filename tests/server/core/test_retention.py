"""What is left of runs when the time for which their events are kept has passed."""

from datetime import timedelta

import pytest
from tests.support.engine import Engine, kinds

from runwire.server.core.sweeping import expire
from runwire.server.model.errors import EventsExpired, RunNotFound
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import CancelAction, RunSpec, RunState

OVER, NOT_OVER = timedelta(seconds=-1), timedelta(hours=1)


async def sweep(
    engine: Engine, *, events: timedelta = NOT_OVER, requests: timedelta = NOT_OVER
) -> None:
    await engine.database.write(lambda c: expire(c, events=events, request_ids=requests))


async def test_before_that_all_is_there(engine: Engine) -> None:
    run = await engine.run("echo", {"text": "a"})

    await sweep(engine)

    assert kinds(await engine.events(run))[-1] == "run_ended"


async def test_a_stateless_run_leaves_nothing(engine: Engine) -> None:
    run = await engine.run("echo", {"text": "a"})

    await sweep(engine, events=OVER)

    with pytest.raises(RunNotFound):
        await engine.row(run)


@pytest.mark.parametrize(("graph_id", "state"), [("echo", "succeeded"), ("fails", "failed")])
async def test_a_run_on_a_thread_stays_without_its_events(
    engine: Engine, graph_id: str, state: str
) -> None:
    run = await engine.run(graph_id, {"text": "a"}, thread_id=await engine.thread())

    await sweep(engine, events=OVER)

    assert (await engine.row(run)).state == RunState(state)
    with pytest.raises(EventsExpired):
        await engine.events(run)
    with pytest.raises(EventsExpired):
        await engine.events(run, after="1-1")


async def test_a_cancelled_run_on_a_thread_stays_without_its_events(engine: Engine) -> None:
    run = await engine.start("slow_async", {"seconds": 30}, thread_id=await engine.thread())
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=True)

    await sweep(engine, events=OVER)

    assert (await engine.row(run)).state is RunState.CANCELLED
    with pytest.raises(EventsExpired):
        await engine.events(run)


async def test_of_a_run_that_was_taken_back_nothing_is_remembered(engine: Engine) -> None:
    run = await engine.start("slow_async", {"seconds": 30}, thread_id=await engine.thread())
    await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)

    await sweep(engine, events=OVER)

    with pytest.raises(RunNotFound):
        await engine.row(run)


async def test_a_run_in_flight_keeps_all(engine: Engine) -> None:
    run = await engine.start("slow_async", {"seconds": 0.3})

    await sweep(engine, events=OVER)

    assert kinds(await engine.events(run))[-1] == "run_ended"


async def test_a_request_id_may_be_used_anew(engine: Engine) -> None:
    spec, key = RunSpec(assistant_id="echo", input={}), RequestKey("Method", "id", b"body")
    (first,) = await engine.create(spec, request=key)
    assert [run.run_id for run in await engine.create(spec, request=key)] == [first.run_id]

    await sweep(engine, requests=OVER)

    (second,) = await engine.create(spec, request=key)
    assert second.run_id != first.run_id
