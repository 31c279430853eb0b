"""A network is checked when it is made, frozen afterwards, and knows its layers by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from mho.errors import MhoError
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo
from mho.network.layers import ConvShape, MvmLayer, derive_layer_table

X, Y = TensorInfo("x", (1, 3)), TensorInfo("y", (1, 2))
SHAPES = {"x": (1, 3), "h": (1, 2), "y": (1, 2)}
LINEAR = Node("fc", "linear", ("x", "w"), "h")
RELU = Node("relu", "relu", ("h",), "y")


def _network(*nodes: Node, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Network:
    return Network("net", (X,), (Y,), nodes, {"w": np.ones((2, 3), np.float32)}, shapes)


def test_layers_are_known_by_name_in_execution_order() -> None:
    network = _network(LINEAR, RELU)
    assert network.layer_names == ("fc",)
    assert network.node("fc") is LINEAR
    assert not network.is_quantized
    with pytest.raises(MhoError, match="no node 'conv'"):
        network.node("conv")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((RELU, LINEAR), "not made before it is used"),
        ((LINEAR, Node("fc", "relu", ("h",), "y")), "two nodes have this name"),
        ((LINEAR, RELU, Node("again", "neg", ("h",), "y")), "made twice"),
        ((LINEAR,), "never made"),
        ((LINEAR, Node("relu", "relu", ("h",), "z"), RELU), "shape of 'z' is unknown"),
    ],
)
def test_contradictions_are_refused(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(MhoError, match=message):
        _network(*nodes)


@pytest.mark.parametrize(
    ("input_scale", "weight_scale", "message"),
    [
        (0.0, 1.0, "the streamed operand has the scale 0"),
        (-1.0, 1.0, "the streamed operand has the scale -1"),
        (1.0, 1e37, r"may reach 4\.\de\+41"),
        (1e-38, 1e37, r"may reach 1\.\de\+39"),
        (1e-20, 1e-20, "one unit of its sums is worth 1e-40"),
        (1.0, [1e-42, 1e-42], "one unit of its sums is worth 1e-42"),
        (1.0, [1e-42, 1e-3], None),
        (1.0, [0.0, 0.0], None),
    ],
)
def test_scales_that_float32_cannot_compute_with_are_refused(input_scale, weight_scale, message) -> None:
    grids = LayerQuantization(Grid(np.float32(input_scale), 0, -127, 127, 8), Grid(weight_scale, 0, -127, 127, 8))
    layer = Node("fc", "linear", ("x", "w"), "h", {}, grids)
    if message is None:
        assert _network(layer, RELU).is_quantized
        return
    with pytest.raises(MhoError, match=f"net: fc: .*{message}"):
        _network(layer, RELU)


def test_nothing_in_a_network_can_be_changed() -> None:
    network = _network(LINEAR, RELU)
    with pytest.raises(ValueError, match="read-only"):
        network.constants["w"][0, 0] = 2
    with pytest.raises(TypeError):
        network.shapes["x"] = (1,)  # type: ignore[index]
    with pytest.raises(TypeError):
        RELU.attributes["alpha"] = 1  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        Grid(np.float32([1, 2]), 0, -1, 1, 2).scales[0] = 3


def test_signs_are_one_bit_without_zero() -> None:
    assert Grid(np.float32(1), 0, -1, 1, 1).is_binary
    assert not Grid(np.float32(1), 0, -1, 1, 2).is_binary
    assert not Grid(np.float32(1), 0, 0, 1, 1).is_binary


CONV = ConvShape(
    batch=1, in_size=(6, 6), out_size=(3, 3), kernel=(3, 3), strides=(2, 2), dilations=(1, 1), pads=(1, 1, 1, 1)
)


def test_the_layer_table_counts_groups_tokens_and_heads() -> None:
    conv = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": 4}
    nodes = (
        Node("depthwise", "conv", ("image", "k"), "maps", conv),
        Node("dense", "linear", ("tokens", "w"), "mixed"),
        Node("scores", "matmul", ("a", "b"), "products"),
    )
    inputs = {"image": (1, 8, 6, 6), "tokens": (1, 5, 3), "a": (1, 2, 7, 4), "b": (1, 2, 4, 9)}
    made = {"maps": (1, 12, 3, 3), "mixed": (1, 5, 2), "products": (1, 2, 7, 9)}
    constants = {"k": np.ones((12, 2, 3, 3), np.float32), "w": np.ones((2, 3), np.float32)}
    network = Network(
        "net",
        tuple(TensorInfo(name, shape) for name, shape in inputs.items()),
        tuple(TensorInfo(name, shape) for name, shape in made.items()),
        nodes,
        constants,
        inputs | made,
    )
    table = derive_layer_table(network)
    assert table == (
        MvmLayer("depthwise", "conv", outputs=3, inputs=18, positions=9, repeat=4, conv=CONV),
        MvmLayer("dense", "linear", outputs=2, inputs=3, positions=5, repeat=1),
        MvmLayer("scores", "matmul", outputs=9, inputs=4, positions=7, repeat=2),
    )
    assert table[0].macs == 3 * 18 * 9 * 4
