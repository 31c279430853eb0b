"""Checks a network against the records of its operations; tests use it, and whoever doubts a network."""

from __future__ import annotations

from mho.arithmetic.operations import OPERATIONS
from mho.arithmetic.shapes import ShapeError
from mho.errors import MhoError
from mho.network.graph import Network, Node


def verify_network(network: Network) -> None:
    """Check every node: a known operation, operands that fit, the shape that is claimed, grids and weights that agree.

    Raises:
        MhoError: names the first node that does not hold.
    """
    for node in network.nodes:
        where = f"{network.name}: {node.name}"
        if node.op not in OPERATIONS:
            raise MhoError(f"unknown operation {node.op!r}", where=where)
        shapes = [
            network.shapes[name] if name in network.shapes else network.constants[name].shape for name in node.inputs
        ]
        try:
            shape = OPERATIONS[node.op].infer_shape(shapes, node.attributes)
        except (ShapeError, KeyError, TypeError) as error:
            raise MhoError(f"{node.op} does not fit its operands: {error}", where=where) from error
        if shape != network.shapes[node.output]:
            claimed = list(network.shapes[node.output])
            raise MhoError(f"makes {list(shape)}, not {claimed}", where=where)
        if node.quantization is not None:
            _verify_integers(network, node, where)


def _verify_integers(network: Network, node: Node, where: str) -> None:
    quantization = node.quantization
    if quantization is None or not node.is_mvm:
        raise MhoError(f"{node.op} has grids", where=where, expected="grids on MVM layers only")
    if quantization.input.scales.ndim:
        raise MhoError("its input has more than one scale", where=where)
    grid = quantization.weight
    if node.op == "matmul":
        if grid.scales.ndim:
            raise MhoError("its stored operand has more than one scale", where=where)
        return
    weight = network.constants[node.inputs[1]]
    if weight.dtype.kind not in "iu":
        raise MhoError(f"its weight is {weight.dtype}", where=where, expected="integers")
    if grid.scales.shape not in ((), weight.shape[:1]):
        raise MhoError(f"{grid.scales.shape[0]} weight scales for {weight.shape[0]} outputs", where=where)
    if weight.size and (int(weight.min()) < grid.qmin or int(weight.max()) > grid.qmax):
        raise MhoError(f"a weight lies outside {grid.qmin}..{grid.qmax}", where=where)
