"""Places in what changes: where readers begin, and where they may go on."""

from dataclasses import dataclass
from datetime import timedelta

from runwire.server.model.changes import Place
from runwire.server.model.errors import ResumeTokenExpired
from runwire.server.storage import changes
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection

FRESH_SECONDS = 600.0
"""How often a reader looks whom nothing wakes: so old its place may grow."""


@dataclass(frozen=True, slots=True)
class Places:
    """Gives places. `kept` is for how long it is known what was deleted."""

    kept: timedelta

    def first(self, connection: Connection, *, unfinished: bool = False) -> Place:
        """Return the place before everything, or before all runs that are in flight."""
        return Place(time=current_time(connection), unfinished=unfinished)

    def newest(self, connection: Connection) -> Place:
        """Return the place after everything."""
        return Place(time=current_time(connection), seen=changes.horizon(connection))

    def check(self, connection: Connection, place: Place) -> None:
        """Return if a reader who was at a place can go on there. Raises `ResumeTokenExpired`."""
        now, newest = current_time(connection), changes.horizon(connection)
        # In SQLite what had the greatest number may be deleted; numbers are not given out again.
        is_foreign = place.seen.next > newest.next and connection.dialect.name != "sqlite"
        if is_foreign or now - place.time > self.kept:
            raise ResumeTokenExpired
