"""What core asks of the runner in its own process. The runner stands above core, so core says
what it needs and the composition hands it in."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

from runwire.server.model.runs import Run

T = TypeVar("T")


class LocalRunner(Protocol):
    """The runner of this process. Called on the gRPC loop only, except where it says so."""

    server_id: str
    """Random for each start: no server is ever taken for its former self."""

    def reserve(self, count: int) -> int:
        """Set aside up to `count` free slots and return how many there were."""

    def give_back(self, count: int, *, denied: int = 0) -> None:
        """Return slots that were set aside and not used. `denied`: how many there were not of those
        asked for; the runs that they were for are stored now, or will never be."""

    def start(self, runs: Sequence[Run]) -> None:
        """Execute runs that this server has claimed, in slots that were set aside."""

    def wake(self) -> None:
        """Look for claimable runs soon."""

    def stop(self, run_id: str) -> None:
        """Hurry a committed cancel, if the run is executed here."""

    def told_of_work(self) -> None:
        """Look for claimable runs soon, if there is a slot for any: another server has said that
        there are some."""

    def told_of_cancels(self, run_ids: Collection[str] | None) -> None:
        """Look soon which of the runs that are executed here are cancelled: another server has said
        that these are; None: any may be."""

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await `function()` on a runner loop: for what may run user code. A caller that is
        cancelled cancels it."""
