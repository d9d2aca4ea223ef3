"""Threads are resources of the database: any server makes, copies, finds and deletes them."""

import json

from tests.support.engine import Engine

from runwire.server.model.requests import Order
from runwire.server.model.runs import Command, RunState
from runwire.server.model.threads import NodeUpdate, PruneStrategy, ThreadState
from runwire.server.storage.threads import ThreadFilter


async def test_what_one_server_makes_of_a_thread_the_others_go_on_with(
    three: list[Engine],
) -> None:
    first, second, third = three
    begin = [NodeUpdate(values={"question": "why?"}, as_node="__start__")]
    thread, _ = await first.threads.create(
        None, {}, return_existing=False, request=None, supersteps=[begin], assistant_id="asks"
    )
    run = await second.run("asks", None, thread_id=thread.thread_id, input=None)
    assert run.state is RunState.INTERRUPTED

    made = await third.threads.copy(thread.thread_id, None, request=None)

    command = Command(resume="because", has_resume=True)
    resumed = await first.run("asks", None, thread_id=made.thread_id, command=command, input=None)
    assert json.loads(resumed.output or "")["answers"] == ["prepared", "because"]
    wanted = ThreadFilter(states=[ThreadState.INTERRUPTED], values={"answers": ["prepared"]})
    page = await second.threads.list(wanted, Order(), limit=9, cursor=None, count_total=True)
    assert ([found.thread_id for found in page.items], page.total) == ([thread.thread_id], 1)
    ids = [thread.thread_id, made.thread_id]
    for strategy in (PruneStrategy.KEEP_LATEST, PruneStrategy.DELETE):
        results = await third.threads.prune(ids, strategy)
        assert [result.error for result in results] == [None, None]
    assert (await first.threads.list(ThreadFilter(), Order(), limit=9, cursor=None)).items == []
