"""The table of MVM layers: what a crossbar must multiply, derived from the graph, never typed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mho.network.graph import Network, Node


@dataclass(frozen=True)
class MvmLayer:
    """One MVM layer as mapping and cost see it.

    Attributes:
        name: layer name.
        kind: "conv", "linear" or "matmul" (product of two activations).
        outputs, inputs: the logical matrix of one repetition. For a convolution `inputs` is
            in_channels / groups * kernel_h * kernel_w and `outputs` is out_channels / groups.
        positions: input vectors that meet the matrix of one repetition (output pixels, tokens, 1 for a classifier).
        repeat: independent matrices of that size (groups of a convolution, heads of attention).
    """

    name: str
    kind: str
    outputs: int
    inputs: int
    positions: int
    repeat: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return self.outputs * self.inputs * self.positions * self.repeat


def derive_layer_table(network: Network) -> tuple[MvmLayer, ...]:
    """Derive the MVM layers of `network`, in execution order."""
    return tuple(derive_layer(network, node) for node in network.mvm_nodes)


def derive_layer(network: Network, node: Node) -> MvmLayer:
    """Derive the logical matrix, positions and repeats of one MVM node."""
    out_shape = network.shapes[node.output]
    if node.op == "conv":
        out_channels, per_group, *kernel = network.constants[node.inputs[1]].shape
        groups = int(node.attributes["groups"])  # type: ignore[arg-type]
        positions = out_shape[0] * math.prod(out_shape[2:])
        inputs = per_group * math.prod(kernel)
        return MvmLayer(node.name, node.op, out_channels // groups, inputs, positions, groups)
    if node.op == "linear":
        outputs, inputs = network.constants[node.inputs[1]].shape
        return MvmLayer(node.name, node.op, outputs, inputs, math.prod(out_shape[:-1]), 1)
    inputs = network.shapes[node.inputs[0]][-1]
    return MvmLayer(node.name, node.op, out_shape[-1], inputs, out_shape[-2], math.prod(out_shape[:-2]))
