"""Ranges of ADCs for a program on a chip, from the sums that occur when it runs on data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from mho.array.calibration import RangeRule, without_conversion
from mho.array.conductances import Conditions
from mho.array.range_groups import RangeGroups
from mho.errors import ConfigError
from mho.hardware.converters import AdcRange, Converters
from mho.hardware.spec import Accelerator
from mho.program.program import Program
from mho.simulation.analog import DEFAULT_BATCH, AnalogExecutor
from mho.simulation.analog_tiles import AnalogTile, Ranges


def calibrate_ranges(
    program: Program,
    seed: int,
    inputs: Mapping[str, Any] | NDArray[Any],
    *,
    hardware: Accelerator,
    rule: RangeRule | None = None,
    conditions: Conditions | None = None,
    batch_size: int = DEFAULT_BATCH,
) -> Ranges:
    """Find the ranges that `AnalogExecutor` takes for calibrated ADCs.

    The chip runs the data once or twice with ideal ADCs and without read noise; what it holds is what the seed gives.

    Args:
        program: as for `AnalogExecutor`.
        seed: of the chip.
        inputs: calibration data, as for `AnalogExecutor.run`.
        hardware: `converters.adc_range` says which conversions share a range: those of a layer, of one of its weight
            slices or of an ADC. Ranges of a layer are for codes of its own bits, where the program tells some.
        rule: how; None: least mean squared error.
        conditions: when and how cells are read.
        batch_size: samples at once; changes speed and memory alone.

    Raises:
        ConfigError: the hardware has no calibrated ADC.
        DataError: inputs do not fit, or there are none.
        UnsupportedOperationError: as for `AnalogExecutor`.
    """
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
    return observer.find_ranges(rule, converters.adc_bits, own_bits)


class _Observer:
    """Collects the sums of all tiles, by layer and by what shares a range."""

    def __init__(self, executor: AnalogExecutor, converters: Converters) -> None:
        self._groups: dict[str, RangeGroups] = {}
        for layer, tiles in executor.tiles.items():
            products = [tile.product for tile in tiles]
            bitlines = [tile.bitlines[tile.product.conversions.plus] for tile in tiles]
            self._groups[layer] = RangeGroups(products, bitlines, converters)

    def see(self, layer: str, number: int, tile: AnalogTile, codes: Tensor) -> None:
        self._groups[layer].see(number, tile.product, codes)

    def count(self, layer: str, number: int, tile: AnalogTile, codes: Tensor) -> None:
        self._groups[layer].count(number, tile.product, codes)

    def find_ranges(self, rule: RangeRule, bits: int, own_bits: Mapping[str, int]) -> Ranges:
        """Return ranges for codes of `bits`, or of those that a layer has of its own."""
        return {layer: groups.find_ranges(rule, own_bits.get(layer, bits)) for layer, groups in self._groups.items()}
