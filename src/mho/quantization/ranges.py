"""Which tensors of a network can never be negative: these are quantized without a sign."""

from __future__ import annotations

import numpy as np

from mho.arithmetic.attributes import get_float, get_int
from mho.network.graph import Network, Node

_ALWAYS = frozenset({"relu", "sigmoid", "hard_sigmoid", "softmax", "exp", "sqrt", "abs"})
_MOVING = frozenset({"reshape", "transpose", "concat", "slice", "gather", "expand", "resize_nearest"})
_REDUCING = frozenset({"max_pool", "average_pool", "reduce_mean", "reduce_sum", "reduce_max"})
_AS_INPUTS = _MOVING | _REDUCING | {"add", "mul", "div", "minimum", "reciprocal", "hard_swish", "silu", "where", "cast"}
"""Not negative where none of their inputs is."""


def non_negative_tensors(network: Network) -> frozenset[str]:
    """Return the names of the tensors (constants too) that cannot be negative, whatever the input. Inputs may be."""
    known = {name for name, value in network.constants.items() if _is_non_negative(value)}
    for node in network.nodes:
        if _never_negative(node, known):
            known.add(node.output)
    return frozenset(known)


def _never_negative(node: Node, known: set[str]) -> bool:
    if node.op in _ALWAYS:
        return True
    first = node.inputs[0] in known
    if node.op == "clip":
        return get_float(node.attributes, "min") >= 0 or (first and get_float(node.attributes, "max") >= 0)
    if node.op == "maximum":
        return any(name in known for name in node.inputs)
    if node.op == "pad":
        return first and get_float(node.attributes, "value") >= 0
    if node.op == "leaky_relu":
        return first or get_float(node.attributes, "alpha") <= 0
    if node.op == "pow":
        return first or get_float(node.attributes, "exponent") % 2 == 0
    if node.op == "fake_quantize":
        return first or get_int(node.attributes, "qmin") >= get_int(node.attributes, "zero_point")
    if node.op == "mul" and len(set(node.inputs)) == 1:
        return True
    # gather's second operand holds indices, where's third its mask.
    operands = node.inputs[: {"gather": 1, "where": 2}.get(node.op)]
    return node.op in _AS_INPUTS and all(name in known for name in operands)


def _is_non_negative(values: np.ndarray) -> bool:
    return values.dtype.kind in "fiu" and bool((values >= 0).all())
