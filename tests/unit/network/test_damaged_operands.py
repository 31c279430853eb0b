"""ONNX nodes whose attributes or operands are of another form than ONNX says: one error that names the node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, helper
from onnx_models import model, node

from mho.errors import InputFileError, MemoryBudgetError, UnsupportedOperationError
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float

X = {"x": (1, 4)}
MAP = {"x": (1, 1, 6, 6)}

BIG = (1 << 63) - 1


@pytest.mark.parametrize(
    "attributes",
    [
        {"dilations": [1, 0]},
        {"dilations": [-1, 1]},
        {"dilations": [BIG, BIG]},
        {"strides": [0, 1]},
        {"strides": [-1, 1]},
        {"strides": [BIG, BIG]},
        {"strides": [1]},
        {"strides": [1, 1, 1]},
        {"dilations": [1]},
        {"pads": [-1, 0, 0, 0]},
        {"pads": [1, 1]},
        {"pads": [BIG] * 4},
        {"pads": [2, 2, 2, 2]},
        {"kernel_shape": [7, 7]},
        {"kernel_shape": [0, 2]},
        {"kernel_shape": [2]},
        {"kernel_shape": [2, 2, 2]},
        {"kernel_shape": [BIG, BIG]},
        {"auto_pad": "SAME"},
        {"auto_pad": 1},
        {"strides": "wide"},
        {"ceil_mode": [1]},
        {"ceil_mode": 65537},
        {"auto_pad": "SAME_UPPER", "strides": [7, 7]},
    ],
)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "Conv"])
def test_windows_that_nothing_can_compute_are_refused(op, attributes):
    if op == "Conv" and ("ceil_mode" in attributes or attributes == {"pads": [2] * 4}):
        pytest.skip("means something to a convolution, or is unknown to it")
    attributes = attributes if op == "Conv" else {"kernel_shape": [2, 2], **attributes}
    made = node(op, "x w" if op == "Conv" else "x", **attributes)
    with pytest.raises((UnsupportedOperationError, MemoryBudgetError)):
        read_onnx(model(made, MAP, {"w": np.ones((1, 1, 2, 2), np.float32)}))


@pytest.mark.parametrize(
    ("op", "kernel", "pads", "dilations"),
    [
        ("MaxPool", [1, 1], [1] * 4, [1, 1]),
        ("AveragePool", [2, 2], [1] * 4, [7, 7]),
        ("MaxPool", [2, 2], [0, 0, 2, 2], [1, 1]),
    ],
)
def test_a_pooling_whose_padding_holds_whole_windows_is_refused(op, kernel, pads, dilations):
    with pytest.raises(UnsupportedOperationError, match="whole windows"):
        read_onnx(model(node(op, "x", kernel_shape=kernel, pads=pads, dilations=dilations), MAP))


def test_a_kernel_of_more_taps_than_can_be_enumerated_is_refused():
    with pytest.raises(UnsupportedOperationError, match="taps"):
        read_onnx(model(node("MaxPool", "x", kernel_shape=[200, 200]), {"x": (1, 1, 300, 300)}))


def test_a_dilated_pooling_is_read():
    network = read_onnx(model(node("MaxPool", "x", kernel_shape=[2, 2], dilations=[3, 2], pads=[1] * 4), MAP))
    x = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)
    assert np.isfinite(run_float(network, x)["y"]).all()


@pytest.mark.parametrize(
    ("made", "constants"),
    [
        (node("Clip", "x e"), {}),
        (node("Clip", "x two"), {}),
        (node("Clip", "x nan"), {}),
        (node("Relu", "x x"), {}),
        (node("Add", "x"), {}),
        (node("Add", "x "), {}),
        (node("Concat", "x  x", axis=0), {}),
        (node("Concat", "x x"), {}),
        (node("Concat", "x x", axis="0"), {}),
        (node("Concat", "x x", axis=[0]), {}),
        (node("Concat", "x x", axis=9), {}),
        (node("Transpose", "x", perm=[0, 0]), {}),
        (node("Transpose", "x", perm=[0]), {}),
        (node("Flatten", "x", axis=9), {}),
        (node("Reshape", "x ints"), {"ints": np.array([-1, -4])}),
        (node("Reshape", "x ints"), {"ints": np.array([-1, -1])}),
        (node("Reshape", "x ints"), {"ints": np.ones(60, np.int64) * [4] + 0}),
        (node("Reshape", "x e"), {}),
        (node("Unsqueeze", "x ints"), {"ints": np.array([0, 0])}),
        (node("Unsqueeze", "x ints"), {"ints": np.arange(60)}),
        (node("Squeeze", "x ints"), {"ints": np.array([0, 0])}),
        (node("Slice", "x ints two"), {"ints": np.array([0])}),
        (node("Slice", "x ints ints axes"), {"ints": np.array([0, 0]), "axes": np.array([0, 0])}),
        (node("Slice", "x ints ints axes ints"), {"ints": np.array([0]), "axes": np.array([1])}),
        (node("Split", "x ints", "y z"), {"ints": np.array([1, 1, 2])}),
        (node("Split", "x e", "y z"), {}),
        (node("Gather", "x two"), {}),
        (node("Gather", "x ints"), {"ints": np.array([1 << 62])}),
        (node("Pad", "x ints"), {"ints": np.array([1])}),
        (node("Pad", "x ints e"), {"ints": np.array([1, 1, 1, 1])}),
        (node("Expand", "x ints"), {"ints": np.array([1, 3])}),
        (node("Expand", "x ints"), {"ints": np.array([-1, 4])}),
        (node("Tile", "x ints"), {"ints": np.array([2])}),
        (node("Tile", "x ints"), {"ints": np.array([-2, -2])}),
        (node("Resize", "x  e", mode="nearest"), {}),
        (node("Resize", "x  nan", mode="nearest"), {}),
        (node("Resize", "x   ints", mode="nearest"), {"ints": np.array([1])}),
        (node("ReduceSum", "x ints"), {"ints": np.array([0, 0])}),
        (node("Gemm", "x w"), {"w": np.ones(4, np.float32)}),
        (node("Gemm", "x w b"), {"w": np.ones((4, 3), np.float32), "b": np.ones(7, np.float32)}),
        (node("Gemm", "x w", alpha=float("nan")), {"w": np.ones((4, 3), np.float32)}),
        (node("MatMul", "x w"), {"w": np.float32(1)}),
        (node("BatchNormalization", "x w w w w"), {"w": np.ones(3, np.float32)}),
        (node("LayerNormalization", "x w"), {"w": np.ones(3, np.float32)}),
        (node("LeakyRelu", "x", alpha=float("inf")), {}),
        (node("Gelu", "x", approximate="roughly"), {}),
        (node("Gemm", "x w", transB=-1), {"w": np.ones((4, 4), np.float32)}),
        (node("Pow", "x nan"), {}),
        (node("Pow", "x inf"), {"inf": np.float32(np.inf)}),
        (node("QuantizeLinear", "x one", output_dtype=99), {}),
        (node("QuantizeLinear", "x one one"), {}),
        (node("Cast", "x", to=99), {}),
    ],
)
def test_operands_and_attributes_of_another_form_are_refused(made, constants):
    given = {"e": np.zeros(0, np.float32), "two": np.ones(2, np.float32), "nan": np.float32(np.nan), **constants}
    given["one"] = np.float32(1)
    with pytest.raises((UnsupportedOperationError, InputFileError), match=made.op_type):
        read_onnx(model(made, X, given))


def test_a_node_without_outputs_and_a_reference_to_no_attribute_are_refused():
    with pytest.raises(InputFileError, match="without outputs"):
        read_onnx(model([helper.make_node("Relu", ["x"], []), node("Relu", "x")], X))
    made = node("LeakyRelu", "x")
    made.attribute.append(AttributeProto(name="alpha", ref_attr_name="alpha", type=AttributeProto.FLOAT))
    with pytest.raises(InputFileError, match="alpha"):
        read_onnx(model(made, X))


def test_a_node_with_one_attribute_twice_is_refused():
    made = node("LeakyRelu", "x", alpha=0.5)
    made.attribute.append(helper.make_attribute("alpha", 0.25))
    with pytest.raises(InputFileError, match="the attribute 'alpha' twice"):
        read_onnx(model(made, X))


def test_clips_between_quantizers_take_whole_numbers_only():
    def clipped(low: object, high: object) -> onnx.ModelProto:
        nodes = [node("QuantizeLinear", "x s z", "q"), node("Clip", "q l h", "c"), node("DequantizeLinear", "c s z")]
        constants = {"s": np.float32(0.5), "z": np.int8(0), "l": np.asarray(low), "h": np.asarray(high)}
        return model(nodes, X, constants)

    assert read_onnx(clipped(np.int8(-7), np.int8(7))).nodes[0].attributes["qmin"] == -7
    for low, high in ((np.int8(7), np.int8(-7)), (np.int8([1, 2]), np.int8(7)), (np.float32(np.nan), np.float32(7))):
        with pytest.raises(UnsupportedOperationError, match="Clip"):
            read_onnx(clipped(low, high))


def test_a_width_of_weights_that_does_not_hold_them_is_refused():
    constants = {"w": np.int8([[-100], [3], [1], [1]]), "s": np.float32(1)}
    for bits in ("1", "4", "33", "9" * 5000, "eight"):
        nodes = [node("DequantizeLinear", "w s", "wd"), node("MatMul", "x wd")]
        helper.set_model_props(nodes[1], {"mho.weight_bits": bits})
        with pytest.raises(UnsupportedOperationError, match=r"weight_bits|bits within"):
            read_onnx(model(nodes, X, constants))
