"""Quantized networks of real size without data: weights by their largest value, activations on fixed grids."""

from __future__ import annotations

import numpy as np

from mho.network.graph import Grid, LayerQuantization, Network, Node

_NON_NEGATIVE = ("relu", "max_pool", "reshape", "softmax", "average_pool", "reduce_mean")


def quantize_by_range(network: Network, weight_bits: int, act_bits: int) -> Network:
    """Quantize every layer of a float network; the integers are plausible, the answers need not be good."""
    makers = {node.output: node.op for node in network.nodes}
    nodes, constants = [], dict(network.constants)
    for node in network.nodes:
        if node.is_mvm:
            unsigned = makers.get(node.inputs[0]) in _NON_NEGATIVE
            low = 0 if unsigned else -(2 ** (act_bits - 1))
            inputs = Grid(np.float32(4 / 2**act_bits), np.int64(0), low, low + 2**act_bits - 1, act_bits)
            operands, weight = _quantize_weights(node, constants, weight_bits)
            node = Node(node.name, node.op, operands, node.output, node.attributes, LayerQuantization(inputs, weight))
        nodes.append(node)
    used = {name for node in nodes for name in node.inputs}
    return network.with_nodes(tuple(nodes), {name: value for name, value in constants.items() if name in used})


def _quantize_weights(node: Node, constants: dict[str, np.ndarray], bits: int) -> tuple[tuple[str, ...], Grid]:
    largest = 2 ** (bits - 1) - 1
    if node.op == "matmul":
        return node.inputs, Grid(np.float32(4 / 2**bits), np.int64(0), -largest, largest, bits)
    weights = constants[node.inputs[1]]
    scales = np.abs(weights).reshape(weights.shape[0], -1).max(axis=1) / largest
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    integers = np.rint(weights / scales.reshape(-1, *(1,) * (weights.ndim - 1))).clip(-largest, largest)
    name = f"{node.inputs[1]}:integers"
    constants[name] = integers.astype(np.int8 if bits <= 8 else np.int16)
    return (node.inputs[0], name, *node.inputs[2:]), Grid(scales, np.int64(0), -largest, largest, bits)
