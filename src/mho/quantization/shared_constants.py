"""Which nodes may share a constant while it is trained: only those that share it on purpose.

Optimizers of ONNX files keep one array where several constants are equal: the ones of an untrained BatchNorm are then
its scale and its variance, and the zeros of one layer's bias another's mean. Training must not tie these together. A
layer that is used twice shares all its constants, and keeps sharing them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from mho.arithmetic.operations import OPERATIONS
from mho.network.graph import Network, Node

_FIXED = "fixed"


def separate_constants(network: Network) -> Network:
    """Return `network` with a copy of a constant for each owner; unchanged where every constant has one.

    Owners: layers of the same weight on the same grid, for that weight and its bias; normalizations of the same
    constants, for each of these; all other nodes together, which do not train theirs. A trained owner keeps the name.
    """
    owned: dict[str, list[Hashable]] = {}
    for is_learned in (True, False):
        for node in network.nodes:
            for index, name in enumerate(node.inputs):
                owner = _owner(node, index)
                if name not in network.constants or (owner != _FIXED) != is_learned:
                    continue
                owners = owned.setdefault(name, [])
                if owner not in owners:
                    owners.append(owner)
    names: dict[tuple[str, Hashable], str] = {}
    constants = dict(network.constants)
    for name, owners in owned.items():
        names[name, owners[0]] = name
        for number, owner in enumerate(owners[1:], start=2):
            copy = f"{name}/{number}"
            while copy in constants or copy in network.shapes:
                copy += "_"
            names[name, owner], constants[copy] = copy, network.constants[name]
    if len(constants) == len(network.constants):
        return network
    nodes = tuple(
        replace(node, inputs=tuple(names.get((n, _owner(node, k)), n) for k, n in enumerate(node.inputs)))
        for node in network.nodes
    )
    return network.with_nodes(nodes, constants)


def _owner(node: Node, index: int) -> Hashable:
    """Return who owns the constant that `node` takes as operand `index`."""
    if OPERATIONS[node.op].learned and index > 0:
        constants = node.inputs[1:]
        # A normalization of its own has as many arrays as operands: fewer, and equal ones were merged.
        is_merged = len(set(constants)) < len(constants)
        return (node.op, index, node.name if is_merged else constants)
    if node.is_mvm and node.op != "matmul" and index > 0:
        grid = None if node.quantization is None else node.quantization.weight
        on = None if grid is None else (grid.scales.tobytes(), grid.zero_points.tobytes(), grid.qmin, grid.qmax)
        return ("weight" if index == 1 else "bias", node.inputs[1], on)
    return _FIXED
