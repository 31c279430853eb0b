"""A quantized network as an integer-only digital unit computes it: from values with grids to operations on integers.

Every tensor between the inputs and the outputs becomes centred integers on its grid (`mho.network.digital_grids`), and
every operation one of `mho.arithmetic.integers`, or one that only moves or compares numbers. Real numbers meet integers
at two places alone: `int_quantize` of the inputs, `int_dequantize` of the outputs. What is made here is what the
reference, programs and both engines compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.fixed_point import to_fixed_point
from mho.errors import UnsupportedOperationError
from mho.network import integer_operations
from mho.network.digital_grids import CLIPS, INDICES, CentredGrid, keeps_indices, plan_grids
from mho.network.graph import Attribute, Grid, Network, Node
from mho.network.integer_sums import lower_sums
from mho.network.rms_norms import find_rms_norms

HINT = 'quantize the network with integer arithmetic (--arithmetic integer), or set digital.arithmetic = "float32"'


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A network of integer operations.

    Attributes:
        network: its MVM layers give integers (`LayerQuantization.output`); layers, and what each depends on, are those
            of the network that it was made of.
        grids: of every tensor that holds integers; inputs and outputs of the network are float32.
    """

    network: Network
    grids: Mapping[str, CentredGrid]


def lower_to_integers(quantized: Network) -> IntegerNetwork:
    """Return a quantized network in integer operations.

    Args:
        quantized: every MVM layer carries integers, and every tensor has a grid: that of all its readers, or that of a
            quantizer behind it.

    Raises:
        UnsupportedOperationError: a tensor has no grid, or an operation no integer form: which, and what to do.
    """
    plan = plan_grids(quantized, is_final=True)
    if plan.missing:
        names = ", ".join(repr(name) for name in reversed(plan.missing[-5:]))
        raise UnsupportedOperationError(
            f"{len(plan.missing)} tensors have no integers: {names}" + (", ..." if len(plan.missing) > 5 else ""),
            where=quantized.name, expected="a quantizer behind each tensor that not only layers on one grid read",
            hint=HINT,
        )  # fmt: skip
    lowering = Lowering(quantized, plan.grids)
    for node in quantized.nodes:
        lowering.lower(node)
    return lowering.finish()


class Lowering:
    """A network on its way to integers.

    Attributes:
        source: the quantized network.
        planned: grids of tensors, by name.
    """

    def __init__(self, source: Network, planned: Mapping[str, CentredGrid]) -> None:
        self.source, self.planned = source, planned
        self._inputs = {tensor.name for tensor in source.inputs}
        self._outputs = {tensor.name for tensor in source.outputs}
        self._norms = {norm.result: norm for norm in find_rms_norms(source)}
        self._within = {name for norm in self._norms.values() for name in norm.inner}
        self._made: dict[str, tuple[str, CentredGrid]] = {}
        self._rescaled: dict[tuple[str, CentredGrid], str] = {}
        self._nodes: list[Node] = []
        self._names = {node.name for node in source.nodes}
        self.constants: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {tensor.name: tensor.shape for tensor in source.inputs}
        self.grids: dict[str, CentredGrid] = {}

    def lower(self, node: Node) -> None:
        """Add what stands for one node."""
        if node.output in self._within:
            return
        if self.planned.get(node.output) == INDICES and not keeps_indices(self.source, node):
            raise self.unsupported(node.name, f"indices of an embedding that {node.op} computes")
        if node.quantization is not None:
            self._lower_layer(node)
        elif node.output in self._norms:
            integer_operations.lower_rms_norm(self, node, self._norms[node.output])
        elif node.op == "fake_quantize":
            grid = self.planned[node.output]
            self._made[node.output] = self.take(node.inputs[0], grid), grid
        elif node.op in CLIPS:
            self._lower_clip(node)
        elif node.op == "cast":
            self._made[node.output] = self.find(node.inputs[0], self.planned.get(node.output))
        else:
            getattr(integer_operations, f"lower_{node.op}", integer_operations.lower_other)(self, node)

    def finish(self) -> IntegerNetwork:
        """Return the network, its outputs in float32 again."""
        for tensor in self.source.outputs:
            name, grid = self._made[tensor.name]
            self.shapes[tensor.name] = tensor.shape
            attributes: dict[str, Attribute] = {"scale": grid.scale}
            self._nodes.append(
                Node(self._free(f"{tensor.name}.dequantize"), "int_dequantize", (name,), tensor.name, attributes)
            )
        network = Network(
            self.source.name, self.source.inputs, self.source.outputs, tuple(self._nodes), self.constants, self.shapes
        )
        return IntegerNetwork(network, self.grids)

    def is_constant(self, name: str) -> bool:
        """Whether an operand is a constant of the network."""
        return name in self.source.constants

    def find(self, name: str, grid: CentredGrid | None = None) -> tuple[str, CentredGrid]:
        """Return the integers of a tensor and their grid: the given one, or whichever it lies on."""
        if grid is not None:
            return self.take(name, grid), grid
        if name in self._inputs and name not in self._made and name in self.planned:
            return self._quantize_input(name, self.planned[name]), self.planned[name]
        if name not in self._made:
            raise self.unsupported(name, "a constant, or an input that has no quantizer, as an operand")
        return self._made[name]

    def take(self, name: str, grid: CentredGrid) -> str:
        """Return the name of a tensor's integers on a grid, which are rescaled where they lie on another."""
        if name in self._inputs and name not in self._made:
            return self._quantize_input(name, grid)
        held, own = self.find(name)
        return held if grid.holds(own) else self.rescale(held, own, grid)

    def rescale(self, name: str, own: CentredGrid, grid: CentredGrid) -> str:
        """Return integers of a grid on another one; made once."""
        if (name, grid) not in self._rescaled:
            label = f"{name}.rescaled{sum(key[0] == name for key in self._rescaled) or ''}"
            self._rescaled[name, grid] = self.scale(label, name, own, own.scale / grid.scale, 0.0, grid)
        return self._rescaled[name, grid]

    def scale(
        self, label: str, name: str, own: CentredGrid, factors: Any, offsets: Any, grid: CentredGrid, output: str = ""
    ) -> str:
        """Return integers v * factors + offsets on a grid; real numbers that broadcast to the tensor."""
        fixed = to_fixed_point(factors, own.reach, offsets)
        if fixed is None:
            raise self.unsupported(label, f"factors of up to {np.abs(factors).max():.3g} are beyond 32-bit multipliers")
        output = output or f"{label}.integers"
        multiplier = self.constant(f"{output}.multiplier", fixed.multipliers)
        offset = self.constant(f"{output}.offset", fixed.offsets)
        attributes: dict[str, Attribute] = {"shift": fixed.shift, "low": grid.low, "high": grid.high}
        node = Node(self.name_node(label), "int_scale", (name, multiplier, offset), output, attributes)
        return self.add(node, self.shapes[name], grid)

    def unsupported(self, label: str, what: str) -> UnsupportedOperationError:
        """Return the error that a node has no integer form."""
        return UnsupportedOperationError(
            what, where=f"{self.source.name}: {label}", expected="an operation with an integer form",
            hint='set digital.arithmetic = "float32"',
        )  # fmt: skip

    def add(self, node: Node, shape: tuple[int, ...], grid: CentredGrid) -> str:
        """Add a node that makes integers; return its output."""
        self._nodes.append(node)
        self.shapes[node.output], self.grids[node.output] = shape, grid
        return node.output

    def bind(self, name: str, held: str, grid: CentredGrid) -> None:
        """Let a tensor of the network be held by these integers."""
        self._made[name] = held, grid

    def name_result(self, name: str) -> str:
        """Return the name that the integers of a tensor get: its own, but for outputs, which are float32."""
        return f"{name}.integers" if name in self._outputs | self._inputs else name

    def name_node(self, wanted: str) -> str:
        """Return a name that no node has."""
        return self._free(wanted)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant; return its name."""
        while name in self.constants or name in self.shapes or name in self.source.shapes:
            name += "_"
        self.constants[name] = values
        return name

    def _free(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _quantize_input(self, name: str, grid: CentredGrid) -> str:
        if (name, grid) not in self._rescaled:
            output = f"{name}.integers{sum(key[0] == name for key in self._rescaled) or ''}"
            attributes: dict[str, Attribute] = {"scale": grid.scale, "low": grid.low, "high": grid.high}
            node = Node(self._free(f"{name}.quantize"), "int_quantize", (name,), output, attributes)
            self._rescaled[name, grid] = self.add(node, self.source.shapes[name], grid)
        return self._rescaled[name, grid]

    def _lower_layer(self, node: Node) -> None:
        quantization, grid = node.quantization, self.planned[node.output]
        assert quantization is not None
        streamed = self._operand(node.inputs[0], quantization.input)
        if node.op == "matmul":
            stored, weight = self._operand(node.inputs[1], quantization.weight), _unscaled(quantization.weight)
        else:
            stored, weight = node.inputs[1], quantization.weight
            self.constants[stored] = self.source.constants[stored]
        given = replace(quantization, input=_unscaled(quantization.input), weight=weight)
        lowered = replace(given, output=lower_sums(self.source, node, quantization, grid))
        output = self.name_result(node.output)
        self.add(
            replace(node, inputs=(streamed, stored), output=output, quantization=lowered),
            self.source.shapes[node.output], grid,
        )  # fmt: skip
        self.bind(node.output, output, grid)

    def _operand(self, name: str, grid: Grid) -> str:
        """Return a layer's operand on the layer's grid; of a binary one, whose signs count, on any."""
        return self.find(name)[0] if grid.is_binary else self.take(name, CentredGrid.of(grid))

    def _lower_clip(self, node: Node) -> None:
        planned = self.planned.get(node.output)
        if planned is not None and node.inputs[0] not in self._made:  # an input of the network
            self.bind(node.output, self.take(node.inputs[0], planned.clipped(node)), planned.clipped(node))
            return
        name, own = self.find(node.inputs[0])
        planned = planned or own
        grid = planned.clipped(node)
        if grid.holds(own):
            self.bind(node.output, name, grid)
        else:
            output = self.name_result(node.output)
            self.bind(node.output, self.scale(node.name, name, own, own.scale / grid.scale, 0.0, grid, output), grid)


def _unscaled(grid: Grid) -> Grid:
    """Return the grid of centred integers that are codes less their zero point: one step is 1."""
    return replace(grid, scales=np.asarray(1.0, np.float32))
