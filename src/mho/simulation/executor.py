"""The fast engine: whole layers as exact integer products, recovered from the program alone, on batches of samples.

It gives bit for bit what `mho.simulation.interpreter` gives, for every batch size and number of threads. It relies on
the proof of `mho.program.layer_proof` that a layer's region computes the product that its geometry names, and on ideal
(or sufficient) ADCs, so that slices fuse; where data calibrates ADCs, it gives what ideal ones would, and
`mho.simulation.analog` what theirs do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.exactness import exact_products
from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError
from mho.program.instructions import Digital, Layer, QuantizeInput
from mho.program.program import Program
from mho.program.verify import prove_program
from mho.simulation.coded_functions import find_for_codes
from mho.simulation.layer_runners import LayerRunner, make_runner
from mho.simulation.samples import allocate_outputs, check_batch, check_inputs, present_outputs

_BATCH_BYTES = 8 << 20
_MAX_BATCH_BYTES = 512 << 20
_SHARED_BATCH, _MAX_BATCH = 4, 256
_KEEP_LAYOUT = frozenset({"max_pool"})
"""Operations, besides the elementwise, whose kernels leave channels last in memory where they lie so."""


@dataclass(frozen=True)
class _Step:
    """One tensor made from others.

    Attributes:
        run: makes it.
        run_for_codes: makes one that layers which read it turn into the same codes.
        inputs, output: names.
        released: tensors that no later step reads.
    """

    run: Callable[[list[Tensor]], Tensor]
    run_for_codes: Callable[[list[Tensor]], Tensor]
    inputs: tuple[str, ...]
    output: str
    released: tuple[str, ...]


class Executor:
    """Runs a program, fast.

    Attributes:
        program: what it runs.
        routes: by layer, how its products are computed exactly.
        default_batch_size: samples at once where the caller does not say.
    """

    def __init__(self, program: Program) -> None:
        """Verify the program and recover its integers. Raises `ProgramError`."""
        self.program = program
        runners: dict[str, LayerRunner] = {}
        self._grids: dict[str, list[QuantizeInput]] = {}
        for product in prove_program(program):
            runners[product.name] = make_runner(program, product)
            for item in (product.input, product.stored):
                if item is not None:
                    self._grids.setdefault(item.source, []).append(item)
        self.routes: Mapping[str, str] = {name: str(runner.route) for name, runner in runners.items()}
        self._constants: dict[str, Tensor] = {}
        self._layer_steps: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._steps = self._plan(runners)
        self.default_batch_size = self._choose_batch_size()

    def run(
        self,
        inputs: Mapping[str, Any] | NDArray[Any],
        batch_size: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Run all samples; return float32 outputs by name.

        Args:
            inputs: arrays [N, *shape] by input name (or the only one), see `mho.arithmetic.batching`.
            batch_size: samples at once; changes speed and memory, never results.
            on_progress: called with samples done and samples in all.

        Raises:
            DataError: an input is missing, unknown, of another shape or not finite.
            MemoryBudgetError: outputs or a batch take more than the budget.
        """
        arrays = check_inputs(self.program, inputs)
        samples = next(iter(arrays.values())).shape[0]
        size = self.default_batch_size if batch_size is None else batch_size
        if size < 1:
            raise DataError(f"batch size {size}", expected="at least 1")
        check_batch(self.program, min(size, samples), self._bytes_per_sample())
        outputs = allocate_outputs(self.program, samples)
        with exact_products():
            for start in range(0, samples, size):
                stop = min(start + size, samples)
                batch = self._run_batch({name: array[start:stop] for name, array in arrays.items()})
                for name, tensor in batch.items():
                    outputs[name][start:stop] = tensor.numpy()
                if on_progress is not None:
                    on_progress(stop, samples)
        return present_outputs(self.program, outputs)

    def find_sources(self, layer: str, inputs: Mapping[str, Any] | NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Return the tensors that a layer reads, float32 [N, *shape] by name; what comes after them is not run.

        Args:
            layer: name of an MVM layer of the program.
            inputs: as for `run`; all samples at once.

        Raises:
            DataError, MemoryBudgetError: as `run` does.
        """
        arrays, (until, sources) = check_inputs(self.program, inputs), self._layer_steps[layer]
        check_batch(self.program, len(next(iter(arrays.values()))), self._bytes_per_sample())
        with exact_products():
            live = self._run_steps(arrays, self._steps[:until], only_codes=False)
        return {name: live[name].contiguous().numpy() for name in sources}

    def _run_batch(self, arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
        live = self._run_steps(arrays, self._steps, only_codes=True)
        return {name: live[name] for name in self.program.outputs}

    def _run_steps(
        self, arrays: Mapping[str, NDArray[np.float32]], steps: tuple[_Step, ...], *, only_codes: bool
    ) -> dict[str, Tensor]:
        """Return the tensors that are left when these steps are done.

        Args:
            arrays: inputs by name.
            steps: from the first on.
            only_codes: whether of tensors that layers read their codes are enough.
        """
        live = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for step in steps:
            operands = [live[name] if name in live else self._constants[name] for name in step.inputs]
            live[step.output] = (step.run_for_codes if only_codes else step.run)(operands)
            del operands
            for name in step.released:
                del live[name]
        return live

    def _plan(self, runners: Mapping[str, LayerRunner]) -> tuple[_Step, ...]:
        parts: list[tuple[Callable[[list[Tensor]], Tensor], tuple[str, ...], str]] = []
        for item in self.program.instructions:
            if isinstance(item, Layer):
                runner = runners[item.name]
                self._layer_steps[item.name] = len(parts), runner.sources
                parts.append((runner.run, runner.sources, runner.output))
            elif isinstance(item, Digital):
                parts.append((_digital(item), item.inputs, item.output))
        last = {name: index for index, (_, inputs, _) in enumerate(parts) for name in inputs}
        coded = self._find_coded()
        steps = []
        for index, (run, inputs, output) in enumerate(parts):
            for name in inputs:
                if name in self.program.constants and name not in self._constants:
                    self._constants[name] = torch.from_numpy(np.array(self.program.constants[name]))
            ended = {name for name in (*inputs, output) if last.get(name, index) == index}
            released = ended - set(self._constants) - set(self.program.outputs)
            steps.append(_Step(run, coded.get(output, run), inputs, output, tuple(sorted(released))))
        return tuple(steps)

    def _find_coded(self) -> dict[str, Callable[[list[Tensor]], Tensor]]:
        """Return, by output, what runs operations whose output only layers read, where codes are enough."""
        operations = [item for item in self.program.instructions if isinstance(item, Digital)]
        needed = {name for item in operations for name in item.inputs} | set(self.program.outputs)
        found = {
            item.output: find_for_codes(item, self._grids[item.output])
            for item in operations
            if item.output in self._grids and item.output not in needed
        }
        return {name: run for name, run in found.items() if run is not None}

    def _choose_batch_size(self) -> int:
        """Few samples stay in the cache; some share the reading of the weights, the more the larger these are."""
        size = self._bytes_per_sample()
        shared = max(_BATCH_BYTES, sum(array.nbytes for array in self.program.constants.values()) // 4) // size
        return max(1, min(max(shared, _SHARED_BATCH), _MAX_BATCH, _MAX_BATCH_BYTES // size))

    def _bytes_per_sample(self) -> int:
        """Return about how much memory the live tensors of one sample take at most."""
        size = {name: 4 * math.prod(buffer.shape) for name, buffer in self.program.buffers.items()}
        live = {name: size[name] for name in self.program.inputs}
        peak = sum(live.values())
        for step in self._steps:
            live[step.output] = size[step.output]
            working = sum(size[name] for name in step.inputs if name in size)
            peak = max(peak, sum(live.values()) + 2 * working)
            for name in step.released:
                live.pop(name, None)
        return max(1, peak)


def _digital(item: Digital) -> Callable[[list[Tensor]], Tensor]:
    """Return what runs an operation; all but the elementwise take contiguous operands, and leave what they make so."""
    operation = OPERATIONS[item.op]
    if operation.is_elementwise or operation.name in _KEEP_LAYOUT:
        return lambda operands: operation.run(operands, item.attributes)
    return lambda operands: operation.run([operand.contiguous() for operand in operands], item.attributes).contiguous()
