"""What takes effect: keys are those of the tables, and what needs nothing always does; what is left out is ideal."""

from __future__ import annotations

import pytest
from accelerators import make_accelerator

from mho.array.conductances import Conditions
from mho.array.nonidealities import (
    ADC,
    READ_NOISE,
    REQUIREMENTS,
    STUCK_CELLS,
    chips_differ,
    idealize,
    is_ideal,
    list_deviations,
    list_error_groups,
    takes_effect,
)
from mho.hardware.array import Array
from mho.hardware.converters import Converters

CONVERTERS = Converters(dac_bits=1, adc_bits="ideal")


def test_keys_are_those_of_the_tables():
    fields = {"array": Array.model_fields, "converters": Converters.model_fields}
    fields["conditions"] = Conditions.__dataclass_fields__
    assert all(key.split(".")[1] in fields[key.split(".")[0]] for key in REQUIREMENTS)


def test_errors_always_act_and_what_belongs_to_them_acts_beside_them():
    assert takes_effect("array.read_noise", Array(), CONVERTERS, Conditions())
    assert not takes_effect("array.read_noise_of", Array(), CONVERTERS, Conditions())
    assert takes_effect("array.read_noise_of", Array(read_noise=0.1), CONVERTERS, Conditions())


@pytest.mark.parametrize(
    ("conditions", "does"),
    [(Conditions(), False), (Conditions(50), True), (Conditions(None, 350), True), (Conditions(None, 250), False)],
)
def test_drift_acts_where_time_passes(conditions, does):
    array = Array(drift_exponent=0.1, drift_activation_ev=0.3)
    assert takes_effect("array.drift_exponent", array, CONVERTERS, conditions) is does


@pytest.mark.parametrize(
    ("key", "elapsed_s", "does"),
    [
        ("array.read_noise_averaging_s", 50, True),
        ("array.read_noise_averaging_s", None, False),
        ("array.drift_reference_s", 50, True),
        ("conditions.elapsed_s", 50, True),
        ("array.on_off_ratio", 50, False),
    ],
)
def test_time_alone_makes_read_noise_grow(key, elapsed_s, does):
    array = Array(read_noise=0.1, read_noise_of="range", read_noise_averaging_s=1e-6)
    assert takes_effect(key, array, CONVERTERS, Conditions(elapsed_s)) is does


def test_what_is_left_out_is_ideal_and_the_rest_stays():
    array = {"read_noise": 0.1, "stuck_on_rate": 0.01, "stuck_off_rate": 0.02, "programming_error": 0.03}
    full = make_accelerator(
        adc_bits=4, array=array, converters={"adc_gain_error": 0.1, "adc_offset_lsb": 1, "adc_latency_us_per_bit": 0.1}
    )
    left = idealize(full, (*ADC, *READ_NOISE, *STUCK_CELLS))
    assert list_deviations(left, Conditions()) == ("array.programming_error",)
    assert left == make_accelerator(array={"programming_error": 0.03})
    assert idealize(full, ()) == full


def test_chips_differ_where_anything_is_drawn():
    assert not chips_differ(Array(programming_error=(0, 0), drift_exponent=0.1), CONVERTERS)
    assert chips_differ(Array(programming_error=(0, 0.1)), CONVERTERS)
    assert chips_differ(Array(), Converters(dac_bits=1, adc_bits=4, adc_offset_lsb=1))


def test_kinds_of_errors_are_all_that_makes_hardware_other_than_ideal():
    later = Conditions(1e4)
    array = {"programming_error": 0.1, "drift_exponent": 0.05, "drift_exponent_std": 0.02, "read_noise": 0.01}
    hardware = make_accelerator(array=array, adc_bits=6, converters={"adc_range": "calibrated-layer"})
    groups = list_error_groups(hardware, later)
    assert groups == {
        "errors of writes": ("array.programming_error",),
        "read noise": ("array.read_noise",),
        "drift": ("array.drift_exponent", "array.drift_exponent_std"),
        "ADCs": ("converters.adc_bits", "converters.adc_range"),
    }
    assert is_ideal(idealize(hardware, [key for keys in groups.values() for key in keys]), later)
    assert "drift" not in list_error_groups(hardware, Conditions())
    kept = make_accelerator(array={"off_current": "kept", "on_off_ratio": 10})
    assert not list_error_groups(make_accelerator(), later)
    assert is_ideal(idealize(kept, [key for keys in list_error_groups(kept, later).values() for key in keys]), later)
