"""Recalibration of a chip: the scale and the bias of each channel that put right what its cells do to it.

The chip runs calibration inputs layer by layer, and so do exact integers beside it. After each layer every channel gets
the scale and the bias with which its mean and standard deviation are those of the exact results; the next layer gets
the corrected outputs. No labels are needed. This is the recalibration of batch normalizations after errors
of cells and drift (Joshi et al. 2020, doi:10.1038/s41467-020-16108-9), with exact results instead of the statistics of
training, for any layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.arithmetic.exactness import exact_products
from mho.array.conductances import Conditions
from mho.errors import ConfigError, DataError
from mho.hardware.chip import DigitalArithmetic
from mho.hardware.spec import Accelerator
from mho.program.instructions import Digital, Instruction, Layer
from mho.program.layer_proof import LayerProduct
from mho.program.program import Program
from mho.program.verify import prove_program
from mho.simulation.adc_ranges import AdcRanges
from mho.simulation.analog import DEFAULT_BATCH, AnalogExecutor
from mho.simulation.channel_corrections import ChannelCorrections, Correction
from mho.simulation.chip_origin import ChipOrigin
from mho.simulation.layer_runners import LayerRunner, make_runner
from mho.simulation.samples import check_inputs

Tensors = dict[str, NDArray[np.float32]]

_CHANNEL_AXES = (2, 4)
_OTHER_AXES = (0, 1, 3, 5, 6)
"""Of outputs [samples, batch, groups, lines, channels, rows, columns]."""


def recalibrate(
    program: Program,
    seed: int,
    inputs: Mapping[str, Any] | NDArray[Any],
    *,
    hardware: Accelerator | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | None = None,
    transferred: bool = False,
    batch_size: int | None = None,
) -> ChannelCorrections:
    """Find the corrections of a program's channels on one chip.

    All samples are held at once, in every tensor that a later layer reads, once on the chip and once exactly.

    Args:
        program, seed: as for `mho.simulation.analog.AnalogExecutor`.
        inputs: calibration data, as for `AnalogExecutor.run`: some dozens of real samples, without labels.
        hardware: cells, wires and converters; None: those that the program was compiled for.
        conditions: when and how cells are read; None: at once.
        ranges: of calibrated ADCs, found on the same chip before.
        transferred: whether ranges of another chip, other cells or another age are meant.
        batch_size: samples on the chip at once; None: 16. As for `AnalogExecutor.run`.

    Returns:
        For each layer that has cells a scale and a shift of each channel; of an operand that is written for each
        sample, whose errors no sample shares with another, the same for all channels.

    Raises:
        DataError: inputs do not fit.
        ConfigError: the digital unit computes with integers alone.
        MhoError: as `AnalogExecutor`; or the ranges are those of another program or chip, see `AdcRanges.fit`.
    """
    if program.accelerator.digital.arithmetic is DigitalArithmetic.INTEGER:
        raise ConfigError(
            "a program of integer arithmetic, whose layers give rounded and clipped integers", where=program.name,
            expected='digital.arithmetic = "float32" for corrections of channels',
        )  # fmt: skip
    hardware = program.accelerator if hardware is None else hardware
    if ranges is not None:
        hardware = ranges.fit(program, seed, hardware, conditions, transferred=transferred)
    layers = None if ranges is None else ranges.layers
    size = DEFAULT_BATCH if batch_size is None else batch_size
    if size < 1:
        raise DataError(f"batch size {size}", expected="at least 1")
    origin = ChipOrigin.of(program, seed, hardware, conditions, None if ranges is None else ranges.digest)
    executor = AnalogExecutor(program, seed, hardware=hardware, conditions=conditions, ranges=layers)
    arrays = check_inputs(program, inputs)
    with exact_products():
        found = _Walk(program, executor, arrays, size).run()
    return ChannelCorrections(origin, found)


class _Walk:
    """One walk through a program, with all samples on the chip and exactly beside it."""

    def __init__(self, program: Program, executor: AnalogExecutor, inputs: Tensors, size: int) -> None:
        self._program, self._executor, self._size = program, executor, size
        self._products = {product.name: product for product in prove_program(program)}
        self._in_cells = frozenset(executor.tiles)
        self._chip, self._exact = dict(inputs), dict(inputs)
        self._samples = len(next(iter(inputs.values())))

    def run(self) -> dict[str, Correction]:
        found = {}
        items = self._program.instructions
        last = {name: number for number, item in enumerate(items) for name in self._read_by(item)}
        for number, item in enumerate(items):
            if isinstance(item, Layer) and item.name in self._in_cells:
                found[item.name] = self._correct(item)
            else:  # digital units are exact
                for live in (self._chip, self._exact):
                    self._executor.run_item(item, live)
            for live in (self._chip, self._exact):
                for name in [name for name in live if last.get(name, -1) <= number]:
                    del live[name]
        return found

    def _read_by(self, item: Instruction) -> tuple[str, ...]:
        if isinstance(item, Digital):
            return item.inputs
        assert isinstance(item, Layer), "verified: nothing else stands outside of layers"
        product = self._products[item.name]
        operands = (product.input, *([] if product.stored is None else [product.stored]))
        return tuple(operand.source for operand in operands)

    def _correct(self, item: Layer) -> Correction:
        """Run a layer on the chip and exactly, and return its correction; leaves the corrected output."""
        product = self._products[item.name]
        runner = make_runner(self._program, product)
        output, layout = runner.output, product.dequantize.layout
        shape = (layout.batch, layout.groups, layout.lines, layout.channels, layout.rows, layout.columns)
        on_chip, exact = (part.reshape(self._samples, *shape) for part in self._run(item, runner))
        correction = _fit(on_chip, exact, product)
        kept = self._program.buffers[output].shape
        self._chip[output] = correction.apply(on_chip).reshape(self._samples, *kept)
        self._exact[output] = exact.reshape(self._samples, *kept)
        return correction

    def _run(self, item: Layer, runner: LayerRunner) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the outputs of a layer, [samples, *shape], on the chip and exactly."""
        on_chip, exact = [], []
        for start in range(0, self._samples, self._size):
            some = slice(start, start + self._size)
            live = {name: self._chip[name][some] for name in runner.sources}
            self._executor.run_item(item, live, start)
            on_chip.append(live[runner.output])
            operands = [torch.from_numpy(self._exact[name][some]) for name in runner.sources]
            exact.append(np.ascontiguousarray(runner.run(operands).numpy()))  # means add up in memory's order
        return np.concatenate(on_chip), np.concatenate(exact)


def _fit(on_chip: NDArray[np.float32], exact: NDArray[np.float32], product: LayerProduct) -> Correction:
    """Return the correction of a layer from outputs [samples, batch, groups, lines, channels, rows, columns].

    A channel that does not vary, on the chip or exactly, gets its mean alone.
    """
    axes = tuple(axis for axis in range(on_chip.ndim) if product.stored is not None or axis not in _CHANNEL_AXES)
    (found_mean, found), (wanted_mean, wanted) = (_measure(outputs, axes) for outputs in (on_chip, exact))
    varies = (found > 0) & (wanted > 0)
    scale = np.where(varies, wanted / np.where(varies, found, 1.0), 1.0)
    shift = wanted_mean - scale * found_mean
    channels = tuple(on_chip.shape[axis] for axis in _CHANNEL_AXES)
    return Correction(*(np.broadcast_to(one.squeeze(_OTHER_AXES), channels).copy() for one in (scale, shift)))


def _measure(outputs: NDArray[np.float32], axes: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation over axes, the samples' among them, which stay with one element."""
    mean = outputs.mean(axis=axes, dtype=np.float64, keepdims=True)
    squares = np.zeros_like(mean)
    for sample in range(len(outputs)):  # not all at once, in twice the memory
        squares += np.square(outputs[sample : sample + 1] - mean).sum(axis=axes, keepdims=True)
    return mean, np.sqrt(squares * mean.size / outputs.size)
