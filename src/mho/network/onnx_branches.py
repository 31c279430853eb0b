"""If with a condition that is constant: the graph that it chooses, in its place."""

from __future__ import annotations

from typing import Any

from mho.network.draft import Unsupported
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_values import OnnxNode


def _if(reader: GraphReader, node: OnnxNode) -> None:
    condition = reader.constant(node, 0, "conditions (which of two graphs runs)")
    if condition.size != 1:
        raise Unsupported(f"has {condition.size} conditions")
    graph: Any = node.attributes["then_branch" if condition.reshape(())[()] else "else_branch"]
    reader.read_branch(graph)
    for own, inner in zip(node.outputs, graph.outputs, strict=True):
        reader.bind(own, reader.value(str(inner.name)))


CONVERTERS: dict[str, Converter] = {"If": _if}
