"""Check a history again that was kept: python -m tests.chaos.validate FILE…"""

import sys
from pathlib import Path

from tests.chaos.history import of_kind, read_history
from tests.chaos.validators import sentences_of, validate


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
        if not of_kind(lines, "run"):
            sys.stdout.write("it ends before anything was written of what there was at the end\n")
        for sentence in sentences_of(validate(lines)):
            is_wrong = True
            sys.stdout.write(f"{sentence}\n")
    sys.stdout.write("something is wrong\n" if is_wrong else "nothing is wrong\n")
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
