"""Several servers on one database: in this process, without gRPC, or in processes."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from runwire.server.model.faults import armed, parse_faults
from tests.support.engine import Engine, open_engine
from tests.support.serving import ServerProcess
from tests.support.watching import SYSTEM_GRAPHS


@asynccontextmanager
async def open_replicas(
    url: str, count: int, *, slots: Sequence[int] | None = None, **options: Any
) -> AsyncIterator[list[Engine]]:
    """Give engines that share the PostgreSQL database at `url`. `slots` are those of each; the rest
    is as for `open_engine`."""
    async with AsyncExitStack() as stack:
        engines = []
        for number in range(count):
            own = {} if slots is None else {"max_concurrent_runs": slots[number]}
            engines.append(await stack.enter_async_context(open_engine(url, **{**options, **own})))
        yield engines


@asynccontextmanager
async def replica_processes(
    directory: Path, url: str, *flags: Sequence[str], graphs: Path = SYSTEM_GRAPHS
) -> AsyncIterator[list[ServerProcess]]:
    """Give servers in processes of their own, up: one for each of the lists of `flags`."""
    servers = []
    for number, own in enumerate(flags):
        place = directory / f"replica-{number}"
        place.mkdir()
        servers.append(ServerProcess(place, graphs, [f"--database-url={url}", *own]))
    try:
        for server in servers:
            server.launch()
        await asyncio.gather(*(asyncio.to_thread(server.await_up) for server in servers))
        yield servers
    finally:
        for server in servers:
            if server.is_running:
                server.kill()


@contextmanager
def no_notifications() -> Iterator[None]:
    """Let every notification be lost for the length of a block."""
    with armed(parse_faults("notifications.send:raise")):
        yield


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return which of some durations the given share of them stays below, in milliseconds."""
    return 1000 * sorted(seconds)[min(len(seconds) - 1, math.ceil(share * len(seconds)) - 1)]


async def settled(engines: Sequence[Engine]) -> None:
    """Return when nothing executes in any of the engines."""
    while any(engine.runner._slots for engine in engines):  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.005)
