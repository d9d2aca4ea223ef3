"""`runwire crons`, through a real server."""

from uuid import uuid4

import pytest
from tests.commands.conftest import Commands

YEARLY = "--schedule=0 0 1 1 *"


def test_a_cron_s_life(runwire: Commands, thread_id: str) -> None:
    zone = "--timezone=Europe/Berlin"
    on_thread = ("--thread", thread_id)
    cron_id = runwire(
        *("crons", "create", "echo", YEARLY, zone, *on_thread, '--input={"text": "a"}')
    ).output.strip()
    changed = runwire("crons", "update", cron_id, "--disable", "--end=2999-01-01", "--json")
    found = runwire("crons", "list", *on_thread, "--disabled", "--json").document

    assert changed.document["enabled"] is False
    assert changed.document["end_time"].startswith("2999-01-01T00:00:00")
    assert [cron["cron_id"] for cron in found] == [cron_id]
    assert runwire("crons", "update", cron_id, "--no-end", "--json").document["end_time"] is None
    assert "timezone" in runwire("crons", "get", cron_id).output
    header, line = runwire("crons", "list", *on_thread).output.splitlines()
    assert header.split()[:3] == ["cron", "assistant", "schedule"]
    assert line.startswith(cron_id)
    assert runwire("crons", "delete", cron_id, "--json").document == {"deleted": [cron_id]}
    assert runwire("crons", "list", *on_thread).errors == "no crons\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "echo", "--schedule=often"], "schedule: must be five fields"),
        (["create", "echo", YEARLY, "--timezone=Nowhere/Land"], "time_zone: "),
        (["create", "echo", YEARLY, "--end=soon"], "--end is no time: write it as in 2026-01-31"),
        (["update", str(uuid4())], "say what to change: see runwire crons update --help"),
        (["update", str(uuid4()), "--end=2999-01-01", "--no-end"], "--end and --no-end: give one"),
        (["get", str(uuid4())], "no cron has the id "),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    runwire: Commands, arguments: list[str], words: str
) -> None:
    said = runwire("crons", *arguments)

    assert (said.exit_code, said.output) == (2, "")
    assert said.errors.startswith(words)
    assert len(said.errors.splitlines()) == 1
