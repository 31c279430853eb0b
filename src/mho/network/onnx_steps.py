"""ONNX nodes that one node is made of: converters of composed operations write these instead of operations of mho."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.network.draft import Unsupported
from mho.network.onnx_graph import GraphReader
from mho.network.onnx_values import Activation, Constant, OnnxNode, QuantizedActivation, QuantizedConstant

_OPSET = 21
"""Of the nodes that are made here, whatever the file has."""


class Steps:
    """Converts one ONNX node after the other on the way to the result of `node`; what is constant is folded."""

    def __init__(self, reader: GraphReader, node: OnnxNode) -> None:
        self.reader, self.node = reader, node
        self._count = 0

    def __call__(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Convert a node on these operands, by name; returns the name of its output. Raises `Unsupported`."""
        return self.several(op_type, 1, *inputs, **attributes)[0]

    def several(self, op_type: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """The same of a node with `count` outputs; returns their names."""
        names = tuple(self._name() for _ in range(count))
        # Operands that are left out at the end are not there.
        given = inputs[: max((i + 1 for i, operand in enumerate(inputs) if operand), default=0)]
        step = OnnxNode(
            op_type, "", f"{self.node.name or self.node.outputs[0]}.{self._count}", given, names, attributes,
            _OPSET, self.node.hints,
        )  # fmt: skip
        step.check_form()
        self.reader.convert(step)
        return names

    def operand(self, index: int) -> str:
        """Return the name of an operand of the node, "" where it is left out."""
        return self.node.inputs[index] if self.node.has_input(index) else ""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of what a name stands for. Raises `Unsupported` where it has none."""
        value = self.reader.value(name)
        if isinstance(value, Activation | QuantizedActivation):
            return self.reader.shape(value.tensor)
        if isinstance(value, Constant):
            return value.array.shape
        if isinstance(value, QuantizedConstant):
            return value.integers.shape
        raise Unsupported("has operands that are no tensors")

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of a new constant."""
        name = self._name()
        self.reader.bind(name, Constant(array, name))
        return name

    def number(self, value: float) -> str:
        """Return the name of a float32 number."""
        return self.constant(np.array(value, np.float32))

    def whole(self, *values: int) -> str:
        """Return the name of a list of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def reshape(self, name: str, *shape: int) -> str:
        """Return the name of a tensor in another shape."""
        return self("Reshape", name, self.whole(*shape))

    def finish(self, name: str, index: int = 0) -> None:
        """Let an output of the node be what `name` stands for."""
        if index < len(self.node.outputs) and self.node.outputs[index]:
            self.reader.bind(self.node.outputs[index], self.reader.value(name))

    def _name(self) -> str:
        self._count += 1
        return f"{self.node.outputs[0]}/{self._count}"
