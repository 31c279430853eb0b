from decimal import Decimal

import pytest
from accelerators import make_accelerator

from mho.errors import ConfigError
from mho.hardware.array import Array
from mho.hardware.converters import AdcRange
from mho.hardware.loading import accelerator_from_json, load_accelerator, override, to_toml


def with_values(section, **values):
    content = load_accelerator("pelke2026-4bit").to_json()
    content[section].update(values)
    return accelerator_from_json(content, where="my.toml")


@pytest.mark.parametrize("name", ["pelke2026-2bit", "pelke2026-4bit", "clsa-256", "isaac", "puma", "sram-digital"])
def test_presets_that_tell_nothing_of_their_arrays_are_ideal(name):
    assert load_accelerator(name).array == Array()


def test_what_is_left_out_changes_nothing():
    array = make_accelerator().array
    assert [array.has_wires, array.has_programming_error, array.drifts] == [False] * 3
    assert (array.on_off_ratio, array.levels, array.read_noise) == ("infinite", "linear", 0)


def test_values_survive_a_round_trip():
    values = {
        "lrs_siemens": 0.000025,
        "on_off_ratio": 12.5,
        "levels": [0, *(number / 100 for number in range(51, 65)), 1],
        "programming_error": [0.01] * 16,
        "read_noise": 0.02,
        "drift_exponent": 0.031,
        "drift_reference_s": 20,
        "drift_activation_ev": 0.2,
        "read_disturb_reads": 1_000_000,
        "col_segment_ohm": 1.5,
    }
    accelerator = with_values("array", **values)
    assert accelerator_from_json(accelerator.to_json(), where="again") == accelerator
    assert accelerator.array.levels[1] == Decimal("0.51")
    assert accelerator.array.has_wires
    assert accelerator.array.has_programming_error
    assert accelerator.array.drifts


@pytest.mark.parametrize("error", [0.1, [0] * 15 + [0.1]])
def test_an_error_of_any_level_is_one(error):
    assert with_values("array", programming_error=error).array.has_programming_error


@pytest.mark.parametrize("spread", [{"drift_exponent": 0.1}, {"drift_exponent_std": 0.1}])
def test_cells_drift_by_a_mean_or_a_spread(spread):
    assert with_values("array", **spread).array.drifts


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"on_off_ratio": 1}, "array.on_off_ratio: is 1"),
        ({"levels": [0, 0.5, 0.4, 1]}, "array: levels do not rise from 0 to 1"),
        ({"levels": [0.1, 1]}, "array: levels do not rise from 0 to 1"),
        ({"levels": [0, 0.9]}, "array: levels do not rise from 0 to 1"),
        ({"levels": [0, 1]}, "array.levels has 2 levels, but cells of 4 bits have 16"),
        ({"programming_error": [0.1] * 4}, "array.programming_error has 4 levels"),
        ({"programming_error": -0.1}, "array.programming_error: is -0.1"),
        ({"stuck_on_rate": 0.6, "stuck_off_rate": 0.5}, "more than 1 together"),
        ({"row_segment_ohm": 1}, "need lrs_siemens"),
        ({"col_segment_ohm": 0.1}, "need lrs_siemens"),
        ({"drift_reference_s": 0}, "array.drift_reference_s: is 0"),
        ({"read_disturb_reads": 0}, "array.read_disturb_reads: is 0"),
        ({"read_noise_of": "level"}, "array.read_noise_of: is 'level'"),
        ({"lrs_siemens": 2}, "array.lrs_siemens: is 2"),
    ],
)
def test_impossible_arrays_are_errors_that_name_key_and_reason(values, message):
    with pytest.raises(ConfigError, match=r"my\.toml") as caught:
        with_values("array", **values)
    assert message in str(caught.value)


def test_other_cells_need_other_levels():
    with pytest.raises(ConfigError, match="has 16 levels, but cells of 2 bits have 4"):
        override(with_values("array", programming_error=[0.1] * 16), cell_bits=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"adc_offset_lsb": 1}, '"ideal" has no errors'),
        ({"adc_gain_error": 0.1}, '"ideal" has no errors'),
        ({"adc_range": "half"}, "converters.adc_range: is 'half'"),
        ({"column_difference": "never"}, "converters.column_difference: is 'never'"),
        ({"dac_inl_lsb": 0.3}, "dac_inl_lsb is so large"),
        ({"dac_bits": 4, "dac_inl_lsb": -3.8}, "dac_inl_lsb is so large"),
    ],
)
def test_impossible_converters_are_errors(values, message):
    with pytest.raises(ConfigError) as caught:
        with_values("converters", **values)
    assert message in str(caught.value)


@pytest.mark.parametrize("adc_range", AdcRange)
def test_ranges_of_converters_come_back_from_a_file(adc_range, tmp_path):
    made = with_values("converters", adc_bits=6, adc_range=str(adc_range))
    (tmp_path / "a.toml").write_text(to_toml(made))
    read = load_accelerator(tmp_path / "a.toml").converters
    assert (read.adc_range, read.has_calibrated_adc) == (adc_range, adc_range is not AdcRange.FULL_SCALE)


def test_errors_of_converters_go_with_bits():
    converters = with_values("converters", adc_bits=12, adc_offset_lsb=0.5, dac_bits=4, dac_inl_lsb=-3.7).converters
    assert (converters.adc_offset_lsb, converters.dac_inl_lsb) == (Decimal("0.5"), Decimal("-3.7"))
