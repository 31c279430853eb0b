"""Runs programs on test data, and compares executor, interpreter, integer reference and ONNX Runtime."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import write_atomically
from mho.data.dataset import Split
from mho.errors import UnsupportedOperationError
from mho.hardware.chip import DigitalArithmetic

if TYPE_CHECKING:
    from mho.network.graph import Network

Logits = NDArray[np.float32]
CLOSE = 1e-5
"""Differences of outputs that are no classes, over the largest of them, that are roundings of sums in float32."""
CLOSE_IN_INTEGERS = 0.05
"""The same where the digital unit has no floats."""

_MOST_DIFFERING = 0.02
"""Of the predictions of ONNX Runtime and of integer arithmetic, which rounds elsewhere."""


def run_program(path: Path, test: Split, batch_size: int, report: Callable[[float], None]) -> Logits:
    """Return what the executor of a program outputs for all samples of `test`, [N, ...], such as [N, classes]."""
    from mho.program.container import read_program
    from mho.simulation.executor import Executor

    executor = Executor(read_program(path))
    parts = []
    for batch in _batches(len(test), batch_size):
        (outputs,) = executor.run(test.inputs(batch), batch_size).values()
        parts.append(np.ascontiguousarray(outputs))
        report(batch.stop / len(test))
    return np.concatenate(parts)


def measure_zero_slices(path: Path, test: Split) -> dict[str, Any]:
    """Return how many reads of a program drive zero slices only on the samples of `test`, and times without them."""
    from mho.program.container import read_program
    from mho.simulation.zero_slices import count_zero_slices

    found = count_zero_slices(read_program(path), test.inputs(slice(None)))
    latencies_ps = found.latencies_ps
    return {
        "images": found.samples,
        "share": found.share,
        "latency_ps": int(latencies_ps.sum()) / found.samples,
        "min_latency_ps": int(latencies_ps.min()),
        "max_latency_ps": int(latencies_ps.max()),
    }


def write_logits(path: Path, logits: Logits, labels: NDArray[np.int64]) -> None:
    """Write logits and labels as .npz, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, logits=logits, labels=labels)
    write_atomically(path, buffer.getvalue())


@dataclass(frozen=True, eq=False)
class Comparison:
    """Compares the executor's outputs with everything else that computes the same network.

    Attributes:
        network_file: the quantized network (QCDQ ONNX).
        program_file: what it was compiled to.
        test: test samples.
        logits: the executor's outputs for them, [N, ...].
        batch_size: samples run together.
    """

    network_file: Path
    program_file: Path
    test: Split
    logits: Logits
    batch_size: int

    @cached_property
    def _network(self) -> Network:
        from mho.network.onnx_reader import read_onnx

        return read_onnx(self.network_file)

    def with_reference(self, images: int) -> dict[str, Any]:
        """Compare with the integer network, run without slices and tiles."""
        from mho.network.reference import run_quantized
        from mho.program.container import read_program
        from mho.program.lowering import lower_digital

        network = lower_digital(self._network, read_program(self.program_file).accelerator).network

        def run(inputs: NDArray[np.float32]) -> Logits:
            return _only(run_quantized(network, inputs))

        return self._exact("executor = integer reference", run, images, self.batch_size)

    def with_interpreter(self, images: int) -> dict[str, Any]:
        """Compare with the program run instruction by instruction; one with a schedule in its order."""
        from mho.program.container import read_program
        from mho.simulation.interpreter import interpret

        program = read_program(self.program_file)

        def run(inputs: NDArray[np.float32]) -> Logits:
            return _only(interpret(program, inputs).outputs)

        name = "executor = interpreter" + ("" if program.schedule is None else ", in schedule order")
        return self._exact(name, run, images, min(self.batch_size, 64))

    def with_onnxruntime(self) -> dict[str, Any]:
        """Compare predictions with those of ONNX Runtime on the exported file, run as it is written.

        ONNX Runtime multiplies in float32: a requantization may fall on the other side of a tie, or a sum beyond 2^24
        be rounded. Any other cause breaks the check. Its graph optimizer, which fuses operations and rounds otherwise,
        is off; the number of predictions that it changes is in the detail. Where the digital unit has no floats, it
        rounds elsewhere, so that a share of the predictions may differ.
        """
        from mho.quantization.export_check import compare_with_onnxruntime

        answers = (
            "predicts the same class" if self.test.task.has_classes else "answers the same up to 1e-5 of the largest"
        )
        check = {
            "name": "predictions = ONNX Runtime",
            "claim": f"ONNX Runtime, running the exported QCDQ file, {answers}, or differs by a rounding of its own "
            "that is shown.",
            "images": len(self.test),
        }
        try:
            theirs = self._run_onnxruntime(optimize=False)
        except UnsupportedOperationError as error:
            return {**check, "differing": len(self.test), "passed": False, "detail": error.line}
        if self._is_integer():
            differing = np.flatnonzero(self._differs(theirs, close=CLOSE_IN_INTEGERS))
            claim = f"At most {_MOST_DIFFERING:.0%} of the predictions differ: ONNX Runtime has floats between layers."
            passed = differing.size <= max(1, _MOST_DIFFERING * len(self.test))
            detail = f"largest difference of a logit {float(np.abs(theirs - self.logits).max()):.3g}"
            return {**check, "claim": claim, "differing": int(differing.size), "passed": passed, "detail": detail}
        differing = np.flatnonzero(self._differs(theirs))
        detail = (
            f"largest difference of a logit {float(np.abs(theirs - self.logits).max()):.3g}; "
            f"with ONNX Runtime's graph optimizer on, {self._describe_optimized()}"
        )
        passed = True
        if differing.size:
            shown = compare_with_onnxruntime(self._network, self.network_file, self.test.inputs(differing))
            passed = shown.is_explained and len(shown.differences) == differing.size
            detail += "; first differing requantizations: " + ", ".join(
                f"image {differing[found.sample]} in {found.layer or found.operand} ({found.cause})"
                for found in shown.differences[:5]
            )
        return {**check, "differing": int(differing.size), "passed": passed, "detail": detail}

    def _is_integer(self) -> bool:
        from mho.program.container import read_program

        return read_program(self.program_file).accelerator.digital.arithmetic is DigitalArithmetic.INTEGER

    def _run_onnxruntime(self, *, optimize: bool) -> Logits:
        shape, kind = self.logits.shape[1:], self._network.inputs[0].dtype
        return _run_onnxruntime(self.network_file, self.test, self.batch_size, shape, kind, optimize=optimize)

    def _differs(self, theirs: Logits, *, close: float = CLOSE) -> NDArray[np.bool_]:
        """Tell of each sample whether outputs [N, ...] predict something else than the executor's."""
        task, ours = self.test.task, self.logits
        if (axis := task.class_axis) is not None:
            return (theirs.argmax(axis=axis) != ours.argmax(axis=axis)).reshape(len(ours), -1).any(axis=1)
        far = np.abs(theirs - ours) > close * np.abs(ours).max()
        return np.asarray(far.reshape(len(ours), -1).any(axis=1))

    def _describe_optimized(self) -> str:
        """Tell what ONNX Runtime's graph optimizer makes of the predictions, where what it makes of the file runs."""
        try:
            fused = self._run_onnxruntime(optimize=True)
        except UnsupportedOperationError as error:
            return f"which makes a graph of this file that it refuses itself, none is predicted ({error.what})"
        return f"which fuses and rounds otherwise, {int(self._differs(fused).sum())} differ"

    def _exact(
        self, name: str, run: Callable[[NDArray[np.float32]], Logits], images: int, batch_size: int
    ) -> dict[str, Any]:
        """Compare to the last bit on `images` samples, evenly spread."""
        count = min(images, len(self.test))
        index = np.arange(count, dtype=np.int64) * len(self.test) // count
        differing = 0
        for batch in _batches(count, batch_size):
            chosen = index[batch]
            theirs = run(self.test.inputs(chosen))
            same = theirs.view(np.uint32) == _flat(self.logits[chosen]).view(np.uint32)
            differing += int((~same.all(axis=1)).sum())
        return {
            "name": name,
            "claim": "Every logit is the same, to the last bit.",
            "images": count,
            "differing": differing,
            "passed": differing == 0,
            "detail": f"{count * self.logits[0].size:,} numbers compared",
        }


def _run_onnxruntime(
    path: Path, test: Split, batch_size: int, shape: tuple[int, ...], kind: str, *, optimize: bool
) -> Logits:
    """Return outputs of ONNX Runtime, [N, *shape], for inputs of a type of NumPy.

    Raises:
        UnsupportedOperationError: it refuses the file.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as known

    refusals = known.Fail, known.InvalidArgument, known.InvalidGraph, known.NotImplemented, known.RuntimeException
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        taken = session.get_inputs()[0]
        size = 1 if isinstance(taken.shape[0], int) else batch_size
        parts = [
            session.run(None, {taken.name: test.inputs(batch).astype(kind)})[0] for batch in _batches(len(test), size)
        ]
    except refusals as error:
        raise UnsupportedOperationError(f"ONNX Runtime refuses the file: {error}", where=path.name) from error
    return np.concatenate(parts).reshape(len(test), *shape)


def _only(outputs: dict[str, NDArray[np.float32]]) -> Logits:
    (logits,) = outputs.values()
    return _flat(logits)


def _flat(logits: Logits) -> Logits:
    return np.ascontiguousarray(logits.reshape(len(logits), -1))


def _batches(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
