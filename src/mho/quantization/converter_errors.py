"""What ADCs, DACs and wires make of a layer's results, measured on some inputs on one chip.

The layer runs on its tiles (`mho.quantization.tile_noise`) as it is, and with the same cells behind ideal converters
and wires. Results are fitted as a straight line of what is expected of the cells, for each output, plus a share of what
the cells of this chip deviate by: an ADC whose step is not much finer than that rounds a part of it away. What is left
counts as noise; reads have theirs in the measurement, since it decides how much is rounded away, and what is kept of
their variance is taken off again.
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
    """Results as (1 + gain) expected + kept deviated + bias + deviation n, by output.

    What is expected is the product with the means of weights; deviated is what it has beyond that on a chip behind
    ideal converters and wires; n is standard normal.

    Attributes:
        gain, bias, deviation: float32 [outputs of all groups]; bias and deviation in integers.
        kept: 0..1, of all outputs; 1 where cells do not deviate.
        passed: float32 [outputs of all groups], share of what is converted that is not clipped; None: all of it, or
            it is not counted.
    """

    gain: Tensor
    kept: float
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
        counts_clipping: bool,
    ) -> None:
        """Prepare; arguments as for `TileNoise`."""
        self._counts_clipping = counts_clipping
        self._hardware = hardware
        self._ideal = idealize(hardware, (*READ_NOISE, *ADC, *DAC, *WIRES))
        self._arrays, self._place = arrays, (first, conditions)
        self._one_crossbar, self._renewal = one_crossbar, renewal
        self._tiles: TileNoise | None = None

    def measure(
        self,
        chip: int,
        streamed: Tensor,
        integers: Tensor,
        expected: Tensor,
        geometry: Geometry,
        offset: int,
        read_variance: Tensor | None,
    ) -> ConverterErrors:
        """Return the errors on a chip, with ranges of calibrated ADCs that are found for the same inputs.

        Args:
            chip: its seed.
            streamed, integers, geometry, offset: as for `mho.quantization.layer_noise.LayerNoise.residual`; of samples,
                as many as `count_samples` says.
            expected: what cells stand for in the mean, of the shape of `integers`.
            read_variance: of results, as it would be behind ideal converters; None: reads have no noise.
        """
        arrays = self._arrays
        if self._tiles is None:
            first, conditions = self._place
            self._tiles = TileNoise(
                self._hardware,
                arrays,
                first,
                conditions,
                one_crossbar=self._one_crossbar,
                renewal=self._renewal,
                counts_clipping=self._counts_clipping,
            )
        tiles = self._tiles
        tiles.set_chip(chip)
        tiles.clear_ranges()
        with tiles.keeping_cells():
            real = tiles.residual(streamed, integers, geometry, offset)
            passed = tiles.passed()
            ideal = tiles.on(self._ideal).residual(streamed, integers, geometry, offset)
        results = multiply(streamed, expected, None, geometry)
        beyond = multiply(streamed, integers, None, geometry) - results
        fitted = (_by_output(one, geometry) for one in (results, ideal + beyond, real + beyond))
        gain, kept, bias, variance = _fit(*fitted)
        if read_variance is not None:
            variance -= kept**2 * _by_output(read_variance.expand_as(results), geometry).mean(dim=1)
        deviation = variance.clamp(min=0).sqrt()
        shares = None if passed is None else _by_output(passed, geometry).mean(dim=1).float()
        is_whole = shares is None or bool((shares == 1).all())
        return ConverterErrors(gain.float(), kept, bias.float(), deviation.float(), None if is_whole else shares)


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


def _fit(results: Tensor, deviated: Tensor, errors: Tensor) -> tuple[Tensor, float, Tensor, Tensor]:
    """Return gain [outputs], share that is kept of what is deviated, bias and variance [outputs] of errors.

    All are [outputs, n]; errors are gain results + kept deviated + bias + noise.
    """
    gain_of_deviated, own = _regress(results, deviated)
    gain_of_errors, rest = _regress(results, errors)
    squares = float(own.square().sum())
    kept = min(max(float((own * rest).sum()) / squares, 0.0), 1.0) if squares > 0 else 1.0
    gain = gain_of_errors - kept * gain_of_deviated
    bias = (errors - gain[:, None] * results - kept * deviated).mean(dim=1)
    return gain, kept, bias, (rest - kept * own).square().mean(dim=1)


def _regress(results: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return slopes [outputs] of values over results, and what is left of the values, both [outputs, n]."""
    centred = results - results.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=1)
    slope = torch.where(squares > 0, (centred * values).sum(dim=1) / squares.clamp(min=1e-12), 0.0)
    return slope, values - values.mean(dim=1, keepdim=True) - slope[:, None] * centred
