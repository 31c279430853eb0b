"""Ranges of calibrated ADCs as a value and as a file: what they were found for, and whether they fit what is run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.array import Placement
from mho.accelerator.converters import MAX_ADC_BITS, AdcRange
from mho.accelerator.loading import accelerator_from_json
from mho.accelerator.spec import Accelerator
from mho.array.calibration import RangeRule
from mho.array.conductances import Conditions
from mho.array.range_groups import Range
from mho.errors import ConfigError, InputFileError
from mho.program.container import program_digest
from mho.program.program import Program
from mho.simulation.analog_calibration import DEFAULT_BATCH, calibrate_ranges
from mho.simulation.analog_tiles import Ranges
from mho.simulation.arrays import read_arrays, write_arrays

_EXPECTED = "ranges of ADCs, as `mho calibrate` writes them"
_CALIBRATED = tuple(kind for kind in AdcRange if kind is not AdcRange.FULL_SCALE)
_MAX_SEED_DIGITS = 1000
_HEAD = ("digest", "seed", "adc_bits", "adc_range", "placement")
_BODY = ("layers", "tiles", "conversions", "lowest", "highest")


@dataclass(frozen=True, eq=False)
class AdcRanges:
    """Ranges of all ADCs of a program on one chip.

    Attributes:
        digest: of the program, SHA-256, hexadecimal.
        seed: of the chip whose sums were seen.
        adc_bits: bits of a code that they were chosen for.
        adc_range: which conversions share a range.
        placement: with which the chip was written.
        layers: lowest and highest sum of each conversion, float64, by layer and tile in execution order. Read-only.
    """

    digest: str
    seed: int
    adc_bits: int
    adc_range: AdcRange
    placement: Placement
    layers: Ranges

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def fit(self, program: Program, hardware: Accelerator) -> Accelerator:
        """Return hardware whose ADCs have these ranges.

        Args:
            program: that runs.
            hardware: that it runs on; what its codes are spread over is what these ranges say.

        Raises:
            ConfigError: they were found for another program, other bits or another placement.
        """
        if self.digest != program_digest(program):
            raise ConfigError(
                "the ranges of ADCs were found for another program", where=program.name, hint="calibrate again"
            )
        if hardware.converters.adc_bits != self.adc_bits:
            raise ConfigError(
                f"the ranges were found for ADCs of {self.adc_bits} bits, and converters.adc_bits is "
                f"{hardware.converters.adc_bits}",
                where=hardware.name,
                hint="calibrate again",
            )
        if hardware.array.placement is not self.placement:
            raise ConfigError(
                f"the ranges were found with {self.placement.value} placement, and array.placement is "
                f"{hardware.array.placement.value!r}",
                where=hardware.name,
                hint="calibrate again",
            )
        return with_adc_range(hardware, self.adc_range)


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
    """Find the ranges of a program's ADCs, as `mho.simulation.analog_calibration.calibrate_ranges` does.

    Args:
        program, seed, inputs, rule, conditions, batch_size: as there.
        hardware: cells, wires and converters.
        adc_range: which conversions share a range; None: what the hardware says.

    Raises:
        ConfigError: neither says so, ADCs are ideal, or the hardware does not fit the program.
        DataError: inputs do not fit, or there are none.
    """
    if adc_range is not None and not hardware.converters.has_ideal_adc:
        hardware = with_adc_range(hardware, adc_range)
    layers = calibrate_ranges(
        program, seed, inputs, hardware=hardware, rule=rule, conditions=conditions, batch_size=batch_size
    )
    converters = hardware.converters
    return AdcRanges(
        program_digest(program),
        seed,
        int(converters.adc_bits),
        converters.adc_range,
        hardware.array.placement,
        layers,
    )


def write_ranges(ranges: AdcRanges, path: str | Path) -> None:
    """Write ranges to an .npz file of plain arrays, atomically. Raises `InputFileError` where it cannot be written."""
    tiles = [tile for layer in ranges.layers.values() for tile in layer]
    lowest, highest = (np.concatenate([np.zeros(0), *(tile[end] for tile in tiles)]) for end in (0, 1))
    write_arrays(
        path,
        {
            "digest": np.frombuffer(bytes.fromhex(ranges.digest), dtype=np.uint8),
            "seed": np.array(str(ranges.seed)),
            "adc_bits": np.array(ranges.adc_bits, dtype=np.int64),
            "adc_range": np.array(str(ranges.adc_range)),
            "placement": np.array(str(ranges.placement)),
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
    arrays = read_arrays(path)
    if missing := [name for name in (*_HEAD, *_BODY) if name not in arrays]:
        raise InputFileError(f"holds no {missing[0]!r}", where=str(path), expected=_EXPECTED)
    kinds = {"digest": ("u", 1), "seed": ("U", 0), "adc_bits": ("i", 0), "adc_range": ("U", 0), "placement": ("U", 0)}
    kinds |= {"layers": ("U", 1), "tiles": ("i", 1), "conversions": ("i", 1), "lowest": ("f", 1), "highest": ("f", 1)}
    for name, (kind, rank) in kinds.items():
        if arrays[name].dtype.kind != kind or arrays[name].ndim != rank:
            raise InputFileError(
                f"{name!r} is {arrays[name].dtype} of shape {list(arrays[name].shape)}",
                where=str(path),
                expected=_EXPECTED,
            )
    seed, bits, adc_range, placement = (arrays[name].item() for name in _HEAD[1:])
    is_sound = arrays["digest"].dtype == np.uint8 and arrays["digest"].size == 32 and 1 <= bits <= MAX_ADC_BITS
    is_seed = seed.isascii() and seed.isdigit() and len(seed) <= _MAX_SEED_DIGITS
    if not (is_sound and is_seed and adc_range in _CALIBRATED and placement in tuple(Placement)):
        raise InputFileError("its head is damaged", where=str(path), expected=_EXPECTED)
    digest = arrays["digest"].tobytes().hex()
    return AdcRanges(digest, int(seed), bits, AdcRange(adc_range), Placement(placement), _cut(arrays, str(path)))


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
