"""What ADCs, DACs and wires make of a layer's results, measured on some inputs on one chip: gain, bias and spread.

The layer runs on its tiles (`mho.quantization.tile_noise`) as it is, and with the same cells behind ideal converters
and wires. A straight line is fitted to the difference over the results of each output; what is left counts as noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.array.conductances import Conditions
from mho.array.nonidealities import ADC, DAC, READ_NOISE, WIRES, idealize
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays
from mho.quantization.mvm_products import Geometry, multiply
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.tile_noise import TileNoise

LEAST_WINDOWS, LEAST_SAMPLES = 512, 4
"""Input vectors, and samples that they come from, that a measurement takes of a batch, where it has so many."""


@dataclass(frozen=True, eq=False)
class ConverterErrors:
    """Errors of results as results + gain results + bias + deviation n, n standard normal, by output.

    Attributes:
        gain, bias, deviation: float32 [outputs of all groups]; bias and deviation in integers.
        passed: float32 [outputs of all groups], share of what is converted that is not clipped; None: all of it.
    """

    gain: Tensor
    bias: Tensor
    deviation: Tensor
    passed: Tensor | None


class ConverterMeter:
    """Measures the errors of one layer's converters; tiles are laid out once."""

    def __init__(
        self,
        hardware: Accelerator,
        arrays: LayerArrays,
        first: int,
        conditions: Conditions,
        *,
        one_crossbar: bool,
        renewal: RangeRenewal,
    ) -> None:
        """Prepare; arguments as for `TileNoise`."""
        self._quiet = idealize(hardware, READ_NOISE)
        self._ideal = idealize(hardware, (*READ_NOISE, *ADC, *DAC, *WIRES))
        self._arrays, self._place = arrays, (first, conditions)
        self._one_crossbar, self._renewal = one_crossbar, renewal
        self._tiles: TileNoise | None = None

    def measure(
        self, chip: int, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int
    ) -> ConverterErrors:
        """Return the errors on a chip, with ranges of calibrated ADCs that are found for the same inputs.

        Args:
            chip: its seed.
            streamed, integers, geometry, offset: as for `mho.quantization.layer_noise.LayerNoise.residual`; some of the
                samples are taken.
        """
        arrays = self._arrays
        if self._tiles is None:
            first, conditions = self._place
            self._tiles = TileNoise(
                self._quiet, arrays, first, conditions, one_crossbar=self._one_crossbar, renewal=self._renewal
            )
        count = count_samples(arrays)
        some = streamed[:count]
        stored = integers[:count] if arrays.is_stored else integers
        tiles = self._tiles
        tiles.set_chip(chip)
        tiles.clear_ranges()
        with tiles.keeping_cells():
            real = tiles.residual(some, stored, geometry, offset)
            passed = tiles.passed()
            exact = tiles.on(self._ideal).residual(some, stored, geometry, offset)
        results = _by_output(exact + multiply(some, stored, None, geometry), geometry)
        errors = _by_output(real - exact, geometry)
        gain, bias, deviation = _fit(results, errors)
        shares = None if passed is None else _by_output(passed, geometry).mean(dim=1).float()
        is_whole = shares is None or bool((shares == 1).all())
        return ConverterErrors(gain.float(), bias.float(), deviation.float(), None if is_whole else shares)


def count_samples(arrays: LayerArrays) -> int:
    """Return how many samples a measurement of a layer takes, where there are so many."""
    return max(LEAST_SAMPLES, -(-LEAST_WINDOWS // arrays.positions))


def _by_output(values: Tensor, geometry: Geometry) -> Tensor:
    """Return results as float64 [outputs of all groups, others]."""
    if geometry[0] == "matmul":
        grouped = values.to(torch.float64).reshape(len(values), -1, *values.shape[-2:])
        return grouped.permute(1, 3, 0, 2).flatten(2).flatten(0, 1)
    axis = 1 if geometry[0] == "conv" else -1
    return values.to(torch.float64).movedim(axis, 0).flatten(1)


def _fit(results: Tensor, errors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return gain, bias and standard deviation [outputs] of errors over results, both [outputs, n]."""
    centred = results - results.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=1)
    gain = (centred * errors).sum(dim=1) / squares.clamp(min=1e-12)
    gain = torch.where(squares > 0, gain, 0.0)
    rest = errors - gain[:, None] * results
    bias = rest.mean(dim=1)
    return gain, bias, (rest - bias[:, None]).square().mean(dim=1).sqrt()
