"""Where commands find the server."""

import pytest

from runwire.commands.calling import DEFAULT_ADDRESS, default_address
from runwire.server.settings import DEFAULT_BIND


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1:50051"),
        ({"RUNWIRE_BIND": "0.0.0.0:1234"}, "127.0.0.1:1234"),
        ({"RUNWIRE_BIND": "[::]:1234"}, "[::1]:1234"),
        ({"RUNWIRE_BIND": "10.0.0.1:1234"}, "10.0.0.1:1234"),
        ({"RUNWIRE_ADDRESS": "agents:1", "RUNWIRE_BIND": "0.0.0.0:1234"}, "agents:1"),
    ],
)
def test_commands_find_the_server_that_this_environment_starts(
    environment: dict[str, str], address: str
) -> None:
    assert default_address(environment) == address


def test_the_default_is_where_a_server_listens() -> None:
    assert DEFAULT_ADDRESS == DEFAULT_BIND
