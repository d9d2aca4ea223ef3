"""What tests of the runner floor start from."""

from pathlib import Path

import pytest
from tests.support.meeting import Meeting


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    """Where a test and the graphs that it runs meet."""
    directory = tmp_path / "meeting"
    directory.mkdir()
    return Meeting(directory)
