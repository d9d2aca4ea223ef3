"""What the database of a server holds, counted."""

from runwire.server.storage.database import Database
from runwire.server.storage.tables import metadata


async def count_rows(database: Database) -> dict[str, int]:
    """Return how many rows each table has."""
    return await database.read(
        lambda connection: {
            table.name: connection.exec_driver_sql(
                f'SELECT count(*) FROM "{table.name}"'
            ).scalar_one()
            for table in metadata.sorted_tables
        }
    )
