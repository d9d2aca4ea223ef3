"""The database's files: readable by their owner alone, and used by one server at a time."""

import fcntl
import os
from pathlib import Path
from typing import IO


class DatabaseInUse(Exception):
    """Another server has this database file open."""


def create_private_file(path: Path) -> None:
    """Create the database file if it is not there; private either way, whatever the umask.

    SQLite gives its -wal and -shm files the mode of the database file, so this comes before
    SQLite first opens it.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def lock_file(path: Path) -> IO[str]:
    """Take the lock of a database file and return it; closing it, or dying, gives it back.

    Comes before anything else touches the file: a file closed anywhere in a process drops every
    lock that SQLite holds on it there. Raises `DatabaseInUse` and names the process that has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock_path = path.with_name(path.name + ".lock")
    file = os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = file.read().strip() or "unknown"
        file.close()
        raise DatabaseInUse(
            f"{path} belongs to a running server (process {owner}): one server per SQLite file"
        ) from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file
