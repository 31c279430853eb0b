"""A network under construction: what the reader emits into and the passes of normalize.py rewrite.

Mutable and private to reading; what leaves is a `Network`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.shapes import Shape, ShapeError, infer_shape
from mho.network.graph import MVM_OPERATIONS, Attribute, Grid, LayerQuantization, Network, Node, TensorInfo

Array = NDArray[Any]


BINARY = "binary"
"""Attribute of a fake_quantize under construction whose grid is {-1, +1}; only an MVM layer can take it in."""


class Unsupported(Exception):
    """What mho cannot do with one node; the reader gathers these and tells them all at once."""


@dataclass(eq=False)
class DraftNode:
    """One operation under construction.

    Attributes:
        hints: what the file says about the node's name: see naming.py.
        weight_grid: for conv and linear, how the file quantizes the weight constant, which then holds integers.
    """

    name: str
    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    weight_grid: Grid | None = None
    quantization: LayerQuantization | None = None

    @property
    def is_mvm(self) -> bool:
        """True where the arithmetic of the node runs in crossbars."""
        return self.op in MVM_OPERATIONS


class Draft:
    """Nodes, constants and per-sample shapes of a network under construction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[TensorInfo] = []
        self.outputs: list[str] = []
        self.nodes: list[DraftNode] = []
        self.constants: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {}
        self._names: set[str] = set()
        self._tensors: set[str] = set()

    def unique_name(self, wanted: str) -> str:
        """Return `wanted`, or the first of wanted_2, wanted_3, ... that no node has, and reserve it."""
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def rename_node(self, node: DraftNode, wanted: str) -> None:
        """Give `node` another name, made unique."""
        self._names.discard(node.name)
        node.name = self.unique_name(wanted)

    def unique_tensor(self, wanted: str) -> str:
        """Return a tensor or constant name that is still free, and reserve it."""
        name, number = wanted, 1
        while name in self._tensors:
            number += 1
            name = f"{wanted}_{number}"
        self._tensors.add(name)
        return name

    def add_input(self, name: str, shape: Shape) -> None:
        """Declare a network input."""
        self.inputs.append(TensorInfo(self.unique_tensor(name), shape))
        self.shapes[name] = shape

    def add_constant(self, name: str, value: Array) -> str:
        """Hold a constant; the same array under the same name is held once. Returns its name."""
        if self.constants.get(name) is value:
            return name
        held = self.unique_tensor(name)
        self.constants[held] = value
        return held

    def shape_of(self, tensor: str) -> Shape:
        """Return the shape of a tensor or constant."""
        return self.shapes[tensor] if tensor in self.shapes else self.constants[tensor].shape

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        name: str,
        hints: Mapping[str, str] | None = None,
    ) -> DraftNode:
        """Append a node. `output` and `name` are made unique. Raises `Unsupported` where shapes do not fit."""
        attributes = dict(attributes or {})
        try:
            shape = infer_shape(op, [self.shape_of(tensor) for tensor in inputs], attributes)
        except ShapeError as error:
            raise Unsupported(str(error)) from error
        if 0 in shape:
            raise Unsupported(f"makes an empty tensor {list(shape)}")
        node = DraftNode(
            self.unique_name(name), op, list(inputs), self.unique_tensor(output), attributes, dict(hints or {})
        )
        self.shapes[node.output] = shape
        self.nodes.append(node)
        return node

    def consumers(self) -> dict[str, list[DraftNode]]:
        """Return the nodes that read each tensor, in execution order, once a node."""
        result: dict[str, list[DraftNode]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.inputs):
                result.setdefault(tensor, []).append(node)
        return result

    def producers(self) -> dict[str, DraftNode]:
        """Return the node that makes each tensor."""
        return {node.output: node for node in self.nodes}

    def replace_tensor(self, old: str, new: str) -> None:
        """Let every reader of `old`, and the network's outputs, read `new`."""
        for node in self.nodes:
            node.inputs = [new if tensor == old else tensor for tensor in node.inputs]
        self.outputs = [new if tensor == old else tensor for tensor in self.outputs]

    def remove_nodes(self, removed: Iterable[DraftNode]) -> None:
        """Drop nodes that nobody reads any more."""
        dropped = {id(node) for node in removed}
        self.nodes = [node for node in self.nodes if id(node) not in dropped]

    def finish(self) -> Network:
        """Freeze: the constants that are read, float32 where they are not integers."""
        read = {tensor for node in self.nodes for tensor in node.inputs}
        constants = {name: _canonical(value) for name, value in self.constants.items() if name in read}
        nodes = tuple(
            Node(node.name, node.op, tuple(node.inputs), node.output, node.attributes, node.quantization)
            for node in self.nodes
        )
        kept = {tensor.name for tensor in self.inputs} | {node.output for node in nodes}
        shapes = {name: shape for name, shape in self.shapes.items() if name in kept}
        outputs = tuple(TensorInfo(name, self.shapes[name]) for name in self.outputs)
        return Network(self.name, tuple(self.inputs), outputs, nodes, constants, shapes)


def _canonical(value: Array) -> Array:
    dtype = value.dtype if value.dtype.kind in "iub" else np.float32
    return np.ascontiguousarray(value, dtype=dtype).reshape(value.shape)  # 0-d arrays would become 1-d
