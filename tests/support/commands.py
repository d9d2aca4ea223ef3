"""Running `runwire` as a person would: in a process of its own."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.environments import clean_environment

COMMAND_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended, and what it said."""

    exit_code: int
    output: str
    errors: str


async def run_command(
    *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Result:
    """Run `runwire` with arguments to its end. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "runwire.server", *arguments),
        cwd=cwd,
        env=clean_environment(environment),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Result(process.returncode, output.decode(), errors.decode())
