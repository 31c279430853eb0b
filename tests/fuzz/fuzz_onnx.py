"""ONNX files: drawn graphs as they are, and changed in their protobuf, constants and external data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from bits import assert_same_bits
from damage import HOSTILE_TEXTS
from damage_onnx import change_model
from fuzzing import Files, Kind, at_work_elsewhere
from graphs import draw_graph
from random_mappings import random_accelerator
from random_networks import Chooser, SeededChooser

import mho
from mho.errors import InputFileError, MhoError
from mho.network.graph import Network
from mho.network.reference import run_float, run_quantized
from mho.network.summary import summarize_network
from mho.program.lowering import compile_network
from mho.quantization.export_check import compare_with_onnxruntime
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program

_MOST_ELEMENTS = 20_000
"""Of all tensors of a network whose answers are compared."""
_MOST_MVMS = 3_000
_NUDGES = (1e-6, -1e-6, 1e-5, -1e-5)
FILE = "network.onnx"


def check_network(path: Path, *, seed: int, accepts: bool = False) -> None:
    """Read a network; where it is small, compare its answers with ONNX Runtime's, and those of engines with its own."""
    network = mho.load(path)
    summarize_network(network)
    elements = sum(math.prod(shape) for shape in network.shapes.values())
    elements += sum(constant.size for constant in network.constants.values())
    if elements > _MOST_ELEMENTS:
        return
    generator = np.random.default_rng(seed)
    inputs = {
        tensor.name: generator.standard_normal((2, *tensor.shape)).astype(np.float32) for tensor in network.inputs
    }
    with np.errstate(all="ignore"):
        if all(node.quantization is None for node in network.mvm_nodes):
            _check_float(network, path, inputs)
        else:
            _check_quantized(network, path, inputs, seed)


def _check_float(network: Network, path: Path, inputs: dict[str, np.ndarray]) -> None:
    ours = run_float(network, inputs)
    theirs = _run_elsewhere(network, path, inputs)
    for name, expected in ({} if theirs is None else theirs).items():
        found = ours[name].reshape(expected.shape)
        if _differs(found, expected).any():
            _explain(network, path, inputs, name, found, expected)


def _differs(found: np.ndarray, expected: np.ndarray, slack: np.ndarray | float = 0.0) -> np.ndarray:
    finite = np.isfinite(expected)
    # Near float32's largest number the order of a sum decides between it and infinity.
    overflows = (np.minimum(np.abs(found), np.abs(expected)) > 1e38) & (np.sign(found) == np.sign(expected))
    largest = float(np.abs(expected).max(where=finite, initial=1e-30))
    far = np.abs(found - expected) > 1e-4 * np.abs(expected) + 2e-5 * largest + slack
    unlike = (found != expected) & ~(np.isnan(found) & np.isnan(expected))
    return np.where(finite & np.isfinite(found), far, unlike) & ~overflows


def _explain(
    network: Network, path: Path, inputs: dict[str, np.ndarray], name: str, found: np.ndarray, expected: np.ndarray
) -> None:
    """Raise unless inputs that differ by a rounding let ONNX Runtime's own answers differ as much."""
    spread = np.zeros_like(expected, np.float64)
    for nudge in _NUDGES:
        moved = {one: (array * (1 + nudge) + nudge).astype(np.float32) for one, array in inputs.items()}
        other = _run_elsewhere(network, path, moved)
        assert other is not None
        distance = np.abs(other[name].astype(np.float64) - expected)
        spread = np.maximum(
            spread, np.where(np.isfinite(distance), distance, np.where(other[name] == expected, 0, np.inf))
        )
    assert not _differs(found, expected, 20 * spread).any(), (
        f"output {name!r} differs from ONNX Runtime's by {np.nanmax(np.abs(found - expected))}: "
        f"{found.reshape(-1)[:4]}, not {expected.reshape(-1)[:4]}"
    )


def _run_elsewhere(network: Network, path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Return the answers of ONNX Runtime, [samples, *shape]; None where it does not run the file."""
    with at_work_elsewhere():
        try:
            session = _session(path)
            names = [tensor.name for tensor in network.outputs]
            count = len(next(iter(inputs.values())))
            runs = [session.run(names, {one: array[k] for one, array in inputs.items()}) for k in range(count)]
        except Exception:  # many kinds, and none of them is mho's
            return None
    return {name: np.stack([run[place] for run in runs]) for place, name in enumerate(names)}


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def _check_quantized(network: Network, path: Path, inputs: dict[str, np.ndarray], seed: int) -> None:
    expected = run_quantized(network, inputs)
    if _run_elsewhere(network, path, inputs) is not None:
        for sample in range(len(next(iter(inputs.values())))):
            _compare_integers(network, path, {name: array[sample : sample + 1] for name, array in inputs.items()})
    if seed % 2:  # the engines take most of the time
        return
    chooser = SeededChooser(seed)
    try:
        program = compile_network(network, random_accelerator(chooser, most=24))
    except MhoError:  # the accelerator was drawn, too
        return
    with_integers = Executor(program).run(inputs)
    assert_same_bits(with_integers, expected)
    if sum(layer.mvms for layer in time_program(program).layers) <= _MOST_MVMS:
        assert_same_bits(interpret(program, inputs).outputs, expected)


def _compare_integers(network: Network, path: Path, inputs: dict[str, np.ndarray]) -> None:
    try:
        report = compare_with_onnxruntime(network, path, inputs)
    except InputFileError:  # the file does not have the tensors between
        return
    # A tie cannot be seen before a tensor that the file does not have, such as the image of a 1-D convolution.
    is_explained = report.is_explained or not _has_all_operands(network, path)
    assert is_explained, f"differs from ONNX Runtime: {report}"


def _has_all_operands(network: Network, path: Path) -> bool:
    graph = onnx.load(path, load_external_data=False).graph
    names = {*(one.name for one in graph.input), *(name for node in graph.node for name in node.output)}
    quantized = [node for node in network.mvm_nodes if node.quantization is not None]
    return names.issuperset(node.inputs[0] for node in quantized)


class GraphKind(Kind):
    """Drawn graphs as they are: nothing of what is documented may be refused as malformed, or answered otherwise."""

    name = "graph"
    changes = (0,)
    is_damaged = False

    def draw(self, chooser: Chooser) -> onnx.ModelProto:
        return draw_graph(chooser, is_quantized=chooser.integer(0, 2) == 0)

    def files(self, mutant: onnx.ModelProto) -> Files:
        return {FILE: mutant.SerializeToString()}

    def read(self, folder: Path) -> None:
        path = folder / FILE
        seed = len(path.read_bytes())
        check_network(path, seed=seed)


class OnnxKind(Kind):
    """Graphs changed in their protobuf."""

    name = "onnx-float"
    is_quantized = False

    def draw(self, chooser: Chooser) -> onnx.ModelProto:
        return draw_graph(chooser, is_quantized=self.is_quantized)

    def change(self, mutant: onnx.ModelProto, chooser: Chooser) -> str:
        return change_model(mutant, chooser)

    def files(self, mutant: onnx.ModelProto) -> Files:
        return {FILE: mutant.SerializeToString()}

    def read(self, folder: Path) -> None:
        check_network(folder / FILE, seed=len((folder / FILE).read_bytes()))

    def arguments(self, folder: Path) -> list[str]:
        return ["inspect", str(folder / FILE)]


class QuantizedKind(OnnxKind):
    name = "onnx-quantized"
    is_quantized = True


class ExternalKind(OnnxKind):
    """Graphs whose constants lie in other files."""

    name = "onnx-external"

    def draw(self, chooser: Chooser) -> Any:
        proto = draw_graph(chooser, is_quantized=chooser.integer(0, 1) == 1)
        data = b""
        for tensor in proto.graph.initializer:
            content = tensor.raw_data
            if not content:
                continue
            onnx.external_data_helper.set_external_data(tensor, "weights.bin", len(data), len(content))
            tensor.ClearField("raw_data")
            data += content + bytes(-len(content) % 64)
        return {"proto": proto, "files": {"weights.bin": data}}

    def change(self, mutant: Any, chooser: Chooser) -> str:
        held = [one for one in mutant["proto"].graph.initializer if one.external_data]
        if not held or chooser.integer(0, 4) == 0:
            return change_model(mutant["proto"], chooser)
        tensor = chooser.choice(held)
        if chooser.integer(0, 9) == 0:
            name = chooser.choice(("weights.bin", "network.onnx", "sub/weights.bin"))
            mutant["files"] = {name: mutant["files"].get("weights.bin", b"")}
            return f"data lie in {name}"
        entry = chooser.choice(tensor.external_data)
        entry.value = chooser.choice(
            ("0", "1", "-1", "64", "9" * 30, "1e3", "0x10", "4097", "../weights.bin", "/etc/passwd", "/dev/zero", ".",
             "network.onnx", "weights.bin", "weights\0.bin", str(2**63), str(2**31), *HOSTILE_TEXTS[:11])
        )  # fmt: skip
        if chooser.integer(0, 5) == 0:
            entry.key = chooser.choice(("location", "offset", "length", "checksum", "", "basepath"))
        return f"{tensor.name}: {entry.key} is {entry.value[:40]!r}"

    def files(self, mutant: Any) -> Files:
        return {**mutant["files"], FILE: mutant["proto"].SerializeToString()}
