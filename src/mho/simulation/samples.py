"""What goes into an engine and comes out: arrays by name, checked against the program's buffers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.batching import from_samples, to_samples
from mho.errors import DataError, suggest
from mho.input_files import check_memory
from mho.program.program import Program


def check_inputs(program: Program, inputs: Mapping[str, Any] | NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """Return contiguous float32 arrays [N, *shape] by input name.

    Raises:
        DataError: an input is missing or unknown, samples differ in number, or an array does not fit.
    """
    if not isinstance(inputs, Mapping):
        if len(program.inputs) != 1:
            raise DataError("one array for several inputs", expected=f"arrays by name: {', '.join(program.inputs)}")
        inputs = {program.inputs[0]: inputs}
    for name in inputs:
        if name not in program.inputs:
            raise DataError(
                f"unknown input {name!r}", expected=", ".join(program.inputs), hint=suggest(name, program.inputs)
            )
    if missing := [name for name in program.inputs if name not in inputs]:
        raise DataError(f"missing inputs: {', '.join(missing)}", expected=", ".join(program.inputs))
    arrays = {
        name: to_samples(inputs[name], program.buffers[name].shape, where=f"input {name!r}") for name in program.inputs
    }
    counts = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"inputs with different numbers of samples ({listing})", expected="as many of each")
    return arrays


def allocate_outputs(program: Program, samples: int) -> dict[str, NDArray[np.float32]]:
    """Return arrays [samples, *shape] for the outputs. Raises `MemoryBudgetError` where these pass the budget."""
    shapes = {name: program.buffers[name].shape for name in program.outputs}
    size = 4 * samples * sum(math.prod(shape) for shape in shapes.values())
    check_memory(size, f"the outputs of {samples:,} samples", where=program.name)
    return {name: np.empty((samples, *shape), np.float32) for name, shape in shapes.items()}


def check_batch(program: Program, samples: int, sample_bytes: int) -> None:
    """Refuse to run more samples at once than the memory budget has room for. Raises `MemoryBudgetError`."""
    check_memory(samples * sample_bytes, f"a batch of {samples:,} samples", where=program.name)


def present_outputs(program: Program, buffers: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Return the outputs by name, as a user sees them."""
    return {name: from_samples(buffers[name], program.buffers[name].shape) for name in program.outputs}


def present_shapes(program: Program) -> dict[str, tuple[int, ...]]:
    """Return the shapes that outputs of one sample have, by name, as a user sees them."""
    shapes = {name: program.buffers[name].shape for name in program.outputs}
    return {name: from_samples(np.empty((0, *shape)), shape).shape[1:] for name, shape in shapes.items()}
