"""Whether a network's leading axis of 1 may be a batch in a file: nothing may mix, move or count along it."""

from __future__ import annotations

from mho.network.graph import Network, Node

_INDEPENDENT = frozenset(
    {
        "conv",
        "relu",
        "clip",
        "leaky_relu",
        "sigmoid",
        "hard_sigmoid",
        "hard_swish",
        "silu",
        "tanh",
        "gelu",
        "erf",
        "exp",
    }
    | {"log", "sqrt", "reciprocal", "neg", "abs", "pow", "max_pool", "average_pool", "fake_quantize", "resize_nearest"}
    | {"cast"}
)
_ALIGNED = frozenset({"add", "sub", "mul", "div", "minimum", "maximum", "where"})


def keeps_samples_apart(network: Network) -> bool:
    """Return True where every tensor's leading axis is 1 and every node works on each index of it alone."""
    if any(shape[:1] != (1,) for shape in network.shapes.values()):
        return False
    return all(_is_apart(network, node) for node in network.nodes)


def _is_apart(network: Network, node: Node) -> bool:
    values, rank = node.attributes, len(network.shapes[node.output])
    if node.op in _INDEPENDENT:
        return True
    if node.op in _ALIGNED:
        constants = [network.constants[name].shape for name in node.inputs if name in network.constants]
        return rank > 1 and all(len(shape) < rank or shape[0] == 1 for shape in constants)
    if node.op in ("linear", "matmul"):
        return rank > (1 if node.op == "linear" else 2)
    if node.op in ("softmax", "log_softmax", "layer_norm", "batch_norm", "gather"):
        return values["axis"] != 0
    if node.op == "concat":
        return values["axis"] != 0 and not any(name in network.constants for name in node.inputs)
    if node.op in ("reduce_mean", "reduce_sum", "reduce_max", "slice"):
        return 0 not in values["axes"]  # type: ignore[operator]
    if node.op == "transpose":
        return values["perm"][0] == 0  # type: ignore[index]
    if node.op == "expand":
        return rank == len(network.shapes[node.inputs[0]])
    if node.op == "pad":
        pads = values["pads"]
        return pads[0] == pads[rank] == 0  # type: ignore[index]
    return node.op == "reshape"
