"""Float networks: what is read computes what ONNX Runtime computes from the same file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx_models import model, node, run_onnxruntime
from torch import nn

from mho.network.graph import Network
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float
from mho.network.torch_reader import read_torch


def _assert_same(network: Network, proto: onnx.ModelProto, x: np.ndarray) -> None:
    ours = run_float(network, x[None])[network.outputs[0].name]
    theirs = run_onnxruntime(proto, {network.inputs[0].name: x})
    ours = ours.reshape(theirs.shape)
    largest = float(np.abs(theirs).max(where=np.isfinite(theirs), initial=1.0))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * largest)


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def to_float(operand: str) -> onnx.NodeProto:
    return node("Cast", operand, to=onnx.TensorProto.FLOAT)


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(16, 4, 32, 0.1, "gelu", batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x)


MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "sequence": (
        nn.Sequential(
            nn.Conv1d(3, 8, 3, 2, 1), nn.BatchNorm1d(8), nn.ReLU6(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(32, 5)
        ),
        (1, 3, 16),
    ),
    "image": (
        nn.Sequential(
            nn.Upsample(scale_factor=2), nn.LeakyReLU(0.1),
            nn.Conv2d(3, 8, 3, 1, 2, 2, bias=False), nn.BatchNorm2d(8), nn.Hardswish(), nn.Conv2d(8, 8, 3, 2, 1, 1, 8),
            nn.SiLU(), nn.AvgPool2d(3, 2, 1), nn.PReLU(8), nn.ELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 6), nn.Mish(), nn.Linear(6, 5), nn.Softmax(1),
        ),
        (1, 3, 9, 8),
    ),
    "attention": (_Attention(), (1, 6, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_torch_modules(name: str) -> None:
    module, shape = MODULES[name]
    torch.manual_seed(0)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(child.running_mean)
            nn.init.uniform_(child.running_var, 0.5, 2)
    module.eval()
    x = _random(*shape)
    network = read_torch(module, shape)
    ours = run_float(network, x[None])[network.outputs[0].name]
    expected = module(torch.from_numpy(x)).detach().numpy()
    assert np.allclose(ours.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    if name != "attention":
        return  # an export takes seconds; one shows that the optimized form is read as well
    program = torch.onnx.export(module, (torch.zeros(*shape),), dynamo=True, verbose=False)
    _assert_same(read_onnx(program.model_proto), program.model_proto, x)


W = _random(6, 2, 3, 2, seed=3)
GRAPHS: dict[str, tuple[onnx.NodeProto | list[onnx.NodeProto], tuple[int, ...], dict[str, np.ndarray]]] = {
    "conv_same_upper": (node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 1], group=2), (1, 4, 9, 8), {"w": W}),
    "conv_same_lower": (node("Conv", "x w", auto_pad="SAME_LOWER", strides=[1, 2], group=2), (1, 4, 9, 8), {"w": W}),
    "conv_valid": (node("Conv", "x w", auto_pad="VALID", group=2), (1, 4, 9, 8), {"w": W}),
    "conv_asymmetric": (node("Conv", "x w b", pads=[0, 1, 2, 0], group=2), (1, 4, 9, 8), {"w": W, "b": W[:, 0, 0, 0]}),
    "conv_1d": (node("Conv", "x w", pads=[1, 2], dilations=[2], strides=[3]), (1, 2, 19), {"w": _random(5, 2, 3)}),
    "conv_batch_of_two": (node("Conv", "x w", group=2), (2, 4, 9, 8), {"w": W}),
    "gemm": (node("Gemm", "x w b", alpha=0.5, beta=2.0), (3, 4), {"w": _random(4, 5), "b": _random(5)}),
    "gemm_trans": (node("Gemm", "x w b", transA=1, transB=1), (4, 3), {"w": _random(5, 4), "b": _random(1, 5)}),
    "gemm_bias_matrix": (node("Gemm", "x w b"), (3, 4), {"w": _random(4, 5), "b": _random(3, 5)}),
    "gemm_bias_scalar": (node("Gemm", "x w b"), (3, 4), {"w": _random(4, 5), "b": _random(1)}),
    "matmul_right": (node("MatMul", "x w"), (2, 3, 4), {"w": _random(4, 5)}),
    "matmul_right_raised": (node("MatMul", "x w"), (3, 4), {"w": _random(1, 1, 4, 5)}),
    "matmul_left": (node("MatMul", "w x"), (2, 3, 4), {"w": _random(5, 3)}),
    "matmul_vector": (node("MatMul", "w x"), (3,), {"w": _random(5, 3)}),
    "matmul_activations": (
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")], (2, 3, 4), {},
    ),
    "matmul_broadcast": (
        [node("ReduceMax", "x", "t", axes=[0, 1], keepdims=0), node("MatMul", "x t")],
        (2, 3, 4, 4), {},
    ),
    "average_pool_1d": (node("AveragePool", "x", kernel_shape=[4], strides=[2]), (1, 2, 9), {}),
    "global_average_pool": (node("GlobalAveragePool", "x"), (1, 2, 8, 7), {}),
    "global_max_pool": (node("GlobalMaxPool", "x"), (1, 2, 8, 7), {}),
    "layer_norm": (
        node("LayerNormalization", "x s b", axis=-2, epsilon=1e-3), (2, 3, 4),
        {"s": _random(3, 4), "b": _random(3, 4)},
    ),
    "slice_backwards": (
        node("Slice", "x s e a t"), (1, 6, 5),
        {"s": np.array([-1, 1]), "e": np.array([-99, 99]), "a": np.array([1, -1]), "t": np.array([-2, 2])},
    ),
    "split": (
        [node("Split", "x", "p q", axis=1, num_outputs=2), node("Sub", "p q")], (1, 6, 5), {},
    ),
    "sequence": (
        [
            node("SplitToSequence", "x sizes", "s", axis=1), node("SequenceAt", "s first", "a"),
            node("SequenceAt", "s last", "b"), node("Concat", "b a", axis=1),
        ],
        (1, 6, 5), {"sizes": np.array(4), "first": np.array(0), "last": np.array(-1)},
    ),
    "tile": (node("Tile", "x r"), (1, 2, 3), {"r": np.array([1, 3, 2])}),
    "reshape_zero_and_minus_one": (node("Reshape", "x r"), (1, 4, 6), {"r": np.array([0, -1, 3])}),
    "squeeze_unsqueeze": (
        [node("Squeeze", "x a", "t"), node("Unsqueeze", "t b")], (1, 4, 1, 6),
        {"a": np.array([-2]), "b": np.array([1, -1])},
    ),
    "gather": (node("Gather", "x i", axis=2), (1, 4, 6), {"i": np.array([[0, -1], [2, 2]])}),
    "pad": (
        node("Pad", "x p v a"), (1, 4, 6), {"p": np.array([1, 0, 0, 2]), "v": np.float32(3), "a": np.array([1, 2])},
    ),
    "where_mask": (
        node("Where", "m x c"), (1, 3, 3), {"m": np.tril(np.ones((3, 3), bool)), "c": np.float32(-np.inf)},
    ),
    "two_masks": (
        [node("Where", "m x c", "t"), node("Where", "n t c", "u"), node("Softmax", "u")], (1, 3, 3),
        {"m": np.tril(np.ones((3, 3), bool)), "n": np.array([True, True, False]), "c": np.float32(-np.inf)},
    ),
    "where_not_taken": (
        [node("Log", "x", "l"), node("Where", "m c l")], (1, 4),
        {"m": np.array([[True, True, True, True]]), "c": np.float32(7)},
    ),
    "where_broadcasts": (node("Where", "m x c"), (1, 1, 3), {"m": np.eye(4, 3, dtype=bool), "c": _random(2, 1, 1)}),
    "resize_not_larger": (
        node("Resize", "x   s", keep_aspect_ratio_policy="not_larger", **NEAREST), (1, 2, 4, 4),
        {"s": np.array([2, 4, 8, 12])},
    ),
    "resize_not_smaller": (
        node("Resize", "x   s", keep_aspect_ratio_policy="not_smaller", **NEAREST), (1, 2, 4, 4),
        {"s": np.array([1, 2, 8, 12])},
    ),
    "float16_and_back": (
        [node("Mul", "x c", "t"), node("Cast", "t", "h", to=onnx.TensorProto.FLOAT16), to_float("h")], (1, 30),
        {"c": np.float32(7e4)},
    ),
    "bfloat16_and_back": ([node("Cast", "x", "h", to=onnx.TensorProto.BFLOAT16), to_float("h")], (1, 30), {}),
    "float64_and_back": ([node("Cast", "x", "h", to=onnx.TensorProto.DOUBLE), to_float("h")], (1, 30), {}),
    "variadic": (node("Mean", "x a b"), (1, 3), {"a": _random(2, 3), "b": _random(3)}),
    "max": (node("Max", "x a b"), (1, 3), {"a": _random(2, 3), "b": _random(3)}),
    "ranks": ([node("ReduceMean", "x", "t", axes=[0], keepdims=0), node("Mul", "x t")], (2, 3, 4), {}),
    "constant_first": (node("Div", "c x"), (1, 3), {"c": np.float32(2.0)}),
    "relu_by_clip": (node("Clip", "x l"), (1, 30), {"l": np.float32(0.0)}),
    "reduce_all": (node("ReduceSum", "x", keepdims=0), (2, 5, 6), {}),
    "resize": (
        node("Resize", "x  s", mode="nearest", coordinate_transformation_mode="half_pixel"), (1, 2, 3, 4),
        {"s": np.array([1, 1, 3, 2], np.float32)},
    ),
    "folded_shape": (
        [
            node("Shape", "x", "s"), node("Gather", "s zero", "n"),
            node("Concat", "n rest", "t", axis=0), node("Reshape", "x t"),
        ],
        (2, 3, 4), {"zero": np.array([0]), "rest": np.array([-1])},
    ),
}  # fmt: skip
OPSETS = {"matmul_broadcast": 13, "ranks": 13}


@pytest.mark.parametrize("name", GRAPHS)
def test_onnx_operations(name: str) -> None:
    nodes, shape, constants = GRAPHS[name]
    proto = model(nodes, {"x": shape}, constants, opset=OPSETS.get(name, 20))
    _assert_same(read_onnx(proto), proto, _random(*shape, seed=7))


@pytest.mark.parametrize("opset", [11, 12])
def test_older_opsets_keep_their_meaning(opset: int) -> None:
    nodes = [
        node("Clip", "x l h", "c"),
        node("Unsqueeze", "c", "u", axes=[0]),
        node("Squeeze", "u", "q", axes=[0]),
        node("ReduceSum", "q", "r", axes=[2], keepdims=1),
        node("Softmax", "r", "s", axis=1),
        node("Split", "s", "a b", axis=1, split=[1, 2]),
        node("Concat", "b a", "y", axis=1),
    ]
    constants = {"l": np.float32(-1), "h": np.float32(1)}
    proto = model(nodes, {"x": (1, 3, 4)}, constants, opset=opset)
    _assert_same(read_onnx(proto), proto, _random(1, 3, 4))
