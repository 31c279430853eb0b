"""Small float networks for chips: a chain, a residual block, an attention head. Each is made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import nn

from mho.network.graph import Network, Node, TensorInfo

Step = tuple[Node, tuple[int, ...]]
"""A node, and the shape of what it makes."""


@cache
def make_chain() -> Network:
    """Return two convolutions, 6 x 6 and 4 x 4 positions."""
    weights = _draw_weights(first=lambda: nn.Conv2d(1, 3, 3), second=lambda: nn.Conv2d(3, 2, 3))
    steps = (
        (_conv("first", "x", "conv2d", pad=1), (1, 3, 6, 6)),
        (Node("node_relu", "relu", ("conv2d",), "relu"), (1, 3, 6, 6)),
        (_conv("second", "relu", "conv2d_1"), (1, 2, 4, 4)),
    )
    return _assemble("_Chain", (1, 1, 6, 6), steps, weights)


@cache
def make_residual() -> Network:
    """Return a residual block with pooling and a head."""
    weights = _draw_weights(
        first=lambda: nn.Conv2d(2, 4, 3),
        second=lambda: nn.Conv2d(4, 4, 3),
        third=lambda: nn.Conv2d(4, 3, 1),
        head=lambda: nn.Linear(3, 5),
    )
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1), "ceil_mode": 0}
    steps = (
        (_conv("first", "x", "conv2d", pad=1), (1, 4, 8, 8)),
        (Node("node_relu", "relu", ("conv2d",), "relu"), (1, 4, 8, 8)),
        (_conv("second", "relu", "conv2d_1", pad=1), (1, 4, 8, 8)),
        (Node("node_add", "add", ("relu", "conv2d_1"), "add"), (1, 4, 8, 8)),
        (Node("node_max_pool2d", "max_pool", ("add",), "max_pool2d", pool), (1, 4, 4, 4)),
        (_conv("third", "max_pool2d", "conv2d_2", kernel=1), (1, 3, 4, 4)),
        (Node("node_mean", "reduce_mean", ("conv2d_2",), "mean", {"axes": (2, 3), "keepdims": 0}), (1, 3)),
        (_linear("head", "mean", "linear"), (1, 5)),
    )
    return _assemble("_Residual", (1, 2, 8, 8), steps, weights)


@cache
def make_attention() -> Network:
    """Return five tokens that attend to each other: two products of activations, each stored for every input."""
    weights = _draw_weights(**dict.fromkeys(("queries", "keys", "head"), lambda: nn.Linear(4, 4)))
    steps = (
        (_linear("queries", "x", "linear"), (1, 5, 4)),
        (_linear("keys", "x", "linear_1"), (1, 5, 4)),
        (Node("node_transpose", "transpose", ("linear_1",), "transpose", {"perm": (0, 2, 1)}), (1, 4, 5)),
        (Node("query_key", "matmul", ("linear", "transpose"), "matmul"), (1, 5, 5)),
        (Node("node_softmax", "softmax", ("matmul",), "softmax", {"axis": 2}), (1, 5, 5)),
        (Node("attention_value", "matmul", ("softmax", "x"), "matmul_1"), (1, 5, 4)),
        (_linear("head", "matmul_1", "linear_2"), (1, 5, 4)),
    )
    return _assemble("_Attention", (1, 5, 4), steps, weights)


def _draw_weights(**layers: Callable[[], nn.Module]) -> dict[str, np.ndarray]:
    """Return the weights and biases of layers as torch initializes them after a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {name: make().state_dict() for name, make in layers.items()}
    return {f"{name}.{part}": tensor.numpy() for name, parts in made.items() for part, tensor in parts.items()}


def _conv(name: str, source: str, target: str, *, kernel: int = 3, pad: int = 0) -> Node:
    window = {"kernel": (kernel,) * 2, "strides": (1, 1), "pads": (pad,) * 4, "dilations": (1, 1), "groups": 1}
    return Node(name, "conv", (source, f"{name}.weight", f"{name}.bias"), target, window)


def _linear(name: str, source: str, target: str) -> Node:
    return Node(name, "linear", (source, f"{name}.weight", f"{name}.bias"), target)


def _assemble(name: str, shape: tuple[int, ...], steps: tuple[Step, ...], weights: dict[str, np.ndarray]) -> Network:
    nodes = tuple(node for node, _ in steps)
    shapes = {"x": shape} | {node.output: made for node, made in steps}
    output = nodes[-1].output
    return Network(name, (TensorInfo("x", shape),), (TensorInfo(output, shapes[output]),), nodes, weights, shapes)
