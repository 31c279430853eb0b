"""From an accelerator, a layout, digits and a seed to the product that the array gives.

`mho.array.product` computes; here cells are written and converters prepared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Conditions, Device, age_cells, draw_identity, write_cells
from mho.array.converters import Adc, add_errors, drive_levels, make_adc
from mho.array.layout import NO_COLUMN, ArrayLayout, Conversions
from mho.array.periphery import Periphery
from mho.array.placement import Lines
from mho.array.product import MAX_FRACTION_BITS, ArrayProduct
from mho.array.read_noise import read_variance
from mho.array.seeds import CrossbarSeed, Purpose
from mho.array.wire_noise import WireNoise, linearize_noise
from mho.array.wires import Wires, transfer_matrix
from mho.errors import ConfigError, DataError
from mho.hardware.array import OffCurrent
from mho.hardware.converters import AdcRange
from mho.hardware.spec import Accelerator

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WrittenCells:
    """What a crossbar holds when it is read, float64 [rows, cols] of the whole crossbar.

    Attributes:
        counts: level steps above the lowest level; effective ones where wires have a resistance.
        variance: of each cell at one read, squares of level steps; where wires have a resistance, what the variances of
            columns follow from, in level steps (`mho.array.wire_noise`); None without read noise.
        bitlines: int64 [cols], the bitline that each column lies on.
    """

    counts: Floats
    variance: Floats | WireNoise | None
    bitlines: NDArray[np.int64]

    def cut(self, rows: slice, cols: slice) -> WrittenCells:
        """Return what some rows and columns hold."""
        return self._take((rows, cols), cols)

    def move(self, lines: Lines) -> WrittenCells:
        """Return what rows and columns hold that lie on other lines."""
        return self._take((lines.rows[:, None], lines.cols), lines.cols)

    def _take(self, cells: tuple[Any, Any], cols: Any) -> WrittenCells:
        noise = self.variance
        if isinstance(noise, WireNoise):
            transfer, squares, products = noise.transfer[cells], noise.squares[cells], noise.products[cells]
            taken: Floats | WireNoise | None = WireNoise(transfer, squares, products, noise.currents[cols])
        else:
            taken = None if noise is None else noise[cells]
        return WrittenCells(self.counts[cells], taken, self.bitlines[cols])


def write_crossbar(
    accelerator: Accelerator,
    digits: NDArray[np.integer],
    seed: CrossbarSeed,
    *,
    write: int = 0,
    conditions: Conditions | None = None,
    lines: Lines | None = None,
) -> WrittenCells:
    """Write digits into a crossbar and let it age.

    They lie in the first rows and columns; the other cells are written to the lowest level, spare columns too. Which
    cells are bad, and how far each write is off, does not depend on the digits. Where wires have a resistance,
    effective conductances of the whole crossbar take the place of the cells' own (`mho.array.wires`).

    Args:
        accelerator: its cells and wires.
        digits: [rows, cols], what cells should hold, 0 .. 2^cell_bits - 1.
        seed: of the crossbar.
        write: number of the write: errors of writes differ from one to the next.
        conditions: when and how it is read; None: at once.
        lines: that take the rows and columns of the crossbar; None: each its own.

    Raises:
        ConfigError: digits do not fit the crossbar or its cells.
    """
    crossbar, device = accelerator.crossbar, Device.of(accelerator)
    if digits.ndim != 2 or digits.shape[0] > crossbar.rows or digits.shape[1] > crossbar.cols:
        raise ConfigError(
            f"digits are {list(digits.shape)}",
            where=accelerator.name,
            expected=f"at most [{crossbar.rows}, {crossbar.cols}]",
        )
    whole = np.zeros((crossbar.rows, crossbar.cols + accelerator.array.spare_cols), dtype=np.int64)
    if lines is None:
        whole[: digits.shape[0], : digits.shape[1]] = digits
    else:
        whole[lines.rows[: digits.shape[0], None], lines.cols[: digits.shape[1]]] = digits
    aged = Conditions() if conditions is None else conditions
    counts = _hold(device, whole[:, : crossbar.cols], seed, write, aged)
    if accelerator.array.spare_cols:
        # One row of draws a spare column: more of them leave the first ones as they are.
        spares = _hold(device, whole[:, crossbar.cols :].T, seed.spares, write, aged)
        counts = np.concatenate([counts, spares.T], axis=1)
    held = _read_back(accelerator, device, counts, aged)
    return held.cut(slice(None), slice(crossbar.cols)) if lines is None else held.move(lines)


def draw_stuck(accelerator: Accelerator, seed: CrossbarSeed) -> NDArray[np.int8]:
    """Return which cells of a crossbar are stuck, int8 [rows, bitlines]: +1 and -1 in the highest and lowest level."""
    crossbar, device = accelerator.crossbar, Device.of(accelerator)
    main = draw_identity(device, (crossbar.rows, crossbar.cols), seed).stuck
    spares = draw_identity(device, (accelerator.array.spare_cols, crossbar.rows), seed.spares).stuck
    if main is None or spares is None:
        return np.zeros((crossbar.rows, crossbar.cols + accelerator.array.spare_cols), dtype=np.int8)
    return np.concatenate([main, spares.T], axis=1)


def _hold(device: Device, digits: NDArray[np.int64], seed: CrossbarSeed, write: int, conditions: Conditions) -> Floats:
    """Return what cells hold that were written and have aged."""
    identity = draw_identity(device, (digits.shape[0], digits.shape[1]), seed)
    return age_cells(device, write_cells(device, digits, identity, seed, write), identity, conditions)


def _read_back(accelerator: Accelerator, device: Device, counts: Floats, conditions: Conditions) -> WrittenCells:
    """Return what all lines of a crossbar hold, of what its cells do."""
    array, bitlines = accelerator.array, np.arange(counts.shape[1])
    variance = read_variance(device, counts, conditions)
    if not array.has_wires:
        return WrittenCells(counts, variance, bitlines)
    wires = Wires(float(array.row_segment_ohm), float(array.col_segment_ohm), array.driven_ends)
    siemens, step = device.to_siemens(counts), device.step_siemens
    if variance is None:
        return WrittenCells(device.from_siemens(transfer_matrix(siemens, wires)), None, bitlines)
    noise = linearize_noise(siemens, np.sqrt(variance) * step, wires)
    in_steps = WireNoise(noise.transfer / step, noise.squares / step**2, noise.products / step, noise.currents)
    return WrittenCells(device.from_siemens(noise.transfer), in_steps, bitlines)


class ProductMaker:
    """Makes the products of crossbars that are used alike, such as those of all copies of a tile."""

    def __init__(
        self,
        accelerator: Accelerator,
        layout: ArrayLayout,
        *,
        first_row: int = 0,
        first_col: int = 0,
        is_observed: bool = False,
        max_fraction_bits: int = MAX_FRACTION_BITS,
    ) -> None:
        """Prepare what does not depend on cells.

        Args:
            accelerator: its cells and converters.
            layout: what drives the rows and what the columns count for.
            first_row: row of the crossbar that is the first of the layout; the others are not driven.
            first_col: column of the crossbar that is the first of the layout.
            is_observed: keep what `ArrayProduct.sum_columns` needs.
            max_fraction_bits: as for `ArrayProduct`.

        Raises:
            ConfigError: rows or columns are more than the crossbar has or drives at once.
            DataError: layout and accelerator do not fit.
        """
        converters, device = accelerator.converters, Device.of(accelerator)
        _check(accelerator, layout, first_row, first_col)
        self._accelerator, self._is_observed, self._bits = accelerator, is_observed, max_fraction_bits
        self._rows = slice(first_row, first_row + layout.rows)
        self._cols = slice(first_col, first_col + layout.cols)
        self._kept = device.off_steps if accelerator.array.off_current is OffCurrent.KEPT else 0.0
        levels = drive_levels(converters.dac_bits, float(converters.dac_inl_lsb))
        self._periphery = Periphery(layout, difference=converters.column_difference, levels=levels)
        if not isinstance(converters.adc_bits, str) and converters.adc_range is AdcRange.FULL_SCALE:
            limits = full_scale(device, layout, self._periphery.conversions, levels, self._kept)
            self._periphery = self._periphery.with_adc(make_adc(converters.adc_bits, *limits))

    def make(
        self, cells: WrittenCells, seed: CrossbarSeed, ranges: tuple[Floats, Floats] | None = None
    ) -> ArrayProduct:
        """Return the product that some columns of a crossbar give when some of its rows are driven.

        Args:
            cells: as `write_crossbar` gives them.
            seed: of the crossbar.
            ranges: for a calibrated ADC, lowest and highest sum of each conversion (float64, in the order of
                `list_conversions`).

        Raises:
            ConfigError: ranges are missing, or given for ADCs that have the full scale.
            DataError: sums may pass 2^53.
        """
        converters, periphery = self._accelerator.converters, self._periphery
        tile = cells.cut(self._rows, self._cols)
        if not isinstance(converters.adc_bits, str):
            if (ranges is None) != (converters.adc_range is AdcRange.FULL_SCALE):
                raise ConfigError(
                    f"converters.adc_range is {converters.adc_range.value!r}, and "
                    f"{'no ranges' if ranges is None else 'ranges'} are given",
                    expected="ranges for calibrated ADCs, and for no others",
                    hint="mho.calibrate, or mho calibrate-adcs, finds the ranges of calibrated ADCs",
                )
            own = periphery.adc if ranges is None else make_adc(converters.adc_bits, *ranges)
            assert own is not None, "full-scale ADCs were made before"
            adc = _with_errors(own, self._accelerator, tile.bitlines[periphery.conversions.plus], seed)
            if adc is not periphery.adc:
                periphery = periphery.with_adc(adc)
        return ArrayProduct(
            periphery,
            tile.counts,
            kept_off_steps=self._kept,
            variance=tile.variance,
            is_observed=self._is_observed,
            max_fraction_bits=self._bits,
        )


def make_product(
    accelerator: Accelerator,
    layout: ArrayLayout,
    cells: WrittenCells,
    seed: CrossbarSeed,
    *,
    first_row: int = 0,
    first_col: int = 0,
    ranges: tuple[Floats, Floats] | None = None,
    is_observed: bool = False,
) -> ArrayProduct:
    """Return the product of one crossbar. Arguments and errors are those of `ProductMaker` and its `make`."""
    maker = ProductMaker(accelerator, layout, first_row=first_row, first_col=first_col, is_observed=is_observed)
    return maker.make(cells, seed, ranges)


def full_scale(
    device: Device, layout: ArrayLayout, conversions: Conversions, levels: Floats, kept_off_steps: float
) -> tuple[Floats, Floats]:
    """Return the lowest and the highest sum of each conversion that digits and codes can give, with ideal cells.

    All rows hold the highest level and are driven with the highest voltage. Of two columns that are subtracted, one
    holds it and the other nothing; of two rows of opposite signs too, so that each sign counts on its own.

    Args:
        device: the cells.
        layout: signs of rows.
        conversions: what is converted.
        levels: voltages of the DAC, DAC steps.
        kept_off_steps: as for `ArrayProduct`.
    """
    up, down = int((layout.row_sign > 0).sum()), int((layout.row_sign < 0).sum())
    is_pair = conversions.minus != NO_COLUMN
    of_row = float(levels.max()) * np.where(is_pair, device.span, device.span + kept_off_steps)
    highest = of_row * np.where(is_pair, up + down, up)
    return -of_row * np.where(is_pair, up + down, down), highest


def _with_errors(adc: Adc, accelerator: Accelerator, bitlines: NDArray[np.int64], seed: CrossbarSeed) -> Adc:
    converters, cols = accelerator.converters, accelerator.crossbar.cols
    if not converters.has_adc_errors:
        return adc
    count = converters.count_adcs(cols)
    normals = seed.stream(Purpose.ADC).standard_normal((2, count))
    spares = converters.count_adcs(cols + accelerator.array.spare_cols) - count
    if spares:
        more = seed.spares.stream(Purpose.ADC).standard_normal((spares, 2))
        normals = np.concatenate([normals, more.T], axis=1)
    return add_errors(adc, converters, bitlines // converters.columns_sharing_adc, normals)


def _check(accelerator: Accelerator, layout: ArrayLayout, first_row: int, first_col: int) -> None:
    crossbar = accelerator.crossbar
    fits = 0 <= first_row <= crossbar.rows - layout.rows and 0 <= first_col <= crossbar.cols - layout.cols
    if not fits or layout.rows > crossbar.rows_at_once:
        raise ConfigError(
            f"{layout.rows} rows from row {first_row} on are driven at once, {layout.cols} columns from column "
            f"{first_col} on are read",
            where=accelerator.name,
            expected=f"at most {crossbar.rows_at_once} of {crossbar.rows} rows and {crossbar.cols} columns",
        )
    if layout.dac_bits != accelerator.converters.dac_bits:
        raise DataError(
            f"a layout for DACs of {layout.dac_bits} bits", expected=f"{accelerator.converters.dac_bits} bits"
        )
