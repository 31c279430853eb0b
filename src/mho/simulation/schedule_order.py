"""A program for a chip in the order of its schedule: windows of all layers, as they start and finish.

At the start of a window the digital operations that lead to it are evaluated on what is finished by then
(`mho.simulation.partial_tensors`), and every code that the window reads must be there: a schedule whose windows do not
wait for all that they read is caught in the act. The outputs are those of any other order, to the last bit.

All samples of a batch run in lockstep, each as the only input of the chip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.program.chip_work import derive_chip_work, find_window
from mho.program.instructions import (
    ClearAccumulators,
    Instruction,
    LastStep,
    LoadInput,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.layer_content import LayerContent, collect_layers
from mho.program.layer_region import Integers, LayerRegion, loop_values
from mho.program.program import rewrite
from mho.program.schedule import Schedule
from mho.program.tile_sets import TileSet, find_rows, find_tile_sets
from mho.program.window_proof import list_anchors, prove_windows
from mho.scheduling.asap import AsapTiming, time_asap
from mho.simulation.machine import Machine, make_machine, run_body
from mho.simulation.partial_tensors import Floats, PartialTensors
from mho.simulation.quantize_input import make_codes, place_codes, quantize

_FINISH, _WRITE, _START = range(3)
"""What happens first of what happens at the same time: what is finished may be read at once."""

Booleans = NDArray[np.bool_]


def run_in_schedule_order(machine: Machine) -> None:
    """Run the machine's program window by window; its outputs are then in the machine's buffers.

    Raises:
        ProgramError: a window reads, or a stored operand takes, what is not finished: says which, when and of what.
        DataError: a layer quantizes NaN.
    """
    program = machine.program
    layers = {content.layer.name: _LayerRun(machine, content) for content in collect_layers(program)}
    tensors = PartialTensors(machine, {layer.output: layer for layer in layers.values()})
    work = derive_chip_work(program, {name: layer.size for name, layer in layers.items()})
    timing = time_asap(work.graph, work.plan.copies)
    for name, layer in layers.items():
        layer.begin()
        if layer.is_stored and not timing.layers[name].write_starts.size:  # of inputs, and takes no time
            for copy in range(len(work.plan.places[name])):
                layer.write_operand(tensors, copy, 0)
    for time_ps, kind, name, index in _list_events(timing):
        layer = layers[name]
        machine.enter(name)
        if kind == _FINISH:
            layer.finish(index)
        elif kind == _WRITE:
            layer.write_operand(tensors, index, time_ps)
        else:
            layer.read(tensors, index, time_ps)
    for layer in layers.values():
        layer.refuse_nan(tensors)
    for name in program.outputs:
        machine.buffers[name] = tensors.pull(name)


def _list_events(timing: AsapTiming) -> Iterator[tuple[int, int, str, int]]:
    """Yield what happens to the first input, in order: time, kind, layer, and window or copy."""
    events: list[tuple[int, int, int, int]] = []
    names = list(timing.layers)
    for number, layer in enumerate(timing.layers.values()):
        starts = layer.starts[0].tolist()
        events += [(start, _START, number, window) for window, start in enumerate(starts)]
        events += [(start + layer.window_ps, _FINISH, number, window) for window, start in enumerate(starts)]
        events += [(start, _WRITE, number, copy) for copy, start in enumerate(layer.write_starts[0].tolist())]
    for time_ps, kind, number, index in sorted(events):
        yield time_ps, kind, names[number], index


class _LayerRun:
    """One layer on its way through its windows.

    Attributes:
        name, output: of the layer and of what it makes.
        size: positions of a window.
        is_stored: True where an operand is written for every input.
        progress: windows that are finished.
    """

    def __init__(self, machine: Machine, content: LayerContent) -> None:
        program = machine.program
        assert isinstance(program.schedule, Schedule), "windows have a schedule"
        self.name, self.output = content.layer.name, content.dequantize.target
        self._machine, self._content = machine, content
        self.is_stored = len(content.quantizations) > 1
        region = LayerRegion(program, content)
        tile_sets = find_tile_sets(region)
        self.size = prove_windows(region, tile_sets)
        self._anchors = list_anchors(region, self.size)
        self._reads: list[_Reads | _Vectors] = [_Reads(region, tile_set, self._anchors) for tile_set in tile_sets]
        if content.products:
            self._reads.append(_Vectors(region, self._anchors))
        self._copies = program.schedule[self.name].copies
        self._prologue, self._window = _split(content.layer.body)
        self._loops = loop_values(content.window_loops or ())
        self._finished: Booleans = np.zeros(region.geometry.position_counts, np.bool_)
        self._codes_stamp: tuple[int, ...] | None = None
        self._is_there: Booleans = np.zeros(0, np.bool_)
        self.progress = 0

    def begin(self) -> None:
        """Clear the sums, and program the crossbars of all copies where they hold weights."""
        self._machine.enter(self.name)
        run_body(self._machine, tuple(item for item in self._prologue if isinstance(item, ClearAccumulators)), {})
        for copy in range(len(self._copies)):
            writes = tuple(item for item in self._prologue if isinstance(item, WriteTile))
            run_body(self._machine, self._move(writes, copy), {})

    def write_operand(self, tensors: PartialTensors, copy: int, time_ps: int) -> None:
        """Write the stored operand into the crossbars of one copy."""
        item = self._content.quantizations[1]
        is_there = self._make_codes(tensors, item)
        if not is_there.all():
            raise self._race(f"the operand of copy {copy}", time_ps, item)
        others = tuple(one for one in self._prologue if not isinstance(one, QuantizeInput | ClearAccumulators))
        if copy:
            others = tuple(one for one in others if isinstance(one, WriteDynamicTile))
        run_body(self._machine, self._move(others, copy), {})

    def read(self, tensors: PartialTensors, window: int, time_ps: int) -> None:
        """Run one window, from what is there."""
        item = self._content.quantizations[0]
        addresses = np.concatenate([reads.addresses(window) for reads in self._reads])
        if self._codes_stamp is None or not self._is_there[addresses].all():
            stamp = tensors.stamp(item.source)
            if stamp != self._codes_stamp:
                self._is_there, self._codes_stamp = self._make_codes(tensors, item), stamp
        if not self._is_there[addresses].all():
            raise self._race(f"window {window}", time_ps, item)
        variables = {name: int(values[window]) for name, values in self._loops.items()}
        run_body(self._machine, self._move(self._window, window % len(self._copies)), variables)

    def finish(self, window: int) -> None:
        """The sums of a window are there."""
        image, row, column = self._anchors[window].tolist()
        height, width = self.size
        self._finished[image, row : row + height, column : column + width] = True
        self.progress += 1

    def give(self) -> Floats:
        """Return what the layer makes, float32 [samples, *shape]; not a number where it is not finished."""
        run_body(self._machine, (self._content.dequantize,), {})
        layout = self._content.dequantize.layout
        images, rows, columns = self._finished.shape
        lines = (columns, 1, rows, 1) if layout.is_linear else (1, 1, rows, columns)
        is_there = self._finished.reshape(images, 1, *lines)
        whole: Floats = self._machine.buffers[self.output]
        shape = (layout.batch, layout.groups, layout.lines, layout.channels, layout.rows, layout.columns)
        values = whole.reshape(-1, *shape)
        return np.where(is_there, values, np.float32(np.nan)).reshape(whole.shape)

    def _make_codes(self, tensors: PartialTensors, item: QuantizeInput) -> Booleans:
        """Quantize a source as far as it is there; return which codes are, bool [size of the buffer]."""
        buffers, source = self._machine.buffers, tensors.pull(item.source)
        size, missing = len(buffers[item.target]), np.isnan(source)
        buffers[item.target] = make_codes(item, np.where(missing, np.float32(0), source), size)
        return np.asarray(place_codes(item, ~missing, size, border=True, rest=True).all(axis=1))

    def refuse_nan(self, tensors: PartialTensors) -> None:
        """Quantize whole operands, where NaN no longer means that something is missing. Raises `DataError`: NaN."""
        for item in self._content.quantizations:
            quantize(item, torch.from_numpy(tensors.pull(item.source)))

    def _move(self, body: tuple[Instruction, ...], copy: int) -> tuple[Instruction, ...]:
        """Return the same instructions with the crossbars of another copy."""
        if not copy:
            return body
        crossbars = dict(zip(self._copies[0], self._copies[copy], strict=True))

        def move(item: Instruction) -> tuple[Instruction, ...]:
            if isinstance(item, WriteTile | WriteDynamicTile | LoadInput | Mvm | ShiftAdd):
                return (replace(item, crossbar=crossbars[item.crossbar]),)
            return (item,)

        return rewrite(body, move)

    def _race(self, what: str, time_ps: int, item: QuantizeInput) -> ProgramError:
        """Return the error that something is missing; raise `DataError` where it is NaN, in whatever order."""
        machine = self._machine
        whole = make_machine(machine.program, {name: machine.buffers[name] for name in machine.program.inputs})
        run_body(whole, machine.program.instructions, {})
        return ProgramError(
            f"{what} reads codes of {item.source!r} at {time_ps:,} ps that are not finished",
            where=f"layer {self.name}",
            expected="a schedule in which windows wait for all that they read",
            hint="the program is damaged",
        )


class _Reads:
    """Which codes the windows of one tile set read: those of their positions that lie in the layer."""

    def __init__(self, region: LayerRegion, tile_set: TileSet, anchors: Integers) -> None:
        self._classes = list(tile_set.classes())
        self._rows = [find_rows(region, tile_set, one)[0] for one in self._classes]
        positions = np.stack([anchors + one.position for one in self._classes], axis=1)
        self._is_inside: Booleans = region.is_inside(positions)
        group = np.full(len(anchors), int(tile_set.first_groups[0]), np.int64)
        self._starts = region.code_addresses(group, anchors)
        self._address = tile_set.rows.address
        self._known: dict[bytes, Integers] = {}

    def addresses(self, window: int) -> Integers:
        """Return the addresses of the codes that one window needs."""
        inside = self._is_inside[window]
        key = inside.tobytes()
        if key not in self._known:
            rows = [rows for rows, is_inside in zip(self._rows, inside, strict=True) if is_inside]
            self._known[key] = np.unique(self._address[np.concatenate(rows)])
        return self._starts[window] + self._known[key]


class _Vectors:
    """Which codes the digital unit reads in each window: the vectors of one position, of all groups."""

    def __init__(self, region: LayerRegion, anchors: Integers) -> None:
        groups = np.arange(region.groups)
        self._starts = [region.code_addresses(groups, np.broadcast_to(one, (len(groups), 3))) for one in anchors]
        self._offsets = region.geometry.row_offsets()

    def addresses(self, window: int) -> Integers:
        """Return the addresses of the codes that one window needs."""
        return np.unique(self._starts[window][:, None] + self._offsets)


def _split(body: tuple[Instruction, ...]) -> tuple[tuple[Instruction, ...], tuple[Instruction, ...]]:
    """Return what a layer does before its windows, and what it does in each."""
    prologue: list[Instruction] = []
    window: tuple[Instruction, ...] = ()
    for item in body:
        windows, found = find_window((item,))
        if windows:
            window = found
        elif not isinstance(item, LastStep):
            prologue.append(item)
    return tuple(prologue), window
