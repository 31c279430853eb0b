"""Compares ONNX Runtime's outputs of an exported file with the integer reference, and explains what differs.

ONNX Runtime multiplies dequantized numbers in float32, the reference integers. Up to the first requantization that
differs both hold the same integers, so there the difference is one layer's float rounding: it either lies on a tie
(the two values stand on both sides of a half step, as close as rounding allows) or comes from sums that float32
cannot hold. Anything larger is a defect of the export.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.arithmetic import requantize
from mho.arithmetic.batching import from_samples
from mho.arithmetic.operations import OPERATIONS
from mho.errors import InputFileError
from mho.network.graph import Grid, Network, Node, TensorInfo, quantizer_grid
from mho.network.properties import keeps_samples_apart
from mho.network.reference import run_quantized, samples_by_name

_EXACT_IN_FLOAT32 = 1 << 24
_ROUNDING = 2.0**-24
_CHUNK = 64
_SLACK = 4.0
_OTHER_ROUNDINGS = 64
"""Roundings of the digital operations between a product and the next quantizer, generously."""

Samples = Mapping[str, NDArray[np.float32]]


class Cause(StrEnum):
    """Why a requantization differs first."""

    TIE = "tie"
    BEYOND_FLOAT32 = "sum beyond 2^24"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class FirstDifference:
    """The first requantization of a sample, in execution order, that gives another integer.

    Attributes:
        sample: index of the sample.
        layer: node whose operand it is (an MVM layer, or a quantizer of its own that an imported file has), or ""
            where all integers agree and only the outputs differ.
        operand: "input" or "stored" (second operand of a product of activations), "output" where `layer` is "".
        elements: how many integers differ there.
        ours, theirs: the two float32 values of the element that lies farthest apart.
        scale: of the grid; 0 for an output.
        tolerance: largest difference that float32 rounding of the sums before it explains.
        largest_sum: largest magnitude of an exact sum in the layers before it.
        cause: why.
    """

    sample: int
    layer: str
    operand: str
    elements: int
    ours: float
    theirs: float
    scale: float
    tolerance: float
    largest_sum: int
    cause: Cause


@dataclass(frozen=True)
class ExportReport:
    """Outcome of `compare_with_onnxruntime`.

    Attributes:
        samples: compared.
        same_predictions: samples whose largest element of the first output is the same one.
        same_integers: samples all of whose requantizations agree.
        largest_difference: between any two elements of outputs.
        differences: one a sample whose integers or prediction differ, or whose outputs differ by more than rounding.
    """

    samples: int
    same_predictions: int
    same_integers: int
    largest_difference: float
    differences: tuple[FirstDifference, ...]

    @property
    def is_explained(self) -> bool:
        """True where every difference is a tie or a sum beyond 2^24."""
        return all(difference.cause is not Cause.UNEXPLAINED for difference in self.differences)


def compare_with_onnxruntime(network: Network, path: str | Path, inputs: Any) -> ExportReport:
    """Run `network` by the integer reference and the file at `path` by ONNX Runtime, and compare.

    Args:
        network: quantized; what the file holds.
        path: ONNX file whose tensors have the network's names: written by `write_qcdq_onnx`, or what it was read from.
        inputs: as for `run_quantized`.

    Raises:
        InputFileError: ONNX Runtime cannot run the file.
        DataError, MhoError: as `run_quantized`.
    """
    samples = samples_by_name(network, inputs)
    session = _Session(path, network)
    probed = _with_probes(network, session.tensors)
    count = next(iter(samples.values())).shape[0]
    same_predictions, same_integers, largest = 0, 0, 0.0
    differences: list[FirstDifference] = []
    for start in range(0, count, _CHUNK):
        part = {name: array[start : start + _CHUNK] for name, array in samples.items()}
        sums: dict[str, NDArray[np.int64]] = {}
        ours = _Values(probed, run_quantized(probed, part, record=sums), part)
        theirs = _Values(probed, session.run(probed, part), part)
        comparison = _Comparison(network, ours, theirs, sums)
        output = network.outputs[0].name
        same = ours.prediction(output) == theirs.prediction(output)
        same_predictions += int(same.sum())
        largest = max(largest, *(float(np.abs(ours[o.name] - theirs[o.name]).max()) for o in network.outputs))
        for sample in range(len(same)):
            difference = comparison.first_difference(sample)
            same_integers += difference is None or not difference.layer
            if difference is None:
                continue
            if difference.layer or not same[sample] or difference.cause is Cause.UNEXPLAINED:
                differences.append(replace(difference, sample=start + sample))
    return ExportReport(count, same_predictions, same_integers, largest, tuple(differences))


def _operands(node: Node) -> Iterator[tuple[str, str, Grid]]:
    """Yield the tensors that a node quantizes, with their grids."""
    if node.op == "fake_quantize":
        yield "input", node.inputs[0], quantizer_grid(node.attributes)
    if node.quantization is None:
        return
    yield "input", node.inputs[0], node.quantization.input
    if node.op == "matmul":
        yield "stored", node.inputs[1], node.quantization.weight


def _with_probes(network: Network, tensors: set[str]) -> Network:
    """Return the network with every tensor that a layer quantizes, and the file has, among its outputs."""
    names = {tensor for node in network.nodes for _, tensor, _ in _operands(node)}
    names = (names & tensors) - {t.name for t in (*network.inputs, *network.outputs)}
    probes = tuple(TensorInfo(name, network.shapes[name]) for name in sorted(names))
    return replace(network, outputs=network.outputs + probes)


class _Values:
    """Tensors [N, *S] of one run by name."""

    def __init__(self, network: Network, outputs: Mapping[str, NDArray[np.float32]], inputs: Samples) -> None:
        self._arrays = dict(inputs)
        for tensor in network.outputs:
            array = outputs[tensor.name]
            self._arrays[tensor.name] = array.reshape(array.shape[0], *tensor.shape)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def prediction(self, name: str) -> NDArray[np.intp]:
        array = self._arrays[name]
        return array.reshape(array.shape[0], -1).argmax(axis=1)


class _Comparison:
    """Two runs of the same samples."""

    def __init__(self, network: Network, ours: _Values, theirs: _Values, sums: Mapping[str, NDArray[np.int64]]) -> None:
        self.network, self.ours, self.theirs, self.sums = network, ours, theirs, sums
        self.producers = {node.output: node for node in network.nodes}
        self.apart = {
            (node.name, operand): _integers(ours[tensor], grid) != _integers(theirs[tensor], grid)
            for node in network.nodes
            for operand, tensor, grid in _operands(node)
            if tensor in ours
        }

    def first_difference(self, sample: int) -> FirstDifference | None:
        """Return the first requantization that differs, else the output that differs most; None where all agree."""
        for node in self.network.nodes:
            for operand, tensor, grid in _operands(node):
                apart = self.apart.get((node.name, operand))
                if apart is not None and apart[sample].any():
                    found = self._explain(sample, tensor, apart[sample], float(grid.scales))
                    return replace(found, layer=node.name, operand=operand)
        for output in self.network.outputs:
            apart = self.ours[output.name][sample] != self.theirs[output.name][sample]
            if apart.any():
                return self._explain(sample, output.name, apart, 0.0)
        return None

    def _explain(self, sample: int, tensor: str, apart: NDArray[np.bool_], scale: float) -> FirstDifference:
        ours, theirs = self.ours[tensor][sample], self.theirs[tensor][sample]
        gaps = np.where(apart, np.abs(ours.astype(np.float64) - theirs), -1.0)
        worst = np.unravel_index(int(gaps.argmax()), gaps.shape)
        layers = self._layers_before(tensor)
        peak = float(np.abs(ours).max())
        errors = sum(self._float_error(layer, sample, peak) for layer in layers)
        tolerance = _SLACK * (_ROUNDING * _OTHER_ROUNDINGS * peak + errors)
        largest = max((int(np.abs(self.sums[layer.name][sample]).max()) for layer in layers), default=0)
        if gaps[worst] > tolerance:
            cause = Cause.UNEXPLAINED
        else:
            cause = Cause.BEYOND_FLOAT32 if largest >= _EXACT_IN_FLOAT32 else Cause.TIE
        return FirstDifference(
            sample, "", "output", int(apart.sum()), float(ours[worst]), float(theirs[worst]), scale, tolerance,
            largest, cause,
        )  # fmt: skip

    def _layers_before(self, tensor: str) -> list[Node]:
        """Return the MVM layers whose outputs reach `tensor` unquantized."""
        found: dict[str, Node] = {}
        waiting, seen = [tensor], {tensor}
        while waiting:
            node = self.producers.get(waiting.pop())
            if node is None or node.op == "fake_quantize":
                continue
            if node.is_mvm:
                found[node.name] = node
                continue
            waiting += [name for name in node.inputs if name not in seen]
            seen.update(node.inputs)
        return list(found.values())

    def _float_error(self, node: Node, sample: int, peak: float) -> float:
        """Bound what float32's error in a layer's sums, terms * 2^-24 * sum |w| |x|, is in a tensor behind it.

        `peak` is the tensor's largest magnitude: where it is larger than the layer's, what lies between amplifies.
        """
        if any(tensor not in self.ours for _, tensor, _ in _operands(node)):
            return 0.0
        magnitudes = [
            torch.from_numpy(np.abs(_integers(self.ours[tensor][sample : sample + 1], grid) - grid.zero_points))
            for _, tensor, grid in _operands(node)
        ]
        if node.op != "matmul":
            magnitudes.append(torch.from_numpy(_weight_magnitudes(self.network, node)))
        absolute = OPERATIONS[node.op].run([m.double() for m in magnitudes], node.attributes)
        terms = magnitudes[0].shape[-1] if node.op != "conv" else magnitudes[1][0].numel()
        unit = _largest_unit(node)
        error = terms * _ROUNDING * float(absolute.max()) * unit
        layer_peak = float(np.abs(self.sums[node.name][sample]).max()) * unit
        return error * max(1.0, peak / layer_peak) if layer_peak else error


def _integer_tensors(model: Any) -> set[str]:
    """Return the tensors of a file that hold no float32: the network has real numbers where they lie between
    QuantizeLinear and DequantizeLinear."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    return {value.name for value in inferred if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT}


def _largest_unit(node: Node) -> float:
    """Return what one unit of a layer's sums is worth, at most."""
    assert node.quantization is not None, "the reference ran it in integers"
    grids = node.quantization
    return float(np.abs(requantize.combined_scales(grids.input.scales, grids.weight.scales)).max())


def _integers(values: NDArray[np.float32], grid: Grid) -> NDArray[np.int64]:
    found = requantize.quantize(torch.from_numpy(np.ascontiguousarray(values)), grid, where="under comparison")
    return found.numpy().astype(np.int64)


def _weight_magnitudes(network: Network, node: Node) -> NDArray[np.int64]:
    assert node.quantization is not None, "the reference ran it in integers"
    weight = network.constants[node.inputs[1]].astype(np.int64)
    zeros = node.quantization.weight.zero_points
    return np.abs(weight - zeros.reshape((-1, *(1,) * (weight.ndim - 1)) if zeros.ndim else ()))


class _Session:
    """The file in ONNX Runtime, unoptimized, with every tensor that is quantized among its outputs."""

    def __init__(self, path: str | Path, network: Network) -> None:
        import onnx
        import onnxruntime

        try:
            model = onnx.load(path)
        except Exception as error:  # protobuf and files raise many kinds
            raise InputFileError(f"not an ONNX model: {error}", where=str(path)) from error
        self.tensors = {name for node in model.graph.node for name in node.output} - _integer_tensors(model)
        known = {value.name for value in model.graph.output}
        wanted = {tensor for node in network.nodes for _, tensor, _ in _operands(node)}
        for name in sorted((wanted & self.tensors) - known):
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        # Optimizers fuse and reorder; the file is to be run as it is written.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own kinds
            raise InputFileError(f"ONNX Runtime cannot run it: {error}", where=str(path)) from error
        taken = {held.name: held.shape for held in self._session.get_inputs()}
        for tensor in network.inputs:
            batch = next(iter(taken.get(tensor.name, ())), None)
            if isinstance(batch, int) and batch != tensor.shape[0]:
                raise InputFileError(
                    f"input {tensor.name!r} takes {taken[tensor.name]}", where=str(path),
                    expected=f"{list(tensor.shape)}",
                    hint="export the network with a batch of 1, or with a symbolic batch axis",
                )  # fmt: skip
        # Elsewhere a tensor may have its samples along another axis than the first.
        self._is_batched = keeps_samples_apart(network) and all(isinstance(shape[0], str) for shape in taken.values())

    def run(self, network: Network, samples: Samples) -> dict[str, NDArray[np.float32]]:
        """Return the outputs of `network` by name, [N, *S]."""
        names = [tensor.name for tensor in network.outputs]
        if self._is_batched:
            feeds = {
                tensor.name: from_samples(samples[tensor.name], tensor.shape).astype(tensor.dtype)
                for tensor in network.inputs
            }
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        count = next(iter(samples.values())).shape[0]
        rows: Sequence[Sequence[NDArray[np.float32]]] = [
            self._session.run(names, {t.name: samples[t.name][i].astype(t.dtype) for t in network.inputs})
            for i in range(count)
        ]
        return {name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
