"""Small random quantized networks, for tests that compare engines, mappings and exports with each other.

A `Chooser` makes every decision of `random_network`, so that the same generator serves plain seeds and hypothesis
(which then shrinks): `SeededChooser(seed)` or, in a composite strategy, an object with `integer` and `choice` on top
of `draw`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from hypothesis import strategies as st

from mho.arithmetic.operations import infer_shape
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo

Item = TypeVar("Item")

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16)


class Chooser(Protocol):
    """Makes the decisions of a random network."""

    def integer(self, low: int, high: int) -> int: ...

    def choice(self, items: Sequence[Item]) -> Item: ...


class SeededChooser:
    """Decides by a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high, endpoint=True))

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.integer(0, len(items) - 1)]


class _DrawnChooser:
    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def choice(self, items: Sequence[Item]) -> Item:
        return self.draw(st.sampled_from(list(items)))


@st.composite
def networks(draw: Any, max_layers: int = 3) -> Network:
    """Strategy of small quantized networks."""
    return random_network(_DrawnChooser(draw), max_layers=max_layers)


@st.composite
def choosers(draw: Any) -> Chooser:
    """Strategy of choosers, for further decisions of a test."""
    return _DrawnChooser(draw)


def random_network(chooser: Chooser, *, max_layers: int = 3) -> Network:
    """Return a random quantized network of at most `max_layers` blocks: convolutions, dense layers or attention."""
    builder = NetworkBuilder(chooser)
    if chooser.integer(0, 2):
        _build_convolutions(builder, max_layers)
    else:
        _build_tokens(builder)
    return builder.finish()


def random_layer(chooser: Chooser, kinds: Sequence[str] = ("conv", "conv", "linear", "matmul")) -> Network:
    """Return a random quantized network of a single MVM layer: a convolution, a dense layer or a product."""
    builder, kind = NetworkBuilder(chooser), chooser.choice(kinds)
    unsigned = bool(chooser.integer(0, 1))
    if kind == "conv":
        shape = (chooser.choice((1, 1, 2)), chooser.integer(1, 6), chooser.integer(1, 7), chooser.integer(1, 7))
        builder.conv(builder.input(shape), unsigned=unsigned)
    elif kind == "linear":
        shape = (1, chooser.integer(1, 6), chooser.integer(1, 20))
        builder.linear(builder.input(shape), chooser.integer(1, 12), unsigned=unsigned)
    else:
        heads, inputs = chooser.integer(1, 4), chooser.integer(1, 8)
        streamed = builder.input((1, heads, chooser.integer(1, 6), inputs))
        builder.matmul(streamed, builder.input((1, heads, inputs, chooser.integer(1, 6))), unsigned=unsigned)
    return builder.finish()


def random_inputs(network: Network, samples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return normally distributed float32 inputs [samples, *shape]."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: generator.standard_normal((samples, *tensor.shape)).astype(np.float32) for tensor in network.inputs
    }


class NetworkBuilder:
    """Adds nodes one by one, with random integers and grids."""

    def __init__(self, chooser: Chooser) -> None:
        self.chooser = chooser
        self.generator = np.random.default_rng(chooser.integer(0, 1 << 16))
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.inputs: list[TensorInfo] = []

    def input(self, shape: tuple[int, ...]) -> str:
        name = f"input{len(self.inputs)}"
        self.inputs.append(TensorInfo(name, shape))
        self.shapes[name] = shape
        return name

    def node(
        self, op: str, inputs: Sequence[str], quantization: LayerQuantization | None = None, **attributes: Any
    ) -> str:
        name = f"{op}{len(self.nodes)}"
        operands = [self.shapes[i] if i in self.shapes else self.constants[i].shape for i in inputs]
        self.shapes[f"{name}:out"] = infer_shape(op, operands, attributes)
        self.nodes.append(Node(name, op, tuple(inputs), f"{name}:out", attributes, quantization))
        return f"{name}:out"

    def constant(self, value: np.ndarray) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = value
        return name

    def input_grid(self, *, unsigned: bool) -> Grid:
        bits = self.chooser.choice(WIDTHS)
        low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        zero_point = self.chooser.choice((0, 0, self.chooser.integer(low, high)))
        scale = np.float32(self.generator.uniform(2, 8) / (high - low + 1))
        return Grid(scale, np.int64(zero_point), low, high, bits)

    def weight_grid(self, outputs: int | None) -> Grid:
        """A grid of weights: policy, full range, unsigned or binary; per output where `outputs` is given."""
        bits = self.chooser.choice(WIDTHS)
        kind = self.chooser.choice(("policy", "policy", "full", "unsigned"))
        if bits == 1 and kind != "unsigned":
            low, high = -1, 1
        elif kind == "unsigned":
            low, high = 0, 2**bits - 1
        else:
            low, high = -(2 ** (bits - 1)) + (kind == "policy"), 2 ** (bits - 1) - 1
        shape = (outputs,) if outputs is not None and self.chooser.integer(0, 1) else ()
        zero_points = np.zeros(shape, np.int64)
        if kind in ("full", "unsigned") and bits > 1 and self.chooser.integer(0, 1):
            zero_points = self.generator.integers(low, high, shape, endpoint=True)
        scales = self.generator.uniform(0.5, 2, shape).astype(np.float32) / np.float32(high - low)
        return Grid(scales, zero_points, low, high, bits)

    def weights(self, shape: tuple[int, ...], grid: Grid) -> str:
        step = 2 if grid.is_binary else 1
        count = (grid.qmax - grid.qmin) // step
        values = grid.qmin + step * self.generator.integers(0, count, shape, endpoint=True)
        if self.chooser.integer(0, 3) == 0:
            values[...] = self.chooser.choice((grid.qmin, grid.qmax))
        return self.constant(values.astype(self.chooser.choice((np.int64, np.int32))))

    def mvm_constants(self, shape: tuple[int, ...]) -> tuple[list[str], Grid]:
        """Weights of `shape`, their grid and perhaps a bias."""
        grid = self.weight_grid(shape[0])
        names = [self.weights(shape, grid)]
        if self.chooser.integer(0, 1):
            names.append(self.constant(self.generator.standard_normal(shape[0]).astype(np.float32)))
        return names, grid

    def conv(self, source: str, *, unsigned: bool) -> str:
        _, channels, height, width = self.shapes[source]
        groups = self.chooser.choice([g for g in range(1, channels + 1) if channels % g == 0])
        outputs = groups * self.chooser.integer(1, 3)
        kernel = (self.chooser.integer(1, 3), self.chooser.integer(1, 3))
        dilations = (self.chooser.integer(1, 2), self.chooser.integer(1, 2))
        pads = [self.chooser.integer(0, 2) for _ in range(4)]
        for axis, size in enumerate((height, width)):
            missing = dilations[axis] * (kernel[axis] - 1) + 1 - size - pads[axis] - pads[axis + 2]
            pads[axis] += max(0, missing)
        names, grid = self.mvm_constants((outputs, channels // groups, *kernel))
        strides = (self.chooser.integer(1, 3), self.chooser.integer(1, 3))
        quantization = LayerQuantization(self.input_grid(unsigned=unsigned), grid)
        return self.node(
            "conv", [source, *names], quantization,
            kernel=kernel, strides=strides, pads=tuple(pads), dilations=dilations, groups=groups,
        )  # fmt: skip

    def linear(self, source: str, outputs: int, *, unsigned: bool) -> str:
        names, grid = self.mvm_constants((outputs, self.shapes[source][-1]))
        return self.node("linear", [source, *names], LayerQuantization(self.input_grid(unsigned=unsigned), grid))

    def matmul(self, streamed: str, stored: str, *, unsigned: bool) -> str:
        quantization = LayerQuantization(self.input_grid(unsigned=unsigned), self.weight_grid(None))
        return self.node("matmul", [streamed, stored], quantization)

    def finish(self) -> Network:
        output = self.nodes[-1].output
        outputs = (TensorInfo(output, self.shapes[output]),)
        return Network("random", tuple(self.inputs), outputs, tuple(self.nodes), self.constants, self.shapes)


def _build_convolutions(builder: NetworkBuilder, max_layers: int) -> None:
    chooser = builder.chooser
    shape = (chooser.choice((1, 1, 2)), chooser.integer(1, 4), chooser.integer(1, 6), chooser.integer(1, 6))
    tensor, unsigned = builder.input(shape), False
    for _ in range(chooser.integer(1, max_layers)):
        source = tensor
        tensor = builder.conv(tensor, unsigned=unsigned)
        unsigned = bool(chooser.integer(0, 1))
        if unsigned:
            tensor = builder.node("relu", [tensor])
        if builder.shapes[source] == builder.shapes[tensor]:
            tensor = builder.node("add", [tensor, source])
    if chooser.integer(0, 1):
        size = int(np.prod(builder.shapes[tensor]))
        tensor = builder.node("reshape", [tensor], shape=(1, size))
        builder.linear(tensor, chooser.integer(1, 5), unsigned=unsigned)


def _build_tokens(builder: NetworkBuilder) -> None:
    """One attention block: dense layers, Q K^T, softmax, attention V, and a dense layer."""
    chooser = builder.chooser
    tokens, heads, size = chooser.integer(1, 5), chooser.integer(1, 3), chooser.integer(1, 4)
    source = builder.input((1, tokens, chooser.integer(1, 6)))
    shape = (1, tokens, heads, size)
    parts = [
        builder.node("reshape", [builder.linear(source, heads * size, unsigned=False)], shape=shape) for _ in range(3)
    ]
    queries = builder.node("transpose", [parts[0]], perm=(0, 2, 1, 3))
    keys = builder.node("transpose", [parts[1]], perm=(0, 2, 3, 1))
    values = builder.node("transpose", [parts[2]], perm=(0, 2, 1, 3))
    attention = builder.node("softmax", [builder.matmul(queries, keys, unsigned=False)], axis=3)
    mixed = builder.node("transpose", [builder.matmul(attention, values, unsigned=True)], perm=(0, 2, 1, 3))
    flat = builder.node("reshape", [mixed], shape=(1, tokens, heads * size))
    builder.linear(flat, chooser.integer(1, 4), unsigned=False)
