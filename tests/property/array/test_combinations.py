"""All that is not ideal about an array, in every combination: each against a plain model of the same cells.

What single effects are is held elsewhere; here, that they work together: cells of four kinds, wires, the current of the
lowest level, DACs, ADCs with ranges and errors of their own, differences before and after conversion, layouts of three
encodings, read noise.
"""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from accelerators import make_accelerator
from plain_array import make_layout
from plain_reads import PlainCrossbar, hold_all_together, plain_adc, plain_answers, plain_moments

from mho.array.conductances import Conditions
from mho.array.crossbar import WrittenCells, make_product, write_crossbar
from mho.array.layout import ArrayLayout, list_conversions
from mho.array.seeds import CrossbarSeed, Purpose
from mho.hardware.spec import Accelerator

ROWS, COLS, CELL_BITS, INPUT_BITS = 10, 12, 2, 4
SEED = CrossbarSeed(11)
LATER = Conditions(3000.0, 330.0, 50)
READS = 200

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
WIRES = {"no wires": {}, "wires": {"row_segment_ohm": 30, "col_segment_ohm": 50, "lrs_siemens": 1e-4}}
CURRENTS = {"subtracted": {}, "kept": {"off_current": "kept"}}
ADCS = {
    "ideal": ({}, False),
    "full scale": ({"adc_bits": 6}, False),
    "calibrated": ({"adc_bits": 4, "adc_range": "calibrated-columns"}, True),
    "with errors": (
        {"adc_bits": 4, "adc_range": "calibrated-columns", "adc_offset_lsb": 0.7, "adc_gain_error": 0.03},
        True,
    ),
}
# Voltages of two bits are then 0, 1.25, 2.25 and 3: no drive is told more finely than 2^-8.
DACS = {"bits": {"dac_bits": 1}, "curved": {"dac_bits": 2, "dac_inl_lsb": 0.28125}}
DIFFERENCES = ("digital", "analog")


@functools.cache
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


@functools.cache
def plain_crossbar(array: str) -> PlainCrossbar:
    """Return the same, told plainly."""
    hardware = make_accelerator(ROWS, COLS, CELL_BITS, array={"on_off_ratio": 8, **json.loads(array)})
    return PlainCrossbar.written(hardware, draw_digits(), SEED, LATER)


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


def plain_model(case: Case, product) -> np.ndarray:
    """Return results [codes, outputs], as plainly as can be, of cells that are told as finely as the product does."""
    adc = plain_adc(case.hardware, case.layout, SEED, ranges=case.ranges)
    assert product.fraction_bits == 0 or product.fraction_bits >= 8
    return plain_answers(
        case.hardware, case.layout, case.cells.counts, case.codes, adc, fraction_bits=product.fraction_bits
    )


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


@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("cells", CELLS)
def test_every_combination_with_noise_has_the_moments_of_the_plain_model(cells, wires):
    """Means and variances of all answers, and, sharper, of all of them together.

    With ideal wires nothing else than chance may lie between them. With others, which take a sixth of the current and
    nearly half of the variance, cells deviate to first order, from nodal solutions: what the product takes instead may
    be off by 7 % of a variance in arrays so small, but not all of them together.
    """
    checked, found, seen = 0, [], {}
    first_read = 100 * (2 * list(CELLS).index(cells) + list(WIRES).index(wires))
    array = {**CELLS[cells], **WIRES[wires], "read_noise": 0.08}
    crossbar = plain_crossbar(json.dumps(array))
    for current, adc, dac, difference, name in itertools.product(CURRENTS, ADCS, DACS, DIFFERENCES, layouts(1)):
        converters, has_ranges = ADCS[adc]
        case = make_case(
            {**array, **CURRENTS[current]},
            {**converters, **DACS[dac], "column_difference": difference},
            name,
            has_ranges=has_ranges,
        )
        told = str((current, adc, dac, difference, name))
        moments = plain_moments(
            replace(crossbar, hardware=case.hardware),
            case.layout,
            case.codes,
            plain_adc(case.hardware, case.layout, SEED, ranges=case.ranges),
            seen,
        )
        codes = np.repeat(case.codes, READS, axis=0)
        reads = SEED.stream(Purpose.READS, first_read + checked)
        answers = case.product().run(codes, reads).reshape(len(case.codes), READS, -1)
        found.append(moments.hold(answers.swapaxes(0, 1), told, first_order=0.07 if WIRES[wires] else 0))
        checked += 1
    assert checked == 96
    hold_all_together(found)


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
