"""The synchronous client is what the asynchronous one makes it, method for method."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runwire.client import RunwireClient, SyncRunwireClient, get_client, get_sync_client

ROOT = Path(__file__).resolve().parents[3]
NOUNS = sorted(vars(get_client("nowhere:1")).keys() - {"_connection"})


def test_it_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "client/make_sync.py", "--check"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def methods(client: Any) -> dict[str, Any]:
    found = inspect.getmembers(client, callable)
    return {name: method for name, method in found if not name.startswith("_")}


@pytest.mark.parametrize("noun", NOUNS)
def test_both_faces_have_the_same_methods_with_the_same_parameters(noun: str) -> None:
    ours = methods(getattr(get_client("nowhere:1"), noun))
    made = methods(getattr(get_sync_client("nowhere:1"), noun))
    assert ours
    assert made.keys() == ours.keys()
    for name, method in made.items():
        signature = inspect.signature(ours[name])
        assert inspect.signature(method).parameters.keys() == signature.parameters.keys()
        assert not inspect.iscoroutinefunction(method)


def test_both_faces_are_closed_by_the_word_that_python_has_for_it() -> None:
    assert methods(RunwireClient).keys() == {"aclose"}
    assert methods(SyncRunwireClient).keys() == {"close"}
