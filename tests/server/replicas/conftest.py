"""What tests of several servers on one database start from."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.engine import Engine
from tests.support.replicas import open_replicas

PATIENT = {"cancel_grace": timedelta(minutes=10)}
"""Of servers that leave no code behind because the machine is slow."""


@pytest.fixture
async def two(postgres_url: str) -> AsyncIterator[list[Engine]]:
    """Two servers: the second one executes nothing, so that the first does."""
    async with open_replicas(postgres_url, 2, slots=(20, 0), **PATIENT) as engines:
        yield engines


@pytest.fixture
async def three(postgres_url: str) -> AsyncIterator[list[Engine]]:
    """Three servers that are alike."""
    async with open_replicas(postgres_url, 3, max_concurrent_runs=20, **PATIENT) as engines:
        yield engines
