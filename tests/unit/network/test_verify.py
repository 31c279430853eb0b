"""A network that contradicts itself is found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from network_checks import verify_network
from random_networks import SeededChooser, random_network

from mho.errors import MhoError
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo

GRIDS = LayerQuantization(Grid(np.float32(1), 0, 0, 15, 4), Grid(np.float32([1, 1]), 0, -7, 7, 4))


def _network(**changes: object) -> Network:
    node = replace(Node("fc", "linear", ("x", "w"), "y", {}, GRIDS), **changes)
    weight = np.full((2, 3), 7, np.int8)
    outputs = (TensorInfo("y", (1, 2)),)
    return Network("n", (TensorInfo("x", (1, 3)),), outputs, (node,), {"w": weight}, {"x": (1, 3), "y": (1, 2)})


def test_sound_networks_pass() -> None:
    verify_network(_network())
    for seed in range(20):
        verify_network(random_network(SeededChooser(seed)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_network(op="lstm"), "unknown operation 'lstm'"),
        (_network(op="matmul"), "does not fit"),
        (_network(op="relu", inputs=("x",), quantization=None), r"makes \[1, 3\], not \[1, 2\]"),
        (_network(quantization=replace(GRIDS, weight=Grid(np.float32([1, 1]), 0, -3, 3, 3))), "outside -3..3"),
        (_network(quantization=replace(GRIDS, weight=Grid(np.float32([1, 1, 1]), 0, -7, 7, 4))), "3 weight scales"),
        (_network(quantization=replace(GRIDS, input=Grid(np.float32([1, 1]), 0, 0, 15, 4))), "more than one scale"),
    ],
)
def test_contradictions_are_refused(network: Network, message: str) -> None:
    with pytest.raises(MhoError, match=message):
        verify_network(network)
