"""What Alembic runs: the migrations, in the transaction of the connection that it is given."""

from alembic import context

from runwire.server.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
