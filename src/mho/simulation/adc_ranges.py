"""Ranges of calibrated ADCs: how they are found, what they were found for, whether they fit a run, and their file."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mho.array.calibration import RangeRule, without_conversion
from mho.array.conductances import Conditions
from mho.array.nonidealities import ADC_ERRORS, READ_NOISE, idealize
from mho.array.range_groups import Range, RangeGroups
from mho.array_files import check_kinds, read_arrays, write_arrays
from mho.errors import ConfigError, InputFileError
from mho.hardware.array import Placement
from mho.hardware.converters import AdcRange, Converters
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.simulation.analog import DEFAULT_BATCH, AnalogExecutor
from mho.simulation.analog_tiles import AnalogTile, Ranges
from mho.simulation.chip_origin import ORIGIN, ChipOrigin

_EXPECTED = "ranges of ADCs, as `mho calibrate-adcs` writes them"
_KINDS = {"layers": ("U", 1), "tiles": ("i", 1), "conversions": ("i", 1), "lowest": ("f", 1), "highest": ("f", 1)}
_ALWAYS = ("converters.adc_bits", "converters.column_difference", "array.placement")
_SHARING = "converters.columns_per_adc"
_LINES = ("seed", "array.")
"""What lines that are chosen by stuck cells follow from, among others."""


@dataclass(frozen=True, eq=False)
class AdcRanges:
    """Ranges of all ADCs of a program on one chip.

    Attributes:
        origin: on which chip they were found, and how it was read; its converters say bits, and what shares a range.
        layers: lowest and highest sum of each conversion, float64, by layer and tile in execution order. Read-only.
    """

    origin: ChipOrigin
    layers: Ranges

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    @property
    def adc_bits(self) -> int:
        """Bits of a code that they were chosen for; layers of a program may have fewer of their own."""
        return int(self.origin.converters.adc_bits)

    @property
    def adc_range(self) -> AdcRange:
        """Which conversions share a range."""
        return self.origin.converters.adc_range

    @property
    def digest(self) -> str:
        """What identifies them: SHA-256 of all ranges, hexadecimal."""
        found = hashlib.sha256()
        for name, tiles in self.layers.items():
            found.update(f"{name}\0{len(tiles)}\0".encode())
            for end in itertools.chain.from_iterable(tiles):
                found.update(np.ascontiguousarray(end, np.float64).tobytes())
        return found.hexdigest()

    def fit(
        self,
        program: Program,
        seed: int,
        hardware: Accelerator,
        conditions: Conditions | None = None,
        *,
        transferred: bool = False,
    ) -> Accelerator:
        """Return hardware whose ADCs have these ranges.

        Args:
            program: that runs.
            seed: of the chip that it runs on.
            hardware: of that chip; what its codes are spread over is what these ranges say.
            conditions: when and how cells are read; None: at once.
            transferred: whether ranges of another chip, other cells or another age are meant.

        Raises:
            ConfigError: they were found for another program, or elsewhere; or for ADCs or lines that these are not,
                even where they are `transferred`.
        """
        fitted = with_adc_range(hardware, self.adc_range)
        always = _ALWAYS
        if self.adc_range is AdcRange.CALIBRATED_COLUMNS:  # else the columns of an ADC would have several ranges
            is_aware = hardware.array.placement is Placement.FAULT_AWARE and hardware.array.has_stuck_cells
            always = (*always, _SHARING, *(_LINES if is_aware else ()))
        here = _origin(program, seed, fitted, conditions)
        self.origin.check(here, "ranges of ADCs", where=hardware.name, always=always, transferred=transferred)
        return fitted

    def differences(
        self, program: Program, seed: int, hardware: Accelerator, conditions: Conditions | None = None
    ) -> dict[str, tuple[str, str]]:
        """Return how a chip differs from that on which they were found, as `ChipOrigin.differences` does.

        Args:
            program, seed, hardware, conditions: as for `fit`.
        """
        here = _origin(program, seed, with_adc_range(hardware, self.adc_range), conditions)
        return self.origin.differences(here)


def with_adc_range(hardware: Accelerator, adc_range: AdcRange) -> Accelerator:
    """Return hardware whose codes are spread over something else."""
    content = hardware.to_json()
    content["converters"].update(adc_range=str(adc_range))
    return accelerator_from_json(content, where=hardware.name)


def calibrate_adcs(
    program: Program,
    seed: int,
    inputs: Mapping[str, Any] | NDArray[Any],
    *,
    hardware: Accelerator,
    adc_range: AdcRange | None = None,
    rule: RangeRule | None = None,
    conditions: Conditions | None = None,
    batch_size: int = DEFAULT_BATCH,
) -> AdcRanges:
    """Find the ranges of a program's ADCs, which `AnalogExecutor` takes.

    The chip runs the data once or twice with ideal ADCs and without read noise; what it holds is what the seed gives.

    Args:
        program: as for `AnalogExecutor`.
        seed: of the chip.
        inputs: calibration data, as for `AnalogExecutor.run`.
        hardware: cells, wires and converters.
        adc_range: which conversions share a range: those of a layer, of one of its weight slices or of an ADC; None:
            what the hardware says. Ranges of a layer are for codes of its own bits, where the program has some.
        rule: how; None: least mean squared error.
        conditions: when and how cells are read.
        batch_size: samples at once; changes speed and memory alone.

    Raises:
        ConfigError: neither says which, ADCs are ideal, or the hardware does not fit the program.
        DataError: inputs do not fit, or there are none.
        UnsupportedOperationError: as for `AnalogExecutor`.
    """
    if adc_range is not None and not hardware.converters.has_ideal_adc:
        hardware = with_adc_range(hardware, adc_range)
    converters = hardware.converters
    if isinstance(converters.adc_bits, str) or converters.adc_range is AdcRange.FULL_SCALE:
        raise ConfigError(
            f"converters.adc_bits is {converters.adc_bits!r} and adc_range {converters.adc_range.value!r}",
            where=hardware.name,
            expected="bits, and adc_range 'calibrated-layer', 'calibrated-slices' or 'calibrated-columns'",
        )
    executor = AnalogExecutor(
        program, seed, hardware=without_conversion(hardware), conditions=conditions, is_observed=True
    )
    observer = _Observer(executor, converters)
    executor.run(inputs, batch_size, observe=observer.see)
    rule = rule or RangeRule()
    if rule.counts_sums:
        executor.run(inputs, batch_size, observe=observer.count)
    own_bits = {layer.name: layer.adc_bits for layer in program.layers if layer.adc_bits is not None}
    layers = observer.find_ranges(rule, converters.adc_bits, own_bits)
    return AdcRanges(_origin(program, seed, hardware, conditions), layers)


def _origin(program: Program, seed: int, hardware: Accelerator, conditions: Conditions | None) -> ChipOrigin:
    """Return the origin of ranges, which noise of reads and errors of ADCs do not change."""
    return ChipOrigin.of(program, seed, idealize(hardware, (*ADC_ERRORS, *READ_NOISE)), conditions)


class _Observer:
    """Collects the sums of all tiles, by layer and by what shares a range."""

    def __init__(self, executor: AnalogExecutor, converters: Converters) -> None:
        self._groups: dict[str, RangeGroups] = {}
        for layer, tiles in executor.tiles.items():
            products = [tile.product for tile in tiles]
            bitlines = [tile.bitlines[tile.product.conversions.plus] for tile in tiles]
            self._groups[layer] = RangeGroups(products, bitlines, converters)

    def see(self, layer: str, number: int, tile: AnalogTile, codes: Tensor) -> None:
        self._groups[layer].see(number, tile.product.sum_columns(codes), tile.product.sum_unit)

    def count(self, layer: str, number: int, tile: AnalogTile, codes: Tensor) -> None:
        self._groups[layer].count(number, tile.product.sum_columns(codes), tile.product.sum_unit)

    def find_ranges(self, rule: RangeRule, bits: int, own_bits: Mapping[str, int]) -> Ranges:
        """Return ranges for codes of `bits`, or of those that a layer has of its own."""
        return {layer: groups.find_ranges(rule, own_bits.get(layer, bits)) for layer, groups in self._groups.items()}


def write_ranges(ranges: AdcRanges, path: str | Path) -> None:
    """Write ranges to an .npz file of plain arrays, atomically. Raises `InputFileError` where it cannot be written."""
    tiles = [tile for layer in ranges.layers.values() for tile in layer]
    lowest, highest = (np.concatenate([np.zeros(0), *(tile[end] for tile in tiles)]) for end in (0, 1))
    write_arrays(
        path,
        {
            ORIGIN: ranges.origin.to_array(),
            "layers": np.array(list(ranges.layers), dtype=np.str_),
            "tiles": np.array([len(layer) for layer in ranges.layers.values()], dtype=np.int64),
            "conversions": np.array([len(lowest) for lowest, _ in tiles], dtype=np.int64),
            "lowest": lowest,
            "highest": highest,
        },
    )


def read_ranges(path: str | Path) -> AdcRanges:
    """Read the ranges that `write_ranges` wrote.

    Raises:
        InputFileError: missing, damaged, or no ranges.
    """
    arrays, where = read_arrays(path), str(path)
    origin = ChipOrigin.read(arrays, where=where, expected=_EXPECTED)
    check_kinds(arrays, _KINDS, where=where, expected=_EXPECTED)
    if not origin.converters.has_calibrated_adc:
        raise InputFileError("its ADCs have no ranges", where=where, expected=_EXPECTED)
    return AdcRanges(origin, _cut(arrays, where))


def _cut(arrays: Mapping[str, NDArray[Any]], where: str) -> dict[str, tuple[Range, ...]]:
    """Return the ranges of each layer and tile."""
    names = [str(name) for name in arrays["layers"]]
    tiles, conversions = arrays["tiles"], arrays["conversions"]
    lowest, highest = (arrays[name].astype(np.float64) for name in ("lowest", "highest"))
    are_counts = bool((tiles >= 0).all() and (conversions >= 1).all() and tiles.shape == (len(names),))
    fits = are_counts and len(set(names)) == len(names) and int(tiles.sum()) == len(conversions)
    if not fits or int(conversions.sum()) != len(lowest) or lowest.shape != highest.shape:
        raise InputFileError("its arrays do not fit each other", where=where, expected=_EXPECTED)
    if not (np.isfinite(lowest).all() and np.isfinite(highest).all() and (lowest <= highest).all()):
        raise InputFileError("a range is empty or not finite", where=where, expected="lowest <= highest")
    edges = np.append(0, np.cumsum(conversions))
    ranges = [(lowest[start:stop], highest[start:stop]) for start, stop in itertools.pairwise(edges)]
    ends = np.cumsum(tiles)
    return {name: tuple(ranges[end - count : end]) for name, end, count in zip(names, ends, tiles, strict=True)}
