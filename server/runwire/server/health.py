"""`runwire health`: asking a server, here or elsewhere, whether it serves."""

from enum import IntEnum
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

CHANNEL_OPTIONS = [
    # A server on this machine, or in this cluster, is not to be had through a web proxy.
    ("grpc.enable_http_proxy", 0),
]


class Health(IntEnum):
    """How a server is; the exit code of `runwire health`."""

    SERVING = 0
    NOT_SERVING = 1
    UNKNOWN = 2


def ask_health(address: str, service: str, timeout: float) -> tuple[Health, str]:
    """Ask a server how it, or one of its services, is; wait `timeout` seconds at most.

    Return the answer and a sentence about it.
    """
    what = service or "the server"
    request = health_pb2.HealthCheckRequest(service=service)
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its methods are untyped
        try:
            answer = stub.Check(request, timeout=timeout)
        except grpc.RpcError as error:
            # What a failed call raises is a grpc.Call too, which its type does not say.
            return Health.UNKNOWN, _why_unknown(cast("grpc.Call", error).code(), address, service)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return Health.SERVING, f"{what} at {address} is serving"
    return Health.NOT_SERVING, f"{what} at {address} is not serving"


def _why_unknown(code: grpc.StatusCode, address: str, service: str) -> str:
    match code:
        case grpc.StatusCode.NOT_FOUND:
            return f"{address} has no service {service!r}"
        case grpc.StatusCode.UNAVAILABLE:
            return f"nothing answers at {address}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{address} did not answer in time"
        case _:
            return f"{address} answered {code.name}"
