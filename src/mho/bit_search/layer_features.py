"""What an agent sees of each layer: the paper's features, derived from the network and scaled to 0..1.

Two more features of the paper's ten, the previous action and which action is next, change from step to step; the
environment adds them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.network.graph import Network, Node

LAYER_FEATURES = (
    "kind", "input_channels", "output_channels", "stride", "kernel_size", "weights", "input_size", "index",
)  # fmt: skip
"""Names of the features of a layer: `kind` is 0 convolution, 1 depthwise, 2 dense, 3 product of two activations."""


def layer_features(network: Network) -> NDArray[np.float32]:
    """Derive the features of every MVM layer.

    Returns:
        float32 [layers, 8], each column scaled over the layers to 0..1 (0 where all layers agree).

    Source: the state of HAQ (Wang et al., CVPR 2019) as arXiv 2601.21737 uses it.
    """
    rows = [_raw_features(network, node, index) for index, node in enumerate(network.mvm_nodes)]
    return scale_features(np.array(rows, dtype=np.float64).reshape(-1, len(LAYER_FEATURES)))


def scale_features(raw: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale each column of [layers, features] to 0..1 over the layers; a constant column becomes 0."""
    low, high = raw.min(axis=0), raw.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return ((raw - low) / span).astype(np.float32)


def _raw_features(network: Network, node: Node, index: int) -> tuple[Any, ...]:
    in_shape = network.shapes[node.inputs[0]]
    if node.op == "conv":
        out_channels, per_group, *kernel = network.constants[node.inputs[1]].shape
        groups = int(node.attributes["groups"])  # type: ignore[arg-type]
        kind = 1 if groups > 1 and groups == in_shape[1] else 0
        stride = node.attributes["strides"][0]  # type: ignore[index]
        weights = out_channels * per_group * math.prod(kernel)
        pixels = math.prod(in_shape[2:])
        return kind, in_shape[1], out_channels, stride, kernel[0], weights, pixels, index
    if node.op == "linear":
        outputs, inputs = network.constants[node.inputs[1]].shape
        return 2, inputs, outputs, 0, 1, outputs * inputs, math.prod(in_shape), index
    stored = network.shapes[node.inputs[1]]
    return 3, in_shape[-1], stored[-1], 0, 1, math.prod(stored), math.prod(in_shape), index
