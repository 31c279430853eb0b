"""Every form of quantized ONNX becomes the same thing: integers and grids on layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from network_checks import verify_network
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node, packed, run_onnxruntime

from mho.errors import UnsupportedOperationError
from mho.network.graph import Network, Node, bits_of_range
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized

INTEGERS = np.array([[1, -2, 3], [-7, 5, 0]], np.int8)
SCALES = np.float32([0.5, 0.25])
GRID = {"xs": np.float32(0.1), "xz": np.uint8(3)}
INPUT = [node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd")]
X = np.random.default_rng(0).normal(4, 6, (1, 3)).astype(np.float32)


def weights(values: Any = INTEGERS, **more: Any) -> dict[str, Any]:
    return {**GRID, "w": values, "ws": SCALES, **more}


def read(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], shape: tuple[int, ...] = (1, 3), **options: Any
) -> Network:
    proto = model(nodes, {"x": shape}, constants, **options)
    network = read_onnx(proto)
    verify_network(network)
    if network.is_quantized and network.mvm_nodes:
        x = np.random.default_rng(0).normal(1, 4, shape).astype(np.float32)
        expected = run_onnxruntime(proto, {"x": x})
        ours = run_quantized(network, x[None])[network.outputs[0].name].reshape(expected.shape)
        assert np.allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    return network


def only_layer(network: Network) -> Node:
    (layer,) = network.mvm_nodes
    assert layer.quantization is not None
    return layer


def dequantized(output: str = "wd", **attributes: int) -> onnx.NodeProto:
    return node("DequantizeLinear", "w ws", output, **attributes)


GEMM = node("Gemm", "xd wd", transB=1)


def test_integer_weights_with_one_scale_an_output() -> None:
    layer = only_layer(read([*INPUT, dequantized(axis=0), GEMM], weights()))
    assert layer.quantization.input.scales == np.float32(0.1)
    assert (layer.quantization.input.qmin, layer.quantization.input.qmax, layer.quantization.input.bits) == (0, 255, 8)
    assert layer.quantization.input.zero_points == 3
    assert layer.quantization.weight.scales.tolist() == SCALES.tolist()
    assert layer.quantization.weight.bits == 8


def test_weights_that_are_transposed_on_the_way_keep_their_scales() -> None:
    stored = weights(np.ascontiguousarray(INTEGERS.T))
    network = read([*INPUT, dequantized(axis=1), node("MatMul", "xd wd")], stored)
    assert network.constants[only_layer(network).inputs[1]].tolist() == INTEGERS.tolist()
    nodes = [*INPUT, dequantized(axis=0), node("Transpose", "wd", "wt", perm=[1, 0]), node("MatMul", "xd wt")]
    network = read(nodes, weights())
    assert only_layer(network).quantization.weight.scales.tolist() == SCALES.tolist()


def test_float_weights_that_the_graph_quantizes() -> None:
    values = (INTEGERS * SCALES[:, None]).astype(np.float32)
    nodes = [
        *INPUT,
        node("QuantizeLinear", "w ws wz", "wq", axis=0),
        node("Clip", "wq low high", "wc"),
        node("DequantizeLinear", "wc ws wz", "wd", axis=0),
        GEMM,
    ]
    network = read(nodes, weights(values, wz=np.zeros(2, np.int8), low=np.int8(-7), high=np.int8(7)))
    layer = only_layer(network)
    assert network.constants[layer.inputs[1]].tolist() == INTEGERS.tolist()
    assert (layer.quantization.weight.qmin, layer.quantization.weight.qmax, layer.quantization.weight.bits) == (
        -7,
        7,
        4,
    )


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [
        (-127, 127, 8), (-128, 127, 8), (-7, 7, 4), (-8, 7, 4), (-1, 1, 2), (-3, 3, 3), (0, 255, 8), (0, 1, 1),
        (-1, 0, 1), (0, 15, 4), (-32767, 32767, 16), (0, 65535, 16), (-3, 12, 4), (-16, -1, 5),
    ],
)  # fmt: skip
def test_widths_follow_from_ranges(low: int, high: int, bits: int) -> None:
    assert bits_of_range(low, high) == bits


def test_clip_bounds_of_weights_and_activations_are_widths() -> None:
    bounds = {"low": np.int8(-7), "high": np.int8(7), "zero": np.uint8(0), "top": np.uint8(15)}
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("Clip", "xq zero top", "xc"),
        node("DequantizeLinear", "xc xs xz", "xd"),
        node("Clip", "w low high", "wc"),
        node("DequantizeLinear", "wc ws", "wd", axis=0),
        GEMM,
    ]
    grids = only_layer(read(nodes, weights(**bounds))).quantization
    assert (grids.input.qmin, grids.input.qmax, grids.input.bits) == (0, 15, 4)
    assert (grids.weight.qmin, grids.weight.qmax, grids.weight.bits) == (-7, 7, 4)


@pytest.mark.parametrize(
    ("data_type", "bits", "low"),
    [
        (TensorProto.INT4, 4, -8),
        (TensorProto.UINT4, 4, 0),
        (TensorProto.INT16, 16, -32768),
        (TensorProto.UINT16, 16, 0),
        (TensorProto.UINT8, 8, 0),
    ],
)
def test_types_of_weights_are_widths(data_type: int, bits: int, low: int) -> None:
    values = np.abs(INTEGERS) if low == 0 else INTEGERS
    held = weights(packed("w", values, data_type), wz=packed("wz", np.array([1, 2]), data_type))
    layer = only_layer(read([*INPUT, node("DequantizeLinear", "w ws wz", "wd", axis=0), GEMM], held))
    grid = layer.quantization.weight
    assert (grid.bits, grid.qmin, grid.zero_points.tolist()) == (bits, low, [1, 2])


@pytest.mark.parametrize("data_type", [TensorProto.INT2, TensorProto.UINT2])
def test_two_bit_types_are_read(data_type: int) -> None:
    values = np.array([[1, 0, 1], [0, 1, 1]], np.int8)
    held = weights(packed("w", values, data_type))
    proto = model([*INPUT, dequantized(axis=0), GEMM], {"x": (1, 3)}, held)
    layer = only_layer(read_onnx(proto))
    assert layer.quantization.weight.bits == 2


@pytest.mark.parametrize(("values", "bits"), [([[1, -1, 1], [-1, -1, 1]], 1), ([[1, -1, 0], [-1, -1, 1]], 2)])
def test_weights_that_are_all_plus_or_minus_one_have_one_bit(values: list[list[int]], bits: int) -> None:
    nodes = [*INPUT, node("Clip", "w low high", "wc"), node("DequantizeLinear", "wc ws", "wd", axis=0), GEMM]
    held = weights(np.array(values, np.int8), low=np.int8(-1), high=np.int8(1))
    assert only_layer(read(nodes, held)).quantization.weight.bits == bits


def test_an_int32_bias_is_read_as_its_value() -> None:
    held = weights(b=np.array([10, -20], np.int32), bs=np.float32([0.05, 0.025]))
    nodes = [
        *INPUT,
        dequantized(axis=0),
        node("DequantizeLinear", "b bs", "bd", axis=0),
        node("Gemm", "xd wd bd", transB=1),
    ]
    network = read(nodes, held)
    assert np.allclose(network.constants[only_layer(network).inputs[2]], [0.5, -0.5])


def test_quantized_weights_alone_make_a_float_layer_of_their_values() -> None:
    network = read([dequantized(axis=0), node("Gemm", "x wd", transB=1)], weights())
    (layer,) = network.mvm_nodes
    assert layer.quantization is None
    values = network.constants[layer.inputs[1]]
    assert values.tolist() == (INTEGERS * SCALES[:, None]).tolist()
    assert np.allclose(run_float(network, X)["y"], X @ values.T, rtol=1e-6)


def test_a_quantized_activation_alone_stays_a_quantizer() -> None:
    network = read([*INPUT, node("Gemm", "xd w", transB=1)], {**GRID, "w": INTEGERS.astype(np.float32)})
    assert [n.op for n in network.nodes] == ["fake_quantize", "linear"]
    expected = ((X / np.float32(0.1)).round() + 3).clip(0, 255) - 3
    ours = run_float(network, X)["y"]
    assert np.allclose(ours, (expected * np.float32(0.1)).astype(np.float32) @ INTEGERS.T, rtol=1e-5)


def test_movement_between_dequantizing_and_the_layer_is_looked_through() -> None:
    nodes = [
        *INPUT,
        node("Reshape", "xd shape", "r"),
        dequantized(axis=0),
        node("MatMul", "r wt"),
        node("Identity", "wd", "unused"),
    ]
    nodes.insert(4, node("Transpose", "wd", "wt", perm=[1, 0]))
    network = read(nodes, weights(shape=np.array([2, 3])), (1, 6))
    assert [n.op for n in network.nodes] == ["reshape", "linear"]
    assert network.is_quantized


def test_movement_between_quantizing_and_dequantizing_is_movement() -> None:
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("Reshape", "xq shape", "r"),
        node("Split", "r", "a b", axis=0, num_outputs=2),
        node("Concat", "b a", "c", axis=0),
        node("DequantizeLinear", "c xs xz", "xd"),
        dequantized(axis=0),
        GEMM,
    ]
    network = read(nodes, weights(shape=np.array([2, 3])), (1, 6))
    assert [n.op for n in network.nodes] == ["reshape", "slice", "slice", "concat", "linear"]
    assert network.is_quantized


def test_a_quantizer_that_also_feeds_something_else_stays_for_it() -> None:
    nodes = [
        *INPUT,
        dequantized(axis=0),
        node("Gemm", "xd wd", "g", transB=1),
        node("ReduceSum", "xd", "s", keepdims=1),
        node("Add", "g s"),
    ]
    network = read(nodes, weights())
    assert [n.op for n in network.nodes] == ["fake_quantize", "linear", "reduce_sum", "add"]
    assert network.is_quantized


def test_joined_tensors_of_one_grid_are_on_it() -> None:
    nodes = [
        *INPUT,
        node("Neg", "x", "n"),
        node("QuantizeLinear", "n xs xz", "nq"),
        node("DequantizeLinear", "nq xs xz", "nd"),
        node("Concat", "xd nd", "c", axis=0),
        dequantized(axis=0),
        node("Gemm", "c wd", transB=1),
    ]
    assert read(nodes, weights()).is_quantized


PRODUCT = [
    node("QuantizeLinear", "x xs xz", "aq"),
    node("DequantizeLinear", "aq xs xz", "ad"),
    node("Transpose", "x", "t", perm=[0, 2, 1]),
]


def test_both_operands_of_a_product_are_quantized_and_the_second_is_stored() -> None:
    nodes = [
        *PRODUCT,
        node("QuantizeLinear", "t bs bz", "bq"),
        node("Clip", "bq low high", "bc"),
        node("DequantizeLinear", "bc bs bz", "bd"),
        node("MatMul", "ad bd"),
    ]
    held = {**GRID, "bs": np.float32(0.3), "bz": np.int8(0), "low": np.int8(-3), "high": np.int8(3)}
    grids = only_layer(read(nodes, held, (2, 3, 4))).quantization
    assert (grids.weight.qmin, grids.weight.qmax, grids.weight.bits, grids.input.bits) == (-3, 3, 3, 8)


def test_a_sign_is_a_grid_of_one_bit() -> None:
    nodes = [
        *PRODUCT,
        node("GreaterOrEqual", "t zero", "p"),
        node("Where", "p one minus", "s"),
        node("DequantizeLinear", "s bs", "bd"),
        node("MatMul", "ad bd"),
    ]
    held = {**GRID, "bs": np.float32(0.3), "zero": np.float32(0), "one": np.int32(1), "minus": np.int32(-1)}
    assert only_layer(read(nodes, held, (2, 3, 4))).quantization.weight.is_binary
    held |= {"one": np.int8(1), "minus": np.int8(-1)}  # which older versions of ONNX Runtime do not choose between
    assert only_layer(read_onnx(model(nodes, {"x": (2, 3, 4)}, held))).quantization.weight.is_binary
    with pytest.raises(UnsupportedOperationError, match="grid feeds something else"):
        read_onnx(model([*nodes[2:6], node("Relu", "bd")], {"x": (2, 3, 4)}, held))


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_quantizers_of_onnx_runtimes_domain_are_the_same(domain: str) -> None:
    nodes = [helper.make_node(n.op_type, n.input, n.output, domain=domain) for n in INPUT]
    proto = model([*nodes, dequantized(axis=0), GEMM], {"x": (1, 3)}, weights())
    assert read_onnx(proto).is_quantized


FORMS = {
    "one scale a channel": [
        node("QuantizeLinear", "x ws3 z3", "q", axis=1),
        node("DequantizeLinear", "q ws3 z3", axis=1),
    ],
    "another scale": [node("QuantizeLinear", "x xs xz", "q"), node("DequantizeLinear", "q other xz")],
    "has scale -1": [node("QuantizeLinear", "x negative xz", "q"), node("DequantizeLinear", "q negative xz")],
    "its scales are computed": [node("QuantizeLinear", "x xs xz", "q"), node("DequantizeLinear", "q x")],
    "DynamicQuantizeLinear did not make": [
        node("QuantizeLinear", "x xs xz", "q"),
        node("MatMulInteger", "q w3", "i"),
        node("Cast", "i", to=TensorProto.FLOAT),
    ],
    "integers": [
        node("QuantizeLinear", "x xs xz", "q"),
        node("Add", "q q", "a"),
        node("DequantizeLinear", "a xs xz"),
    ],
    "scale a block": [
        node("DequantizeLinear", "w blocks", "wd", axis=1, block_size=1),
        node("Gemm", "x wd", transB=1),
    ],
}


@pytest.mark.parametrize("reason", FORMS)
def test_forms_that_are_not_there_are_refused(reason: str) -> None:
    held = weights(
        other=np.float32(0.2),
        negative=np.float32(-1),
        ws3=np.float32([1, 2, 3]),
        z3=np.zeros(3, np.uint8),
        w3=np.ones((3, 2), np.uint8),
        blocks=np.ones((2, 3), np.float32),
    )
    with pytest.raises(UnsupportedOperationError, match=reason):
        read_onnx(model(FORMS[reason], {"x": (1, 3)}, held))


@pytest.mark.parametrize("names", [("w",), ("xz",), ("w", "ws", "xs", "xz")])
def test_numbers_of_constant_nodes_are_read_as_initializers_are(names: tuple[str, ...]) -> None:
    held = weights()
    made = [node("Constant", "", name, value=numpy_helper.from_array(np.asarray(held.pop(name)))) for name in names]
    assert only_layer(read([*made, *INPUT, dequantized(axis=0), GEMM], held)).quantization.weight.qmin == -128


def test_scales_along_the_inputs_make_a_float_layer() -> None:
    held = weights(ws=np.float32([1, 2, 3]))
    network = read_onnx(model([*INPUT, dequantized(axis=1), GEMM], {"x": (1, 3)}, held))
    assert not network.is_quantized
    assert [n.op for n in network.nodes] == ["fake_quantize", "linear"]
