"""Networks of several inputs: read from modules and files, calibrated, quantized from Python and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run
from onnx_models import model, node
from torch import Tensor, nn

import mho
from mho.errors import DataError, InputFileError, UnsupportedOperationError
from mho.network.graph import Network
from mho.network.reference import run_quantized

X = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
Z = np.random.default_rng(1).standard_normal((12, 5)).astype(np.float32)


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.a(x) + self.b(z)


@pytest.fixture(scope="module")
def two() -> Network:
    torch.manual_seed(0)
    return mho.load(_Two(), (torch.zeros(1, 4), torch.zeros(1, 5)))


def test_tensors_by_name_are_those_of_the_arguments() -> None:
    network = mho.load(_Two(), {"z": torch.zeros(1, 5), "x": torch.zeros(1, 4)})
    assert {tensor.name: tensor.shape for tensor in network.inputs} == {"x": (1, 4), "z": (1, 5)}
    for wrong in ((), (torch.zeros(1, 4), 3), {}, {"x": 1}):
        with pytest.raises(UnsupportedOperationError, match="an example input of type"):
            mho.load(_Two(), wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("effort", ["fast", "good"])
def test_several_inputs_are_calibrated_together(effort: str, two: Network) -> None:
    quantized = mho.quantize(two, "8/8", {"z": torch.from_numpy(Z), "x": X}, effort=effort)  # type: ignore[arg-type]
    (found,) = run_quantized(quantized, {"x": X, "z": Z}).values()
    (exact,) = mho.trainable(two)(torch.from_numpy(X), torch.from_numpy(Z)).detach().numpy()[None]
    assert np.abs(found - exact).max() < 0.05


def test_inputs_that_do_not_fit_are_named(two: Network) -> None:
    for given, message in (
        (X, "one array for several inputs"),
        ({"x": X}, "'z' is missing"),
        ({"x": X, "z": Z[:3]}, "numbers of samples"),
        ({"x": X, "y": Z}, "no input 'y'"),
        ({"x": X, "z": X}, r"shape \[12, 4\]"),
    ):
        with pytest.raises(DataError, match=message):
            mho.quantize(two, "8/8", given)


def test_the_command_takes_arrays_by_name(two: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mho.save(two, tmp_path / "two.onnx")
    np.savez(tmp_path / "samples.npz", x=X, z=Z)
    arguments = ["quantize", "two.onnx", "--activation-samples", "samples.npz", "-o", "q.onnx"]
    run(capsys, *(str(tmp_path / one) if "." in one else one for one in arguments))
    expected = run_quantized(mho.quantize(two, "8/8", {"x": X, "z": Z}), {"x": X, "z": Z})
    found = run_quantized(mho.load(tmp_path / "q.onnx"), {"x": X, "z": Z})
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_shapes_of_files_with_open_axes(tmp_path: Path) -> None:
    import onnx

    def save(axes: list[str | int]) -> Path:
        proto = model(node("Softmax", "x", axis=0), {"x": (1,) * len(axes)})
        for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, axes, strict=True):
            (setattr(dim, "dim_value", size) if isinstance(size, int) else setattr(dim, "dim_param", size))
        onnx.save(proto, tmp_path / "open.onnx")
        return tmp_path / "open.onnx"

    paddle = save([-1, 3, "?", "?"])
    for shape in ((3, 8, 9), (1, 3, 8, 9), {"x": (3, 8, 9)}):
        assert mho.load(paddle, input_shape=shape).inputs[0].shape == (1, 3, 8, 9)
    timed = save(["time", 1, 6])
    assert mho.load(timed, input_shape=(20, 1, 6)).inputs[0].shape == (20, 1, 6)
    for shape in (None, (1, 6)):
        with pytest.raises(InputFileError, match="'time': no batch"):
            mho.load(timed, input_shape=shape)
    assert mho.load(save(["N", 6])).inputs[0].shape == (1, 6)
