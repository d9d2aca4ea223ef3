"""How a connection is kept from others: TLS, and who may be told a token."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

Pem = str | Path | bytes
"""The path of a PEM file, or what is in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a server proves who it is, and, for mutual TLS, how its caller does. Each is the path of
    a PEM file, or what is in one, as bytes. Files are read once, when the client is made.

    ca: The authorities that may have signed the server's certificate; those that gRPC brings along
        if it is None.
    cert: The caller's certificate, with those between it and an authority that the server knows.
    key: The private key to `cert`.
    server_name: The name in the server's certificate, if it is not the one by which it is called.
    """

    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert, key: one is nothing without the other")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what a channel needs. Raises OSError for a file that cannot be read."""
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))

    def options(self) -> dict[str, str]:
        """Return what a channel needs besides."""
        return {"grpc.ssl_target_name_override": self.server_name} if self.server_name else {}


def _read(pem: Pem | None) -> bytes | None:
    if pem is None or isinstance(pem, bytes):
        return pem
    return Path(pem).read_bytes()


def stays_here(target: str) -> bool:
    """Return whether what is sent to an address, gRPC's name for one or several, leaves this
    machine in no case."""
    scheme, separator, rest = target.partition(":")
    if separator and scheme in ("unix", "unix-abstract"):
        return True
    if separator and scheme in ("ipv4", "ipv6", "dns"):
        target = rest.rpartition("/")[2]
    return all(_is_loopback(address) for address in target.split(","))


def _is_loopback(address: str) -> bool:
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    else:
        host = address if address.count(":") > 1 else address.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token. Files with tokens end with a line's end, which is not part of
    them."""
    return {"authorization": f"Bearer {token.strip()}"}


_NAME = re.compile(r"[0-9a-z_.-]+")


def check_header(name: str, value: Any) -> None:
    """Raise ValueError if gRPC cannot send a header. Its value, which may be secret, is not
    told."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"headers[{name!r}]: names are made of a-z, 0-9, -, _ and .")
    if not name.endswith("-bin"):
        check_value(f"headers[{name!r}]", value)
    elif not isinstance(value, bytes):
        raise ValueError(f"headers[{name!r}]: what ends with -bin has bytes")


def check_value(place: str, value: Any) -> None:
    """Raise ValueError, which names the place alone, for a header's value that gRPC cannot send."""
    if not (isinstance(value, str) and value.isascii() and value.isprintable()):
        raise ValueError(f"{place}: only printable ASCII can be sent, in one line")
