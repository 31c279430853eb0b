"""Chips are prepared as `mho.calibrate` and `mho.recalibrate` do it, and only as far as they need that."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import grid, linear_network

import mho
from mho.array.calibration import RangeMethod, RangeRule
from mho.array.conductances import Conditions
from mho.errors import ConfigError
from mho.simulation.chip_trial import ChipCare, ask_chip

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
    care = ChipCare(inputs[:10], RULE, when_reading, recalibrates)
    (found,) = ask_chip(program, 2, inputs, conditions=LATER, care=care).values()
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
    (plain,) = ask_chip(program, 2, inputs, conditions=LATER).values()
    (found,) = ask_chip(program, 2, inputs, conditions=LATER, care=ChipCare(inputs[:10])).values()
    np.testing.assert_array_equal(found, plain)


def test_calibrated_adcs_without_inputs_are_refused(inputs):
    program = make_program(adc_bits=4, converters={"adc_range": "calibrated-layer"})
    with pytest.raises(ConfigError, match="rang"):
        ask_chip(program, 2, inputs)
