"""A run starts on whichever server has room, in its turn, and only once."""

import asyncio
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import pytest
from tests.support.engine import Engine, open_engine, until
from tests.support.replicas import no_notifications, open_replicas, quantile
from tests.support.watching import say

from runwire.server.model.errors import DatabaseUnavailable, ThreadBusy
from runwire.server.model.faults import armed, parse_faults
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    CancelAction,
    IfThreadMissing,
    MultitaskStrategy,
    Run,
    RunSpec,
    RunState,
)
from runwire.server.storage.runs import RunFilter

NEW_GRAPHS = Path(__file__).parent.parent / "runner" / "graphs" / "langgraph.json"
FAILURES = "create.before_commit:raise:0.3,create.after_commit:raise:0.3"


@pytest.mark.usefixtures("no_polls")
async def test_what_one_server_has_no_room_for_another_starts_at_once(postgres_url: str) -> None:
    async with open_replicas(postgres_url, 3, slots=(0, 4, 4)) as (taking, *working):
        seconds = []
        for _ in range(40):
            began = time.monotonic()
            run = await taking.start("echo")
            assert run.state is RunState.PENDING
            ended = await taking.ended(run)
            seconds.append(time.monotonic() - began)
            assert ended.state is RunState.SUCCEEDED
            assert ended.attempt == 1
        assert working
    say(f"create to end elsewhere: p50 {quantile(seconds, 0.5):.0f} ms")


async def test_a_graph_s_runs_begin_where_the_graph_is_and_wait_until_it_is_somewhere(
    postgres_url: str,
) -> None:
    async with open_engine(postgres_url) as former:
        async with open_engine(postgres_url, graphs=NEW_GRAPHS, max_concurrent_runs=0) as newer:
            created = [await newer.start("cleans_up_slowly") for _ in range(3)]
            cancelled, *waiting = created
            for _ in range(3):
                assert (await newer.run("echo")).state is RunState.SUCCEEDED, "the former has it"
            assert [(await newer.row(run)).attempt for run in created] == [0, 0, 0]
            await former.runs.cancel(cancelled.run_id, CancelAction.INTERRUPT, wait=True)
        async with open_engine(postgres_url, graphs=NEW_GRAPHS) as newest:
            owner = newest.runner.server_id
            await until(lambda: len(newest.runner.executing) == 2)
            rows = [await former.row(run) for run in waiting]
            assert [(row.owner, row.attempt) for row in rows] == [(owner, 1)] * 2


async def test_work_is_found_when_every_notification_is_lost(
    postgres_url: str,
) -> None:
    async with open_replicas(postgres_url, 2, slots=(0, 4)) as (taking, _):
        with no_notifications():
            assert (await taking.run("echo")).state is RunState.SUCCEEDED


async def test_who_has_no_room_is_not_woken(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_replicas(postgres_url, 2, slots=(0, 1)) as (taking, working):
        first = await taking.start("gate", {"directory": str(tmp_path)})
        await until((tmp_path / "started").exists)
        woken: list[None] = []
        monkeypatch.setattr(working.runner, "wake", lambda: woken.append(None))
        told: list[None] = []
        told_of_work = working.runner.told_of_work

        def tell() -> None:
            told.append(None)
            told_of_work()

        monkeypatch.setattr(working.runner, "told_of_work", tell)
        second = await taking.start("echo")
        await until(lambda: told)
        assert woken == []
        monkeypatch.undo()
        (tmp_path / "open").touch()
        assert (await taking.ended(first)).state is RunState.SUCCEEDED
        assert (await taking.ended(second)).state is RunState.SUCCEEDED


@pytest.mark.usefixtures("no_polls")
async def test_a_batch_is_shared_by_all_who_have_room(postgres_url: str, tmp_path: Path) -> None:
    async with open_replicas(postgres_url, 3, max_concurrent_runs=4) as engines:
        spec = RunSpec(assistant_id="gate", input={"directory": str(tmp_path)})
        created = await engines[0].create(*[spec] * 12)
        await until(lambda: [len(engine.runner._slots) for engine in engines] == [4, 4, 4])
        (tmp_path / "open").touch()
        ended = [await engines[1].ended(run) for run in created]
        assert {(run.state, run.attempt) for run in ended} == {(RunState.SUCCEEDED, 1)}


async def test_runs_of_a_thread_execute_one_by_one_in_their_order_wherever_they_were_created(
    three: list[Engine], tmp_path: Path
) -> None:
    seed = random.randrange(10**9)
    say(f"seed {seed}")
    chance = random.Random(seed)
    threads = [await three[0].thread() for _ in range(6)]
    graph_input = {"directory": str(tmp_path), "seconds": 0.005}
    created: dict[str, list[str]] = defaultdict(list)

    async def use(thread_id: str) -> None:
        for _ in range(15):
            run = await chance.choice(three).start("slow_async", graph_input, thread_id=thread_id)
            created[thread_id].append(run.run_id)

    async with asyncio.timeout(50):
        await asyncio.gather(*(use(thread_id) for thread_id in threads))
        for run_ids in created.values():
            for run_id in run_ids:
                assert (await three[1].runs.wait(run_id)).state is RunState.SUCCEEDED
    notes = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    for run_ids in created.values():
        mine = [(note["run_id"], note["what"]) for note in notes if note["run_id"] in run_ids]
        assert mine == [(run_id, what) for run_id in run_ids for what in ("started", "ended")]


async def test_a_thread_that_is_busy_elsewhere_is_busy(three: list[Engine], tmp_path: Path) -> None:
    thread_id = await three[0].thread()
    run = await three[0].start("gate", {"directory": str(tmp_path)}, thread_id=thread_id)
    with pytest.raises(ThreadBusy):
        await three[1].start(
            "echo", thread_id=thread_id, multitask_strategy=MultitaskStrategy.REJECT
        )
    (tmp_path / "open").touch()
    assert (await three[2].ended(run)).state is RunState.SUCCEEDED


async def test_a_thread_that_two_servers_make_at_once_is_one(three: list[Engine]) -> None:
    for _ in range(10):
        thread_id = new_id()
        made = await asyncio.gather(
            *(
                engine.start("echo", thread_id=thread_id, if_thread_missing=IfThreadMissing.CREATE)
                for engine in three
            )
        )
        ended = [await three[0].ended(run) for run in made]
        assert {run.state for run in ended} == {RunState.SUCCEEDED}


# Requests.


async def test_a_request_that_comes_to_two_servers_fifty_times_makes_one_run(
    three: list[Engine],
) -> None:
    for number in range(3):
        request = RequestKey("CreateRun", f"once {number}", b"body")
        thread_id = await three[0].thread()
        spec = RunSpec(assistant_id="echo", thread_id=thread_id, input={})
        created = await asyncio.gather(
            *(three[index % 2].runs.create([spec], request) for index in range(50))
        )
        assert len({one.runs[0].run_id for one in created}) == 1
        assert sorted(one.replayed for one in created) == [False] + [True] * 49
        assert (await three[2].ended(created[0].runs[0])).state is RunState.SUCCEEDED


async def test_it_makes_one_run_also_when_answers_to_it_are_lost(three: list[Engine]) -> None:
    seed = random.randrange(10**6)
    say(f"seed {seed}")
    thread_id = await three[0].thread()
    spec = RunSpec(assistant_id="echo", thread_id=thread_id, input={})
    request = RequestKey("CreateRun", "once", b"body")
    lost: list[None] = []

    async def create(engine: Engine) -> Run:
        while True:
            try:
                return (await engine.runs.create([spec], request)).runs[0]
            except DatabaseUnavailable:
                lost.append(None)

    with armed(parse_faults(f"{FAILURES},seed={seed}")):
        created = await asyncio.gather(*(create(three[index % 2]) for index in range(50)))
    assert lost
    assert len({run.run_id for run in created}) == 1
    assert (await three[2].ended(created[0])).state is RunState.SUCCEEDED
    page = await three[2].runs.list(RunFilter(thread_id=thread_id), limit=10, cursor=None)
    assert [run.run_id for run in page.items] == [created[0].run_id]
