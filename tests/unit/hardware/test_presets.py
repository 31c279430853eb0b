"""Figures of the presets of technologies against what their sources say, computed here from the published constants."""

import math
from itertools import pairwise

import pytest

from mho.array.conductances import Conditions, read_deviation
from mho.hardware.array import Array, PartOf
from mho.hardware.converters import ConversionTime
from mho.hardware.loading import list_presets, load_accelerator
from mho.hardware.spec import Encoding

ARCHITECTURES = ("clsa-256", "isaac", "pelke2026-2bit", "pelke2026-4bit", "puma")
"""Presets of papers that take cells to be ideal."""
TECHNOLOGIES = {
    "neurram": 3,
    "rram-hfo2": 2,
    "hermes-pcm": 3,
    "fefet": 5,
    "stt-mram": 1,
    "sram-analog": 1,
    "sram-digital": 1,
}
"""Preset of a technology -> bits of a cell."""


def test_every_preset_is_an_architecture_or_a_technology():
    assert set(list_presets()) == {*ARCHITECTURES, *TECHNOLOGIES}


@pytest.mark.parametrize("name", ["sram-analog", "sram-digital"])
def test_cells_of_sram_are_ideal(name):
    assert load_accelerator(name).array == Array()


@pytest.mark.parametrize(("name", "bits"), TECHNOLOGIES.items())
def test_cells_hold_what_their_source_says(name, bits):
    assert load_accelerator(name).crossbar.cell_bits == bits


def test_cells_of_neurram_deviate_as_crosssim_fitted_them():
    array = load_accelerator("neurram").array
    assert (float(array.lrs_siemens), array.on_off_ratio) == (40e-6, 40)
    levels = [1 + 39 * level / 7 for level in range(8)]
    deviations = [1.536e-4 * g**3 - 1.167e-2 * g**2 + 2.374e-1 * g + 1.053 for g in levels]
    assert [float(error) * 39 for error in array.programming_error] == pytest.approx(deviations, abs=1e-4)
    assert array.programming_error_of is PartOf.RANGE


def test_neurram_has_the_throughput_efficiency_and_area_that_cimloop_read():
    """4-bit inputs, 6-bit outputs: 0.7439 TOPS and 15.95 TOPS/W; 256 neurons of 1270 um2 are 28 % of a core."""
    chip = load_accelerator("neurram")
    operations = 2 * 256 * 128
    assert 48 * operations / (float(chip.crossbar.mvm_latency_us) * 1e-6) == pytest.approx(0.7438677864e12, rel=1e-6)
    assert operations / (float(chip.energy.mvm_pj) * 1e-12) == pytest.approx(15.95409517e12, rel=1e-6)
    assert float(chip.area.crossbar_um2) * 0.28 == pytest.approx(256 * 1270)
    assert chip.mapping.allowed.encodings == (Encoding.DIFFERENTIAL_ROWS,)
    assert (chip.chip.crossbars, chip.chip.cores) == (48, 48)


def test_cells_of_hfo2_deviate_as_crosssim_fitted_them():
    array = load_accelerator("rram-hfo2").array
    assert (float(array.lrs_siemens), float(array.on_off_ratio)) == (225e-6, 225 / 50)
    deviations = [4.782321 - 0.009107 * (50 + 175 * level / 3) for level in range(4)]
    assert [float(error) * 175 for error in array.programming_error] == pytest.approx(deviations, abs=2e-4)


def test_cells_of_hermes_deviate_as_aihwkit_fitted_them():
    array = load_accelerator("hermes-pcm").array
    shares = [level / 7 for level in range(8)]
    deviations = [0.16603222 + 4.71806468 * g - 8.48101252 * g**2 + 4.68961419 * g**3 for g in shares]
    assert [float(error) * 20.7 for error in array.programming_error] == pytest.approx(deviations, abs=1e-4)
    assert float(array.lrs_siemens) == 20.7e-6


def test_cells_of_hermes_drift_as_aihwkit_fitted_them():
    """Means over the seven levels that conduct; the spread is that within a level and that between them."""
    array = load_accelerator("hermes-pcm").array
    shares = [level / 7 for level in range(1, 8)]
    means = [-0.0436 * g**2 - 0.0126 * g + 0.0736 for g in shares]
    low = [max(0.0091, -0.0117 * math.log(g) - 0.0057) for g in shares if g < 0.3055]
    spreads = [*low, *(-0.0118 * g**2 + 0.0093 * g + 0.0073 for g in shares if g >= 0.3055)]
    mean = sum(means) / 7
    within, between = sum(one**2 for one in spreads) / 7, sum((one - mean) ** 2 for one in means) / 7
    assert float(array.drift_exponent) == pytest.approx(mean, abs=1e-6)
    assert float(array.drift_exponent_std) == pytest.approx(math.sqrt(within + between), abs=1e-6)
    assert array.drift_reference_s == 300


def test_reads_of_hermes_are_as_noisy_as_aihwkit_fitted_them():
    array = load_accelerator("hermes-pcm").array
    shares = [level / 7 for level in range(1, 8)]
    low = [min(0.04, max(0.015, -0.0117 * math.log(g) - 0.0069)) for g in shares if g < 0.16]
    each = [*low, *(0.0069 * g**3 - 0.0280 * g**2 + 0.0211 * g + 0.0123 for g in shares if g >= 0.16)]
    since_programming = math.sqrt(math.log((300 + 512e-9) / (2 * 512e-9)))
    assert float(array.read_noise) == pytest.approx(sum(each) / 7 * since_programming, abs=1e-6)
    assert array.read_noise_of is PartOf.CONDUCTANCE


@pytest.mark.parametrize(("elapsed_s", "growth"), [(300, 1), (86_400, 1.136), (365 * 86_400, 1.262)])
def test_reads_of_hermes_grow_noisier_with_the_logarithm_of_time(elapsed_s, growth):
    array = load_accelerator("hermes-pcm").array
    since_programming = math.sqrt(math.log((elapsed_s + 512e-9) / (2 * 512e-9)))
    at_once, found = read_deviation(array, Conditions()), read_deviation(array, Conditions(elapsed_s))
    assert found / at_once == pytest.approx(growth, abs=5e-4)
    assert found == pytest.approx(0.015339 * since_programming, abs=1e-5)


def test_fefet_cells_have_32_levels_over_a_range_of_45_times():
    accelerator = load_accelerator("fefet")
    assert 1 << accelerator.crossbar.cell_bits == 32
    assert accelerator.array.on_off_ratio == 45
    assert float(accelerator.crossbar.write_latency_us) == pytest.approx(32 * 0.075 * 128)
    assert accelerator.endurance.cell_writes == 5 * 10**6


def test_stt_mram_has_the_ratio_of_its_magnetoresistance_and_the_efficiency_of_its_macro():
    accelerator = load_accelerator("stt-mram")
    assert float(accelerator.array.on_off_ratio) == pytest.approx(1 + 1.8)
    assert 2 * 256 * 512 / (float(accelerator.energy.mvm_pj) * 1e-12) == pytest.approx(19.5e12)
    assert accelerator.endurance.cell_writes == 10**6


def test_analog_sram_has_the_throughput_and_efficiency_of_its_table():
    """JSSC 2020, at 0.85 V: 0.874 1b-TOPS; 9.7 pJ and 1.79 pJ a column, together 400 1b-TOPS/W."""
    accelerator = load_accelerator("sram-analog")
    operations = 2 * 2304 * 256
    assert operations / (float(accelerator.crossbar.mvm_latency_us) * 1e-6) == pytest.approx(0.874e12, rel=1e-6)
    column = 2304 * float(accelerator.energy.cell_read_pj) + float(accelerator.energy.adc_pj)
    assert column == pytest.approx(9.7 + 1.79, rel=1e-3)
    assert operations / (256 * column * 1e-12) == pytest.approx(400e12, rel=0.01)
    assert 256 * float(accelerator.area.adc_um2) == pytest.approx(497_000)


@pytest.mark.parametrize(("name", "bits"), [("neurram", 6), ("hermes-pcm", 8), ("stt-mram", 6)])
def test_measured_analog_chips_convert_with_their_own_bits_on_ranges_from_data(name, bits):
    converters = load_accelerator(name).converters
    assert (converters.adc_bits, converters.has_calibrated_adc) == (bits, True)


@pytest.mark.parametrize("name", ["neurram", "hermes-pcm"])
def test_levels_of_measured_chips_overlap_somewhere(name):
    """Deviations of 5 % of the range beside steps of 1/7: what makes training for such cells worth it."""
    errors = [float(error) for error in load_accelerator(name).array.programming_error]
    assert max(low + high for low, high in pairwise(errors)) > 0.5 / 7


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("neurram", {"crossbar.write_latency_us", "endurance.cell_writes"}),
        ("hermes-pcm", {"crossbar.write_latency_us", "converters.adc_range", "endurance.cell_writes"}),
        ("sram-analog", {"crossbar.write_latency_us", "mapping.encoding", "chip.crossbars"}),
        ("sram-digital", {"crossbar.write_latency_us", "mapping.encoding", "chip.crossbars"}),
    ],
)
def test_of_measured_chips_little_is_left_to_set(name, keys):
    assert set(load_accelerator(name).keys_to_set) == keys


@pytest.mark.parametrize("name", list_presets())
def test_conversions_are_within_the_mvm_where_the_preset_names_a_source_for_it(name):
    within = {"isaac", "puma", "hermes-pcm", "neurram", "sram-analog", "sram-digital"}
    expected = ConversionTime.WITHIN_MVM if name in within else ConversionTime.UNSPECIFIED
    assert load_accelerator(name).conversion_time is expected


@pytest.mark.parametrize("name", ["rram-hfo2", "fefet"])
def test_what_stands_around_measured_cells_is_the_users_to_set(name):
    keys = {"crossbar.write_latency_us", "crossbar.mvm_latency_us", "converters.dac_bits", "converters.adc_bits"}
    assert keys | {"energy.adc_supply_v", "chip.crossbars"} <= set(load_accelerator(name).keys_to_set)
