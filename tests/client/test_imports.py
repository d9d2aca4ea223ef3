"""What importing the client costs."""

import json
import subprocess
import sys

HEAVY = {"httpx", "langchain_core", "langgraph", "langgraph_sdk", "pydantic", "sqlalchemy"}


def test_the_client_imports_nothing_heavy() -> None:
    """Not even langgraph_sdk, whose types it shows to type checkers: that takes half a second."""
    program = "import json, sys, runwire.client; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(json.loads(printed.stdout))
    assert loaded & HEAVY == set()
    assert not any(name.startswith("runwire.server") for name in loaded)
