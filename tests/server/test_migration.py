"""`runwire migrate`, as somebody types it."""

import psycopg
from tests.support.commands import run_command
from tests.support.postgres import Databases

from runwire.server.storage.migrate import HEAD


async def test_a_database_is_migrated_without_a_server(postgres: Databases) -> None:
    with postgres.create(empty=True) as url:
        for _ in range(2):  # what is done stays done
            done = await run_command("migrate", environment={"DATABASE_URL": url})
            assert (done.exit_code, done.errors) == (0, "")
            assert done.output.strip().endswith(f"has schema {HEAD}")
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            assert found == [(HEAD,)]


async def test_what_cannot_be_migrated_is_told_without_a_password() -> None:
    url = "postgresql://user:s3cret@127.0.0.1:1/app"
    failed = await run_command("migrate", f"--database-url={url}")
    assert failed.exit_code == 1
    assert failed.errors.startswith("runwire cannot migrate: postgresql://user@127.0.0.1:1/app")
    assert "refused" in failed.errors
    assert "s3cret" not in failed.errors + failed.output
    assert "Traceback" not in failed.errors
