"""Operations of ONNX that are made of others when a file is read: each gives what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from network_checks import verify_network
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as LackingOperationError

from mho.errors import UnsupportedOperationError
from mho.network.graph import Network
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized

RANDOM = np.random.default_rng(0)
INPUTS = {"x": (1, 4, 6, 5), "m": (1, 5, 8), "v": (1, 4, 5, 6, 4), "s": (5, 1, 3), "q": (1, 2, 5, 4), "z": (1, 2, 5, 4)}


def _numbers(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


CONSTANTS: dict[str, np.ndarray] = {
    "c4": _numbers(4), "d4": _numbers(4), "g8": _numbers(8), "zero": np.zeros((), np.int64), "one": np.array([1]),
    "two": np.array(2), "k3": np.array([3]), "half": np.float32(0.5), "axes23": np.array([2, 3]),
    "wide": np.float32([1, 1, 1.5, 2.2]), "narrow": np.float32([1, 1, 0.6, 0.7]), "sizes": np.array([1, 4, 9, 4]),
    "list": _numbers(1, 6),
    "reflect": np.array([0, 0, 2, 1, 0, 0, 1, 3]), "cut": np.array([0, 0, -1, 2, 0, 0, 1, -2]),
    "nd": np.array([[0, 3, 5], [0, -1, 2]]), "rows": np.array([[[2], [0]]]), "updates": _numbers(2, 5),
    "elements": RANDOM.integers(-6, 6, (1, 4, 3, 5)), "scattered": _numbers(1, 4, 3, 5),
    "distinct": np.broadcast_to(np.array([4, 0, 2])[None, None, :, None], (1, 4, 3, 5)).copy(),
    "depth": np.array(7), "on_off": np.float32([-1, 2]), "stack": _numbers(4, 5, 3), "w58": _numbers(8, 3),
    "keep": RANDOM.integers(0, 2, (5, 5)).astype(bool), "plus": _numbers(1, 1, 5, 5),
    "t33": _numbers(4, 3, 3, 3), "t22": _numbers(4, 2, 2, 3), "b3": _numbers(3), "b4": _numbers(4),
    "t1": _numbers(5, 2, 4), "w3d": _numbers(6, 2, 3, 2, 3), "b6": _numbers(6),
    "lw": _numbers(1, 8, 3), "lr": _numbers(1, 8, 2), "lb": _numbers(1, 16), "lw2": _numbers(2, 8, 3),
    "lr2": _numbers(2, 8, 2), "lb2": _numbers(2, 16), "gw": _numbers(1, 6, 3), "gr": _numbers(1, 6, 2),
    "gb": _numbers(1, 12), "rw": _numbers(1, 2, 3), "rr": _numbers(1, 2, 2), "h0": _numbers(1, 1, 2),
}  # fmt: skip

NODES: list[tuple[str, str, dict[str, Any]]] = [
    ("InstanceNormalization", "x c4 d4", {"epsilon": 0.1}),
    ("GroupNormalization", "x c4 d4", {"num_groups": 2}),
    ("MeanVarianceNormalization", "x", {"axes": [0, 2, 3]}),
    ("LRN", "x", {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.5}),
    *((f"Reduce{name}", "x axes23", {"keepdims": 0}) for name in ("L1", "L2", "SumSquare", "LogSumExp", "Min", "Prod")),
    ("CumSum", "x two", {"exclusive": 1}),
    ("CumSum", "x two", {"reverse": 1}),
    ("Trilu", "x zero", {"upper": 0}),
    ("Trilu", "x two", {}),
    ("Shrink", "x", {"lambd": 0.4, "bias": 0.1}),
    ("Tan", "x", {}),
    ("Mod", "whole seven", {}),
    ("Div", "whole seven", {}),
    ("OneHot", "whole depth on_off", {"axis": 1}),
    *(
        ("Resize", f"x  {scales}", {"mode": mode, "coordinate_transformation_mode": coordinates})
        for scales, mode, coordinates in (
            ("wide", "nearest", "half_pixel"), ("narrow", "nearest", "align_corners"), ("wide", "linear", "half_pixel"),
            ("narrow", "linear", "align_corners"), ("wide", "linear", "asymmetric"), ("wide", "cubic", "half_pixel"),
            ("narrow", "linear", "pytorch_half_pixel"), ("wide", "linear", "half_pixel_symmetric"),
        )
    ),
    ("Resize", "x   sizes", {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}),
    *(("Resize", "x  wide", {"nearest_mode": rounding, "coordinate_transformation_mode": "asymmetric"})
      for rounding in ("floor", "ceil", "round_prefer_ceil")),
    *(("Pad", "x reflect", {"mode": mode}) for mode in ("reflect", "edge", "wrap")),
    ("Pad", "x cut", {}),
    ("GatherND", "x nd", {}),
    ("GatherND", "m rows", {"batch_dims": 1}),
    ("GatherND", "m pair", {}),
    ("Gather", "x index", {"axis": 2}),
    ("GatherElements", "list index", {"axis": 1}),
    ("ScatterND", "x nd updates", {}),
    ("GatherElements", "x elements", {"axis": 2}),
    ("ScatterElements", "x distinct scattered", {"axis": 2}),
    ("DepthToSpace", "x", {"blocksize": 2}),
    ("DepthToSpace", "x", {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", "even", {"blocksize": 2}),
    ("ArgMin", "x", {"axis": 2, "keepdims": 0}),
    ("Einsum", "m w58", {"equation": "bij,jk->bki"}),
    ("Einsum", "q z", {"equation": "bhid,bhjd->bhij"}),
    ("Einsum", "m m", {"equation": "...i,...i->..."}),
    ("Einsum", "x c4", {"equation": "bchw,c->bhw"}),
    ("MatMul", "x stack", {}),
    ("Attention", "q z z keep", {"scale": 0.7}),
    ("Attention", "m m m", {"q_num_heads": 4, "kv_num_heads": 4, "is_causal": 1}),
    ("Attention", "q z z", {"softcap": 2.0}),
    ("RMSNormalization", "m g8", {"epsilon": 0.1}),
    ("ConvTranspose", "x t33 b3", {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 2]}),
    ("ConvTranspose", "x t22 b4", {"group": 2, "strides": [1, 2], "dilations": [2, 3]}),
    ("ConvTranspose", "m t1", {"strides": [3], "pads": [4, 3]}),
    ("ConvTranspose", "x t33", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("Conv", "v w3d b6", {"group": 2, "strides": [1, 2, 1], "pads": [1, 0, 1, 0, 1, 1], "dilations": [2, 1, 1]}),
    ("MaxPool", "v", {"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "pads": [1, 1, 0, 0, 1, 1]}),
    ("AveragePool", "v", {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2]}),
    ("LSTM", "s lw lr lb  h0 h0", {"hidden_size": 2}),
    ("LSTM", "s lw2 lr2 lb2", {"hidden_size": 2, "direction": "bidirectional"}),
    ("GRU", "s gw gr gb", {"hidden_size": 2, "linear_before_reset": 1}),
    ("GRU", "s gw gr gb  h0", {"hidden_size": 2, "direction": "reverse"}),
    ("RNN", "s rw rr", {"hidden_size": 2, "activations": ["Relu"]}),
]  # fmt: skip
EXTRA = {"whole": (1, 6), "even": (1, 3, 4, 6), "index": (1, 3), "pair": (1, 2, 2)}
SEVEN = np.array(-4)


def _name(number: int) -> str:
    return f"{NODES[number][0]}-{number}"


def _model() -> onnx.ModelProto:
    """All nodes side by side, except those that ONNX Runtime has in other opsets only: for all the same one."""
    constants = {**CONSTANTS, "seven": SEVEN}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in INPUTS.items()]
    inputs.append(helper.make_tensor_value_info("even", TensorProto.FLOAT, EXTRA["even"]))
    inputs += [helper.make_tensor_value_info(n, TensorProto.INT64, EXTRA[n]) for n in ("whole", "index", "pair")]
    whole = ("Mod", "Div", "ArgMin")
    made = [node(op, given, f"y{index}", **facts) for index, (op, given, facts) in enumerate(NODES)]
    outputs = [
        helper.make_tensor_value_info(f"y{index}", TensorProto.INT64 if op in whole else TensorProto.FLOAT, None)
        for index, (op, _, _) in enumerate(NODES)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(made, "composed", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


@pytest.fixture(scope="module")
def outputs() -> tuple[Network, dict[str, np.ndarray], dict[str, np.ndarray]]:
    proto = _model()
    feeds = {name: _numbers(*shape) for name, shape in {**INPUTS, "even": EXTRA["even"]}.items()}
    feeds["whole"] = np.array([[-9, -4, -1, 0, 3, 6]])
    feeds |= {"index": np.array([[4, 0, -2]]), "pair": np.array([[[0, 3], [0, -1]]])}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [f"y{index}" for index in range(len(NODES))]
    theirs = dict(zip(names, session.run(names, feeds), strict=True))
    network = read_onnx(proto)
    verify_network(network)
    return network, run_float(network, {name: value[None] for name, value in feeds.items()}), theirs


@pytest.mark.parametrize("number", range(len(NODES)), ids=_name)
def test_a_composed_operation_gives_what_onnxruntime_gives(number: int, outputs: tuple) -> None:
    network, ours, theirs = outputs
    found, expected = ours[f"y{number}"], theirs[f"y{number}"]
    (shape,) = (tensor.shape for tensor in network.outputs if tensor.name == f"y{number}")
    assert shape == expected.shape
    assert np.allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(
    ("op", "operands", "facts", "reason"),
    [
        ("Resize", "x  wide", {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "crop"),
        ("Resize", "x  narrow", {"mode": "linear", "antialias": 1}, "antialias"),
        ("GatherND", "x far", {}, "indices beyond"),
        ("ScatterND", "x nd updates", {"reduction": "add"}, "scatters by add"),
        ("CumSum", "x given", {}, "computed, not constant"),
        ("Einsum", "m m", {"equation": "bii,bij->b"}, "sums bii"),
        ("LSTM", "s lw lr lb", {"hidden_size": 2, "clip": 1.0}, "bounds"),
        ("ConvTranspose", "x t33", {"pads": [9, 9, 9, 9]}, "makes"),
        ("Attention", "q z z  q z", {}, "earlier tokens"),
    ],
)
def test_what_cannot_be_composed_is_refused_by_name(op: str, operands: str, facts: dict[str, Any], reason: str) -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in INPUTS.items()]
    inputs.append(helper.make_tensor_value_info("given", TensorProto.INT64, []))
    constants = {**CONSTANTS, "far": np.array([[0, 4, 0]])}
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node(op, operands, name="here", **facts)], "one", inputs, result, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    with pytest.raises(UnsupportedOperationError, match=rf"{op} \(here\): .*{reason}"):
        read_onnx(proto)


def _read_and_compare(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    except LackingOperationError as error:
        pytest.skip(f"this version of ONNX Runtime lacks the operation: {error}")
    (expected,) = session.run(None, feeds)
    network = read_onnx(proto)
    verify_network(network)
    run = run_quantized if network.mvm_nodes and network.is_quantized else run_float
    (found,) = run(network, {name: value[None] for name, value in feeds.items()}).values()
    assert np.allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


def test_scores_are_capped_before_a_mask_is_added() -> None:
    """As in ONNX today; ONNX 1.20 and ONNX Runtime 1.23 still added the mask first."""
    inputs = {name: INPUTS[name] for name in ("q", "z")}
    made = model([node("Attention", "q z z plus", "y", softcap=2.0)], inputs, {"plus": CONSTANTS["plus"]}, opset=23)
    q, z = feeds = [_numbers(*shape) for shape in inputs.values()]
    scores = 2 * np.tanh(q @ z.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) / 2) + CONSTANTS["plus"]
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    expected = shares / shares.sum(axis=-1, keepdims=True) @ z
    (found,) = run_float(read_onnx(made), dict(zip(inputs, (one[None] for one in feeds), strict=True))).values()
    assert np.allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_rows_are_divided_by_their_norms(p: int) -> None:
    x = _numbers(1, 4, 5, 6)
    # Of opset 21: ONNX Runtime had 22 of it later than of other operations.
    made = model([node("LpNormalization", "x", "y", axis=2, p=p)], {"x": x.shape}, {})
    _read_and_compare(made, {"x": x})


@pytest.mark.parametrize("rank", [3, 4])
def test_a_constant_condition_chooses_a_graph(rank: int) -> None:
    def branch(op: str) -> onnx.GraphProto:
        made = [node("Mul", "x c", f"{op}_t"), node(op, f"{op}_t", f"{op}_y")]
        held = [numpy_helper.from_array(np.float32([2.0]), "c")]
        return helper.make_graph(made, op, [], [helper.make_tensor_value_info(f"{op}_y", 1, None)], held)

    nodes = [node("Shape", "x", "s"), node("Size", "s", "n"), node("Equal", "n three", "is_three")]
    nodes.append(node("If", "is_three", then_branch=branch("Exp"), else_branch=branch("Neg")))
    x = _numbers(*(1, 2, 3, 4)[:rank])
    _read_and_compare(model(nodes, {"x": x.shape}, {"three": np.array(3)}), {"x": x})


def test_a_condition_that_depends_on_the_input_is_refused() -> None:
    empty = helper.make_graph([node("Exp", "x", "e")], "e", [], [helper.make_tensor_value_info("e", 1, None)])
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m zero", "c")]
    nodes.append(node("If", "c", name="here", then_branch=empty, else_branch=empty))
    with pytest.raises(UnsupportedOperationError, match=r"If \(here\): its conditions .* are computed"):
        read_onnx(model(nodes, {"x": (1, 3)}, {"zero": np.float32(0)}))


def _contributed(made: onnx.NodeProto, x: np.ndarray, constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    proto = model([made], {"x": x.shape}, constants)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def test_a_dynamically_quantized_lstm_gives_onnx_runtimes_numbers() -> None:
    held = {
        "w": RANDOM.integers(-127, 128, (2, 3, 8)).astype(np.int8), "b": _numbers(2, 16),
        "r": RANDOM.integers(-127, 128, (2, 2, 8)).astype(np.int8), "ws": np.float32([0.01, 0.02]),
        "rs": np.float32([0.03, 0.01]), "z": np.zeros(2, np.int8),
    }  # fmt: skip
    made = node(
        "DynamicQuantizeLSTM", "x w r b     ws z rs z", domain="com.microsoft", hidden_size=2, direction="bidirectional"
    )
    x = _numbers(4, 1, 3)
    proto = _contributed(made, x, held)
    network = read_onnx(proto)
    assert {n.quantization is not None for n in network.mvm_nodes} == {True}
    _read_and_compare(proto, {"x": x})


def test_integer_convolutions_take_the_zero_point_off_their_padding() -> None:
    held = {"w": RANDOM.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8)}
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"), node("ConvInteger", "q w z", "i", pads=[1, 1, 1, 1]),
        node("Cast", "i", "f", to=TensorProto.FLOAT), node("Mul", "f s"),
    ]  # fmt: skip
    x = _numbers(1, 4, 5, 6)
    _read_and_compare(model(nodes, {"x": x.shape}, held), {"x": x})
