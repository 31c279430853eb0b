"""What a layer's region does, told tile by tile: which write, load and shift-add belong together, under which loops."""

from __future__ import annotations

from dataclasses import dataclass, field

from mho.errors import ProgramError
from mho.program.instructions import (
    ClearAccumulators,
    Dequantize,
    Digital,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    SumInputs,
    WriteDynamicTile,
    WriteTile,
)

Loops = tuple[tuple[str, int], ...]
"""Variables and counts of the enclosing loops, outermost first."""


@dataclass(frozen=True)
class TileUse:
    """One tile: how it is written, driven and counted, and the loops that enclose its MVM."""

    write: WriteTile | WriteDynamicTile
    load: LoadInput
    add: ShiftAdd
    loops: Loops


@dataclass(frozen=True)
class DigitalSum:
    """One `SumInputs` with the loops that enclose it."""

    instruction: SumInputs
    loops: Loops


@dataclass(frozen=True)
class LayerContent:
    """The instructions of one layer's region, sorted by role."""

    layer: Layer
    quantizations: tuple[QuantizeInput, ...]
    cleared: tuple[str, ...]
    sums: tuple[DigitalSum, ...]
    tiles: tuple[TileUse, ...]
    dequantize: Dequantize


@dataclass
class _Chain:
    write: WriteTile | WriteDynamicTile
    load: LoadInput | None = None
    is_read: bool = False


@dataclass
class _Collector:
    layer: Layer
    quantizations: list[QuantizeInput] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    sums: list[DigitalSum] = field(default_factory=list)
    tiles: list[TileUse] = field(default_factory=list)
    dequantize: Dequantize | None = None
    chains: dict[int, _Chain] = field(default_factory=dict)


def collect_layer(layer: Layer) -> LayerContent:
    """Sort the instructions of a layer's region.

    Raises:
        ProgramError: a read without a write or a load before it, two dequantizations, or an instruction out of place.
    """
    collector = _Collector(layer)
    _collect(collector, layer.body, ())
    if collector.dequantize is None:
        raise ProgramError("nothing is dequantized", where=f"layer {layer.name}")
    return LayerContent(
        layer,
        tuple(collector.quantizations),
        tuple(collector.cleared),
        tuple(collector.sums),
        tuple(collector.tiles),
        collector.dequantize,
    )


def _collect(collector: _Collector, body: tuple[Instruction, ...], loops: Loops) -> None:
    for item in body:
        if collector.dequantize is not None:
            raise ProgramError(f"{type(item).__name__} after the layer's end", where=f"layer {collector.layer.name}")
        if isinstance(item, Loop):
            _collect(collector, item.body, (*loops, (item.variable, item.count)))
        elif isinstance(item, WriteTile | WriteDynamicTile):
            collector.chains[item.crossbar] = _Chain(item)
        elif isinstance(item, LoadInput | Mvm | ShiftAdd):
            _collect_read(collector, item, loops)
        elif isinstance(item, SumInputs):
            collector.sums.append(DigitalSum(item, loops))
        else:
            _collect_once(collector, item, loops)


def _collect_read(collector: _Collector, item: LoadInput | Mvm | ShiftAdd, loops: Loops) -> None:
    chain = collector.chains.get(item.crossbar)
    if chain is None:
        raise ProgramError(
            f"crossbar {item.crossbar} is used before it is written", where=f"layer {collector.layer.name}"
        )
    if isinstance(item, LoadInput):
        chain.load, chain.is_read = item, False
    elif isinstance(item, Mvm):
        chain.is_read = True
    elif chain.load is None or not chain.is_read:
        raise ProgramError(
            f"crossbar {item.crossbar} is counted before it is read", where=f"layer {collector.layer.name}"
        )
    else:
        collector.tiles.append(TileUse(chain.write, chain.load, item, loops))


def _collect_once(collector: _Collector, item: Instruction, loops: Loops) -> None:
    where = f"layer {collector.layer.name}"
    has_begun = bool(collector.sums or collector.chains) and not isinstance(item, Dequantize)
    if loops or has_begun or isinstance(item, Digital | Layer):
        raise ProgramError(f"{type(item).__name__} out of place", where=where)
    if isinstance(item, QuantizeInput):
        collector.quantizations.append(item)
    elif isinstance(item, ClearAccumulators):
        collector.cleared.append(item.accumulators)
    elif isinstance(item, Dequantize):
        collector.dequantize = item
