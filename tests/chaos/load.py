"""Callers who are at it all the time."""

import asyncio
import random
import uuid
from dataclasses import dataclass, field

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a load consists of: `callers` at a time, each making a run every `pause` seconds or so
    on one of `threads`, or on none, until there are `total` if that is not 0; chances that it is
    cancelled, or read to its end."""

    callers: int = 4
    total: int = 0
    pause: float = 0.3
    threads: int = 8
    steps: int = 4
    seconds: float = 0.03
    events: int = 3
    stateless: float = 0.2
    cancelled: float = 0.1
    read: float = 0.3
    graphs: tuple[str, ...] = ("steps", "steps_sync")


@dataclass
class Load:
    """A load on a cluster. `run_ids` are the runs that were accepted."""

    cluster: Cluster
    plan: Plan
    run_ids: list[str] = field(default_factory=list)
    _is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        seed = self.cluster.chance.getrandbits(64)
        chance = random.Random(seed)
        self._threads = [
            str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(self.plan.threads)
        ]
        self._seed = seed
        self._made = 0

    def end(self) -> None:
        """Let nobody make another run."""
        self._is_over.set()

    async def run(self) -> None:
        """Make runs until the `end`, then return when all of them have ended."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.plan.callers):
                tasks.create_task(self._call(f"caller-{number}"))
        async with Caller(self.cluster.history, "last", self.cluster.address) as caller:
            for run_id in self.run_ids:
                await caller.join(run_id)

    async def _call(self, name: str) -> None:
        chance = random.Random(f"{self._seed} {name}")
        number = 0
        async with (
            Caller(self.cluster.history, name, self.cluster.address) as caller,
            asyncio.TaskGroup() as tasks,
        ):
            while not self._is_over.is_set():
                self._made += 1
                if self._made == self.plan.total:
                    self.end()
                await self._make_run(f"{name}-{number}", caller, chance, tasks)
                number += 1
                pause = chance.uniform(0.5, 1.5) * self.plan.pause
                try:
                    async with asyncio.timeout(pause):
                        await self._is_over.wait()
                except TimeoutError:
                    pass

    async def _make_run(
        self, label: str, caller: Caller, chance: random.Random, tasks: asyncio.TaskGroup
    ) -> None:
        plan = self.plan
        thread = "" if chance.random() < plan.stateless else chance.choice(self._threads)
        run = await caller.create(
            label,
            str(self.cluster.ledger),
            thread=thread,
            graph=chance.choice(plan.graphs),
            steps=plan.steps,
            seconds=plan.seconds,
            events=plan.events,
        )
        self.run_ids.append(run.run_id)
        if chance.random() < plan.cancelled:
            tasks.create_task(self._cancel(run.run_id, caller, chance.uniform(0, 0.5)))
        if chance.random() < plan.read:
            tasks.create_task(self._read(run.run_id, f"{caller.name} of {label}"))

    async def _cancel(self, run_id: str, caller: Caller, after: float) -> None:
        await asyncio.sleep(after)
        await caller.cancel(run_id)

    async def _read(self, run_id: str, name: str) -> None:
        async with Caller(self.cluster.history, name, self.cluster.address) as reader:
            await reader.read(run_id)
