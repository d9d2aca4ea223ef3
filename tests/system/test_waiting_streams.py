"""Streams of runs that wait: their readers are told of an end without a beginning, too."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest
from tests.support.serving import serve_in_process
from tests.support.watching import SYSTEM_GRAPHS, chain_input, read_log

from runwire.client import get_client
from runwire.v1 import core_pb2


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_reader_of_a_pending_run_is_told_of_its_cancel(
    tmp_path: Path, action: Literal["interrupt", "rollback"]
) -> None:
    async with (
        serve_in_process(tmp_path, graphs=SYSTEM_GRAPHS) as app,
        get_client(app.address) as client,
    ):
        thread_id = (await client.threads.create())["thread_id"]
        run_input = chain_input(tmp_path, "a")
        run = await client.runs.create(thread_id, "chain", input=run_input, after_seconds=3600)
        reading = asyncio.create_task(read_log(app.address, run["run_id"]))
        await asyncio.sleep(0.2)  # so that it waits; were it late, it would be told all the same
        await client.runs.cancel(thread_id, run["run_id"], action=action)
        events = await asyncio.wait_for(reading, 60)

    assert [event.id for event in events] == ["0-1"]
    assert events[0].run_ended.state == core_pb2.RUN_STATE_CANCELLED
