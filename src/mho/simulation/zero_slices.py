"""MVMs that need not be run, because every row that they drive carries a zero input slice: counted on real inputs.

Where all drives are zero, so are the counts of all columns; hardware that sees this leaves out the MVM and the
conversion, shifting and adding that follow it. Detecting it and the loading of the slices, which happens all the same,
cost nothing here. What is written stays written. `count_zero_slices` counts exactly what
`mho.simulation.interpreter.interpret` with `skip_zero_slices` skips, without running the program's instructions:

- The executor gives the tensors that layers quantize, and `make_codes` their codes.
- Slice s of an MVM is zero on all rows if and only if slice s of W is, where W is the bitwise OR over the driven rows
  of (code >> row shift). So one word a window gives all its slices.
- Tiles beside each other are driven alike: W is made once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import DataError, ProgramError
from mho.mapping.event_counts import EventCounts
from mho.program.instruction_costs import count_shift_add, price_layer
from mho.program.instructions import (
    Affine,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    Span,
    Window,
)
from mho.program.layer_content import Loops
from mho.program.layer_region import evaluate, loop_values
from mho.program.program import Program
from mho.program.tile_sets import largest_code
from mho.simulation.executor import Executor
from mho.simulation.quantize_input import make_codes
from mho.simulation.samples import check_inputs
from mho.simulation.timing import LayerTiming, time_program

Integers = NDArray[np.int64]
Codes = NDArray[Any]
"""Codes, or words made of them: unsigned integers, as short as they can be."""

_WINDOW_BYTES, _GATHER_BYTES = 1 << 17, 1 << 20
"""Words that are made together, and codes that are gathered together: both fit a cache."""
_TABLE_BYTES = 2
"""Words of so many bytes are looked up in a table."""


@dataclass(frozen=True, eq=False)
class LayerSkips:
    """One layer on N samples.

    Attributes:
        name: of the layer.
        mvms: MVMs of one sample, skipped or not.
        latency_ps: time of one sample where nothing is skipped.
        skipped: int64 [N], MVMs that may be skipped.
        saved_ps: int64 [N], time of them and of what follows them.
    """

    name: str
    mvms: int
    latency_ps: int
    skipped: Integers
    saved_ps: Integers

    @property
    def share(self) -> float:
        """Share of all MVMs of all samples that may be skipped, 0..1."""
        return _share(self.skipped, self.mvms)


@dataclass(frozen=True, eq=False)
class ZeroSlices:
    """MVMs that may be skipped.

    Attributes:
        layers: those of each layer, in execution order.
        samples: N, how many were counted.
    """

    layers: tuple[LayerSkips, ...]
    samples: int

    @property
    def mvms(self) -> int:
        """MVMs of one sample, skipped or not."""
        return sum(layer.mvms for layer in self.layers)

    @property
    def skipped(self) -> Integers:
        """MVMs that may be skipped, int64 [N]."""
        return sum((layer.skipped for layer in self.layers), np.zeros(self.samples, np.int64))

    @property
    def share(self) -> float:
        """Share of all MVMs of all samples that may be skipped, 0..1."""
        return _share(self.skipped, self.mvms)

    @property
    def latency_ps(self) -> int:
        """Time of one sample where nothing is skipped."""
        return sum(layer.latency_ps for layer in self.layers)

    @property
    def latencies_ps(self) -> Integers:
        """Time of each sample with skipping, int64 [N]."""
        return self.latency_ps - sum((layer.saved_ps for layer in self.layers), np.zeros(self.samples, np.int64))


def count_zero_slices(
    program: Program,
    inputs: Mapping[str, Any] | NDArray[Any],
    batch_size: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ZeroSlices:
    """Count the MVMs that may be skipped, by layer and sample, and the time that this saves.

    Args:
        program: what would run.
        inputs: arrays [N, *shape] by input name (or the only one), see `mho.arithmetic.batching`.
        batch_size: samples at once; changes speed and memory, never results.
        on_progress: called with samples done and samples in all.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        ProgramError: a crossbar is read elsewhere than it is driven.
    """
    arrays = check_inputs(program, inputs)
    samples = next(iter(arrays.values())).shape[0]
    counters = [_LayerCounter(program, layer, timing) for layer, timing in _timed_layers(program)]
    # The executor hands out what layers quantize where these tensors are the program's outputs.
    sources = dict.fromkeys(counter.source for counter in counters if counter.source)
    executor = Executor(replace(program, outputs=tuple(sources)))
    size = executor.default_batch_size if batch_size is None else batch_size
    if size < 1:
        raise DataError(f"batch size {size}", expected="at least 1")
    found: list[list[EventCounts[Integers]]] = [[] for _ in counters]
    for start in range(0, samples, size):
        batch = {name: array[start : start + size] for name, array in arrays.items()}
        tensors = executor.run(batch, size)
        for counter, counts in zip(counters, found, strict=True):
            counts.append(counter.count(tensors, min(size, samples - start)))
        if on_progress is not None:
            on_progress(min(start + size, samples), samples)
    layers = (counter.conclude(counts) for counter, counts in zip(counters, found, strict=True))
    return ZeroSlices(tuple(layers), samples)


def _timed_layers(program: Program) -> Iterator[tuple[Layer, LayerTiming]]:
    return zip(program.layers, time_program(program).layers, strict=True)


def _share(skipped: Integers, mvms: int) -> float:
    return float(skipped.sum()) / (mvms * len(skipped)) if mvms else 0.0


@dataclass(frozen=True)
class _Drive:
    """What determines with which slices an MVM is driven."""

    codes: str
    address: Affine
    row_offsets: str
    row_shifts: str
    rows: Span
    shift: Affine
    dac_bits: int
    loops: Loops


class _LayerCounter:
    """Counts one layer.

    Attributes:
        source: the float buffer that is quantized, empty where the layer reads no crossbar.
    """

    def __init__(self, program: Program, layer: Layer, timing: LayerTiming) -> None:
        self._program, self._timing = program, timing
        self._prices = price_layer(program, layer)
        drives: dict[_Drive, EventCounts[int]] = {}
        _collect_drives(program, layer, layer.body, (), drives)
        made = {item.target: item for item in layer.body if isinstance(item, QuantizeInput)}
        streamed = {made[drive.codes] for drive in drives}
        if len(streamed) > 1:
            raise ProgramError("rows are driven from several buffers", where=f"layer {layer.name}")
        self._quantize = next(iter(streamed), None)
        self.source = self._quantize.source if self._quantize else ""
        self._dtype = np.min_scalar_type(largest_code(self._quantize) if self._quantize else 0)
        self._reads = [(_Slices(program, drive, self._dtype), counts) for drive, counts in drives.items()]

    def count(self, tensors: Mapping[str, NDArray[np.float32]], samples: int) -> EventCounts[Integers]:
        """Return what may be left out for each sample, int64 [samples] each."""
        mvms, conversions, operations = np.zeros((3, samples), np.int64)
        if self._quantize is not None:
            shape = self._program.buffers[self.source].shape
            size = self._program.buffers[self._quantize.target].shape[0]
            codes = make_codes(self._quantize, tensors[self.source].reshape(samples, *shape), size)
            codes = np.ascontiguousarray(codes, self._dtype)
            for slices, counts in self._reads:
                zeros = slices.count_zeros(codes)
                mvms += zeros * counts.mvms
                conversions += zeros * counts.conversions
                operations += zeros * counts.operations
        return EventCounts(np.zeros_like(mvms), mvms, conversions, operations)

    def conclude(self, batches: list[EventCounts[Integers]]) -> LayerSkips:
        """Put the batches together."""
        skipped = np.concatenate([counts.mvms for counts in batches])
        saved_ps = np.concatenate([self._prices.reading_ps(counts) for counts in batches])
        return LayerSkips(self._timing.name, self._timing.mvms, self._timing.latency_ps, skipped, saved_ps)


def _collect_drives(
    program: Program, layer: Layer, body: tuple[Instruction, ...], loops: Loops, found: dict[_Drive, EventCounts[int]]
) -> None:
    """Add up, for each way of driving, what is done with it: MVMs, rounds of conversion, digital operations."""
    loaded: dict[int, _Drive] = {}
    read: dict[int, _Drive] = {}
    for item in body:
        if isinstance(item, Loop):
            _collect_drives(program, layer, item.body, (*loops, (item.variable, item.count)), found)
        elif isinstance(item, Window):
            _collect_drives(program, layer, item.body, loops, found)
        elif isinstance(item, LoadInput):
            loaded[item.crossbar] = _Drive(
                item.codes, item.address, item.row_offsets, item.row_shifts, item.rows, item.shift, item.dac_bits, loops
            )
        elif isinstance(item, Mvm | ShiftAdd):
            drives = loaded if isinstance(item, Mvm) else read
            if item.crossbar not in drives:
                raise ProgramError(
                    f"crossbar {item.crossbar} is not driven, read and counted in one loop", where=f"layer {layer.name}"
                )
            drive = drives[item.crossbar]
            read[item.crossbar] = drive
            one = EventCounts(0, 1, 0, 0) if isinstance(item, Mvm) else count_shift_add(program, item)
            found[drive] = found.get(drive, EventCounts(0, 0, 0, 0)) + one


class _Slices:
    """The input slices of one way of driving, at every turn of its loops, of codes of one type."""

    def __init__(self, program: Program, drive: _Drive, dtype: np.dtype[Any]) -> None:
        shifting = {variable for variable, _ in drive.shift.strides}
        steps = tuple(loop for loop in drive.loops if loop[0] in shifting)
        windows = tuple(loop for loop in drive.loops if loop[0] not in shifting)
        rows = slice(drive.rows.start, drive.rows.stop)
        offsets, shifts = program.constants[drive.row_offsets][rows], program.constants[drive.row_shifts][rows]
        # Rows of both signs carry the same slices.
        pairs = np.unique(np.stack([shifts, offsets]).astype(np.int64), axis=1)
        self._offsets = {int(shift): pairs[1, pairs[0] == shift] for shift in np.unique(pairs[0])}
        self._addresses = evaluate(drive.address, loop_values(windows))
        self._shifts = evaluate(drive.shift, loop_values(steps))
        self._mask = (1 << drive.dac_bits) - 1
        is_short = dtype.itemsize <= _TABLE_BYTES
        self._table = self._zeros_of(np.arange(np.iinfo(dtype).max + 1)) if is_short else None

    def count_zeros(self, codes: Codes) -> Integers:
        """Return how many MVMs are driven with zero slices only, int64 [samples]; codes are [size, samples]."""
        samples = codes.shape[1]
        total = np.zeros(samples, np.int64)
        step = max(1, _WINDOW_BYTES // (samples * codes.itemsize))
        for start in range(0, len(self._addresses), step):
            words = self._join(codes, self._addresses[start : start + step])
            zeros = self._zeros_of(words) if self._table is None else self._table[words]
            total += zeros.sum(axis=0, dtype=np.int64)
        return total

    def _zeros_of(self, words: NDArray[Any]) -> NDArray[np.uint8]:
        """Return how many slices of each word are zero."""
        zeros = np.zeros(words.shape, np.uint8)
        for shift in self._shifts:
            zeros += (words.astype(np.int64) >> shift) & self._mask == 0
        return zeros

    def _join(self, codes: Codes, addresses: Integers) -> Codes:
        """Return the word of each window and sample, [windows, samples]."""
        joined = np.zeros((len(addresses), codes.shape[1]), codes.dtype)
        step = max(1, _GATHER_BYTES // joined.nbytes)
        for shift, offsets in self._offsets.items():
            for start in range(0, len(offsets), step):
                gathered = codes[offsets[start : start + step, None] + addresses]
                joined |= np.bitwise_or.reduce(gathered, axis=0) >> shift
        return joined
