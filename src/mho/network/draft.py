"""A network under construction: what the reader emits into and the passes of draft_rewrites.py rewrite.

Mutable and private to reading; what leaves is a `Network`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Shape
from mho.arithmetic.operations import OPERATIONS
from mho.arithmetic.shapes import ShapeError
from mho.input_files import check_memory
from mho.network.graph import Attribute, Grid, LayerQuantization, Network, Node, TensorInfo
from mho.network.tensor_budget import TensorBudget, check_sample, float_bytes

Array = NDArray[Any]


MAX_RANK = 32
"""Axes of a tensor of one sample; NumPy and torch have 64 at most, and Tile doubles them on the way."""

BINARY = "binary"
"""Attribute of a fake_quantize under construction whose grid is {-1, +1}; only an MVM layer can take it in."""


class Unsupported(Exception):
    """What mho cannot do with one node; the reader collects these and reports them together."""


class EmptyTensor(Unsupported):
    """A node would make a tensor of this shape, which has no elements."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(f"makes an empty tensor {list(shape)}")
        self.shape = shape


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
        return OPERATIONS[self.op].is_mvm


class Draft:
    """Nodes, constants and per-sample shapes of a network under construction."""

    def __init__(self, name: str, where: str = "") -> None:
        self.name = name
        self.budget = TensorBudget(where or name)
        self.inputs: list[TensorInfo] = []
        self.outputs: list[str] = []
        self.nodes: list[DraftNode] = []
        self.constants: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {}
        self._names = _UniqueNames()
        self._tensors = _UniqueNames()

    def unique_name(self, wanted: str) -> str:
        """Return `wanted`, or the first of wanted_2, wanted_3, ... that no node has, and reserve it."""
        return self._names.reserve(wanted)

    def rename_node(self, node: DraftNode, wanted: str) -> None:
        """Give `node` another name, made unique."""
        self._names.discard(node.name)
        node.name = self.unique_name(wanted)

    def unique_tensor(self, wanted: str) -> str:
        """Return a tensor or constant name that is still free, and reserve it."""
        return self._tensors.reserve(wanted)

    def add_input(self, name: str, shape: Shape, dtype: str = "float32") -> None:
        """Declare a network input."""
        self.inputs.append(TensorInfo(self.unique_tensor(name), shape, dtype))
        self.shapes[name] = shape

    def add_constant(self, name: str, value: Array) -> str:
        """Hold a constant; the same array under the same name is held once. Returns its name."""
        if self.constants.get(name) is value:
            return name
        self.budget.hold(value, f"constant {name!r}")
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
        attributes, operation = dict(attributes or {}), OPERATIONS[op]
        try:
            shapes = [self.shape_of(tensor) for tensor in inputs]
            shape = operation.infer_shape(shapes, attributes)
        except ShapeError as error:
            raise Unsupported(str(error)) from error
        if min(shape, default=1) < 1:
            raise EmptyTensor(shape)
        if len(shape) > MAX_RANK:
            raise Unsupported(f"makes a tensor of {len(shape)} axes")
        scratch = operation.scratch(shapes, shape, attributes) if operation.scratch else ()
        for size in (shape, scratch):
            check_memory(float_bytes(size), f"{name}: a tensor of {list(size)}", where=self.budget.where)
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

    def replace_tensors(self, new: Mapping[str, str]) -> None:
        """Let every reader of a key of `new`, and the network's outputs, read its value."""
        for node in self.nodes:
            node.inputs = [new.get(tensor, tensor) for tensor in node.inputs]
        self.outputs = [new.get(tensor, tensor) for tensor in self.outputs]

    def rename_tensors(self, new: Mapping[str, str]) -> None:
        """Give tensors that nodes make other names."""
        self.replace_tensors(new)
        for node in self.nodes:
            if node.output in new:
                self.shapes[new[node.output]] = self.shapes.pop(node.output)
                node.output = new[node.output]

    def remove_nodes(self, removed: Iterable[DraftNode]) -> None:
        """Drop nodes that nobody reads any more."""
        dropped = {id(node) for node in removed}
        self.nodes = [node for node in self.nodes if id(node) not in dropped]

    def finish(self) -> Network:
        """Freeze: the constants that are read, float32 where they are not integers. Raises `MemoryBudgetError`."""
        read = {tensor for node in self.nodes for tensor in node.inputs}
        constants = {name: value for name, value in self.constants.items() if name in read}
        steps = ((node.name, node.inputs, node.output) for node in self.nodes)
        check_sample(steps, self.shapes, constants, self.outputs, self.budget.where)
        constants = {name: _canonical(value) for name, value in constants.items()}
        nodes = tuple(
            Node(node.name, node.op, tuple(node.inputs), node.output, node.attributes, node.quantization)
            for node in self.nodes
        )
        kept = {tensor.name for tensor in self.inputs} | {node.output for node in nodes}
        shapes = {name: shape for name, shape in self.shapes.items() if name in kept}
        outputs = tuple(TensorInfo(name, self.shapes[name]) for name in self.outputs)
        return Network(self.name, tuple(self.inputs), outputs, nodes, constants, shapes)


class _UniqueNames:
    """Names that are given out once each; how far numbers are taken is kept, so that many equal names stay quick."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # name -> n where name_2 .. name_n are taken

    def reserve(self, wanted: str) -> str:
        name, number = wanted, self._numbers.get(wanted, 1)
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._numbers[wanted] = number
        self._taken.add(name)
        return name

    def discard(self, name: str) -> None:
        self._taken.discard(name)
        base, _, number = name.rpartition("_")
        if base in self._numbers and number.isdecimal():
            self._numbers[base] = max(1, min(self._numbers[base], int(number[:9]) - 1))


def _canonical(value: Array) -> Array:
    dtype = value.dtype if value.dtype.kind in "iub" else np.float32
    return np.ascontiguousarray(value, dtype=dtype).reshape(value.shape)  # 0-d arrays would become 1-d
