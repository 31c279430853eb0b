"""How quantized and float networks look in ONNX files, and that files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from random_networks import SeededChooser, random_inputs, random_network

from mho.errors import InputFileError, MhoError
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo
from mho.network.onnx_reader import read_onnx
from mho.network.properties import keeps_samples_apart
from mho.network.reference import run_quantized
from mho.quantization.export import build_float_model, build_qcdq_model, write_float_onnx, write_qcdq_onnx
from mho.quantization.export_check import Cause, compare_with_onnxruntime
from mho.quantization.model_writer import type_of_grid


def _linear(weight: np.ndarray, grids: LayerQuantization | None, *, rank: int = 2) -> Network:
    node = Node("block.fc", "linear", ("x", "w"), "y", {}, grids)
    leading = (1,) * (rank - 1)
    shapes = {"x": (*leading, weight.shape[1]), "y": (*leading, weight.shape[0])}
    outputs = (TensorInfo("y", shapes["y"]),)
    return Network("test", (TensorInfo("x", shapes["x"]),), outputs, (node,), {"w": weight}, shapes)


def _grids(low: int, high: int, bits: int, act_bits: int = 8) -> LayerQuantization:
    weight = Grid(np.float32([0.5, 0.25]), 0, low, high, bits)
    return LayerQuantization(Grid(np.float32(0.1), 0, 0, 2**act_bits - 1, act_bits), weight)


def _types(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


WEIGHT = np.array([[1, -1, 1], [-1, 1, 1]], np.int8)


def test_eight_bits_need_no_clip_for_activations_and_narrow_weights_have_one() -> None:
    model = build_qcdq_model(_linear(WEIGHT, _grids(-127, 127, 8)))
    assert _types(model) == ["QuantizeLinear", "DequantizeLinear", "Clip", "DequantizeLinear", "Gemm"]


def test_fewer_bits_show_as_clip_bounds() -> None:
    model = build_qcdq_model(_linear(WEIGHT, _grids(-7, 7, 4, act_bits=3)))
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    bounds = [[int(held[name]) for name in node.input[1:]] for node in model.graph.node if node.op_type == "Clip"]
    assert bounds == [[0, 7], [-7, 7]]


@pytest.mark.parametrize("bits", [1, 2])
def test_a_ternary_layer_without_zeros_stays_ternary(bits: int) -> None:
    network = _linear(WEIGHT, _grids(-1, 1, bits))
    layer = read_onnx(build_qcdq_model(network)).node("block.fc")
    assert layer.quantization.weight.bits == bits


def test_sixteen_bits_are_sixteen_bit_types_clipped_as_32() -> None:
    weight = np.array([[32767, -32767, 5], [1, 2, 3]], np.int32)
    network = _linear(weight, _grids(-32767, 32767, 16, act_bits=16), rank=3)
    model = build_qcdq_model(network)
    assert _types(model).count("Cast") == 2
    read = read_onnx(model)
    assert read.constants[read.node("block.fc").inputs[1]].tolist() == weight.tolist()
    assert read.node("block.fc").quantization.input.bits == 16


@pytest.mark.parametrize(
    ("low", "high", "zero_point", "expected"),
    [(0, 3, 0, np.uint8), (-1, 1, 0, np.int8), (-8, 7, -8, np.int8), (-1, 200, 0, np.int16), (0, 65535, 9, np.uint16)],
)
def test_a_grid_is_held_by_the_narrowest_type(low: int, high: int, zero_point: int, expected: type) -> None:
    assert type_of_grid(Grid(np.float32(1), zero_point, low, high, 16)) is expected


def test_integers_beyond_sixteen_bits_fit_no_type() -> None:
    with pytest.raises(MhoError, match="fit no type"):
        type_of_grid(Grid(np.float32(1), 0, -1, 40000, 17))


def test_float_and_quantized_networks_have_writers_of_their_own() -> None:
    quantized = _linear(WEIGHT, _grids(-7, 7, 4))
    floating = _linear(WEIGHT.astype(np.float32), None)
    with pytest.raises(MhoError, match=r"layers without integers: block\.fc"):
        build_qcdq_model(floating)
    with pytest.raises(MhoError, match=r"quantized layers in a float export: block\.fc"):
        build_float_model(quantized)


def test_a_file_takes_batches_where_samples_stay_apart(tmp_path: Path) -> None:
    network = _linear(WEIGHT, _grids(-7, 7, 4))
    assert keeps_samples_apart(network)
    write_qcdq_onnx(network, tmp_path / "q.onnx")
    x = np.random.default_rng(0).uniform(0, 20, (9, 3)).astype(np.float32)
    report = compare_with_onnxruntime(network, tmp_path / "q.onnx", x)
    assert (report.samples, report.same_integers, report.differences) == (9, 9, ())
    assert read_onnx(tmp_path / "q.onnx").inputs[0].shape == (1, 3)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.onnx"
    network = _linear(WEIGHT.astype(np.float32), None)
    write_float_onnx(network, path)
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_float_onnx(network, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.onnx"]


def test_a_tie_is_recognized(tmp_path: Path) -> None:
    """This network stores signs of values that are exactly 0 here and a rounding below it there."""
    network, path = random_network(SeededChooser(523)), tmp_path / "q.onnx"
    write_qcdq_onnx(network, path)
    report = compare_with_onnxruntime(network, path, random_inputs(network, 20, 523))
    assert report.differences
    assert {difference.cause for difference in report.differences} == {Cause.TIE}
    assert report.is_explained


def test_another_network_in_the_file_is_not_explained_away(tmp_path: Path) -> None:
    grids = _grids(-7, 7, 4)
    write_qcdq_onnx(_linear(WEIGHT, grids), tmp_path / "q.onnx")
    other = WEIGHT.copy()
    other[0, 0] = 2
    x = np.random.default_rng(0).uniform(0, 20, (4, 3)).astype(np.float32)
    report = compare_with_onnxruntime(_linear(other, grids), tmp_path / "q.onnx", x)
    assert not report.is_explained
    assert {difference.operand for difference in report.differences} == {"output"}


def test_sums_beyond_float32_are_distinguished_from_ties(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(-32767, 32768, (2, 400)).astype(np.int16)
    first = Node("a", "linear", ("x", "w"), "h", {}, _grids(-32767, 32767, 16, act_bits=16))
    # A step as fine as float32's error in those sums.
    fine = Grid(np.float32(3000.0), 0, -32768, 32767, 16)
    second = Node("b", "linear", ("h", "v"), "y", {}, LayerQuantization(fine, Grid(np.float32(1), 0, -7, 7, 4)))
    shapes = {"x": (1, 400), "h": (1, 2), "y": (1, 2)}
    constants = {"w": weight, "v": np.eye(2, dtype=np.int8)}
    network = Network("n", (TensorInfo("x", (1, 400)),), (TensorInfo("y", (1, 2)),), (first, second), constants, shapes)
    write_qcdq_onnx(network, tmp_path / "q.onnx")
    x = rng.uniform(0, 6000, (3000, 400)).astype(np.float32)
    report = compare_with_onnxruntime(network, tmp_path / "q.onnx", x)
    assert report.is_explained
    assert Cause.BEYOND_FLOAT32 in {difference.cause for difference in report.differences}


def test_a_file_that_onnx_runtime_cannot_run_is_refused(tmp_path: Path) -> None:
    network = _linear(WEIGHT, _grids(-7, 7, 4))
    with pytest.raises(InputFileError, match="not an ONNX model"):
        compare_with_onnxruntime(network, tmp_path / "nothing.onnx", np.ones((1, 3)))


def test_a_folded_scale_may_be_negative_or_zero(tmp_path: Path) -> None:
    weight = Grid(np.float32([-0.5, 0.0]), 0, -7, 7, 4)
    network = _linear(WEIGHT, LayerQuantization(Grid(np.float32(0.1), 0, 0, 255, 8), weight))
    write_qcdq_onnx(network, tmp_path / "q.onnx")
    read = read_onnx(tmp_path / "q.onnx")
    assert read.node("block.fc").quantization.weight.scales.tolist() == [-0.5, 0.0]
    x = np.float32([[1, 2, 3]])
    assert np.array_equal(run_quantized(read, x)["y"], run_quantized(network, x)["y"])
    assert compare_with_onnxruntime(network, tmp_path / "q.onnx", x).is_explained
