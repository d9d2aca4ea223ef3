"""Reflection, in both of its versions, with the comments of the contract: what `describe` prints
is the documentation."""

import contextlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

ALPHA = "grpc.reflection.v1alpha.ServerReflection"
STABLE = "grpc.reflection.v1.ServerReflection"
"""The same service under its final name, which grpcio-reflection lacks; messages are equal."""

_METHOD = "ServerReflectionInfo"


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let a server tell about `services`, and about reflection itself."""
    servicer = reflection_aio.ReflectionServicer([*services, ALPHA, STABLE], pool=_Pool())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
        servicer,
        server,  # the stub of this function has no types
    )
    stable = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(STABLE, {_METHOD: stable})]
    )


def _documented() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Return the files of the contract, with comments, by name."""
    image = resources.files("runwire.v1").joinpath("descriptors.binpb").read_bytes()
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(image).file}


def _stable_reflection() -> descriptor_pb2.FileDescriptorProto:
    """Return the file of reflection's final version, made from that of the alpha version."""
    stable = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(stable)
    stable.name = "grpc/reflection/v1/reflection.proto"
    stable.package = "grpc.reflection.v1"
    for message in stable.message_type:
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = _stable_name(field.type_name)
    for service in stable.service:
        for method in service.method:
            method.input_type = _stable_name(method.input_type)
            method.output_type = _stable_name(method.output_type)
    return stable


def _stable_name(name: str) -> str:
    return name.replace(".grpc.reflection.v1alpha.", ".grpc.reflection.v1.")


class _File:
    """Stands for a file descriptor as far as the reflection service looks at one."""

    def __init__(self, proto: descriptor_pb2.FileDescriptorProto, pool: "_Pool") -> None:
        self.name = proto.name
        self._proto = proto
        self._pool = pool

    @property
    def dependencies(self) -> list[Any]:
        """The files that this one imports."""
        return [self._pool.FindFileByName(name) for name in self._proto.dependency]

    def CopyToProto(self, proto: descriptor_pb2.FileDescriptorProto) -> None:
        """Copy the file with its comments, which Python's own descriptors do not keep."""
        proto.CopyFrom(self._proto)


class _Pool:
    """Stands for the pool of descriptors that the reflection service looks into: the usual one,
    with comments where there are any."""

    def __init__(self) -> None:
        self._documented = _documented()
        self._usual = descriptor_pool.Default()
        self._stable = descriptor_pool.DescriptorPool()
        self._stable.Add(_stable_reflection())
        self.FindMessageTypeByName = self._usual.FindMessageTypeByName
        self.FindExtensionByNumber = self._usual.FindExtensionByNumber
        self.FindAllExtensions = self._usual.FindAllExtensions

    def FindFileByName(self, name: str) -> Any:
        """Return a file; raises KeyError if there is none."""
        if name in self._documented:
            return _File(self._documented[name], self)
        try:
            return self._usual.FindFileByName(name)
        except KeyError:
            return self._stable.FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """Return the file that defines a symbol; raises KeyError if there is none."""
        for find in (
            self._usual.FindFileContainingSymbol,
            self._file_of_method,
            self._stable.FindFileContainingSymbol,
        ):
            with contextlib.suppress(KeyError):
                return self.FindFileByName(find(symbol).name)
        raise KeyError(symbol)

    def _file_of_method(self, symbol: str) -> Any:
        # Pools do not take a method for a symbol; callers of reflection do.
        return self._usual.FindMethodByName(symbol).containing_service.file
