"""All that is not ideal about an array, in every combination: each against a plain model of the same cells.

What single effects are is held elsewhere; here, that they work together: cells of four kinds, wires, the current of the
lowest level, DACs, ADCs with ranges and errors of their own, differences before and after conversion, layouts of three
encodings, read noise.
"""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
from accelerators import make_accelerator
from plain_array import make_layout

from mho.accelerator.spec import Accelerator
from mho.array.conductances import Conditions, Device
from mho.array.converters import drive_levels
from mho.array.layout import NO_COLUMN, ArrayLayout, list_conversions
from mho.array.model import WrittenCells, make_product, write_crossbar
from mho.array.seeds import CrossbarSeed, Purpose

ROWS, COLS, CELL_BITS, INPUT_BITS = 10, 12, 2, 4
SEED = CrossbarSeed(11)
LATER = Conditions(3000.0, 330.0, 50)
READS = 600

CELLS = {
    "ideal": {},
    "written": {"levels": [0, 0.2, 0.6, 1], "programming_error": [0.01, 0.05, 0.05, 0.02]},
    "broken": {"cell_variation": 0.1, "stuck_on_rate": 0.1, "stuck_off_rate": 0.1},
    "aged": {
        "drift_exponent": 0.05,
        "drift_exponent_std": 0.02,
        "drift_activation_ev": 0.2,
        "read_disturb_reads": 400,
        "programming_error": 0.03,
        "programming_error_of": "conductance",
    },
}
WIRES = {"no wires": {}, "wires": {"row_segment_ohm": 3, "col_segment_ohm": 5, "lrs_siemens": 1e-4}}
CURRENTS = {"subtracted": {}, "kept": {"off_current": "kept"}}
ADCS = {
    "ideal": ({}, False),
    "full scale": ({"adc_bits": 6}, False),
    "calibrated": ({"adc_bits": 5, "adc_range": "calibrated-columns"}, True),
    "with errors": (
        {"adc_bits": 6, "adc_range": "calibrated-columns", "adc_offset_lsb": 0.7, "adc_gain_error": 0.03},
        True,
    ),
}
# Voltages of two bits are then 0, 1.25, 2.25 and 3: no drive is told more finely than 2^-8.
DACS = {"bits": {"dac_bits": 1}, "curved": {"dac_bits": 2, "dac_inl_lsb": 0.28125}}
DIFFERENCES = ("digital", "analog")


def layouts(dac_bits: int) -> dict[str, ArrayLayout]:
    """Columns of two signs, a sign bit that counts against the rest, rows of two signs."""
    both = make_layout(ROWS, 3, (1, -1, 4, -4), input_bits=INPUT_BITS, dac_bits=dac_bits)
    complement = make_layout(ROWS, 4, (1, 4, -16), input_bits=INPUT_BITS, dac_bits=dac_bits)
    signs = np.where(np.arange(ROWS) % 2, -1, 1)
    rows = ArrayLayout(
        signs, both.row_shift, np.arange(COLS) // 2, np.tile([1, 4], 6), 6,
        INPUT_BITS, dac_bits, both.steps, both.step_shift,
    )  # fmt: skip
    return {"columns": both, "complement": complement, "rows": rows}


@dataclass(frozen=True, eq=False)
class Case:
    """One combination, with the cells that its crossbar holds."""

    hardware: Accelerator
    layout: ArrayLayout
    digits: np.ndarray
    codes: np.ndarray
    cells: WrittenCells
    ranges: tuple[np.ndarray, np.ndarray] | None

    def product(self):
        return make_product(self.hardware, self.layout, self.cells, SEED, ranges=self.ranges)


@functools.cache
def written(array: str) -> WrittenCells:
    """Return what the crossbar holds: it depends on no converter."""
    hardware = make_accelerator(ROWS, COLS, CELL_BITS, array={"on_off_ratio": 8, **json.loads(array)})
    return write_crossbar(hardware, draw_digits(), SEED, conditions=LATER)


def draw_digits() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 1 << CELL_BITS, (ROWS, COLS))


def make_case(array, converters, layout_name, *, has_ranges):
    hardware = make_accelerator(
        ROWS, COLS, CELL_BITS, array={"on_off_ratio": 8, **array}, converters={"adc_bits": "ideal", **converters}
    )
    layout = layouts(hardware.converters.dac_bits)[layout_name]
    draws, digits = np.random.default_rng(6), draw_digits()
    codes = draws.integers(0, 1 << INPUT_BITS, (5, ROWS))
    cells = written(json.dumps(array))
    ranges = None
    if has_ranges:
        count = len(list_conversions(layout, hardware.converters.column_difference).plus)
        ranges = -draws.uniform(1, 9, count), draws.uniform(3, 22, count)
    return Case(hardware, layout, digits, codes, cells, ranges)


def plain_model(case: Case, product, noise: np.random.Generator | None = None, count: int = 1) -> np.ndarray:
    """Return results [count * codes, outputs]: sums of the cells of every column in every step, converted, added.

    Cells are told as finely as the product tells them: sums next to a threshold must fall on its side.
    """
    layout, converters, counts = case.layout, case.hardware.converters, case.cells.counts
    conversions, adc = list_conversions(layout, converters.column_difference), product._periphery.adc
    levels = drive_levels(layout.dac_bits, float(converters.dac_inl_lsb))
    volts = layout.row_sign * levels[layout.slice_codes(np.repeat(case.codes, count, axis=0))]  # [steps, batch, rows]
    kept = Device.of(case.hardware).off_steps if case.hardware.array.off_current == "kept" else 0.0
    single = conversions.minus == NO_COLUMN
    matrix = counts[:, conversions.plus] + np.where(single, kept, -counts[:, conversions.minus])
    assert product.fraction_bits == 0 or product.fraction_bits >= 8
    unit = 2.0**product.fraction_bits
    sums = volts @ (np.rint(matrix * unit) / unit)
    if noise is not None:
        # Every column of a conversion has noise of its own, and each conversion reads its columns anew.
        variance = case.cells.variance
        own = variance[:, conversions.plus] + np.where(single, 0.0, variance[:, conversions.minus])
        sums = sums + np.sqrt(volts**2 @ own) * noise.standard_normal(sums.shape)
    if adc is not None:
        steps = np.rint((adc.gain * sums + adc.offset - adc.low) / adc.step)
        sums = adc.low + adc.step * np.clip(steps, 0, 2**adc.bits - 1)
    shifts = 2.0 ** (np.arange(layout.steps) * layout.step_shift)
    weighted = np.einsum("s,sbc,c->bc", shifts, sums, conversions.weight)
    results = np.zeros((len(weighted), layout.outputs))
    for number, output in enumerate(conversions.output):
        results[:, output] += weighted[:, number]
    return results


@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("cells", CELLS)
def test_every_combination_without_noise_is_the_plain_model(cells, wires):
    checked = 0
    for current, adc, dac, difference, name in itertools.product(CURRENTS, ADCS, DACS, DIFFERENCES, layouts(1)):
        converters, has_ranges = ADCS[adc]
        array = {**CELLS[cells], **WIRES[wires], **CURRENTS[current]}
        case = make_case(
            array, {**converters, **DACS[dac], "column_difference": difference}, name, has_ranges=has_ranges
        )
        product = case.product()
        found, told = product.run(case.codes), (current, adc, dac, difference, name)
        np.testing.assert_allclose(found, plain_model(case, product), rtol=0, atol=2e-5, err_msg=str(told))
        assert (product.run(case.codes[3:]) == found[3:]).all(), told
        checked += 1
    assert checked == 96


@pytest.mark.parametrize("cells", CELLS)
def test_every_combination_with_noise_has_the_mean_and_spread_of_the_plain_model(cells):
    """Against noise of single cells, drawn anew for each read; each comparison may err by chance once in 10^7."""
    checked = 0
    for current, adc, dac, difference, name in itertools.product(CURRENTS, ADCS, DACS, DIFFERENCES, layouts(1)):
        converters, has_ranges = ADCS[adc]
        array = {**CELLS[cells], **CURRENTS[current], "read_noise": 0.08}
        case = make_case(
            array, {**converters, **DACS[dac], "column_difference": difference}, name, has_ranges=has_ranges
        )
        product, told = case.product(), str((current, adc, dac, difference, name))
        codes = np.repeat(case.codes, READS, axis=0)
        found = product.run(codes, SEED.stream(Purpose.READS, 1)).reshape(len(case.codes), READS, -1)
        plain = plain_model(case, product, np.random.default_rng(3), READS).reshape(found.shape)
        spread = np.sqrt((found.var(axis=1) + plain.var(axis=1)) / READS)
        gaps = np.abs(found.mean(axis=1) - plain.mean(axis=1))
        assert (gaps <= 5.6 * spread + 1e-4).all(), told
        both = [((sample - sample.mean(axis=1, keepdims=True)) ** 2) for sample in (found, plain)]
        errors = np.sqrt((both[0].var(axis=1) + both[1].var(axis=1)) / READS)  # of variances, rare steps included
        assert (np.abs(both[0].mean(axis=1) - both[1].mean(axis=1)) <= 5.6 * errors + 1e-4).all(), told
        checked += 1
    assert checked == 96


@pytest.mark.parametrize("cells", CELLS)
def test_noise_under_wires_goes_with_every_converter(cells):
    """What it is, is held against per-read nodal solutions elsewhere; here, that its mean is the quiet answer, and that
    quiet answers and noisy ones of converters are near each other."""
    for current, adc, dac, difference, name in itertools.product(CURRENTS, ADCS, DACS, DIFFERENCES, layouts(1)):
        converters, has_ranges = ADCS[adc]
        array = {**CELLS[cells], **WIRES["wires"], **CURRENTS[current]}
        converters = {**converters, **DACS[dac], "column_difference": difference}
        quiet = make_case(array, converters, name, has_ranges=has_ranges)
        noisy = make_case({**array, "read_noise": 0.004}, converters, name, has_ranges=has_ranges)
        answers = noisy.product().run(np.repeat(noisy.codes, 200, axis=0), SEED.stream(Purpose.READS, 1))
        wanted = quiet.product().run(quiet.codes)
        answers = answers.reshape(len(quiet.codes), 200, -1)
        if adc == "ideal":
            assert (answers.std(axis=1).max(axis=0) > 0).all()
            spread = answers.std(axis=1) / np.sqrt(200)
            assert (np.abs(answers.mean(axis=1) - wanted) <= 5.6 * spread + 1e-4).all(), (
                current,
                dac,
                difference,
                name,
            )


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("name", ["columns", "complement", "rows"])
@pytest.mark.parametrize("adc_bits", ["ideal", 8])
def test_everything_at_zero_is_the_whole_numbers(adc_bits, name, difference):
    """Every parameter that can be zero, or the neutral value of those that cannot."""
    nothing = {
        "programming_error": 0,
        "cell_variation": 0,
        "stuck_on_rate": 0,
        "stuck_off_rate": 0,
        "read_noise": 0,
        "drift_exponent": 0,
        "drift_exponent_std": 0,
        "read_disturb_reads": "never",
        "row_segment_ohm": 0,
        "col_segment_ohm": 0,
        "levels": "linear",
    }
    converters = {"adc_bits": adc_bits, "dac_inl_lsb": 0, "adc_offset_lsb": 0, "adc_gain_error": 0}
    case = make_case(nothing, {**converters, "column_difference": difference}, name, has_ranges=False)
    layout = case.layout
    codes = case.codes * layout.row_sign
    expected = np.zeros((len(codes), layout.outputs), dtype=np.int64)
    np.add.at(expected.T, layout.col_output, ((codes @ case.digits) * layout.col_weight).T)
    assert (case.product().run(case.codes) == expected).all()
