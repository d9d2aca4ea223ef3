"""A port that several processes listen on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from runwire.server.settings import split_address


@contextmanager
def held_port(bind: str) -> Iterator[str]:
    """Keep an address for the processes that will listen on it: give it with its port, also when
    any was asked for.

    Nobody but processes of this user that share their port, too, gets it meanwhile; nothing is
    accepted here. Raises OSError when somebody has the address.
    """
    host, port = split_address(bind)
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe, _sharing(family) as held:
        # Sharing would let us in beside whoever listens already: another supervisor's servers.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        found = probe.getsockname()
        probe.close()
        held.bind(found)
        # Connections of former servers may linger at a port that is bound; the next probe must
        # find it taken all the same.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        yield f"{bind.rpartition(':')[0]}:{found[1]}"


def _sharing(family: int) -> socket.socket:
    sharing = socket.socket(family, socket.SOCK_STREAM)
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sharing
