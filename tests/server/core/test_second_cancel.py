"""A run that is being cancelled, and cancelled once more."""

from pathlib import Path

import pytest
from tests.support.engine import Engine, until

from runwire.server.model.errors import RunRolledBack
from runwire.server.model.runs import CancelAction, Run, RunState


async def cancelling(engine: Engine, directory: Path, action: CancelAction) -> Run:
    """Return a run that is CANCELLING as long as `directory` has no `open`."""
    thread_id = await engine.thread()
    run = await engine.start("gate_sync", {"directory": str(directory)}, thread_id=thread_id)
    await until((directory / "started").exists)
    return await engine.runs.cancel(run.run_id, action, wait=False)


async def test_to_be_taken_back_is_more_than_to_be_interrupted(
    engine: Engine, tmp_path: Path
) -> None:
    run = await cancelling(engine, tmp_path, CancelAction.INTERRUPT)

    again = await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=False)
    (tmp_path / "open").touch()
    await engine.ended(run)

    assert again.cancel is not None
    assert again.cancel.action is CancelAction.ROLLBACK
    with pytest.raises(RunRolledBack):
        await engine.row(run)


async def test_to_be_interrupted_does_not_undo_that_it_is_taken_back(
    engine: Engine, tmp_path: Path
) -> None:
    run = await cancelling(engine, tmp_path, CancelAction.ROLLBACK)

    again = await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    (tmp_path / "open").touch()

    assert again == run
    assert (await engine.ended(run)).rolled_back


async def test_the_same_once_more_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    run = await cancelling(engine, tmp_path, CancelAction.INTERRUPT)

    again = await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    (tmp_path / "open").touch()

    assert again == run
    assert (await engine.ended(run)).state is RunState.CANCELLED
