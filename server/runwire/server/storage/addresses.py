"""URLs of databases: which are understood, and how they are shown."""

from pathlib import Path
from typing import Any

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")


def check_address(url: str) -> None:
    """Return if the URL is one of a database. Raises ValueError, which does not repeat it: it may
    hold a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"must be a URL, such as {SQLITE}runwire.db")
    if is_postgresql(url):
        _parts(url)
    elif scheme != "sqlite":
        raise ValueError(f"must begin with {SQLITE} or {POSTGRESQL[0]}, not with {scheme}://")
    elif not rest.startswith("/") or rest == "/" or "?" in rest or "#" in rest:
        raise ValueError(f"must be {SQLITE} and the path of a file, without parameters")
    elif rest == "/:memory:":
        raise ValueError("a database in memory would lose every run with the server")


def is_postgresql(url: str) -> bool:
    """Return whether the URL is one of a PostgreSQL server."""
    return url.startswith(POSTGRESQL)


def path_of(url: str) -> Path:
    """Return the file of a SQLite database."""
    return Path(url.removeprefix(SQLITE))


def shown(url: str) -> str:
    """Return a database as it is shown, without what is secret."""
    if not is_postgresql(url):
        return str(path_of(url))
    parts = _parts(url)
    user = f"{parts['user']}@" if parts.get("user") else ""
    hosts = str(parts.get("host") or "localhost").split(",")
    ports = str(parts.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)]
    database = parts.get("dbname") or parts.get("user") or ""
    return f"postgresql://{user}{','.join(places)}/{database}"


def without_password(text: str, url: str) -> str:
    """Return what was said about a PostgreSQL database, on one line, without its password."""
    password = _parts(url).get("password")
    text = " ".join(text.split())
    return text.replace(str(password), "…") if password else text


def _parts(url: str) -> dict[str, Any]:
    # The library takes a while to load, and only those pay who use it.
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = dict(conninfo_to_dict(url))
    except Error:
        parts = None
    if parts is None or _is_misread(url):
        raise ValueError(
            "is no URL that PostgreSQL's client library understands, such as"
            " postgresql://user:password@host:5432/database (special characters in a password"
            " have to be escaped, such as %40 for @ and %2F for /)"
        ) from None
    return parts


def _is_misread(url: str) -> bool:
    """Return whether the library would take a part of a password for a host or a database: then
    that part would be shown, and looked for in the network."""
    place, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    return place.count("@") > 1 or "@" in path
