"""A program whose tiles are reloaded into few crossbars, in the order of its schedule: writes and reads, tile by tile.

A crossbar loses what it holds when a write begins. At each read it must hold the tile that is meant, and no tile may go
before its reads and the digital work on them are done: a schedule that breaks this is caught in the act. The outputs
are those of any other order, to the last bit.

Samples are the inputs of batches that follow each other. Two periods of batches are run; batches that come later do
what those at their place in these periods do, in the same crossbars, and run with them in lockstep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.program.instructions import (
    Digital,
    Instruction,
    LastStep,
    LoadInput,
    Loop,
    Mvm,
    ShiftAdd,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.layer_content import Loops, TileUse
from mho.program.layer_region import Integers, loop_values
from mho.program.reload_work import derive_reload_work, list_reloaded_tiles
from mho.scheduling.given_reloads import time_reloads
from mho.scheduling.reload_timing import TileSpan, unroll
from mho.simulation.machine import CrossbarState, Machine, make_machine, run_body

_PERIODS = 2

_Event = tuple[int, int, Callable[[int], None]]
"""Time, number, what happens then."""


def run_in_reload_order(machine: Machine) -> None:
    """Run the machine's program reload by reload; its outputs are then in the machine's buffers.

    Raises:
        ProgramError: a crossbar is read that does not hold the tile that is meant, or written before its reads are
            done: says which and when.
        DataError: a layer quantizes NaN.
    """
    run = _ReloadRun(machine)
    for time_ps, _, happen in sorted(run.list_events(), key=lambda event: event[:2]):
        happen(time_ps)
    run.collect()


@dataclass(frozen=True)
class _Reload:
    """One reload of a tile.

    Attributes:
        tile: number of the tile.
        slot: of its reloads in a batch.
        batch: number of the batch; None for what stays.
    """

    tile: int
    slot: int
    batch: int | None


@dataclass
class _Held:
    """What a crossbar holds: of which reload, the cells (none where no sample needs them), whether it may go."""

    reload: _Reload
    cells: NDArray[Any] | None
    may_go: bool = False


@dataclass(frozen=True, eq=False)
class _Part:
    """The samples that stand at one place of a period, with a machine of their own."""

    samples: Integers
    machine: Machine


class _ReloadRun:
    """A run of two periods."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._program = machine, machine.program
        work = derive_reload_work(self._program)
        self._timing = time_reloads(work.tiles, work.plan, work.reloads)
        self._rotating, self._batch = work.plan.rotating, work.tiles.batch
        self._tiles = list_reloaded_tiles(self._program)
        self._parts = self._split_samples()
        self._held: dict[int, _Held] = {}
        self._begun = (-1, -1)
        self._writes = dict.fromkeys(work.tiles.layers, 0)
        self._layers = self._program.layers
        self._digital = _split_digital(self._program.instructions)

    def _split_samples(self) -> dict[tuple[int, int], _Part]:
        """Return the samples of each batch of the run, and place in it."""
        numbers = np.arange(self._machine.samples)
        batches, places = numbers // self._batch % (_PERIODS * self._timing.inputs), numbers % self._batch
        parts = {}
        for batch, place in sorted(set(zip(batches.tolist(), places.tolist(), strict=True))):
            own = np.flatnonzero((batches == batch) & (places == place))
            inputs = {name: self._machine.buffers[name][own] for name in self._program.inputs}
            machine = make_machine(
                self._program, inputs, skip_zero_slices=self._machine.skips_zero_slices, step=self._machine.step
            )
            parts[batch, place] = _Part(own, machine)
        return parts

    def list_events(self) -> Iterator[_Event]:
        """Yield all that happens; numbers say what comes first of what happens at the same time."""
        timing, number = self._timing, 0
        spans: dict[tuple[int, int], list[TileSpan]] = {}
        for span in unroll(timing, _PERIODS):
            spans.setdefault((span.number, span.layer), []).append(span)
        start = 0
        for batch in range(_PERIODS * timing.inputs):
            period, place = divmod(batch, timing.inputs)
            ends = [period * timing.period_ps + end for end in timing.layer_ends_ps[place]]
            yield start, number, partial(self._begin, batch, 0)
            for layer, end in enumerate(ends):
                for event in self._list_reloads(batch, layer, spans.get((batch, layer), [])):
                    number += 1
                    yield event[0], number, event[1]
                number += 2
                yield end, number - 1, partial(self._end, batch, layer)
                if layer + 1 < len(ends):
                    yield end, number, partial(self._begin, batch, layer + 1)
            start, number = ends[-1], number + 1

    def _list_reloads(
        self, batch: int, layer: int, spans: list[TileSpan]
    ) -> Iterator[tuple[int, Callable[[int], None]]]:
        """Yield what happens to the tiles that one layer reads in one batch, with its time."""
        slots: dict[int, int] = {}
        for span in spans:
            slot = slots.get(span.group, 0)
            slots[span.group] = slot + 1
            stays = span.crossbar >= self._rotating
            reload = _Reload(span.group, slot, None if stays else batch)
            if span.write is not None:
                yield span.write[0], partial(self._write, reload, span.crossbar)
            elif stays and batch == 0 and layer == self._tiles[span.group].layer:
                yield span.read[0], partial(self._write, reload, span.crossbar)
            yield span.read[0], partial(self._read, reload, batch, layer, span.crossbar)
            if not stays and layer == self._tiles[span.group].last_layer:
                yield span.held_until, partial(self._release, span.crossbar)

    def _begin(self, batch: int, layer: int, _time_ps: int) -> None:
        """A layer begins: all that it does beside its tiles, and digital operations before the first layer."""
        self._begun = batch, layer
        item = self._layers[layer]
        body = _without_tiles(tuple(one for one in item.body if not isinstance(one, LastStep)))
        for part in self._list_parts(batch):
            if layer == 0:
                run_body(part.machine, self._digital[0], {})
            part.machine.enter(item.name)
            run_body(part.machine, body, {})

    def _end(self, batch: int, layer: int, _time_ps: int) -> None:
        """A layer is finished, and so are the digital operations that follow it."""
        last = tuple(one for one in self._layers[layer].body if isinstance(one, LastStep))
        for part in self._list_parts(batch):
            run_body(part.machine, (*last, *self._digital[layer + 1]), {})

    def _list_parts(self, batch: int) -> Iterator[_Part]:
        for place in range(self._batch):
            if (batch, place) in self._parts:
                yield self._parts[batch, place]

    def _write(self, reload: _Reload, crossbar: int, time_ps: int) -> None:
        """The write of a tile begins: what the crossbar held is lost."""
        tile, held = self._tiles[reload.tile], self._held.get(crossbar)
        if held is not None and not held.may_go:
            raise self._error(reload, f"crossbar {crossbar} is written at {time_ps:,} ps before its reads are done")
        is_needed = reload.batch is None or any(batch == reload.batch for batch, _ in self._parts)
        machine: Machine | None = self._machine if is_needed else None
        if tile.is_stored:
            if reload.batch is None or self._begun != (reload.batch, tile.layer):
                raise self._error(reload, f"an operand is written at {time_ps:,} ps that is not there")
            part = self._parts.get((reload.batch, reload.slot // tile.copies))
            machine = None if part is None else part.machine
        cells = None
        if machine is not None:
            machine.enter(self._layers[tile.layer].name)
            run_body(machine, tuple(replace(block, crossbar=crossbar) for block in tile.blocks), {})
            cells = machine.crossbars.pop(crossbar).cells
        self._writes[self._layers[tile.layer].name] += not reload.batch
        self._held[crossbar] = _Held(reload, cells)

    def _read(self, reload: _Reload, batch: int, layer: int, crossbar: int, time_ps: int) -> None:
        """All windows of one copy of a tile are read."""
        tile, held = self._tiles[reload.tile], self._held.get(crossbar)
        if held is None or held.reload != reload or self._begun != (batch, layer):
            raise self._error(reload, f"crossbar {crossbar} does not hold tile {reload.tile} at {time_ps:,} ps")
        sample, copy = divmod(reload.slot, tile.copies)
        for place in (sample,) if tile.is_stored else range(self._batch):
            part = self._parts.get((batch, place))
            if part is None:
                continue
            assert held.cells is not None, "what a sample needs was written"
            part.machine.enter(self._layers[layer].name)
            part.machine.crossbars[crossbar] = CrossbarState(cells=held.cells)
            for use in tile.uses[layer]:
                reads = _Reads.of(use)
                first = 0 if tile.is_stored else place * reads.count
                reads.run(part.machine, crossbar, (copy - first) % tile.copies, tile.copies)
            del part.machine.crossbars[crossbar]

    def _release(self, crossbar: int, _time_ps: int) -> None:
        """All that was read of a tile is done."""
        self._held[crossbar].may_go = True

    def _error(self, reload: _Reload, what: str) -> ProgramError:
        where = f"layer {self._layers[self._tiles[reload.tile].layer].name}"
        return ProgramError(
            what, where=where, expected="reloads that wait for each other", hint="the program is damaged"
        )

    def collect(self) -> None:
        """Put the outputs and counts of all samples together."""
        machine, parts = self._machine, list(self._parts.values())
        for name in self._program.outputs:
            found = np.concatenate([part.machine.buffers[name] for part in parts])
            machine.buffers[name] = np.empty_like(found)
            machine.buffers[name][np.concatenate([part.samples for part in parts])] = found
        machine.writes, machine.mvms = self._writes, parts[0].machine.mvms
        for layer in self._layers:
            machine.enter(layer.name)
            for part in parts:
                pairs = zip(
                    astuple(machine.skipped[layer.name]), astuple(part.machine.skipped[layer.name]), strict=True
                )
                for whole, own in pairs:
                    whole[part.samples] = own


@dataclass(frozen=True, eq=False)
class _Reads:
    """How a tile is read: its windows, in order, and the steps of each."""

    use: TileUse
    windows: Loops
    steps: Loops

    @classmethod
    def of(cls, use: TileUse) -> _Reads:
        shifting = {variable for variable, _ in use.load.shift.strides}
        windows = tuple(loop for loop in use.loops if loop[0] not in shifting)
        return cls(use, windows, tuple(loop for loop in use.loops if loop[0] in shifting))

    @cached_property
    def _values(self) -> dict[str, list[int]]:
        return {name: values.tolist() for name, values in loop_values(self.windows).items()}

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(next(iter(self._values.values()), [0]))

    def run(self, machine: Machine, crossbar: int, first: int, step: int) -> None:
        """Read windows `first`, `first` + `step`, ... in a crossbar."""
        load, add = replace(self.use.load, crossbar=crossbar), replace(self.use.add, crossbar=crossbar)
        body: tuple[Instruction, ...] = (load, Mvm(crossbar), add)
        for variable, count in reversed(self.steps):
            body = (Loop(variable, count, body),)
        for window in range(first, self.count, step):
            run_body(machine, body, {name: values[window] for name, values in self._values.items()})


def _split_digital(instructions: tuple[Instruction, ...]) -> tuple[tuple[Digital, ...], ...]:
    """Return the digital operations before the first layer, and those that follow each layer."""
    found: list[list[Digital]] = [[]]
    for item in instructions:
        if isinstance(item, Digital):
            found[-1].append(item)
        else:
            found.append([])
    return tuple(map(tuple, found))


def _without_tiles(body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    """Return what a body does beside writing and reading crossbars."""
    kept: list[Instruction] = []
    for item in body:
        if isinstance(item, Loop):
            if inner := _without_tiles(item.body):
                kept.append(replace(item, body=inner))
        elif not isinstance(item, WriteTile | WriteDynamicTile | LoadInput | Mvm | ShiftAdd):
            kept.append(item)
    return tuple(kept)
