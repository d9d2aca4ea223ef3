"""`runwire migrate`: bringing a database to what this version needs, without serving."""

import asyncio
import sys

from runwire.server.storage.addresses import shown
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.files import DatabaseInUse
from runwire.server.storage.migrate import HEAD, SchemaTooNew
from runwire.server.storage.opening import database_at


def migrate_database(url: str) -> int:
    """Migrate the database at `url`, or wait until another has; return the exit code."""
    try:
        asyncio.run(_open_and_close(url))
    except (DatabaseInUse, DatabaseUnusable, SchemaTooNew, OSError) as error:
        sys.stderr.write(f"runwire cannot migrate: {error}\n")
        return 1
    sys.stdout.write(f"{shown(url)} has schema {HEAD}\n")
    return 0


async def _open_and_close(url: str) -> None:
    async with database_at(url):
        pass
