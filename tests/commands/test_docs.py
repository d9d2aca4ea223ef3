"""The page about the command line, which is made from what the commands say of themselves."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_commands_say() -> None:
    command = [sys.executable, ROOT / "client" / "make_cli_docs.py", "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (checked.returncode, checked.stdout) == (0, "")
