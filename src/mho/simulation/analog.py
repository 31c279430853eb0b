"""The engine for arrays that are not ideal: a program on one chip, with the conductances that its seed gives.

Cells, wires, converters and read noise are those of `mho.array`; everything digital is exact, as in the other engines.
Where all of it is ideal, outputs are those of `mho.simulation.executor`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic.exactness import exact_products
from mho.arithmetic.operations import OPERATIONS
from mho.array.conductances import Conditions
from mho.array.seeds import Purpose
from mho.errors import ConfigError, DataError, ProgramError
from mho.hardware.spec import Accelerator
from mho.program.instructions import Digital, Instruction, Layer
from mho.program.layer_content import LayerContent, collect_layers
from mho.program.program import Program
from mho.program.verify import prove_program
from mho.simulation.analog_faults import FaultFigures
from mho.simulation.analog_tiles import AnalogTile, Ranges, TileWriter
from mho.simulation.analog_windows import Codes, WindowRun, add_sums, gather, plan_runs, run_alone
from mho.simulation.dequantize import dequantize
from mho.simulation.layer_runners import LayerRunner, make_runner
from mho.simulation.quantize_input import place_narrow_codes
from mho.simulation.samples import allocate_outputs, check_batch, check_inputs, present_outputs

_SHOWN_SUMS = 1 << 17
"""Sums of columns that the windows of a tile that is observed give at a time: what a processor reaches quickly."""
DEFAULT_BATCH = 16

Observe = Callable[[str, int, AnalogTile, Tensor], None]
"""Receives each layer, tile (by number) and codes [n, rows] that drive it, as for `ArrayProduct.run_block`."""


class AnalogExecutor:
    """Runs a program on one chip.

    Attributes:
        program: what it runs.
        hardware: what it runs on.
    """

    def __init__(
        self,
        program: Program,
        seed: int,
        *,
        hardware: Accelerator | None = None,
        conditions: Conditions | None = None,
        ranges: Ranges | None = None,
        is_observed: bool = False,
    ) -> None:
        """Verify the program and write its tiles into the cells of a chip.

        Args:
            program: for crossbars of the same size and cells, with the same DACs.
            seed: of the chip; the same seed is the same chip, whatever the batch size and threads.
            hardware: cells, wires and converters; None: those that the program was compiled for. A program for ideal
                ADCs runs on any.
            conditions: when and how cells are read; None: at once.
            ranges: for calibrated ADCs, as `mho.simulation.adc_ranges` finds them.
            is_observed: prepare tiles for `ArrayProduct.sum_columns`.

        Raises:
            ProgramError: the program is damaged.
            ConfigError: the hardware does not fit the program, or conditions or ranges do not fit the hardware.
        """
        self.program = program
        self.hardware = program.accelerator if hardware is None else hardware
        _check_hardware(program.accelerator, self.hardware)
        products = {product.name: product for product in prove_program(program)}
        contents = tuple(collect_layers(program))
        self._writer = TileWriter(program, contents, self.hardware, seed, conditions, ranges, is_observed=is_observed)
        self._reads = 0
        self._layers: dict[str, _AnalogLayer | LayerRunner] = {}
        for content in contents:
            name = content.layer.name
            if content.products:
                self._layers[name] = make_runner(program, products[name])
            else:
                self._layers[name] = _AnalogLayer(program, content, self._writer)

    def run(
        self,
        inputs: Mapping[str, Any] | NDArray[Any],
        batch_size: int = DEFAULT_BATCH,
        observe: Observe | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Run all samples; return float32 outputs by name.

        Args:
            inputs: arrays [N, *shape] by input name (or the only one), see `mho.arithmetic.batching`.
            batch_size: samples at once. It changes results only where reads are noisy, and these in nothing but chance;
                every run draws new noise.
            observe: receives what drives each tile.

        Raises:
            DataError: an input is missing, unknown, of another shape or not finite.
            MemoryBudgetError: outputs or a batch take more than the budget.
        """
        if batch_size < 1:
            raise DataError(f"batch size {batch_size}", expected="at least 1")
        arrays = check_inputs(self.program, inputs)
        samples = next(iter(arrays.values())).shape[0]
        if batch_size > DEFAULT_BATCH:
            check_batch(self.program, min(batch_size, samples), self.program.sample_bytes)
        outputs = allocate_outputs(self.program, samples)
        for start in range(0, samples, batch_size):
            stop = min(start + batch_size, samples)
            live = {name: array[start:stop] for name, array in arrays.items()}
            with exact_products():
                self._run_batch(live, start, observe)
            for name in outputs:
                outputs[name][start:stop] = live[name]
        return present_outputs(self.program, outputs)

    def _run_batch(self, live: dict[str, NDArray[np.float32]], first: int, observe: Observe | None) -> None:
        """Run one batch, from sample `first` of the run on; leaves all tensors in `live`."""
        for item in self.program.instructions:
            self.run_item(item, live, first, observe)

    def run_item(
        self, item: Instruction, live: dict[str, NDArray[np.float32]], first: int = 0, observe: Observe | None = None
    ) -> None:
        """Run one instruction of the program on a batch, within `exact_products`.

        Args:
            item: of the program itself: a layer, or what the digital unit does between layers.
            live: float32 [N, *shape] by buffer, those that it reads; what it makes is added.
            first: number of the first sample of the batch.
            observe: as for `run`.

        Raises:
            ProgramError: the instruction is neither.
        """
        if isinstance(item, Digital):
            operands = [torch.from_numpy(self._operand(live, name)) for name in item.inputs]
            live[item.output] = np.ascontiguousarray(OPERATIONS[item.op].run(operands, item.attributes).numpy())
        elif isinstance(item, Layer):
            layer = self._layers[item.name]
            if isinstance(layer, _AnalogLayer):
                sources = [live[name] for name in layer.sources]
                live[layer.output] = layer.run(sources, first, self._noise, observe)
            else:
                operand: list[Tensor] = [torch.from_numpy(live[name]) for name in layer.sources]
                live[layer.output] = np.ascontiguousarray(layer.run(operand).numpy())
        else:
            raise ProgramError(f"{type(item).__name__} outside of a layer", where=self.program.name)

    @property
    def tiles(self) -> dict[str, tuple[AnalogTile, ...]]:
        """The tiles of layers that have some, in execution order."""
        return {name: layer.tiles for name, layer in self._layers.items() if isinstance(layer, _AnalogLayer)}

    @property
    def faults(self) -> FaultFigures:
        """What stuck cells make of all that was written, as mapped and on the lines that were chosen."""
        return self._writer.faults

    def _operand(self, live: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[Any]:
        return np.array(self.program.constants[name]) if name in self.program.constants else live[name]

    def _noise(self, tile: AnalogTile) -> np.random.Generator | None:
        """Return a new stream for the reads of a tile."""
        if not tile.product.has_noise:
            return None
        self._reads += 1
        return self._writer.seed(tile.crossbar).stream(Purpose.READS, self._reads)


class _AnalogLayer:
    """A layer whose operand lies in cells, tile by tile."""

    def __init__(self, program: Program, content: LayerContent, writer: TileWriter) -> None:
        self._program, self._content = program, content
        self.sources = tuple(item.source for item in content.quantizations)
        self.output = content.dequantize.target
        self.tiles = tuple(writer.tiles(content))
        self._sizes = {item.target: program.buffers[item.target].shape[0] for item in content.quantizations}

    def run(
        self,
        sources: list[NDArray[np.float32]],
        first: int,
        noise: Callable[[AnalogTile], np.random.Generator | None],
        observe: Observe | None,
    ) -> NDArray[np.float32]:
        """Run samples `first`, `first` + 1, ... of a run.

        Args:
            sources: [N, *shape] each, in the order of `sources`.
            first: number of the first sample.
            noise: gives a stream for a tile's reads.
            observe: receives what drives each tile.

        Returns:
            [N, *output shape].
        """
        buffers, last, samples = self._program.buffers, self._content.dequantize, len(sources[0])
        made = {
            item.target: place_narrow_codes(item, source, self._sizes[item.target])
            for item, source in zip(self._content.quantizations, sources, strict=True)
        }
        sums = {name: np.zeros((buffers[name].shape[0], samples)) for name in self._content.cleared}
        own = sums[last.accumulators]
        codes = Codes(made)
        for run in self._runs:
            run.run(codes, own, noise(run.tile))
        for number, tile in enumerate(self.tiles):
            show = None if observe is None else partial(observe, self._content.layer.name, number)
            if tile.share is not None:
                for one, chosen in _share_samples(tile, samples, first):
                    part, shared = Codes({tile.codes: made[tile.codes][:, chosen].contiguous()}), own[:, chosen]
                    if show is not None:
                        _show(one, part, show)
                    run_alone(one).run(part, shared, noise(one))
                    own[:, chosen] = shared
                continue
            if tile.operand is None:
                if show is not None:
                    _show(tile, codes, show)
                continue
            for one, some in _store_samples(tile, made, samples, first):
                part = Codes({tile.codes: made[tile.codes][:, some].contiguous()})
                if show is not None:
                    _show(one, part, show)
                run_alone(one).run(part, own[:, some], noise(one))
        for digital in self._content.sums:
            added = digital.instruction
            add_sums(self._program, digital, made[added.codes], sums[added.accumulators])
        result = dequantize(self._program, last, lambda name: sums[name].T)
        return result.reshape(samples, *buffers[last.target].shape)

    @cached_property
    def _runs(self) -> tuple[WindowRun, ...]:
        return plan_runs((tile for tile in self.tiles if tile.operand is None and tile.share is None), self._sizes)


def _share_samples(tile: AnalogTile, samples: int, first: int) -> Iterator[tuple[AnalogTile, NDArray[np.int64]]]:
    """Yield a tile with the windows that it serves of some samples, and these samples."""
    assert tile.share is not None, "inputs of a batch share the tile"
    places = (first + np.arange(samples)) % tile.share.batch
    for one, some in tile.share.split(tile):
        chosen = np.flatnonzero(np.isin(places, list(some)))
        if chosen.size:
            yield one, chosen


def _store_samples(
    tile: AnalogTile, codes: Mapping[str, Tensor], samples: int, first: int
) -> Iterator[tuple[AnalogTile, slice]]:
    """Yield a tile with the operand that it stores for each sample, and the sample."""
    assert tile.operand is not None, "the tile stores operands"
    stored = codes[tile.operand.write.codes]
    for sample in range(samples):
        product = tile.operand.store(stored[:, sample].numpy().astype(np.int64), first + sample)
        yield replace(tile, product=product), slice(sample, sample + 1)


def _show(tile: AnalogTile, codes: Codes, observe: Callable[[AnalogTile, Tensor], None]) -> None:
    """Give an observer what drives a tile."""
    buffer = codes.buffers[tile.codes]
    layout, conversions = tile.product.layout, tile.product.conversions
    size = max(1, _SHOWN_SUMS // (buffer.shape[1] * layout.steps * len(conversions.plus)))
    for start in range(0, len(tile.inputs), size):
        places = torch.from_numpy(tile.rows[:, None] + tile.inputs[start : start + size])
        observe(tile, gather(buffer, places))


def _check_hardware(compiled: Accelerator, hardware: Accelerator) -> None:
    """Check that hardware is what a program was compiled for. Raises `ConfigError`."""
    sizes = {
        f"crossbar.{key}": (getattr(compiled.crossbar, key), getattr(hardware.crossbar, key))
        for key in ("rows", "cols", "cell_bits")
    }
    sizes["converters.dac_bits"] = (compiled.converters.dac_bits, hardware.converters.dac_bits)
    for key, (wanted, found) in sizes.items():
        if wanted != found:
            raise ConfigError(
                f"{key} is {found}, and the program was compiled for {wanted}",
                where=hardware.name,
                hint="compile the network for this hardware",
            )
