"""The network as every later stage sees it: a frozen, ordered graph of named nodes over per-sample tensors.

Shapes are those of *one sample*: what ONNX calls the batch axis is fixed (to 1 where it was symbolic) and stays an
ordinary axis. Whoever runs a network stacks N samples on a new leading axis, so every engine batches any graph,
whatever its reshapes and transposes do. A quantized network is the same graph whose MVM nodes carry
`LayerQuantization` and integer weights.
Which operations exist and what their attributes mean: see `mho.arithmetic`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_float, get_int
from mho.arithmetic.operations import OPERATIONS
from mho.display import Table, Tabular
from mho.errors import MhoError, suggest
from mho.formats import plural
from mho.network.state import State, check_states

Attribute = int | float | bool | str | tuple[int, ...] | tuple[float, ...]


_FLOAT32 = np.finfo(np.float32)


@dataclass(frozen=True)
class TensorInfo:
    """A tensor.

    Attributes:
        name: unique in its network.
        shape: of one sample, with its own batch axis of 1 where the network has one.
        dtype: of an input, NumPy's name of what it holds in ONNX: "float32", or "int64", "bool", ... of whole numbers.
            Networks and programs compute in float32, which holds these exactly up to 2^24.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Grid:
    """The integers that a tensor may take, and what they mean: value = scale * (q - zero_point).

    Attributes:
        scales: float32, positive unless a folded BatchNorm made them otherwise; shape () for one scale, or [outputs].
        zero_points: int64, same shape as `scales`.
        qmin, qmax: smallest and largest integer, inclusive.
        bits: width that mapping counts. 1 with qmin -1 and qmax 1 means {-1, +1}, without zero.
    """

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    qmin: int
    qmax: int
    bits: int

    def __post_init__(self) -> None:
        scales = np.asarray(self.scales, dtype=np.float32)
        zero_points = np.broadcast_to(np.asarray(self.zero_points, dtype=np.int64), scales.shape)
        if not np.isfinite(scales).all():
            raise MhoError("a quantization scale is not finite", expected="finite float32 scales")
        if self.qmin >= self.qmax:
            raise MhoError(f"empty integer range {self.qmin}..{self.qmax}", expected="qmin < qmax")
        object.__setattr__(self, "scales", _read_only(scales))
        object.__setattr__(self, "zero_points", _read_only(zero_points))

    @property
    def is_binary(self) -> bool:
        """True for {-1, +1}: the sign, with zero counted as +1."""
        return self.bits == 1 and (self.qmin, self.qmax) == (-1, 1)

    @property
    def largest(self) -> float:
        """Largest magnitude of a value: that of a scale times an integer less its zero point."""
        integers = np.maximum(np.abs(self.qmin - self.zero_points), np.abs(self.qmax - self.zero_points))
        return float((np.abs(self.scales.astype(np.float64)) * integers).max(initial=0))


def bits_of_range(low: int, high: int) -> int:
    """Return how many bits hold low..high: as a code from low (or 0) up, and as a magnitude."""
    return max((high + max(0, -low)).bit_length(), abs(low).bit_length(), 1)


def quantizer_grid(attributes: Mapping[str, Attribute], *, is_binary: bool = False) -> Grid:
    """Return the grid of a `fake_quantize`; `is_binary`: it is {-1, +1}, which MVM layers alone take."""
    zero_point, low, high = (get_int(attributes, key) for key in ("zero_point", "qmin", "qmax"))
    bits = 1 if is_binary else bits_of_range(low, high)
    return Grid(
        np.asarray(get_float(attributes, "scale"), np.float32), np.asarray(zero_point, np.int64), low, high, bits
    )


@dataclass(frozen=True, eq=False)
class Requantization:
    """From a layer's exact sums to centred integers: clamp(RS(sum * multiplier + offset, shift), low, high).

    Sums are limited to -limit..limit first, which changes nothing where cells and ADCs are ideal. The limits of the
    numbers: see `mho.arithmetic.fixed_point`.

    Attributes:
        multipliers: int32, shape () or [outputs].
        offsets: int64, the same shape.
        shift, limit, low, high: whole numbers.
    """

    multipliers: NDArray[np.int32]
    offsets: NDArray[np.int64]
    shift: int
    limit: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class LayerQuantization:
    """How one MVM layer is computed in integers.

    The layer's first input is quantized on `input`. The second operand is on `weight`: for `conv` and `linear` the
    node's weight constant already holds the integers (scales per output or one); for `matmul` the second activation is
    quantized on it (one scale). Of an integer-only digital unit, `output` says what becomes of the sums, bias included;
    elsewhere sums become float32.
    """

    input: Grid
    weight: Grid
    output: Requantization | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: `inputs` name tensors or constants, `output` names the tensor that it makes.

    `name` is the layer name for MVM nodes (the module path where the model came from torch) and unique for all nodes.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    quantization: LayerQuantization | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Node, (self.name, self.op, self.inputs, self.output, dict(self.attributes), self.quantization)

    @property
    def is_mvm(self) -> bool:
        """True where the arithmetic of the node runs in crossbars."""
        return self.op in OPERATIONS and OPERATIONS[self.op].is_mvm


@dataclass(frozen=True, eq=False)
class Network(Tabular):
    """A network in execution order (a topological order, the exporter's where there was one).

    Attributes:
        name: for people.
        inputs, outputs: the tensors that go in and come out, per sample.
        nodes: each node's inputs are network inputs, constants or outputs of earlier nodes.
        constants: weights and other fixed arrays by name; read-only.
        shapes: per-sample shape of every tensor that is not a constant.
        states: inputs and outputs that are carried from one call to the next.
    """

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    states: tuple[State, ...] = ()

    def __post_init__(self) -> None:
        constants = {name: _read_only(np.asarray(value)) for name, value in self.constants.items()}
        object.__setattr__(self, "constants", MappingProxyType(constants))
        object.__setattr__(self, "shapes", MappingProxyType(dict(self.shapes)))
        self._verify()

    def __reduce__(self) -> tuple[Any, ...]:
        constants, shapes = dict(self.constants), dict(self.shapes)
        return Network, (self.name, self.inputs, self.outputs, self.nodes, constants, shapes, self.states)

    @property
    def mvm_nodes(self) -> tuple[Node, ...]:
        """The nodes that run in crossbars, in execution order."""
        return tuple(node for node in self.nodes if node.is_mvm)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the MVM layers in execution order: the names that a policy must give."""
        return tuple(node.name for node in self.mvm_nodes)

    @property
    def is_quantized(self) -> bool:
        """True where every MVM layer carries its integers."""
        return all(node.quantization is not None for node in self.mvm_nodes)

    def __repr__(self) -> str:
        return f"Network({self._summary})"

    @property
    def _summary(self) -> str:
        shapes = (" x ".join(map(str, one.shape)) or "scalar" for one in (*self.inputs[:1], *self.outputs[:1]))
        numbers = sum(value.size for value in self.constants.values())
        kind = "quantized" if self.mvm_nodes and self.is_quantized else "float"
        layers = f"{plural(len(self.mvm_nodes), 'MVM layer')} of {plural(len(self.nodes), 'node')}"
        return f"{self.name}: {' to '.join(shapes)}, {layers}, {numbers:,} constants, {kind}"

    def table(self) -> Table:
        """Return one row an MVM layer, in execution order."""
        rows = []
        for node in self.mvm_nodes:
            stored = self.constants.get(node.inputs[1])
            grids = node.quantization
            rows.append(
                (
                    node.name, node.op, None if stored is None else " x ".join(map(str, stored.shape)),
                    " x ".join(map(str, self.shapes[node.output])),
                    None if grids is None else grids.weight.bits, None if grids is None else grids.input.bits,
                )
            )  # fmt: skip
        return Table(self._summary, ("layer", "kind", "weights", "output", "weight_bits", "act_bits"), tuple(rows))

    def node(self, name: str) -> Node:
        """Return the node of that name. Raises `MhoError` for an unknown one."""
        for node in self.nodes if isinstance(name, str) else ():
            if node.name == name:
                return node
        hint = suggest(name, [node.name for node in self.nodes])
        raise MhoError(f"no node {name!r:.80}", where=self.name, expected="the name of a node", hint=hint)

    def with_nodes(self, nodes: tuple[Node, ...], constants: Mapping[str, NDArray[Any]]) -> Network:
        """Return the same network with other nodes and constants (same tensors and shapes)."""
        return replace(self, nodes=nodes, constants=constants)

    def _verify(self) -> None:
        known = {tensor.name for tensor in self.inputs} | set(self.constants)
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise MhoError("two nodes have this name", where=f"{self.name}: {node.name}")
            names.add(node.name)
            for tensor in node.inputs:
                if tensor not in known:
                    raise MhoError(f"input {tensor!r} is not made before it is used", where=f"{self.name}: {node.name}")
            if node.output in known:
                raise MhoError(f"tensor {node.output!r} is made twice", where=f"{self.name}: {node.name}")
            if node.output not in self.shapes:
                raise MhoError(f"shape of {node.output!r} is unknown", where=f"{self.name}: {node.name}")
            known.add(node.output)
            if node.quantization is not None:
                self._check_scales(node, node.quantization)
        for output in self.outputs:
            if output.name not in known:
                raise MhoError(f"output {output.name!r} is never made", where=self.name)
        check_states(
            self.states,
            {tensor.name: tensor.shape for tensor in self.inputs},
            {tensor.name: tensor.shape for tensor in self.outputs},
            self.name,
        )

    def _check_scales(self, node: Node, grids: LayerQuantization) -> None:
        """Refuse scales with which float32 does not hold a layer's operands, its sums, or what one unit of them is."""
        activations = {"streamed": grids.input} | ({"stored": grids.weight} if node.op == "matmul" else {})
        for kind, grid in activations.items():
            if float(grid.scales.min()) <= 0:
                raise MhoError(
                    f"the {kind} operand has the scale {float(grid.scales.min()):g}", where=f"{self.name}: {node.name}",
                    expected="a positive number", hint="do the activations before this layer vanish?",
                )  # fmt: skip
        unit = float(np.abs(grids.input.scales.astype(np.float64) * grids.weight.scales.astype(np.float64)).max())
        is_conv = node.op == "conv"
        terms = math.prod(self.constants[node.inputs[1]].shape[1:]) if is_conv else self.shapes[node.inputs[0]][-1]
        largest = max(grids.input.largest, grids.weight.largest, terms * grids.input.largest * grids.weight.largest)
        if largest > float(_FLOAT32.max):
            raise MhoError(
                f"its operands or sums may reach {largest:.2g}", where=f"{self.name}: {node.name}",
                expected=f"at most float32's {float(_FLOAT32.max):.2g}", hint="its scales are too large",
            )  # fmt: skip
        if 0 < unit < float(_FLOAT32.tiny):
            raise MhoError(
                f"one unit of its sums is worth {unit:.2g} at most", where=f"{self.name}: {node.name}",
                expected=f"float32's smallest number of full precision, {float(_FLOAT32.tiny):.2g}, or more",
                hint="its scales are too small; where its weights vanish, set them to 0",
            )  # fmt: skip


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view
