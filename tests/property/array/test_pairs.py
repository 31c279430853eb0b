"""All that is not ideal about an array, in every pair: each case against a plain model of the same crossbar.

Cells of five kinds, wires driven from either or both ends, the current of the lowest level, DACs, ADCs with ranges and
errors of their own, shared or not, differences before and after conversion, layouts of three encodings, spare columns
and chosen lines, programming pulses, arrays that are a part of a crossbar, noise of either kind; quiet answers to the
last bits, noisy ones by their moments.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from accelerators import make_accelerator
from pairwise import pairwise_cases
from plain_array import make_layout
from plain_reads import PlainCrossbar, hold_all_together, plain_adc, plain_answers, plain_moments

from mho.array.conductances import Conditions, Device
from mho.array.crossbar import draw_stuck, make_product, write_crossbar
from mho.array.layout import ArrayLayout, list_conversions
from mho.array.placement import FaultCosts, Lines, place_lines
from mho.array.seeds import CrossbarSeed, Purpose

ROWS, COLS, SPARES, CELL_BITS, INPUT_BITS = 11, 13, 3, 2, 4
"""Of the crossbar; arrays take ten rows and twelve columns of it."""
SEED = CrossbarSeed(12, 3)
LATER = Conditions(3000.0, 330.0, 50)
READS = 500
STUCK = {"stuck_on_rate": 0.05, "stuck_off_rate": 0.05}

CELLS = {
    "ideal": {},
    "written": {"levels": [0, 0.2, 0.6, 1], "programming_error": [0.01, 0.05, 0.05, 0.02]},
    "broken": {"cell_variation": 0.1, "stuck_on_rate": 0.1, "stuck_off_rate": 0.1},
    "aged": {
        **STUCK,
        "drift_exponent": 0.05,
        "drift_exponent_std": 0.02,
        "drift_activation_ev": 0.2,
        "read_disturb_reads": 400,
        "programming_error": 0.03,
        "programming_error_of": "conductance",
    },
    "pulses": {
        **STUCK,
        "pulse_error": 0.08,
        "pulse_error_ratio": 0.9,
        "verify_tolerance": 0.03,
        "verify_pulses": 4,
        "programming_error": 0.01,
    },
}
RESISTIVE = {"row_segment_ohm": 30, "col_segment_ohm": 50, "lrs_siemens": 1e-4}
WIRES = {"ideal": {}, "driven left": RESISTIVE, "driven at both ends": {**RESISTIVE, "driven_ends": "both"}}
NOISE = {
    "quiet": {},
    "of conductance": {"read_noise": 0.08},
    "of range": {"read_noise": 0.03, "read_noise_of": "range"},
}
ADCS = {
    "ideal": {},
    "full scale": {"adc_bits": 6},
    "calibrated": {"adc_bits": 4, "adc_range": "calibrated-columns"},
    "with errors": {
        "adc_bits": 4,
        "adc_range": "calibrated-columns",
        "adc_offset_lsb": 0.7,
        "adc_gain_error": 0.03,
    },
    "full scale, with errors": {"adc_bits": 4, "adc_offset_lsb": 0.7, "adc_gain_error": 0.03},
}
DACS = {"bits": {"dac_bits": 1}, "curved": {"dac_bits": 2, "dac_inl_lsb": 0.28125}}
FACTORS = {
    "cells": tuple(CELLS),
    "wires": tuple(WIRES),
    "noise": tuple(NOISE),
    "current": ("subtracted", "kept"),
    "adc": tuple(ADCS),
    "dac": tuple(DACS),
    "difference": ("digital", "analog"),
    "columns": ("columns", "complement", "rows"),
    "columns_per_adc": ("1", "5", "64"),
    "lines": ("as mapped", "placed", "moved"),
    "corner": ("first", "second"),
}
CASES = pairwise_cases(FACTORS)


def make_hardware(case):
    array = {
        "on_off_ratio": 8,
        "off_current": case["current"],
        "spare_cols": 0 if case["lines"] == "as mapped" else SPARES,
    }
    for table, name in ((CELLS, "cells"), (WIRES, "wires"), (NOISE, "noise")):
        array |= table[case[name]]
    converters = {
        "adc_bits": "ideal",
        "column_difference": case["difference"],
        "columns_per_adc": int(case["columns_per_adc"]),
        **ADCS[case["adc"]],
        **DACS[case["dac"]],
    }
    return make_accelerator(ROWS, COLS, CELL_BITS, array=array, converters=converters)


def make_columns(name: str, dac_bits: int) -> ArrayLayout:
    weights = {"columns": (1, -1, 4, -4), "complement": (1, 4, -16), "rows": (1, 4)}[name]
    layout = make_layout(10, 12 // len(weights), weights, input_bits=INPUT_BITS, dac_bits=dac_bits)
    if name == "rows":
        layout.row_sign[1::2] = -1
    return layout


def choose_lines(hardware, digits, kind, draws) -> Lines | None:
    if kind == "as mapped":
        return None
    if kind == "moved":
        return Lines(draws.permutation(ROWS), draws.permutation(COLS + SPARES)[:COLS])
    costs = FaultCosts.of(Device.of(hardware), draws.choice([0.25, 1], digits.shape), digits)
    return place_lines(costs, draw_stuck(hardware, SEED))


def run_case(number: int, case: dict[str, str]):
    """Compare one case with the plain model; return what noise left over for all together."""
    hardware, draws, corner = make_hardware(case), np.random.default_rng(number), int(case["corner"] == "second")
    layout = make_columns(case["columns"], hardware.converters.dac_bits)
    digits = draws.integers(0, 1 << CELL_BITS, (ROWS, COLS))
    codes = draws.integers(0, 1 << INPUT_BITS, (4, layout.rows))
    lines, ranges = choose_lines(hardware, digits, case["lines"], draws), None
    if hardware.converters.has_calibrated_adc:
        count = len(list_conversions(layout, hardware.converters.column_difference).plus)
        ranges = -draws.uniform(1, 9, count), draws.uniform(3, 22, count)
    cells = write_crossbar(hardware, digits, SEED, conditions=LATER, lines=lines)
    product = make_product(hardware, layout, cells, SEED, first_row=corner, first_col=corner, ranges=ranges)
    whole = PlainCrossbar.written(hardware, digits, SEED, LATER, lines)
    np.testing.assert_allclose(cells.counts, whole.sums(np.eye(ROWS)), rtol=0, atol=1e-9)
    plain = whole.cut(corner)
    adc = plain_adc(hardware, layout, SEED, plain.lines, ranges)
    if case["noise"] == "quiet":
        counts = cells.counts[corner:, corner:][: layout.rows]
        wanted = plain_answers(hardware, layout, counts, codes, adc, fraction_bits=product.fraction_bits)
        found = product.run(codes)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
        assert (product.run(codes[3:]) == found[3:]).all()
        return None
    reads = SEED.stream(Purpose.READS, number)
    answers = product.run(np.repeat(codes, READS, axis=0), reads).reshape(len(codes), READS, -1).swapaxes(0, 1)
    first_order = 0 if case["wires"] == "ideal" else 0.07
    return plain_moments(plain, layout, codes, adc).hold(answers, str(case), first_order=first_order)


def test_every_pair_occurs_in_few_cases():
    for one, other in itertools.combinations(FACTORS, 2):
        assert {(case[one], case[other]) for case in CASES} == set(itertools.product(FACTORS[one], FACTORS[other]))
    assert len(CASES) < 40


def test_every_pair_answers_as_the_plain_model():
    found = {name: [] for name in NOISE}
    for number, case in enumerate(CASES):
        try:
            found[case["noise"]].append(run_case(number, case))
        except AssertionError as error:
            pytest.fail(f"{case}: {error}")
    for name in ("of conductance", "of range"):
        hold_all_together(found[name])


@pytest.mark.parametrize("difference", FACTORS["difference"])
@pytest.mark.parametrize("columns", FACTORS["columns"])
@pytest.mark.parametrize("adc_bits", ["ideal", 8])
def test_everything_at_zero_is_the_whole_numbers(adc_bits, columns, difference):
    """Every parameter that can be zero, or the neutral value of those that cannot."""
    names = ("programming_error", "cell_variation", "stuck_on_rate", "stuck_off_rate", "read_noise", "drift_exponent")
    names += ("drift_exponent_std", "row_segment_ohm", "col_segment_ohm")
    nothing = {**dict.fromkeys(names, 0), "read_disturb_reads": "never", "levels": "linear"}
    converters = {"adc_bits": adc_bits, "dac_inl_lsb": 0, "adc_offset_lsb": 0, "adc_gain_error": 0}
    hardware = make_accelerator(
        ROWS, COLS, CELL_BITS, array=nothing, converters={**converters, "column_difference": difference}
    )
    layout, draws = make_columns(columns, 1), np.random.default_rng(6)
    digits = draws.integers(0, 1 << CELL_BITS, (layout.rows, layout.cols))
    codes = draws.integers(0, 1 << INPUT_BITS, (5, layout.rows))
    expected = np.zeros((len(codes), layout.outputs), dtype=np.int64)
    np.add.at(expected.T, layout.col_output, ((codes * layout.row_sign @ digits) * layout.col_weight).T)
    cells = write_crossbar(hardware, digits, SEED, conditions=LATER)
    assert (make_product(hardware, layout, cells, SEED).run(codes) == expected).all()
