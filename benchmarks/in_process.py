"""LangGraph without a server: the client process calls the graph itself. Prints one JSON object
per job."""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.graphs import BUILDERS
from benchmarks.jobs import Job, Measured, repeat, take_turns

MODES: dict[str, Any] = {"tokens": "custom", "messages": "messages"}


async def measure(job: Job) -> Measured:
    """Do a job. Only turns are durable."""
    if job.kind == "turns":
        return await _turns(job)
    graph = BUILDERS[job.graph].compile()

    async def wait() -> int:
        await graph.ainvoke(job.input)
        return 1

    async def stream() -> int:
        return len([part async for part in graph.astream(job.input, stream_mode=MODES[job.graph])])

    return await repeat(job, wait if job.kind == "wait" else stream)


async def _turns(job: Job) -> Measured:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "checkpoints.db"
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            await saver.setup()
            graph = BUILDERS[job.graph].compile(checkpointer=saver)

            async def turn(thread: str, number: int) -> None:
                config: RunnableConfig = {"configurable": {"thread_id": thread}}
                state = await graph.ainvoke(job.input, config)
                if len(state["messages"]) != 2 * number:
                    raise RuntimeError(f"thread {thread} lost messages before turn {number}")

            return await take_turns(job, turn, [str(uuid.uuid4()) for _ in range(job.callers)])


async def _main() -> None:
    for argument in sys.argv[1:]:
        print(json.dumps(await measure(Job.from_json(argument))), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
