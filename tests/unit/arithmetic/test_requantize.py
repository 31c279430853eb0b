"""The way between integers and float32, against ONNX Runtime and against plain NumPy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mho.arithmetic import requantize
from mho.errors import DataError, MhoError
from mho.network.graph import Grid


def _onnx_quantize(x: np.ndarray, scale: float, zero_point: int, dtype: type) -> np.ndarray:
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])],
        "q",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("q", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [None])],
        [
            numpy_helper.from_array(np.float32(scale), "s"),
            numpy_helper.from_array(np.array(zero_point, dtype), "z"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize(("dtype", "zero_point"), [(np.uint8, 3), (np.int8, -5), (np.uint16, 700), (np.int16, 0)])
def test_quantizing_is_what_onnx_runtime_does(dtype: type, zero_point: int) -> None:
    limits = np.iinfo(dtype)
    scale = np.float32(0.0371)
    rng = np.random.default_rng(1)
    ties = (rng.integers(-300, 300, 2000) + 0.5).astype(np.float32) * scale
    x = np.concatenate([rng.normal(0, 4, 4000).astype(np.float32), ties, np.float32([1e30, -1e30, np.inf, -np.inf])])
    grid = Grid(scale, zero_point, int(limits.min), int(limits.max), limits.bits)
    ours = requantize.quantize(torch.from_numpy(x), grid).numpy()
    assert np.array_equal(ours, _onnx_quantize(x, scale, zero_point, dtype))


def test_ties_round_to_even() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert requantize.quantize_linear(x, 1.0, 0, -8, 7).tolist() == [0, 2, 2, 0, -2]


def test_a_binary_grid_takes_the_sign_and_zero_counts_as_plus_one() -> None:
    grid = Grid(np.float32(0.5), 0, -1, 1, 1)
    assert requantize.quantize(torch.tensor([-2.0, -0.0, 0.0, 1e-30]), grid).tolist() == [-1, 1, 1, 1]


@pytest.mark.parametrize("grid", [Grid(np.float32(0.5), 0, -1, 1, 1), Grid(np.float32(0.5), 7, 0, 15, 4)])
def test_nan_is_refused_and_named_where_infinities_are_not(grid: Grid) -> None:
    x = torch.tensor([0.5, np.inf, -np.inf])
    assert requantize.quantize(x, grid).tolist()[1:] == [grid.qmax, grid.qmin]
    x[0] = np.nan
    with pytest.raises(DataError, match="tensor 'conv1': NaN"):
        requantize.quantize(x, grid, where="conv1")


def test_quantizing_a_value_on_the_grid_again_changes_nothing() -> None:
    grid = Grid(np.float32(0.1), 7, -128, 127, 8)
    q = torch.arange(-128.0, 128.0)
    assert torch.equal(requantize.quantize((q - 7) * torch.tensor(grid.scales), grid), q)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_dequantizing_rounds_three_times_and_never_fuses(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(2)
    sums = rng.integers(-(2**40), 2**40, (50, 7))
    scales = rng.uniform(0.001, 0.1, 7).astype(np.float32)
    bias = rng.normal(0, 1e6, 7).astype(np.float32)
    multipliers = requantize.combined_scales(np.float32(0.03), scales)
    result = requantize.dequantize(
        torch.from_numpy(sums).to(dtype), torch.from_numpy(multipliers), torch.from_numpy(bias), 1
    )
    expected = sums.astype(np.float32) * (np.float32(0.03) * scales) + bias
    assert np.array_equal(result.numpy(), expected)
    assert np.array_equal(
        requantize.dequantize(torch.from_numpy(sums).to(dtype), torch.tensor(0.5), None, 1).numpy(),
        sums.astype(np.float32) * np.float32(0.5),
    )


def test_a_grid_must_have_finite_scales_and_a_range() -> None:
    with pytest.raises(MhoError, match="not finite"):
        Grid(np.float32(np.nan), 0, 0, 255, 8)
    with pytest.raises(MhoError, match="empty integer range"):
        Grid(np.float32(1), 0, 3, 3, 8)
