"""Files of ONNX Runtime's own quantizer: read as integers, they answer as ONNX Runtime does, or a rounding says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from network_checks import verify_network
from onnx_models import model, node, run_onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from mho.network.graph import LayerQuantization, Network
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_quantized
from mho.program.lowering import compile_network
from mho.quantization.export import write_qcdq_onnx
from mho.quantization.export_check import compare_with_onnxruntime
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

RNG = np.random.default_rng(0)


def _random(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def _residual_network() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x a.weight a.bias", "a", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "ar", "ar"),
        node("MaxPool", "ar", "p", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p b.weight b.bias", "b", "b", pads=[1, 1, 1, 1], group=2),
        node("Add", "b p", "s", "s"),
        node("Clip", "s zero six", "sr", "sr"),
        node("Conv", "sr c.weight", "c", "c", strides=[2, 2]),
        node("GlobalAveragePool", "c", "g", "g"),
        node("Flatten", "g", "f", "f"),
        node("Gemm", "f fc.weight fc.bias", "y", "fc", transB=1),
    ]
    constants = {
        "a.weight": _random(8, 3, 3, 3), "a.bias": _random(8), "b.weight": _random(8, 4, 3, 3), "b.bias": _random(8),
        "c.weight": _random(6, 8, 1, 1), "fc.weight": _random(5, 6), "fc.bias": _random(5),
        "zero": np.float32(0), "six": np.float32(6),
    }  # fmt: skip
    return model(nodes, {"x": ("N", 3, 10, 10)}, constants)


def _attention() -> onnx.ModelProto:
    nodes = [
        node("MatMul", "x q.weight", "q", "q"),
        node("MatMul", "x k.weight", "k", "k"),
        node("MatMul", "x v.weight", "v0", "v"),
        node("Add", "v0 v.bias", "v", "v.add"),
        node("Transpose", "k", "t", "t", perm=[0, 2, 1]),
        node("MatMul", "q t", "s", "scores"),
        node("Softmax", "s", "p", "p", axis=-1),
        node("MatMul", "p v", "m", "mix"),
        node("LayerNormalization", "m n.weight n.bias", "y", "n", axis=-1),
    ]
    constants = {f"{name}.weight": _random(12, 8) for name in "qkv"}
    constants |= {"v.bias": _random(8), "n.weight": np.ones(8, np.float32), "n.bias": _random(8)}
    return model(nodes, {"x": (1, 6, 12)}, constants)


class _Samples(CalibrationDataReader):
    def __init__(self, samples: np.ndarray) -> None:
        self._left = iter([{"x": sample[None]} for sample in samples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def _quantize(proto: onnx.ModelProto, folder: Path, samples: np.ndarray, **options: Any) -> Path:
    onnx.save(proto, folder / "float.onnx")
    path = folder / "quantized.onnx"
    options = {"quant_format": QuantFormat.QDQ, **options}
    quantize_static(folder / "float.onnx", path, _Samples(samples[:16]), **options)
    return path


OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "per channel, signed": {"per_channel": True, "activation_type": QuantType.QInt8},
    "unsigned weights": {"weight_type": QuantType.QUInt8, "activation_type": QuantType.QUInt8},
    "16 bits": {"activation_type": QuantType.QUInt16, "weight_type": QuantType.QInt16},
    "4-bit weights": {"weight_type": QuantType.QInt4, "activation_type": QuantType.QUInt8},
}


@pytest.mark.parametrize(
    ("make", "options"),
    [
        *((_residual_network, options) for options in OPTIONS),
        (_attention, "per channel, signed"),
        (_attention, "16 bits"),
    ],
)
def test_files_of_onnx_runtimes_quantizer(make: Any, options: str, tmp_path: Path) -> None:
    proto = make()
    shape = (3, 10, 10) if make is _residual_network else (6, 12)
    samples = np.random.default_rng(1).normal(0, 1, (24, *shape)).astype(np.float32)
    path = _quantize(proto, tmp_path, samples, **OPTIONS[options])
    network = read_onnx(path)
    verify_network(network)
    assert network.is_quantized
    assert network.layer_names == read_onnx(proto).layer_names
    report = compare_with_onnxruntime(network, path, samples)
    assert report.is_explained, report.differences
    write_qcdq_onnx(network, tmp_path / "again.onnx")
    again = compare_with_onnxruntime(read_onnx(tmp_path / "again.onnx"), tmp_path / "again.onnx", samples[:4])
    assert again.is_explained, again.differences


def test_the_qoperator_form_is_read_as_the_qdq_form(tmp_path: Path) -> None:
    """Integers may differ by one: ONNX Runtime rounds sums to the next grid at once, without the step between."""
    samples = np.random.default_rng(1).normal(0, 1, (4, 3, 10, 10)).astype(np.float32)
    path = _quantize(_residual_network(), tmp_path, samples, quant_format=QuantFormat.QOperator)
    network = read_onnx(path)
    assert network.is_quantized
    (found,) = run_quantized(network, samples).values()
    expected = np.concatenate([run_onnxruntime(onnx.load(path), {"x": one[None]}) for one in samples])
    assert np.abs(found - expected).max() <= 0.03 * np.abs(expected).max()
    qdq = _quantize(_residual_network(), tmp_path, samples, quant_format=QuantFormat.QDQ)
    assert read_onnx(qdq).layer_names == network.layer_names


def test_dynamic_quantization_multiplies_whole_numbers(tmp_path: Path) -> None:
    held = {"a": _random(12, 9), "b": _random(9), "c": _random(9, 5)}
    nodes = [node("MatMul", "x a", "p"), node("Add", "p b", "s"), node("Relu", "s", "r"), node("MatMul", "r c")]
    onnx.save(model(nodes, {"x": (1, 6, 12)}, held), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", weight_type=QuantType.QInt8)
    proto, x = onnx.load(tmp_path / "dynamic.onnx"), _random(1, 6, 12)
    assert "MatMulInteger" in {node.op_type for node in proto.graph.node}
    network = read_onnx(proto)
    assert [(float(q.input.scales), q.input.qmin, q.input.qmax) for q in _grids(network)] == [(1.0, 0, 255)] * 2
    found = run_quantized(network, x[None])["y"]
    expected = run_onnxruntime(proto, {"x": x})
    assert np.allclose(found.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)


def _grids(network: Network) -> list[LayerQuantization]:
    return [node.quantization for node in network.mvm_nodes if node.quantization is not None]


LAYER = {
    "xs": np.float32(0.03), "xz": np.int8(-20), "w": RNG.integers(-127, 128, (4, 4)).astype(np.int8),
    "ws": np.float32(0.01), "wz": np.int8(0),
}  # fmt: skip
WEIGHTS = node("DequantizeLinear", "w ws wz", "wd")


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        (
            [
                node("QuantizeLinear", "x xs xz", "q"), node("MaxPool", "q", "pq", kernel_shape=[1, 2], strides=[1, 2]),
                node("DequantizeLinear", "pq xs xz", "p"), node("MatMul", "p wd"),
            ],
            (1, 2, 3, 8),
        ),
        (
            [
                node("Transpose", "x", "t", perm=[1, 0, 2]), node("QuantizeLinear", "t xs xz", "q"),
                node("DequantizeLinear", "q xs xz", "d"), node("MatMul", "d wd", "m"),
                node("Transpose", "m", perm=[1, 0, 2]),
            ],
            ("N", 3, 4),
        ),
    ],
    ids=["integers are pooled", "samples lie along the second axis"],
)  # fmt: skip
def test_a_file_is_compared_whatever_lies_between_its_quantizers(nodes: Any, shape: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    onnx.save(model([WEIGHTS, *nodes], {"x": shape}, LAYER), path)
    report = compare_with_onnxruntime(read_onnx(path), path, _random(5, *shape[1:]))
    assert (report.samples, report.is_explained, report.same_predictions) == (5, True, 5)


def test_two_masks_of_minus_infinity_in_a_row_give_the_numbers_of_onnx_runtime_on_every_engine() -> None:
    held = {
        **LAYER, "m": np.tril(np.ones((4, 4), bool)), "n": np.array([True, True, True, False]),
        "low": np.float32(-np.inf), "ps": np.float32(1 / 255), "pz": np.uint8(0),
    }  # fmt: skip
    nodes = [
        WEIGHTS, node("QuantizeLinear", "x xs xz", "q"), node("DequantizeLinear", "q xs xz", "d"),
        node("MatMul", "d wd", "s"), node("Where", "m s low", "a"), node("Where", "n a low", "b"),
        node("Softmax", "b", "p"), node("QuantizeLinear", "p ps pz", "pq"), node("DequantizeLinear", "pq ps pz", "pd"),
        node("MatMul", "pd wd"),
    ]  # fmt: skip
    proto = model(nodes, {"x": (1, 4, 4)}, held)
    network, x = read_onnx(proto), _random(1, 4, 4)
    expected = run_quantized(network, x[None])
    assert np.allclose(expected["y"].reshape(x.shape), run_onnxruntime(proto, {"x": x}), rtol=1e-5)
    program = compile_network(network, make_accelerator(8, 8, 2, 2))
    assert_same_bits(interpret(program, x[None]).outputs, expected)
    assert_same_bits(Executor(program).run(x[None]), expected)
