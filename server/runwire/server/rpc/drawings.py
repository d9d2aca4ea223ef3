"""What is told of graphs, from the model to the wire."""

from runwire.server.graphs.drawing import DrawnEdge, DrawnNode
from runwire.server.graphs.schemas import GraphSchemas
from runwire.server.rpc.payloads import of_optional
from runwire.v1 import assistants_pb2


def node_message(node: DrawnNode) -> assistants_pb2.GraphNode:
    """Return a node of a graph."""
    return assistants_pb2.GraphNode(
        node_id=node.node_id,
        name=node.name,
        type=node.kind,
        data=of_optional(node.data),
        metadata=of_optional(node.metadata),
    )


def edge_message(edge: DrawnEdge) -> assistants_pb2.GraphEdge:
    """Return an edge of a graph."""
    return assistants_pb2.GraphEdge(
        source=edge.source, target=edge.target, conditional=edge.conditional, label=edge.label
    )


def schemas_message(schemas: GraphSchemas) -> assistants_pb2.GraphSchemas:
    """Return what a graph takes and gives."""
    return assistants_pb2.GraphSchemas(
        input_schema=of_optional(schemas.input),
        output_schema=of_optional(schemas.output),
        state_schema=of_optional(schemas.state),
        config_schema=of_optional(schemas.config),
        context_schema=of_optional(schemas.context),
        errors={f"{name}_schema": problem for name, problem in schemas.problems.items()},
    )
