"""A server behind TLS, with certificates that are made for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import trustme

from runwire.v1 import runs_pb2_grpc
from tests.support.scripted import ScriptedRuns


@dataclass
class Identity:
    """A certificate with its key, and the authority that has signed it."""

    name: str
    authority: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        issued = self.authority.issue_cert(self.name)
        self.ca = self.authority.cert_pem.bytes()
        self.cert = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        self.key = issued.private_key_pem.bytes()


@asynccontextmanager
async def serve_by_tls(
    servicer: ScriptedRuns, server: Identity, *, callers: bytes | None = None
) -> AsyncIterator[str]:
    """Give the address of a server that proves to be `server`; with `callers` its callers have to
    show certificates that this authority has signed."""
    credentials = grpc.ssl_server_credentials(
        [(server.key, server.cert)], callers, require_client_auth=callers is not None
    )
    serving = grpc.aio.server()
    runs_pb2_grpc.add_RunServiceServicer_to_server(servicer, serving)
    port = serving.add_secure_port("127.0.0.1:0", credentials)
    await serving.start()
    try:
        yield f"localhost:{port}"
    finally:
        await serving.stop(0)
