from collections.abc import AsyncIterator
from pathlib import Path

from langgraph.checkpoint.conformance import checkpointer_test, validate

from runwire.server.graphs.saver import RunwireSaver
from runwire.server.storage.database import Database


async def test_the_conformance_suite_of_langgraph_passes(tmp_path: Path) -> None:
    names = iter(range(100))

    @checkpointer_test(name="RunwireSaver")
    async def saver() -> AsyncIterator[RunwireSaver]:
        async with Database(tmp_path / f"{next(names)}.db") as database:
            yield RunwireSaver(database, fenced=False)

    report = await validate(saver)
    passed = {name: result.tests_passed for name, result in report.results.items()}
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert passed == {
        "put": 17,
        "put_writes": 10,
        "get_tuple": 10,
        "list": 16,
        "delete_thread": 5,
        "delete_for_runs": 7,
        "copy_thread": 8,
        "prune": 8,
    }
