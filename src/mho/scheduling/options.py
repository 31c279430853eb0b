"""How one copy of a layer may lie on a chip of many crossbars, and what it takes there.

On a chip the tiles of a copy have a crossbar each and are read at the same time, so that a layer may be mapped for few
crossbars or for few windows; which is better depends on the whole network. Every mapping that is listed here holds the
layer in one piece, and its windows are neighbouring positions, each position in exactly one: what a window makes is
final, so that the layers behind it can take it up. Or the digital unit of a core computes it, position by position, in
no crossbar (`mho.scheduling.digital_units`).

    time of a window = steps * reads * (MVM latency + rounds * conversion latency)
                       + operations of all its reads * digital operation latency

where reads are those that the rows of one tile take and rounds the conversions that its columns take. The copy's share
of the digital unit does its operations one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mho.errors import ScheduleError
from mho.hardware.mapping_rules import MappingObjective
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.best_mapping import make_choice
from mho.mapping.candidates import Candidates, Weighing
from mho.mapping.digital_layers import may_be_digital, must_be_digital, rules_of
from mho.mapping.encoding import count_digital_sums
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_cache import LayerCache
from mho.mapping.layer_mapping import LayerMapping, MappingModel, Range, count_tiling
from mho.mapping.layer_search import Piece
from mho.mapping.mapping_choice import MappingChoice
from mho.mapping.output_error import limit_errors, weigh_errors
from mho.mapping.paper_mapping import plan_allowed
from mho.mapping.slicing import ceil_divide, count_input_slices
from mho.mapping.tiling import count_conversion_rounds
from mho.mapping.unit_energies import UnitEnergies
from mho.mapping.windows import SINGLE, AnyWindow, PositionGrid, Stationary, Window
from mho.network.layers import MvmLayer
from mho.pareto import pareto_front
from mho.policy import BitWidths, Policy

Array = NDArray[np.int64]


@dataclass(frozen=True)
class CopyCost:
    """What one copy of a layer takes on a chip.

    Attributes:
        crossbars: one for each tile; 0 where the digital unit computes the layer.
        windows: for one input.
        window_ps: time of one window, ps; of a digital unit that has nothing else to compute.
        digital_ps: what of it is digital work, ps.
        write_ps: time to write a stored operand for one input, ps: all tiles at once, and the sums that its zero
            points need; 0 for weights.
    """

    crossbars: int
    windows: int
    window_ps: int
    digital_ps: int
    write_ps: int

    @classmethod
    def of(cls, mapping: LayerMapping, accelerator: Accelerator) -> CopyCost:
        """Return what a mapping of one part takes. Raises `ScheduleError` for one that is not for a chip."""
        layer, window = mapping.layer, chip_window(mapping)
        stored_sums = count_digital_sums(layer, mapping.bits.weight_bits, takes_input_sums=False)
        input_sums = (mapping.extra_operations - stored_sums) // layer.positions
        if mapping.is_digital:
            operation_ps = accelerator.digital.operation_latency_ps
            window_ps = input_sums * operation_ps
            return cls(0, layer.positions, window_ps, window_ps, stored_sums * operation_ps)
        accelerator, part = layer_hardware(accelerator, mapping.bits), mapping.parts[0]
        read_ps, digital_ps = _window_ps(
            groups=layer.repeat,
            groups_per_tile=np.array(part.groups_per_tile),
            rows=np.array(part.rows),
            cols=np.array(part.cols),
            rows_at_once=part.rows_at_once,
            steps=np.array(part.num_steps),
            sums=np.array(input_sums * window.height.count * window.width.count),
            accelerator=accelerator,
            encoding=mapping.encoding,
        )
        prices, is_written = UnitTimes.of(accelerator, mapping.encoding), layer.is_stored_dynamically
        write_ps = prices.write_ps + stored_sums * prices.operation_ps if is_written else 0
        windows = PositionGrid.of(layer).count_windows(window)
        return cls(mapping.tiles, windows, int(read_ps + digital_ps), int(digital_ps), write_ps)

    @property
    def work_ps(self) -> int:
        """Time of all windows on one copy, ps."""
        return self.windows * self.window_ps


def chip_window(mapping: LayerMapping) -> Window:
    """Return the window of a mapping that suits a chip: of one position where the digital unit computes the layer.

    Raises:
        ScheduleError: the layer is in several pieces, or in windows that give parts of sums.
    """
    if mapping.is_digital:
        return SINGLE
    windows = [part.window for part in mapping.parts]
    if len(windows) == 1 and _is_final(windows[0]):
        assert isinstance(windows[0], Window)
        return windows[0]
    raise ScheduleError(
        f"mapped in {len(windows)} parts with windows of {windows[0]}",
        where=f"layer {mapping.layer.name}",
        expected="one part, with windows of neighbouring positions",
        hint="take a mapping of mho.scheduling.options",
    )


def list_chip_options(
    layer: MvmLayer, bits: BitWidths, accelerator: Accelerator, model: MappingModel
) -> tuple[LayerMapping, ...]:
    """List the mappings of one layer that no other beats in crossbars and in the time of all windows at once.

    Under another `mapping.objective` than the latency, those that no other beats in crossbars and in that. Where
    `mapping.digital_layers` and pins allow it, the first is the digital unit; the only one where it must compute the
    layer, and where no mapping in crossbars keeps `mapping.max_error`.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: what is allowed and what it costs.
        model: `PAPER` for the mapping of arXiv 2601.21737 alone.

    Returns:
        At least one, with more and more crossbars and less and less time. Of those that take equally much, the one
        with the lowest windows (which wait for the fewest rows of earlier layers) and the fewest input slices at once.

    Raises:
        MappingError: the ADC cannot tell the layer's column sums apart, or cells cannot hold the integers.
    """
    accelerator = layer_hardware(rules_of(accelerator, layer.name), bits)
    if model is MappingModel.PAPER:
        return (plan_allowed(layer, bits, accelerator),)
    choice = make_choice(layer, bits.weight_bits, accelerator)
    digital = (choice.digital_mapping(bits),) if may_be_digital(layer, accelerator) else ()
    if must_be_digital(layer, accelerator):
        return digital
    encodings = accelerator.mapping.allowed.encodings
    found = [
        options
        for encoding in encodings
        for options in _list_options(choice, layer, bits, accelerator, encoding)
    ]  # fmt: skip
    if digital and choice.bound is not None and min(_list_errors(found)) > choice.bound:
        return digital
    found = _within_bound(found, choice.bound)
    columns = np.concatenate([options.columns() for options in found], axis=1)
    places = np.concatenate([np.full(len(options.candidate), number) for number, options in enumerate(found)])
    kept = _list_best(found, columns)
    mappings = []
    for place in kept:
        options, number = found[places[place]], int(columns[-2, place])
        piece = Piece(
            groups=Range(0, layer.repeat),
            outputs=Range(0, layer.outputs),
            inputs=Range(0, layer.inputs),
            candidate=number,
            groups_per_tile=int(columns[-1, place]),
        )
        mappings.append(choice.build(bits, options.encoding, (piece,)))
    return (*digital, *mappings)


def find_fewest_in_crossbars(options: Iterable[LayerMapping]) -> LayerMapping:
    """Return the first of a layer's options that lies in crossbars; the digital one where there is no other."""
    listed = list(options)
    return next((mapping for mapping in listed if not mapping.is_digital), listed[0])


def list_network_options(
    layers: Iterable[MvmLayer], policy: Policy, accelerator: Accelerator, model: MappingModel
) -> dict[str, tuple[LayerMapping, ...]]:
    """List the options of every layer with the widths that `policy` gives it by name, see `list_chip_options`.

    Returns:
        By name, in the order of `layers`; layers of one shape are looked at once.

    Raises:
        PolicyError: the policy names an unknown layer or lacks one.
    """
    layers = tuple(layers)
    policy.check_against(layer.name for layer in layers)
    known = LayerCache(accelerator, lambda layer, hardware, bits: list_chip_options(layer, bits, hardware, model))
    return {
        layer.name: tuple(replace(mapping, layer=layer) for mapping in known.get(layer, policy[layer.name]))
        for layer in layers
    }


@dataclass(frozen=True, eq=False)
class _Options:
    """Ways to map a whole layer in one encoding, int64 [options] each.

    Attributes:
        encoding: of all of them.
        crossbars, work_ps: what they take.
        height: positions of a window along the height.
        slices_at_once: input slices side by side.
        candidate, groups_per_tile: which way.
        errors: float64 [options], that each causes at the layer's output; None where there is no bound on them.
        costs: float64 [options], what `mapping.objective` makes least instead of work; None where it is that.
    """

    encoding: Encoding
    crossbars: Array
    work_ps: Array
    height: Array
    slices_at_once: Array
    candidate: Array
    groups_per_tile: Array
    errors: NDArray[np.float64] | None
    costs: NDArray[np.float64] | None

    def take(self, kept: NDArray[np.bool_]) -> _Options:
        """Return some of them."""
        errors, costs = (None if values is None else values[kept] for values in (self.errors, self.costs))
        return _Options(
            self.encoding,
            self.crossbars[kept],
            self.work_ps[kept],
            self.height[kept],
            self.slices_at_once[kept],
            self.candidate[kept],
            self.groups_per_tile[kept],
            errors,
            costs,
        )

    def columns(self) -> Array:
        """Return int64 [6, options], the criteria in the order of their weight, then what identifies the option."""
        criteria = (self.crossbars, self.work_ps, self.height, self.slices_at_once)
        return np.stack([*criteria, self.candidate, self.groups_per_tile])


def _list_options(
    choice: MappingChoice, layer: MvmLayer, bits: BitWidths, accelerator: Accelerator, encoding: Encoding
) -> Iterator[_Options]:
    """Count every candidate with final windows, in every number of groups a tile that is worth a look."""
    candidates = choice.candidates(encoding)
    extra = choice.build(bits, encoding, ()).extra_operations
    sums = (extra - count_digital_sums(layer, bits.weight_bits, takes_input_sums=False)) // layer.positions
    steps = -(-count_input_slices(bits.act_bits, accelerator.converters.dac_bits) // candidates.slices_at_once)
    rows = candidates.rows(0, layer.inputs)
    cols = candidates.cols(np.array(layer.outputs), has_correction=True)
    height, kept = _final_heights(candidates)
    for per_tile in _list_packs(candidates, rows, cols, layer.repeat):
        tiling = candidates.count_tiling(layer.repeat, per_tile, rows, cols)
        read_ps, digital_ps = _window_ps(
            groups=layer.repeat,
            groups_per_tile=per_tile,
            rows=rows,
            cols=cols,
            rows_at_once=candidates.rows_at_once,
            steps=steps,
            sums=sums * candidates.positions,
            accelerator=accelerator,
            encoding=encoding,
        )
        work_ps = (read_ps + digital_ps) * candidates.table.num_windows[candidates.shape]
        errors = None if choice.bound is None else choice.errors(encoding, bits.act_bits, per_tile)
        candidate, slices = np.arange(len(rows)), candidates.slices_at_once
        costs = _weigh(choice, bits, candidates, per_tile, rows, cols, work_ps, extra)
        yield _Options(encoding, tiling.tiles, work_ps, height, slices, candidate, per_tile, errors, costs).take(kept)


def _weigh(
    choice: MappingChoice,
    bits: BitWidths,
    candidates: Candidates,
    per_tile: Array,
    rows: Array,
    cols: Array,
    work_ps: Array,
    operations: int,
) -> NDArray[np.float64] | None:
    """Return what `mapping.objective` makes least, of one input without leakage; None where it is the time."""
    accelerator = candidates.accelerator
    objective = accelerator.mapping.objective
    if objective is MappingObjective.LATENCY:
        return None
    units = UnitEnergies.of(accelerator, candidates.encoding)
    priced = replace(candidates, weighing=Weighing(units, 0.0, 1.0))
    writing, reading = priced.weigh(choice.groups, per_tile, rows, cols)
    passes = candidates.passes[choice.number_of_slices(bits.act_bits)]
    energy = reading * passes + units.weigh(operations=operations)
    if candidates.is_stored_dynamically:
        energy = energy + writing * candidates.kinds
    return np.asarray(energy if objective is MappingObjective.ENERGY else energy * work_ps, dtype=np.float64)


def _list_best(found: list[_Options], columns: Array) -> Array:
    """Return the places of the options that no other beats in crossbars and in time, or in what the objective says."""
    if any(options.costs is None for options in found):
        return pareto_front(*columns)
    costs = np.concatenate([options.costs for options in found if options.costs is not None])
    kept = pareto_front(columns[0], costs, *columns[1:])
    return kept[pareto_front(*columns[:, kept])]  # of those, more crossbars take less time


def _within_bound(found: list[_Options], bound: float | None) -> list[_Options]:
    """Return the options whose errors stay within the bound; where none does, within what is worth its time."""
    if bound is None:
        return found
    errors = _list_errors(found)
    limit = float(limit_errors(errors.min(), bound))
    if bound and errors.min() > bound:
        volumes = np.concatenate([options.crossbars * options.work_ps for options in found]).astype(np.float64)
        limit = max(limit, float(errors[weigh_errors(volumes, errors, bound).argmin()]))
    return [options.take(options.errors <= limit) for options in found if options.errors is not None]


def _list_errors(found: list[_Options]) -> NDArray[np.float64]:
    return np.concatenate([options.errors for options in found if options.errors is not None])


def _list_packs(candidates: Candidates, rows: Array, cols: Array, groups: int) -> Iterator[Array]:
    """Yield how many whole matrices [rows, cols] share a tile in each candidate; 1 where no more fit."""
    accelerator = candidates.accelerator
    crossbar = accelerator.crossbar
    most = np.minimum(crossbar.rows // rows, crossbar.cols // cols)
    most = most.clip(1, min(groups, accelerator.mapping.allowed.groups_per_tile))
    yield np.ones_like(rows)
    if candidates.rows_at_once == crossbar.rows and not candidates.prices.conversion_ps:
        yield most  # the time of a window does not depend on what shares a tile
        return
    # The least numbers for some number of tiles: fewer groups are read and converted faster, in more tiles.
    for pack in sorted({ceil_divide(groups, tiles) for tiles in range(1, groups)}):
        if pack <= most.max():
            yield np.where(pack <= most, pack, 1)


def _final_heights(candidates: Candidates) -> tuple[Array, NDArray[np.bool_]]:
    """Return for each candidate the height of its window, and whether what a window makes is final."""
    windows = [pattern[0] for pattern in candidates.table.patterns]
    are_final = [
        len(pattern) == 1 and _is_final(window)
        for pattern, window in zip(candidates.table.patterns, windows, strict=True)
    ]
    heights = [window.height.count if isinstance(window, Window) else 0 for window in windows]
    return np.array(heights, dtype=np.int64)[candidates.shape], np.array(are_final)[candidates.shape]


def _is_final(window: AnyWindow) -> bool:
    """Tell whether a window gives whole sums: every product of its positions."""
    return isinstance(window, Window) and window.height.kind is window.width.kind is Stationary.POSITIONS


def _window_ps(
    *,
    groups: int,
    groups_per_tile: Array,
    rows: Array,
    cols: Array,
    rows_at_once: int,
    steps: Array,
    sums: Array,
    accelerator: Accelerator,
    encoding: Encoding,
) -> tuple[Array, Array]:
    """Return the time of the reads and of the digital work of one window, ps, int64 of the shape of the arrays.

    The one formula of both, which follow each other.

    Args:
        groups, groups_per_tile, rows, cols: as of `count_tiling`.
        rows_at_once: rows that one MVM may drive.
        steps: MVMs that an input of all slices takes.
        sums: additions that sum up the input vectors of one window, of all groups.
        accelerator: crossbar, converters and prices.
        encoding: how signed weights are held.
    """
    crossbar, prices = accelerator.crossbar, UnitTimes.of(accelerator, encoding)
    tile_rows = (groups_per_tile * rows).clip(max=crossbar.rows)
    tile_cols = (groups_per_tile * cols).clip(max=crossbar.cols)
    read_ps = prices.mvm_ps + count_conversion_rounds(tile_cols, accelerator, encoding) * prices.conversion_ps
    reads_ps = ceil_divide(tile_rows, rows_at_once) * read_ps
    one_pass = count_tiling(groups, groups_per_tile, rows, cols, accelerator, rows_at_once, encoding)
    return steps * reads_ps, (steps * one_pass.operations + sums) * prices.operation_ps
