"""What a failed call says, as tests compare it."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]  # has no stubs
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # has no stubs
from grpc_status import rpc_status


class Failure:
    """A failed call: its code by name, its reason, its variables, its wrong fields."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code().name
        self.message = error.details() or ""
        self.reason = ""
        self.variables: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self.retries = False
        # `from_call` is typed for synchronous calls; it reads no more than these errors have.
        call: Any = error
        status = rpc_status.from_call(call)
        if status is not None:
            self._read(status)

    def _read(self, status: Status) -> None:
        assert status.message == self.message
        for packed in status.details:
            info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
            if packed.Unpack(info):
                assert not self.reason, "there is exactly one ErrorInfo"
                assert info.domain == "runwire.dev"
                self.reason, self.variables = info.reason, dict(info.metadata)
            elif packed.Unpack(bad):
                self.fields = {item.field: item.description for item in bad.field_violations}
            self.retries = self.retries or packed.Unpack(retry)


async def failure_of(call: Awaitable[Any]) -> Failure:
    """Await a call that must fail; return how it did."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Failure(caught.value)
