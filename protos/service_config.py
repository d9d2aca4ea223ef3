"""Which calls a channel may send again by itself: gRPC's service configuration, made from the
contract, so that callers in every language retry the same."""

import json
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

# Five tries within about two seconds: what a server takes that hands its work over. gRPC does not
# take more than five.
RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    # CANCELLED, where the caller has not cancelled, is what gRPC makes of a call that reaches a
    # server in the moment in which it stops.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def service_configs(files: FileDescriptorSet) -> dict[str, bytes]:
    """Return the service configurations as files' names and contents.

    `service_config.json` retries what reads, or sets what it is given. That is right for every
    caller. `service_config_request_ids.json` retries, beside that, what takes a `request_id`: for
    callers that always give one.
    """
    messages = {
        f".{file.package}.{message.name}": message
        for file in files.file
        for message in file.message_type
    }
    methods = [
        ({"service": f"{file.package}.{service.name}", "method": method.name}, method)
        for file in files.file
        for service in file.service
        for method in service.method
    ]
    plain = [name for name, method in methods if is_repeatable(method)]
    with_ids = [
        name
        for name, method in methods
        if is_repeatable(method) or has_request_id(messages[method.input_type])
    ]
    return {
        "service_config.json": content(plain),
        "service_config_request_ids.json": content(with_ids),
    }


def is_repeatable(method: MethodDescriptorProto) -> bool:
    """Return whether a second call changes nothing that the first one has not."""
    return bool(method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN)


def has_request_id(message: DescriptorProto) -> bool:
    """Return whether a request names itself, so that the server knows it again."""
    return any(field.name == "request_id" for field in message.field)


def content(names: list[dict[str, str]]) -> bytes:
    """Return a configuration that retries the methods of these names."""
    config: dict[str, Any] = {"methodConfig": [{"name": names, "retryPolicy": RETRY_POLICY}]}
    return (json.dumps(config, indent=2) + "\n").encode()
