"""Creating crons."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection
from tests.support.records import a_server, an_assistant
from tests.support.transactions import encode

from runwire.server.core.creation import Rules
from runwire.server.core.crons import CronDraft, _create
from runwire.server.model.runs import RunSpec
from runwire.server.storage import assistants, crons
from runwire.server.storage.opening import database_at

RULES = Rules(
    graph_ids=["graph"],
    owner=a_server().server_id,
    max_pending=1,
    request_retention=timedelta(hours=1),
    encode=encode,
)


async def test_an_assistant_is_not_deleted_while_a_cron_of_it_is_made(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant = an_assistant()
    draft = CronDraft(
        spec=RunSpec(assistant_id=assistant.assistant_id), schedule="@daily", time_zone="UTC"
    )
    add = crons.add_cron

    def add_late(connection: Connection, cron: Any) -> None:
        with psycopg.connect(postgres_url) as other:
            other.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("DELETE FROM assistants")
        add(connection, cron)

    monkeypatch.setattr(crons, "add_cron", add_late)
    async with database_at(postgres_url) as database:
        await database.write(lambda connection: assistants.add_assistant(connection, assistant))
        made = await database.write(lambda connection: _create(connection, draft, None, "", RULES))
        assert await database.read(lambda c: crons.get_cron(c, made.cron_id)) == made
