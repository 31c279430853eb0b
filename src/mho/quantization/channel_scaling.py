"""Rewrites a float network so that layers get other numbers for the same function: (x - shift) / scale, by channel.

A layer W x + b gives the same from x' = (x - shift) / scale with W diag(scale) and b + W shift. What makes x gives x'
where it can: a LayerNorm, a BatchNorm or a layer, also through a ReLU where nothing is shifted. Elsewhere one
subtraction and one multiplication of the digital unit are put before the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_int, get_ints
from mho.network.graph import Network, Node
from mho.network.naming import SMOOTHING

Channels = NDArray[np.float64]

_PARAMETERS = {"layer_norm": 2, "batch_norm": 4, "conv": 2, "linear": 2}
"""What may take in a scale, and how many constants it has where it has all."""


@dataclass(frozen=True)
class Consumers:
    """The layers that multiply one tensor by weights.

    Attributes:
        tensor: their streamed operand.
        layers: their nodes.
        channels: of the tensor.
        maker: the node that can make the scaled tensor instead; None: only operations of their own can.
        is_shiftable: whether `maker` and the layers allow a shift.
    """

    tensor: str
    layers: tuple[Node, ...]
    channels: int
    maker: Node | None
    is_shiftable: bool


def find_consumers(network: Network) -> list[Consumers]:
    """Return the tensors whose channels can be scaled, in order of execution; no layer shares its weights."""
    uses: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in dict.fromkeys(node.inputs):
            uses.setdefault(name, []).append(node)
    outputs = {tensor.name for tensor in network.outputs}
    groups: dict[str, list[Node]] = {}
    for node in network.mvm_nodes:
        if node.op != "matmul" and all(len(uses[name]) == 1 for name in node.inputs[1:]):
            groups.setdefault(node.inputs[0], []).append(node)
    found = []
    for tensor, layers in groups.items():
        shape = network.shapes[tensor]
        channels = shape[1] if layers[0].op == "conv" else shape[-1]
        is_padded = any(any(get_ints(node.attributes, "pads")) for node in layers if node.op == "conv")
        if len({node.op for node in layers}) > 1:
            continue
        maker, is_linear = None, True
        if len(uses[tensor]) == len(layers) and tensor not in outputs:
            maker, is_linear = _find_maker(network, tensor, uses, outputs, is_conv=layers[0].op == "conv")
        found.append(Consumers(tensor, tuple(layers), channels, maker, not is_padded and is_linear))
    return found


def _find_maker(
    network: Network, tensor: str, uses: dict[str, list[Node]], outputs: set[str], *, is_conv: bool
) -> tuple[Node | None, bool]:
    """Return the node whose constants can take in a scale of `tensor`, and whether they can take in a shift too."""
    made_by = {node.output: node for node in network.nodes}
    node, is_linear = made_by.get(tensor), True
    while node is not None and node.op == "relu":
        tensor, is_linear = node.inputs[0], False
        if len(uses[tensor]) > 1 or tensor in outputs:
            return None, True
        node = made_by.get(tensor)
    if node is None or node.op not in _PARAMETERS or any(len(uses[name]) > 1 for name in node.inputs[1:]):
        return None, True
    if not all(name in network.constants for name in node.inputs[1:]):
        return None, True
    rank = len(network.shapes[tensor])
    axes = {"conv": 1, "linear": rank - 1}
    axis = axes[node.op] if node.op in axes else get_int(node.attributes, "axis")
    channels = network.shapes[tensor][axis]
    fits = axis == (1 if is_conv else rank - 1)
    if node.op == "layer_norm":
        fits = fits and all(network.constants[name].shape == (channels,) for name in node.inputs[1:])
    return (node, is_linear) if fits else (None, True)


def scale_channels(network: Network, group: Consumers, scale: Channels, shift: Channels | None) -> Network:
    """Return a network of the same function whose `group` gets (x - shift) / scale.

    Args:
        network: float, where no other node uses the constants of the group or of its maker.
        group: as `find_consumers` has it; the nodes may have been scaled for other groups since.
        scale: positive, [channels].
        shift: [channels], or None; only where the group is shiftable.
    """
    rewriting = _Rewriting(network)
    tensor = group.tensor
    if group.maker is None:
        tensor = rewriting.insert(group, scale, shift)
    else:
        rewriting.scale_outputs(group.maker.name, scale, shift)
    for node in group.layers:
        rewriting.scale_inputs(node.name, tensor, scale, shift)
    return rewriting.finish()


class _Rewriting:
    """A network whose nodes and constants are being replaced."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes = {node.name: node for node in network.nodes}
        self._constants, self._shapes = dict(network.constants), dict(network.shapes)
        self._before: dict[str, list[Node]] = {}

    def finish(self) -> Network:
        """Return the network."""
        nodes = []
        for name, node in self._nodes.items():
            nodes += [*self._before.get(name, ()), node]
        return replace(self._network, nodes=tuple(nodes), constants=self._constants, shapes=self._shapes)

    def insert(self, group: Consumers, scale: Channels, shift: Channels | None) -> str:
        """Put operations before the first layer of `group`, and return the tensor that they make."""
        first, tensor = group.layers[0], group.tensor
        column = (-1, 1, 1) if first.op == "conv" else (-1,)
        parts = [("mul", 1.0 / scale)] if shift is None else [("sub", shift), ("mul", 1.0 / scale)]
        for op, values in parts:
            name = self._unused(f"{first.name}{SMOOTHING}{op}")
            self._constants[f"{name}.channels"] = values.astype(np.float32).reshape(column)
            node = Node(name, op, (tensor, f"{name}.channels"), f"{name}.output")
            self._shapes[node.output] = self._shapes[tensor]
            self._before.setdefault(first.name, []).append(node)
            tensor = node.output
        return tensor

    def scale_outputs(self, name: str, scale: Channels, shift: Channels | None) -> None:
        """Let a node make (y - shift) / scale of what it makes."""
        node = self._nodes[name]
        factors, offset = node.inputs[1], node.inputs[2:3]
        self._scale(factors, lambda values: values / _column(scale, values))
        if offset:
            self._scale(offset[0], lambda values: (values - (0 if shift is None else shift)) / scale)
        elif shift is not None:
            self._add_offset(node, -shift / scale)

    def scale_inputs(self, name: str, tensor: str, scale: Channels, shift: Channels | None) -> None:
        """Let a layer give for `tensor`, which is (x - shift) / scale, what it gave for x."""
        node = self._nodes[name]
        weight = self._constants[node.inputs[1]].astype(np.float64)
        groups = get_int(node.attributes, "groups") if node.op == "conv" else 1
        if shift is not None:
            per_input = weight.reshape(len(weight), weight.shape[1], -1).sum(axis=2)
            moved = np.einsum("goi,gi->go", per_input.reshape(groups, -1, weight.shape[1]), shift.reshape(groups, -1))
            if len(node.inputs) > 2:
                self._scale(node.inputs[2], lambda values: values + moved.ravel())
            else:
                node = self._add_offset(node, moved.ravel())
        self._scale(node.inputs[1], lambda values: values * _scale_of_inputs(scale, values.shape, groups))
        self._nodes[name] = replace(node, inputs=(tensor, *node.inputs[1:]))

    def _scale(self, constant: str, change: Callable[[Channels], Channels]) -> None:
        self._constants[constant] = change(self._constants[constant].astype(np.float64)).astype(np.float32)

    def _add_offset(self, node: Node, values: Channels) -> Node:
        name = self._unused(f"{node.name}{SMOOTHING}bias")
        self._constants[name] = values.astype(np.float32)
        self._nodes[node.name] = found = replace(node, inputs=(*node.inputs[:2], name))
        return found

    def _unused(self, name: str) -> str:
        while name in self._nodes or name in self._constants or f"{name}.output" in self._shapes:
            name += "_"
        return name


def _scale_of_inputs(scale: Channels, shape: tuple[int, ...], groups: int) -> Channels:
    """Return the scale of each input of a layer's weights, [outputs, inputs of a group, 1, ...].

    Args:
        scale: [channels].
        shape: of the weights, [outputs, inputs of a group, ...].
        groups: of a convolution; else 1.
    """
    rows = np.repeat(scale.reshape(groups, -1), shape[0] // groups, axis=0)
    return rows.reshape(*shape[:2], *(1,) * (len(shape) - 2))


def _column(scale: Channels, values: Channels) -> Channels:
    return scale.reshape(-1, *(1,) * (values.ndim - 1))
