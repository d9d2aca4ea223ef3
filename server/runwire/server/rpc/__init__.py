"""Floor 5: the only code that knows protobuf and gRPC."""
