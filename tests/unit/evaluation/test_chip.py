"""Chips are prepared as by `mho.calibrate` and `mho.recalibrate`, only as far as needed; outputs that differ."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import grid, linear_network

import mho
from mho.array.calibration import RangeMethod, RangeRule
from mho.array.conductances import Conditions
from mho.errors import ConfigError
from mho.evaluation.chip import ChipPreparation, Difference, run_prepared_chip

LATER = Conditions(1e5)
RULE = RangeRule(RangeMethod.PERCENTILE, 0.9)


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(4).uniform(0, 3.75, (30, 24)).astype(np.float32)


def make_program(**adc):
    weights = np.random.default_rng(3).integers(-8, 8, (6, 24))
    array = {"drift_exponent": 0.1, "drift_exponent_std": 0.05, "programming_error": 0.05}
    return mho.compile(
        linear_network(weights, grid(4), weight_bits=4), make_accelerator(rows=16, cols=16, array=array, **adc)
    )


@pytest.mark.parametrize("when_reading", [True, False])
@pytest.mark.parametrize("recalibrates", [True, False])
def test_a_chip_is_calibrated_and_corrected_as_by_hand(inputs, when_reading, recalibrates):
    program = make_program(adc_bits=4, converters={"adc_range": "calibrated-layer"})
    preparation = ChipPreparation(inputs[:10], RULE, when_reading, recalibrates)
    (found,) = run_prepared_chip(program, 2, inputs, conditions=LATER, preparation=preparation).values()
    when = LATER if when_reading else None
    ranges = mho.calibrate(program, inputs[:10], seed=2, method="percentile", share=0.9, conditions=when)
    chip = {"seed": 2, "conditions": LATER, "ranges": ranges, "transferred": not when_reading}
    corrections = None
    if recalibrates:
        corrections = mho.recalibrate(program, inputs[:10], **chip)
    (wanted,) = mho.simulate(program, inputs, **chip, corrections=corrections).values()
    np.testing.assert_array_equal(found, wanted)


def test_ideal_adcs_need_no_ranges(inputs):
    program = make_program()
    (plain,) = run_prepared_chip(program, 2, inputs, conditions=LATER).values()
    (found,) = run_prepared_chip(
        program, 2, inputs, conditions=LATER, preparation=ChipPreparation(inputs[:10])
    ).values()
    np.testing.assert_array_equal(found, plain)


def test_calibrated_adcs_without_inputs_are_refused(inputs):
    program = make_program(adc_bits=4, converters={"adc_range": "calibrated-layer"})
    with pytest.raises(ConfigError, match="rang"):
        run_prepared_chip(program, 2, inputs)


def test_samples_with_another_largest_element_are_counted_and_the_deviation_is_a_share():
    exact = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 5.0]])
    found = np.array([[0.0, 4.0], [0.0, 4.0], [0.0, 5.0]])
    gap = Difference.of(found, exact)
    assert (gap.samples, gap.others) == (3, 1)
    assert gap.share == pytest.approx(1 / 3)
    assert gap.deviation == pytest.approx(5 / np.sqrt(50))


def test_equal_answers_do_not_differ_also_where_they_are_zero_or_none():
    for shape in ((4, 3), (4, 2, 2), (0, 3)):
        assert Difference.of(np.zeros(shape), np.zeros(shape)) == Difference(shape[0], 0, 0.0)
    assert Difference.of(np.zeros((0, 3)), np.zeros((0, 3))).share == 0
    assert Difference.of(np.ones((1, 3)), np.zeros((1, 3))).deviation == np.inf
