"""The list of what is not as in langgraph_sdk, which is a table of the page for those who come from
there."""

import re
from pathlib import Path

from tests.support.sdk_surface import Found

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"

_ROW = re.compile(r"^\| (?P<kind>[a-z ]+) \| (?P<places>`[^|]+`) \| (?P<reason>[^|]+) \|$", re.M)


def listed() -> set[Found]:
    return set()
