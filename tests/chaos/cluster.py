"""Servers on one database, what is done to them, and a history of it all."""

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.ends import read_ledger, write_ends
from tests.chaos.history import History, keeping
from tests.chaos.network import Network, free_port, network_to
from tests.chaos.rows import address_of, named, watch_rows, write_rows
from tests.chaos.validators import sentences_of, validate
from tests.support.serving import ServerProcess
from tests.support.watching import say

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"

LEASE_SECONDS = 2.0
SWEEP_SECONDS = 0.5
FAST = ("--lease=2s", "--beat-interval=500ms", "--sweep-interval=500ms")
"""How soon servers miss each other in tests."""


@dataclass
class Cluster:
    """Servers that are up. `network` leads callers to any of them; on SQLite there is one."""

    history: History
    directory: Path
    chance: random.Random
    database_url: str = ""
    flags: Sequence[str] = ()
    wires: bool = False
    """Whether each replica has a network of its own to the database: see `wire_of`."""
    replicas: list[ServerProcess] = field(default_factory=list)
    network: Network = field(default_factory=lambda: Network(()))
    kills: int = 0
    _wires: dict[str, Network] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def ledger(self) -> Path:
        """Where the graphs write down what they do."""
        return self.directory / "ledger"

    @property
    def address(self) -> str:
        """Where callers call: any server, by the network."""
        return self.network.address

    @property
    def is_shared(self) -> bool:
        """Whether there can be more than one replica."""
        return bool(self.database_url)

    async def add(self, *flags: str, environment: Mapping[str, str] | None = None) -> ServerProcess:
        """Return another replica, not started."""
        name = f"replica-{len(self.replicas)}"
        directory = self.directory / name
        directory.mkdir()
        given = list[str]()
        if self.is_shared:
            address = ""
            if self.wires:
                wire = network_to(address_of(self.database_url))
                self._wires[name] = await self._stack.enter_async_context(wire)
                address = self._wires[name].address
            url = named(self.database_url, name, address=address)
            given = [*FAST, f"--database-url={url}"]
        # What a test asks for comes last, and so holds.
        given += [*self.flags, *flags]
        replica = ServerProcess(directory, GRAPHS, given, environment or {}, port=free_port())
        self.replicas.append(replica)
        return replica

    def wire_of(self, replica: ServerProcess) -> Network:
        """Return the network between a replica and the database."""
        return self._wires[replica.directory.name]

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

    def tell_to_stop(self, replica: ServerProcess) -> None:
        """Ask a replica to stop, as who replaces it by another does."""
        self._note("term", replica)
        replica.send(signal.SIGTERM)

    async def died(self, replica: ServerProcess, seconds: float) -> int:
        """Return a replica's exit code when it has ended by itself."""
        pid = replica.pid
        code = await asyncio.to_thread(replica.wait, seconds)
        self.history.add("fault", do="kill", server=replica.directory.name, pid=pid)
        self.kills += 1
        return code

    def is_executing(self, replica: ServerProcess) -> bool:
        """Return whether a replica is in a superstep of a run."""
        last: dict[str, str] = {}
        for note in read_ledger(self.ledger):
            if note["pid"] == replica.pid:
                last[note["run"]] = note["what"]
        return "begin" in last.values()

    def _note(self, what: str, replica: ServerProcess, **more: Any) -> None:
        name = replica.directory.name
        self.history.add("fault", do=what, server=name, pid=replica.pid, **more)

    async def judge(self) -> None:
        """Write down what there is at the end, and fail if anything about it is wrong."""
        address = next(each.address for each in self.replicas if each.is_running)
        await write_ends(self.history, address, self.ledger)
        if self.is_shared:
            write_rows(self.history, self.database_url)
        wrong = validate(self.history.lines)
        assert not wrong, "\n".join(sentences_of(wrong))


@asynccontextmanager
async def cluster(
    name: str,
    directory: Path,
    *flags: str,
    replicas: int = 1,
    database_url: str = "",
    wires: bool = False,
) -> AsyncIterator[Cluster]:
    """Give replicas that are up, on one database: an SQLite file unless a URL is given.

    If the block fails the history is kept; the seed, and where the history is, are said.
    """
    seed = seed_of(name)
    history = History(directory / "history.jsonl")
    history.add("about", name=name, seed=seed, replicas=replicas, flags=flags)
    async with AsyncExitStack() as stack:
        stack.enter_context(keeping(history, name))
        made = Cluster(
            history,
            directory,
            random.Random(seed),
            database_url,
            flags,
            wires,
            network=await stack.enter_async_context(network_to(seed=seed)),
            _stack=stack,
        )
        stack.callback(end_all, made.replicas)
        if database_url:
            watch_rows(database_url)
        for _ in range(replicas):
            await made.add()
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
