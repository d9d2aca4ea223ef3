"""Servers on one database, what is done to them, and a history of it all."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.ends import write_ends
from tests.chaos.history import History, keeping
from tests.chaos.network import Network, network_to
from tests.chaos.validators import validate
from tests.support.serving import ServerProcess
from tests.support.watching import say

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


@dataclass
class Cluster:
    """Servers that are up. `network` leads callers to any of them; on SQLite there is one."""

    history: History
    directory: Path
    chance: random.Random
    database_url: str = ""
    flags: Sequence[str] = ()
    replicas: list[ServerProcess] = field(default_factory=list)
    network: Network = field(default_factory=lambda: Network(()))
    kills: int = 0

    @property
    def ledger(self) -> Path:
        """Where the graphs write down what they do."""
        return self.directory / "ledger"

    @property
    def address(self) -> str:
        """Where callers call: any server, by the network."""
        return self.network.address

    def add(self, *flags: str, environment: dict[str, str] | None = None) -> ServerProcess:
        """Return another replica, not started."""
        directory = self.directory / f"replica-{len(self.replicas)}"
        directory.mkdir()
        given = [*self.flags, *flags]
        if self.database_url:
            given.append(f"--database-url={self.database_url}")
        replica = ServerProcess(directory, GRAPHS, given, environment or {})
        self.replicas.append(replica)
        return replica

    async def start(self, replica: ServerProcess) -> None:
        """Start a replica and return when it is up."""
        await asyncio.to_thread(replica.start)
        self.is_up(replica)

    def is_up(self, replica: ServerProcess) -> None:
        """Note that a replica is up, and lead callers to it too."""
        self._note("start", replica)
        if replica.address not in self.network.targets:
            self.network.targets.append(replica.address)

    def kill(self, replica: ServerProcess) -> None:
        """End a replica as a crash does."""
        self._note("kill", replica)
        self.kills += 1
        replica.kill()

    def halt(self, replica: ServerProcess) -> None:
        """Halt a replica as a machine that sleeps does."""
        self._note("stop", replica)
        replica.pause()

    def wake(self, replica: ServerProcess) -> None:
        """Let a halted replica go on, as if nothing had been."""
        self._note("cont", replica)
        replica.resume()

    async def died(self, replica: ServerProcess, seconds: float) -> int:
        """Return a replica's exit code when it has ended by itself."""
        pid = replica.pid
        code = await asyncio.to_thread(replica.wait, seconds)
        self.history.add("fault", do="kill", server=replica.directory.name, pid=pid)
        self.kills += 1
        return code

    def _note(self, what: str, replica: ServerProcess, **more: Any) -> None:
        name = replica.directory.name
        self.history.add("fault", do=what, server=name, pid=replica.pid, **more)

    async def judge(self) -> None:
        """Write down what there is at the end, and fail if anything about it is wrong."""
        address = next(each.address for each in self.replicas if each.is_running)
        await write_ends(self.history, address, self.ledger)
        wrong = validate(self.history.lines)
        sentences = [f"{name}: {sentence}" for name, found in wrong.items() for sentence in found]
        assert not wrong, "\n".join(sentences[:50])


@asynccontextmanager
async def cluster(
    name: str,
    directory: Path,
    *flags: str,
    replicas: int = 1,
    database_url: str = "",
    seed: int | None = None,
) -> AsyncIterator[Cluster]:
    """Give replicas that are up, on one database: an SQLite file unless a URL is given.

    If the block fails the history is kept; the seed, and where the history is, are said.
    """
    seed = seed if seed is not None else seed_of(name)
    history = History(directory / "history.jsonl")
    history.add("about", name=name, seed=seed, replicas=replicas, flags=flags)
    async with AsyncExitStack() as stack:
        stack.enter_context(keeping(history, name))
        network = await stack.enter_async_context(network_to(seed=seed))
        chance = random.Random(seed)
        made = Cluster(history, directory, chance, database_url, flags, network=network)
        stack.callback(end_all, made.replicas)
        for _ in range(replicas):
            made.add()
        await asyncio.gather(*(made.start(replica) for replica in made.replicas))
        yield made


def seed_of(name: str) -> int:
    """Return the seed of a test: the one the environment gives, or another each time."""
    variable = f"{name.upper().replace('-', '_')}_SEED"
    seed = int(os.environ.get(variable, random.randrange(10**6)))
    say(f"{variable}={seed}")
    return seed


def end_all(replicas: Sequence[ServerProcess]) -> None:
    """Kill whatever still runs."""
    for replica in replicas:
        if replica.is_running:
            replica.kill()
            try:
                replica.wait()
            except subprocess.TimeoutExpired:
                say(f"{replica.directory.name} cannot be killed")
