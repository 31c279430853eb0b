from decimal import Decimal

import pytest
from accelerators import make_accelerator
from hypothesis import given
from hypothesis import strategies as st

from mho.errors import ConfigError
from mho.hardware.converters import MAX_ADC_BITS
from mho.hardware.energy import Area, Energy
from mho.hardware.loading import accelerator_from_json, list_presets, load_accelerator


def test_nothing_is_specified_unless_it_is():
    accelerator = make_accelerator()
    assert not accelerator.energy.is_specified
    assert not accelerator.area.is_specified
    assert accelerator.energy.conversion_aj(8) is None
    assert accelerator.endurance.cell_writes is None


def test_zero_is_specified():
    assert Energy(adc_pj=0).is_specified
    assert Energy(adc_pj=0).conversion_aj(8) == 0
    assert Area(dac_um2=0).is_specified


@pytest.mark.parametrize(("bits", "picojoules"), [(8, "0.865536"), (12, "17.977216"), (1, "0.100004")])
def test_the_formula_of_a_conversion_at_1_volt(bits, picojoules):
    assert Energy(adc_supply_v=1).conversion_aj(bits) == Decimal(picojoules) * 10**6


def test_the_formula_grows_with_the_square_of_the_supply():
    assert Energy(adc_supply_v=2).conversion_aj(8) == 4 * Energy(adc_supply_v=1).conversion_aj(8)
    assert Energy(adc_supply_v=0.9).conversion_aj(8) == round(Decimal("0.81") * 865536)


def test_a_conversion_may_be_specified_by_the_bit_or_as_it_is():
    assert Energy(adc_pj_per_bit=0.2).conversion_aj(8) == 1_600_000
    assert Energy(adc_pj=1.5625).conversion_aj(3) == Energy(adc_pj=1.5625).conversion_aj(12) == 1_562_500


@given(st.sampled_from([{"adc_supply_v": 0.8}, {"adc_pj_per_bit": 0.1}, {"adc_pj": 3}]), st.integers(2, MAX_ADC_BITS))
def test_a_conversion_never_takes_less_with_more_bits(keys, bits):
    energy = Energy(**keys)
    assert energy.conversion_aj(bits - 1) <= energy.conversion_aj(bits)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("energy", {"mvm_pj": -1}, "energy.mvm_pj: is -1\n  expected: a number, 0..1000000000"),
        ("energy", {"cell_write_pj": 0.0000001}, "not a whole number of attojoules"),
        ("energy", {"adc_supply_v": 0}, "energy.adc_supply_v: is 0"),
        ("energy", {"adc_pj": 1, "adc_supply_v": 1}, "adc_pj and adc_supply_v say the energy of a conversion twice"),
        ("energy", {"core_leakage_uw": "much"}, "energy.core_leakage_uw: is 'much', not a number"),
        ("energy", {"mvm_pJ": 1}, "did you mean 'mvm_pj'?"),
        ("area", {"adc_um2": True}, "area.adc_um2: is True, not a number"),
        ("endurance", {"cell_writes": 0}, "endurance.cell_writes: is 0"),
        ("endurance", {"cell_writes": 1e6}, "endurance.cell_writes: is 1000000.0"),
    ],
)
def test_an_impossible_figure_is_an_error_that_names_its_key(section, values, message):
    content = load_accelerator("pelke2026-4bit").to_json()
    content[section].update(values)
    with pytest.raises(ConfigError) as caught:
        accelerator_from_json(content, where="my.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", list_presets())
def test_figures_that_no_source_gives_are_marked_as_the_users_to_set(name):
    accelerator = load_accelerator(name)
    marked = {key for key, text in accelerator.sources.items() if "yours to set" in text.lower()}
    assert marked == set(accelerator.keys_to_set)


def test_marks_are_reported_by_key():
    assert load_accelerator("puma").keys_to_set == ("interconnect.hop_latency_cycles",)
    assert load_accelerator("pelke2026-4bit").keys_to_set == ()
