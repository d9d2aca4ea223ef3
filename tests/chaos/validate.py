"""Check a history again that was kept: python -m tests.chaos.validate FILE…"""

import sys
from pathlib import Path

from tests.chaos.history import of_kind, read_history
from tests.chaos.validators import validate


def main(files: list[str]) -> int:
    """Say what is wrong with each history; return 1 if anything is."""
    if not files:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    is_wrong = False
    for file in files:
        lines = read_history(Path(file))
        about = {**(of_kind(lines, "about") or [{}])[0]}
        sys.stdout.write(f"{file}: {len(lines)} lines of {about}\n")
        for name, wrong in validate(lines).items():
            is_wrong = True
            for sentence in wrong:
                sys.stdout.write(f"{name}: {sentence}\n")
    sys.stdout.write("something is wrong\n" if is_wrong else "nothing is wrong\n")
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
