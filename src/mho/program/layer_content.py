"""What a layer's region does, tile by tile: which write, load and shift-add belong together, under which loops.

The instructions of a loop are read once and stand for all of its turns. So what they find in a crossbar must be the
same in every turn: it was left there by the same turn, or before the loop by something that no turn changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from mho.errors import ProgramError
from mho.program.instructions import (
    ClearAccumulators,
    Digital,
    DigitalProduct,
    Instruction,
    LastStep,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    SumInputs,
    Window,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.program import Program

Loops = tuple[tuple[str, int], ...]
"""Variables and counts of the enclosing loops, outermost first."""


Write = WriteTile | WriteDynamicTile


@dataclass(frozen=True)
class TileUse:
    """One read of a tile: how the tile is written, driven and counted, and the loops that enclose its MVM.

    `load.rows` and `add.cols` are rows and columns of the encoded matrix that the tile is a part of.
    """

    write: Write
    load: LoadInput
    add: ShiftAdd
    loops: Loops


@dataclass(frozen=True)
class DigitalSum:
    """One `SumInputs` with the loops that enclose it."""

    instruction: SumInputs
    loops: Loops


@dataclass(frozen=True)
class DigitalUse:
    """One `DigitalProduct` with the loops that enclose it."""

    instruction: DigitalProduct
    loops: Loops


@dataclass(frozen=True)
class LayerContent:
    """The instructions of one layer's region, sorted by role.

    `writes` are all that the region writes, in their order, `has_nested_writes` tells whether some stand in a loop;
    `window_loops` enclose its `Window`, if it has one.
    """

    layer: Layer
    quantizations: tuple[QuantizeInput, ...]
    cleared: tuple[str, ...]
    sums: tuple[DigitalSum, ...]
    products: tuple[DigitalUse, ...]
    tiles: tuple[TileUse, ...]
    dequantize: LastStep
    writes: tuple[Write, ...]
    has_nested_writes: bool
    window_loops: Loops | None


class _State(Enum):
    """What an instruction leaves in a crossbar for later ones."""

    CELLS = "cells"
    DRIVES = "drives"
    COUNTS = "counts"


@dataclass(eq=False)
class _Turns:
    """A loop that is being read; `found`: what it read of which crossbars as it was before the loop."""

    loop: tuple[str, int]
    found: set[tuple[int, _State]] = field(default_factory=set)


_Nest = tuple[_Turns, ...]


@dataclass
class _Chain:
    """What a crossbar holds, how its rows are driven, and in which loops each was made."""

    writes: list[Write]
    written_in: _Nest
    load: LoadInput | None = None
    loaded_in: _Nest = ()
    is_read: bool = False
    read_in: _Nest = ()


@dataclass
class _Collector:
    layer: Layer
    chains: dict[int, _Chain]
    quantizations: list[QuantizeInput] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    sums: list[DigitalSum] = field(default_factory=list)
    products: list[DigitalUse] = field(default_factory=list)
    tiles: list[TileUse] = field(default_factory=list)
    dequantize: LastStep | None = None
    has_begun: bool = False
    writes: list[Write] = field(default_factory=list)
    has_nested_writes: bool = False
    has_reads: bool = False
    window: _Nest | None = None
    is_in_window: bool = False

    def error(self, what: str) -> ProgramError:
        return ProgramError(what, where=f"layer {self.layer.name}", hint="the program is damaged")


def collect_layers(program: Program) -> Iterator[LayerContent]:
    """Sort the instructions of each layer's region, in execution order.

    Raises:
        ProgramError: a read without a write or a load before it, two dequantizations, or an instruction out of place.
    """
    chains: dict[int, _Chain] = {}
    for layer in program.layers:
        yield _collect_layer(layer, chains)
        for crossbar, chain in list(chains.items()):
            # Weights stay for later layers; what was made of this layer's codes does not.
            if any(isinstance(write, WriteDynamicTile) for write in chain.writes):
                del chains[crossbar]
            else:
                chain.load, chain.is_read = None, False


def _collect_layer(layer: Layer, chains: dict[int, _Chain]) -> LayerContent:
    collector = _Collector(layer, chains)
    _collect(collector, layer.body, ())
    if collector.dequantize is None:
        raise collector.error("nothing is dequantized")
    return LayerContent(
        layer,
        tuple(collector.quantizations),
        tuple(collector.cleared),
        tuple(collector.sums),
        tuple(collector.products),
        tuple(collector.tiles),
        collector.dequantize,
        tuple(collector.writes),
        collector.has_nested_writes,
        None if collector.window is None else _loops(collector.window),
    )


def _collect(collector: _Collector, body: tuple[Instruction, ...], nest: _Nest) -> None:
    for item in body:
        if collector.dequantize is not None:
            raise collector.error(f"{type(item).__name__} after the layer's end")
        if isinstance(item, Loop):
            _collect(collector, item.body, (*nest, _Turns((item.variable, item.count))))
        elif isinstance(item, Window):
            _collect_window(collector, item, nest)
        elif isinstance(item, WriteTile | WriteDynamicTile):
            _collect_write(collector, item, nest)
        elif isinstance(item, LoadInput | Mvm | ShiftAdd):
            _collect_read(collector, item, nest)
        elif isinstance(item, SumInputs):
            collector.has_begun = True
            collector.sums.append(DigitalSum(item, _loops(nest)))
        elif isinstance(item, DigitalProduct):
            if collector.window is not None and not collector.is_in_window:
                raise collector.error("vectors are multiplied beside the layer's window")
            collector.has_begun = collector.has_reads = True
            collector.products.append(DigitalUse(item, _loops(nest)))
        else:
            _collect_once(collector, item, nest)


def _collect_window(collector: _Collector, item: Window, nest: _Nest) -> None:
    """A layer has one window, and all of its reads are in it; its tiles are written before, each once."""
    if collector.window is not None or collector.has_reads:
        raise collector.error("tiles are read beside the layer's window")
    if collector.has_nested_writes:
        raise collector.error("a tile is written in a loop")
    collector.window, collector.is_in_window = nest, True
    _collect(collector, item.body, nest)
    collector.is_in_window = False


def _loops(nest: _Nest) -> Loops:
    return tuple(turns.loop for turns in nest)


def _collect_write(collector: _Collector, item: Write, nest: _Nest) -> None:
    if isinstance(item, WriteDynamicTile):
        collector.has_begun = True
    if collector.window is not None:
        raise collector.error("a tile is written in the layer's window, or after it")
    collector.writes.append(item)
    collector.has_nested_writes |= bool(nest)
    for state in _State:
        _change(collector, item.crossbar, state, nest)
    if not (isinstance(item, WriteTile) and item.joins):
        collector.chains[item.crossbar] = _Chain([item], nest)
        return
    chain = collector.chains.get(item.crossbar)
    if (
        chain is None
        or chain.written_in != nest
        or chain.load is not None
        or not isinstance(chain.writes[0], WriteTile)
    ):
        raise collector.error(f"a tile joins a write of crossbar {item.crossbar} that is over")
    chain.writes.append(item)


def _collect_read(collector: _Collector, item: LoadInput | Mvm | ShiftAdd, nest: _Nest) -> None:
    if collector.window is not None and not collector.is_in_window:
        raise collector.error("tiles are read beside the layer's window")
    collector.has_reads = True
    chain = collector.chains.get(item.crossbar)
    if chain is None:
        raise collector.error(f"crossbar {item.crossbar} is used before it is written")
    if isinstance(item, LoadInput):
        collector.has_begun = True
        _find(collector, item.crossbar, _State.CELLS, chain.written_in, nest)
        _change(collector, item.crossbar, _State.DRIVES, nest)
        _change(collector, item.crossbar, _State.COUNTS, nest)
        chain.load, chain.loaded_in, chain.is_read = item, nest, False
    elif chain.load is None or (isinstance(item, ShiftAdd) and not chain.is_read):
        raise collector.error(f"crossbar {item.crossbar} is counted before it is driven and read")
    elif isinstance(item, Mvm):
        _find(collector, item.crossbar, _State.DRIVES, chain.loaded_in, nest)
        _change(collector, item.crossbar, _State.COUNTS, nest)
        chain.is_read, chain.read_in = True, nest
    else:
        _find(collector, item.crossbar, _State.COUNTS, chain.read_in, nest)
        load = chain.load
        found = [write for write in chain.writes if _holds(write, load, item)]
        if len(found) != 1:
            raise collector.error(f"crossbar {item.crossbar} is driven or counted where no single tile lies")
        collector.tiles.append(TileUse(found[0], load, item, _loops(nest)))


def _find(collector: _Collector, crossbar: int, state: _State, made_in: _Nest, nest: _Nest) -> None:
    """Note that an instruction finds what another made: around it, not in a loop that is over."""
    if nest[: len(made_in)] != made_in:
        raise collector.error(f"the {state.value} of crossbar {crossbar} are those of a loop that is over")
    for turns in nest[len(made_in) :]:
        turns.found.add((crossbar, state))


def _change(collector: _Collector, crossbar: int, state: _State, nest: _Nest) -> None:
    """Note that an instruction makes something: no enclosing loop may have found it as it was before."""
    if any((crossbar, state) in turns.found for turns in nest):
        raise collector.error(f"the {state.value} of crossbar {crossbar} change in a loop that found others")


def _holds(write: Write, load: LoadInput, add: ShiftAdd) -> bool:
    """Return whether the driven rows and the counted columns lie in a tile, each at its own place."""
    row, col = write.corner if isinstance(write, WriteTile) else (0, 0)
    return (
        write.rows.start <= load.rows.start
        and load.rows.stop <= write.rows.stop
        and write.cols.start <= add.cols.start
        and add.cols.stop <= write.cols.stop
        and load.first_row - row == load.rows.start - write.rows.start
        and add.first_col - col == add.cols.start - write.cols.start
    )


def _collect_once(collector: _Collector, item: Instruction, nest: _Nest) -> None:
    is_late = collector.has_begun and not isinstance(item, LastStep)
    if nest or is_late or isinstance(item, Digital | Layer):
        raise collector.error(f"{type(item).__name__} out of place")
    if isinstance(item, QuantizeInput):
        collector.quantizations.append(item)
    elif isinstance(item, ClearAccumulators):
        collector.cleared.append(item.accumulators)
    elif isinstance(item, LastStep):
        collector.dequantize = item
