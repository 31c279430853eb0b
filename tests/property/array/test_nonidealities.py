"""What `mho.array.nonidealities` says to have no effect changes nothing about what chips answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from accelerators import make_accelerator
from examples import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_programs import grid, linear_network

import mho
from mho.array.conductances import Conditions
from mho.array.nonidealities import REQUIREMENTS, chips_differ, is_ideal, takes_effect
from mho.evaluation.chip import ChipPreparation, run_prepared_chip
from mho.hardware.spec import Accelerator

NETWORK = linear_network(np.random.default_rng(3).integers(-7, 8, (6, 24)), grid(4))
INPUTS = np.random.default_rng(4).uniform(0, 3.75, (5, 24)).astype(np.float32)
PROGRAM = mho.compile(NETWORK, make_accelerator(rows=16, cols=16, dac_bits=2), mapping="paper")
EXACT = mho.simulate(PROGRAM, INPUTS)["y"]
VALUES: dict[str, list[Any]] = {
    "array.on_off_ratio": ["infinite", 5],
    "array.off_current": ["subtracted", "kept"],
    "array.programming_error": [0, 0.1],
    "array.programming_error_of": ["range", "conductance"],
    "array.pulse_error": [0, 0.1],
    "array.pulse_error_ratio": [1, 0.5],
    "array.verify_tolerance": [0, 0.05],
    "array.verify_pulses": [1, 3],
    "array.cell_variation": [0, 0.1],
    "array.stuck_on_rate": [0, 0.1],
    "array.spare_cols": [0, 3],
    "array.placement": ["as-mapped", "fault-aware"],
    "array.fault_compensation": ["none", "digits"],
    "array.read_noise": [0, 0.1],
    "array.read_noise_of": ["range", "conductance"],
    "array.read_noise_averaging_s": [None, 1e-6],
    "array.drift_exponent": [0, 0.1],
    "array.drift_exponent_std": [0, 0.05],
    "array.drift_reference_s": [1, 20],
    "array.drift_reference_k": [300, 320],
    "array.drift_activation_ev": [None, 0.3],
    "array.read_disturb_reads": ["never", 50],
    "array.read_disturb_towards": ["lrs", "hrs"],
    "array.lrs_siemens": [None, 1e-4, 2e-4],
    "array.col_segment_ohm": [0, 20],
    "array.driven_ends": ["left", "both"],
    "converters.adc_bits": ["ideal", 4],
    "converters.adc_range": ["full-scale", "calibrated-layer", "calibrated-columns"],
    "converters.column_difference": ["digital", "analog"],
    "converters.adc_latency_us_per_bit": [0, 0.1],
    "converters.dac_latency_us_per_step": [0, 0.1],
    "converters.columns_per_adc": [1, 4],
    "converters.adc_offset_lsb": [0, 1],
    "converters.dac_inl_lsb": [0, 0.3],
    "conditions.elapsed_s": [None, 20, 1e4],
    "conditions.temperature_k": [None, 250, 300, 350],
    "conditions.reads": [0, 30],
}


def make(values: dict[str, Any]) -> tuple[Accelerator, Conditions]:
    """Return hardware and conditions; what cannot be together is not asked for."""
    tables: dict[str, dict[str, Any]] = {"array": {}, "converters": {}, "conditions": {}}
    for key, value in values.items():
        section, name = key.split(".")
        tables[section][name] = value
    array, converters, conditions = tables.values()
    assume(not array["col_segment_ohm"] or array["lrs_siemens"])
    assume(converters["adc_bits"] != "ideal" or not converters["adc_offset_lsb"])
    assume(conditions["elapsed_s"] is None or conditions["elapsed_s"] >= array["drift_reference_s"])
    given = {key: value for key, value in array.items() if value is not None}
    hardware = make_accelerator(rows=16, cols=16, dac_bits=2, array=given, converters=converters)
    return hardware, Conditions(**conditions)


def answers(hardware: Accelerator, conditions: Conditions, seed: int = 2) -> np.ndarray:
    chip = {"hardware": hardware, "conditions": conditions, "preparation": ChipPreparation(INPUTS)}
    return run_prepared_chip(PROGRAM, seed, INPUTS, **chip)["y"]


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data(), usual=st.floats(0, 1))
def test_what_takes_no_effect_changes_nothing(data, usual):
    values = {}
    for key, options in VALUES.items():
        is_usual = data.draw(st.floats(0, 1)) < usual
        values[key] = options[0] if is_usual else data.draw(st.sampled_from(options))
    key = data.draw(st.sampled_from(sorted(REQUIREMENTS)))
    other = {**values, key: data.draw(st.sampled_from([one for one in VALUES[key] if one != values[key]]))}
    one, two = make(values), make(other)
    if is_ideal(*one):
        np.testing.assert_array_equal(answers(*one), EXACT)
    if not chips_differ(one[0].array, one[0].converters):
        np.testing.assert_array_equal(answers(*one), answers(*one, seed=3))
    assume(not any(takes_effect(key, hardware.array, hardware.converters, when) for hardware, when in (one, two)))
    found, wanted = answers(*one), answers(*two)
    if key == "converters.column_difference":  # ideal ADCs: cells or their differences are read to 2^-10 level steps
        np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())
    else:
        np.testing.assert_array_equal(found, wanted)
