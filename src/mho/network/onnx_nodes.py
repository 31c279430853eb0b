"""From a node of an ONNX graph to plain Python: attributes, names, and what they tell about the layer's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mho.errors import InputFileError
from mho.network.naming import LAYER_KEY, WHOLE_KEY, read_hints
from mho.network.onnx_values import Constant, OnnxNode

if TYPE_CHECKING:
    import onnx_ir

WEIGHT_BITS_KEY = "mho.weight_bits"
"""Metadata of a node by which mho recognizes a ternary layer whose weights happen to be all -1 or +1."""

_MICROSOFT = frozenset(
    f"{before}{name}"
    for before, names in (
        ("", "QuantizeLinear DequantizeLinear QGemm DynamicQuantizeLSTM"),
        ("QLinear", "Add Mul Sigmoid LeakyRelu Softmax GlobalAveragePool AveragePool Concat"),
    )
    for name in names.split()
)
"""Operations of ONNX Runtime's own domain that are read: its quantizer writes them."""


def is_known_domain(node: OnnxNode) -> bool:
    """Return whether a node is of ONNX itself, or of what is read of ONNX Runtime's own domain."""
    return not node.domain or (node.domain == "com.microsoft" and node.op_type in _MICROSOFT)


def read_node(node: onnx_ir.Node, opset: int, where: str, hold: Callable[[Any, str], Constant]) -> OnnxNode:
    """Return a node as plain Python.

    Args:
        node: of the graph.
        opset: of its domain.
        where: the file.
        hold: makes a constant of a tensor among the attributes; its other argument is the name of the output.

    Raises:
        InputFileError: it has no outputs, attributes of a function that is not there, or names that are no text.
    """
    import onnx_ir

    attributes: dict[str, Any] = {}
    if not node.outputs:
        raise InputFileError(f"a node {node.op_type!r} without outputs", where=where)
    for key, attribute in node.attributes.items():
        value = attribute.value
        if attribute.is_ref():
            raise InputFileError(f"attribute {key!r} of a function that is not there", where=where)
        if attribute.type == onnx_ir.AttributeType.TENSOR:
            value = hold(value, node.outputs[0].name or "")
        attributes[key] = value
    name = read_text(node.name, where)
    hints = read_hints(name, node.metadata_props)
    for key in (LAYER_KEY, WEIGHT_BITS_KEY, WHOLE_KEY):
        if key in node.metadata_props:
            hints[key] = str(node.metadata_props[key])
    return OnnxNode(
        node.op_type,
        "" if node.domain == "ai.onnx" else node.domain,
        name,
        tuple(read_text(value.name, where) if value is not None else "" for value in node.inputs),
        tuple(read_text(value.name, where) for value in node.outputs),
        attributes,
        opset,
        hints,
    )


def read_text(name: object, where: str) -> str:
    """Return a name; protobuf gives bytes where it is no text."""
    if isinstance(name, bytes):
        raise InputFileError(f"a name is not UTF-8: {name!r}", where=where)
    return str(name or "")
