"""Servers: the processes that share a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server as it says of itself: at its start, and again with each beat.

    `server_id` is random for each start, `name` is its machine's. `address` is where callers reach
    it; empty while, or because, it takes no calls. `update_time` is the time of its last beat. Its
    lease says how long its runs are its own; a server that has the database for itself needs none.
    It executes runs of `graph_ids` alone.
    """

    server_id: str
    name: str
    version: str
    address: str = ""
    takes_calls: bool = True
    executes_runs: bool = True
    max_concurrent_runs: int
    executing: int = 0
    graph_ids: Sequence[str] = ()
    draining: bool = False
    start_time: datetime
    update_time: datetime
    lease_until: datetime | None

    def is_alive(self, now: datetime) -> bool:
        """Return whether the server holds its lease at `now`, by the database's clock."""
        return self.lease_until is None or self.lease_until > now

    def may_claim(self, now: datetime) -> bool:
        """Return whether the server begins runs at `now`."""
        return self.executes_runs and not self.draining and self.is_alive(now)
