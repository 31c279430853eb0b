"""From a study's tables to its points: what is swept, what stays at the base, and what is refused before anything."""

from __future__ import annotations

import pytest
from accelerators import make_accelerator
from studies import tables

from mho.array.conductances import Conditions
from mho.errors import ConfigError
from mho.workflow.study_config import study_from_json
from mho.workflow.study_plan import plan_study

HARDWARE = make_accelerator(16, 16, array={"drift_exponent": 0.1, "cell_variation": 0.01})


def plan(content, hardware=HARDWARE):
    return plan_study(study_from_json(content, where="s.toml"), hardware, where="s.toml")


def test_parameters_are_swept_one_at_a_time_around_the_base():
    points = plan(
        tables(
            base={"array.programming_error": 0.2, "array.on_off_ratio": 9},
            sweeps={"array": {"programming_error": [0, 0.1]}, "converters.adc_bits": [5, "ideal"]},
        )
    )
    found = [
        (point.sweep, float(point.hardware.array.programming_error), point.hardware.converters.adc_bits)
        for point in points
    ]
    error, bits = "array.programming_error", "converters.adc_bits"
    assert found == [(error, 0.0, "ideal"), (error, 0.1, "ideal"), (bits, 0.2, 5), (bits, 0.2, "ideal")]
    assert {float(point.hardware.array.on_off_ratio) for point in points} == {9.0}
    assert {float(point.hardware.array.cell_variation) for point in points} == {0.01}


def test_a_grid_has_all_combinations():
    points = plan(
        tables(study={"design": "grid"}, sweeps={"array.read_noise": [0, 0.1], "conditions.elapsed_s": [1, 10, 100]})
    )
    assert [tuple(point.values.values()) for point in points] == [
        (0, 1), (0, 10), (0, 100), (0.1, 1), (0.1, 10), (0.1, 100)
    ]  # fmt: skip
    assert points[4].conditions == Conditions(elapsed_s=10)
    assert points[4].sweep is None


def test_without_sweeps_the_base_is_the_one_point():
    (point,) = plan(tables(base={"array.programming_error": 0.2}, sweeps={}))
    assert (point.sweep, dict(point.values), float(point.hardware.array.programming_error)) == (None, {}, 0.2)


def test_recalibration_is_swept_like_anything_else():
    points = plan(
        tables(
            study={"design": "grid"},
            base={"array.programming_error": 0.1},
            sweeps={"mitigation.recalibration": ["none", "channels"], "array.stuck_on_rate": [0, 0.1]},
        )
    )
    assert [point.is_recalibrated for point in points] == [False, True, False, True]
    assert [point.needs_calibration for point in points] == [False, True, False, True]
    assert all(point.is_recalibrated for point in plan(tables(base={"mitigation.recalibration": "channels"})))


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        ({"mitigation.recalibration": ["none", "layers"]}, r"mitigation\.recalibration is 'layers'"),
        ({"mitigation.recalibration": [1, 2]}, r"mitigation\.recalibration is 1"),
        ({"mitigation.recalibrate": ["none"]}, "recalibration"),
    ],
)
def test_other_words_for_recalibration_are_refused(sweeps, message):
    with pytest.raises(ConfigError, match=message):
        plan(tables(sweeps=sweeps))


def test_ranges_have_exact_ends_and_short_numbers():
    config = study_from_json(
        tables(
            sweeps={
                "array.stuck_on_rate": {"from": 1e-4, "to": 0.1, "points": 4, "spacing": "log"},
                "array.read_noise": {"from": 0, "to": 1, "points": 4},
                "converters.adc_bits": {"from": 8, "to": 4, "points": 5},
            }
        ),
        where="s.toml",
    )
    assert config.swept == {
        "array.stuck_on_rate": (0.0001, 0.001, 0.01, 0.1),
        "array.read_noise": (0, 0.3333, 0.6667, 1),
        "converters.adc_bits": (8, 7, 6, 5, 4),
    }
    assert config.logarithmic == {"array.stuck_on_rate"}


def test_one_number_a_level_is_one_value():
    points = plan(tables(sweeps={"array.programming_error": [[0, 0.1, 0.1, 0.2], 0.1]}))
    assert [tuple(map(float, points[0].hardware.array.programming_error)), points[0].words] == [
        (0.0, 0.1, 0.1, 0.2), "array.programming_error = 0/0.1/0.1/0.2"
    ]  # fmt: skip


def test_a_study_survives_json():
    config = study_from_json(
        tables(base={"array.on_off_ratio": 9}, sweeps={"array.read_noise": {"from": 0, "to": 1, "points": 3}}),
        where="s.toml",
    )
    assert study_from_json(config.to_json(), where="again") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweeps": {"array.programing_error": [0]}}, "did you mean 'programming_error'?"),
        ({"sweeps": {"arrays.read_noise": [0]}}, "did you mean 'array'?"),
        ({"base": {"conditions.seconds": 3}}, "known here: elapsed_s, temperature_k, reads"),
        ({"sweeps": {"converters.dac_bits": [1, 2]}}, "compiled for it"),
        ({"sweeps": {"converters.adc_latency_us_per_bit": [1]}}, "it changes no result"),
        ({"study": {"design": "grid"}, "sweeps": {}}, "a grid needs a key"),
        ({"sweeps": {"array.read_noise": []}}, "sweeps.array.read_noise: is []"),
        ({"sweeps": {"array.read_noise": [0.1, 0.1]}}, "a value stands there twice"),
        ({"sweeps": {"array.read_noise": [0, 20]}}, "at array.read_noise = 20: array.read_noise"),
        ({"sweeps": {"array.read_noise": ["much"]}}, "at array.read_noise = much"),
        ({"sweeps": {"array.col_segment_ohm": [0, 1]}}, "need lrs_siemens"),
        ({"sweeps": {"converters.adc_bits": {"from": 4, "to": 6, "points": 6}}}, "adc_bits = 4.4"),
        ({"sweeps": {"array.read_noise": {"from": 0, "to": 1, "points": 6, "spacing": "log"}}}, "must be above zero"),
        ({"sweeps": {"array.read_noise": {"from": 0, "to": 1, "pionts": 6}}}, "pionts"),
        ({"sweeps": {"conditions.elapsed_s": [0.1, 2]}}, "at conditions.elapsed_s = 0.1: conditions.elapsed_s is 0.1"),
        ({"sweeps": {"conditions.elapsed_s": [-1]}}, "a finite number above 0"),
        ({"sweeps": {"conditions.reads": [1.5]}}, "a whole number from 0"),
        ({"sweeps": {"conditions.reads": [10, 100]}}, "array.read_disturb_reads and conditions.reads"),
        ({"sweeps": {"conditions.temperature_k": [290, 310]}}, "array.drift_activation_ev"),
        (
            {"base": {"array.drift_activation_ev": 0.3}, "sweeps": {"conditions.temperature_k": [250, 280]}},
            "above array.drift_reference_k, or below it with conditions.elapsed_s",
        ),
        ({"sweeps": {"array.drift_exponent": [0.1, 0.2]}}, "conditions.elapsed_s after array.drift_reference_s"),
        ({"base": {"array.driven_ends": "both"}}, "row_segment_ohm or array.col_segment_ohm"),
        ({"sweeps": {"array.placement": ["as-mapped", "fault-aware"]}}, "array.stuck_on_rate or array.stuck_off_rate"),
        (
            {"base": {"array.stuck_on_rate": 0.1}, "sweeps": {"array.spare_cols": [0, 4]}},
            'array.placement = "fault-aware" and stuck cells, or wires',
        ),
        ({"sweeps": {"array.fault_compensation": ["none", "digits"]}}, "array.stuck_on_rate or array.stuck_off_rate"),
        ({"sweeps": {"array.verify_pulses": [1, 4]}}, "array.pulse_error above 0"),
        (
            {"base": {"array.pulse_error": 0.1}, "sweeps": {"array.verify_tolerance": [0, 0.1]}},
            "array.verify_pulses above 1",
        ),
        (
            {"base": {"array.cell_variation": 0}, "sweeps": {"array.on_off_ratio": [2, 100]}},
            "array.on_off_ratio: changes nothing",
        ),
        (
            {"base": {"array.on_off_ratio": 9, "array.cell_variation": 0}, "sweeps": {"array.stuck_on_rate": [0, 0.1]}},
            'array.off_current = "kept"',
        ),
        ({"sweeps": {"array.off_current": ["kept", "subtracted"]}}, "array.on_off_ratio as a number"),
        (
            {"sweeps": {"array.off_current": ["subtracted"]}, "base": {"array.on_off_ratio": 9}},
            '"kept" among the values',
        ),
        ({"sweeps": {"array.on_off_ratio": [1, 2]}}, "expected: a number, above 1, at most 100000 or 'infinite'"),
        ({"sweeps": {"array.read_noise": {"from": 0, "to": 1, "points": 1}}}, "sweeps.array.read_noise.points: is 1"),
        ({"sweeps": {"array.read_noise": {"from": 0, "to": 1}}}, "sweeps.array.read_noise.points: missing"),
        ({"sweeps": {"array.read_noise": 1}}, "is 1\n  expected: a table or a list"),
        ({"sweeps": {"converters.columns_per_adc": [1, 8]}}, "errors of ADCs, or ranges of their own"),
        ({"sweeps": {"converters.dac_inl_lsb": [0, 0.2]}}, "DACs of more than one bit"),
        ({"base": {"converters.column_difference": "analog"}}, "converters.adc_bits in numbers"),
        ({"samples": {"file": "x.npz", "split": "train"}}, "samples.split and samples.split_seed are for the table"),
        ({"program": {"file": "p.mho", "mapping": "paper"}}, "mapping is for network"),
        ({"study": {"seeds": [1, 1]}}, "a seed is named twice"),
        ({"study": {"seeds": [-1]}}, "study.seeds"),
        ({"study": {"seeds": 0}}, "1..10000"),
        (
            {"study": {"design": "grid"}, "base": {"array.programming_error": 1}},
            "base.array.programming_error: a grid gives it a value at every point",
        ),
        (
            {
                "study": {"design": "grid", "seeds": 10_000},
                "sweeps": {
                    f"array.{name}": {"from": 0.001, "to": 0.4, "points": 300}
                    for name in ("read_noise", "cell_variation")
                },
            },
            "900,000,000 chips to simulate",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(changes, message):
    with pytest.raises(ConfigError) as caught:
        plan(tables(**changes))
    assert message in str(caught.value)
    assert str(caught.value).startswith("s.toml: ")


def test_what_acts_at_some_point_is_no_error():
    """Drift at none but the last point is enough for time to be swept."""
    plan(tables(study={"design": "grid"}, sweeps={"array.drift_exponent": [0, 0.1], "conditions.elapsed_s": [1, 9]}))
    plan(tables(base={"converters.adc_bits": 6, "converters.adc_gain_error": 0.1, "converters.columns_per_adc": 4}))
    faults = {"array.stuck_on_rate": 0.1, "array.placement": "fault-aware"}
    assert plan(tables(base=faults, sweeps={"array.spare_cols": [0, 4]}))[1].hardware.array.spare_cols == 4
    pulses = {"array.pulse_error": 0.1, "array.verify_tolerance": 0.05}
    assert plan(tables(base=pulses, sweeps={"array.verify_pulses": [1, 4]}))[1].hardware.array.verify_pulses == 4
    ratios = {"array.on_off_ratio": [2, 100]}
    plain = {"array.cell_variation": 0}
    for errors in (
        {"array.off_current": "kept"},
        {"array.lrs_siemens": 1e-4, "array.col_segment_ohm": 1},
        {"array.programming_error": 0.1},
        {"array.cell_variation": 0.1},
        {"array.read_noise": 0.1},
        {"array.drift_exponent": 0.1, "conditions.elapsed_s": 9},
    ):
        assert plan(tables(base=plain | errors, sweeps=ratios))[0].hardware.array.on_off_ratio == 2
    plan(tables(base={"array.on_off_ratio": 9}, sweeps={"array.off_current": ["kept", "subtracted"]}))
    kept = make_accelerator(16, 16, array={"off_current": "kept", "on_off_ratio": 10})
    for base in ({"array.off_current": "subtracted"}, {"array.on_off_ratio": "infinite"}):
        assert plan(tables(base=base, sweeps={"array.stuck_on_rate": [0, 0.1]}), kept)  # differs from the program's own
        (sweep,) = ({key: [value]} for key, value in base.items())
        assert plan(tables(sweeps=sweep), kept)
    activated = make_accelerator(array={"drift_exponent": 0.1, "drift_activation_ev": 0.2})
    assert plan(tables(sweeps={"conditions.temperature_k": [300, 350]}), activated)[1].conditions.temperature_k == 350
