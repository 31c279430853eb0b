import pytest
from accelerators import make_accelerator

from mho.cost_model.energy import (
    Component,
    EnergyBreakdown,
    add_energies,
    energy_network,
    price_activity,
    price_leakage,
)
from mho.cost_model.latency import cost_network
from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.activity import Activity
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.unit_energies import UnitEnergies
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

COLUMNS = Encoding.DIFFERENTIAL_COLUMNS
ENERGIES = {
    "mvm_pj": 7,
    "cell_read_pj": 0.001,
    "adc_pj": 1.5,
    "dac_pj": 0.25,
    "cell_write_pj": 11,
    "operation_pj": 0.02,
    "buffer_pj_per_byte": 0.8,
    "hop_pj_per_byte": 1.6,
    "memory_pj_per_byte": 100,
    "crossbar_leakage_uw": 3,
    "core_leakage_uw": 50,
}
ACTIVITY = Activity(2, 1000, 30, 40, 500, 60, 80, 160, 8)


def energy_of(layer, bits, hardware, *, batch=1, model=MappingModel.PAPER):
    policy = Policy.uniform([layer.name], BitWidths.parse(bits))
    return energy_network(cost_network([layer], policy, hardware, model=model, batch=batch), hardware)


def conversion_aj(hardware: Accelerator, encoding: Encoding) -> object:
    return UnitEnergies.of(hardware, encoding).conversions


def test_an_mvm_of_puma_takes_what_its_paper_says():
    """ASPLOS 2019: 128x128 16-bit weights with 16-bit inputs, 43.97 nJ and 2304 ns."""
    layer = MvmLayer("mvmu", "linear", outputs=128, inputs=128, positions=1, repeat=1)
    hardware = load_accelerator("puma")
    cost = cost_network([layer], Policy.uniform(["mvmu"], BitWidths(16, 16)), hardware, model=MappingModel.BEST)
    energy = energy_network(cost, hardware).energy
    assert energy.component_aj[Component.CROSSBAR] == 43_970_000_000
    assert (
        energy.component_aj[Component.ADC]
        == energy.component_aj[Component.DAC]
        == energy.component_aj[Component.DIGITAL]
        == 0
    )
    assert cost.layers[0].read_ps == 8 * 2_304_000  # its eight crossbars one after the other


def test_the_crossbars_of_an_ima_of_isaac_take_the_power_of_its_table():
    """ISCA 2016: 8 ADCs 16 mW, 8x128 DACs 4 mW, 8 crossbars 2.4 mW, shift-and-adders 0.2 mW, for 100 ns."""
    one_read = Activity(reads=8, driven_rows=8 * 128, conversions=8 * 128, operations=8 * 128)
    energy = price_activity(one_read, load_accelerator("isaac"), Encoding.OFFSET_DIGITAL)
    milliwatts = {component: energy.component_aj[component] / 1e6 / 100 for component in energy.component_aj}
    assert milliwatts[Component.ADC] == pytest.approx(16)
    assert milliwatts[Component.DAC] == pytest.approx(4)
    assert milliwatts[Component.CROSSBAR] == pytest.approx(2.4)
    assert milliwatts[Component.DIGITAL] == pytest.approx(0.2, rel=0.1)


def test_hermes_takes_the_power_of_its_throughput_and_efficiency():
    hardware = load_accelerator("hermes-pcm")
    energy = price_activity(Activity(reads=64), hardware, COLUMNS).total_aj
    watts = energy / hardware.mvm_latency_ps * 1e-6
    assert watts == pytest.approx(63.1 / 9.76, rel=1e-4)


def test_writes_take_the_energy_of_their_pulses():
    array = {"pulse_error": 0.05, "verify_tolerance": 0.02, "verify_pulses": 6}
    pulsed = make_accelerator(energy=ENERGIES, array=array)
    found, plain = (price_activity(ACTIVITY, one, COLUMNS) for one in (pulsed, make_accelerator(energy=ENERGIES)))
    assert found.component_aj[Component.WRITE] == round(500 * 11_000_000 * pulsed.pulses_per_cell)
    assert {**found.component_aj, Component.WRITE: 0} == {**plain.component_aj, Component.WRITE: 0}


def test_each_component_by_hand():
    energy = price_activity(ACTIVITY, make_accelerator(energy=ENERGIES), COLUMNS)
    assert {component: aj / 1e6 for component, aj in energy.component_aj.items()} == {
        Component.CROSSBAR: 2 * 7 + 1000 * 0.001,
        Component.ADC: 40 * 1.5,
        Component.DAC: 30 * 0.25,
        Component.WRITE: 500 * 11,
        Component.DIGITAL: 60 * 0.02,
        Component.BUFFER: 10 * 0.8,
        Component.INTERCONNECT: 20 * 1.6,
        Component.MEMORY: 1 * 100,
    }
    assert energy.unspecified == ()
    assert energy.total_pj == 15 + 60 + 7.5 + 5500 + 1.2 + 8 + 32 + 100


def test_a_microwatt_for_a_microsecond_is_a_picojoule():
    leakage = price_leakage(make_accelerator(energy=ENERGIES), 1_000_000, crossbars=4, cores=2)
    assert leakage.total_pj == 4 * 3 + 2 * 50


def test_leakage_lasts_as_long_as_the_layer_on_one_crossbar_of_one_core():
    layer = MvmLayer("dense", "linear", 10, 20, 3, 1)
    hardware = make_accelerator(
        crossbars=12, chip={"cores": 4}, energy={"crossbar_leakage_uw": 3, "core_leakage_uw": 50}
    )
    cost = cost_network([layer], Policy.uniform(["dense"], BitWidths(4, 3)), hardware, model=MappingModel.PAPER)
    assert energy_network(cost, hardware).energy.component_aj == {Component.LEAKAGE: 53 * cost.latency_ps}


def test_what_happens_and_is_not_specified_is_listed_and_what_does_not_happen_is_not():
    layer = MvmLayer("dense", "linear", 10, 20, 3, 1)
    energy = energy_of(layer, "4/3", make_accelerator(energy={"adc_pj": 1})).energy
    assert tuple(energy.component_aj) == (Component.ADC,)
    assert energy.unspecified == (
        Component.CROSSBAR,
        Component.DAC,
        Component.WRITE,
        Component.DIGITAL,
        Component.BUFFER,
        Component.MEMORY,
        Component.LEAKAGE,
    )


def test_one_of_two_ways_to_tell_a_component_is_enough():
    only_cells = make_accelerator(energy={"cell_read_pj": 0.5})
    assert price_activity(Activity(reads=3, cell_reads=10), only_cells, COLUMNS) == EnergyBreakdown(
        {Component.CROSSBAR: 5_000_000}
    )


def test_an_ideal_adc_is_taken_to_have_the_bits_that_its_rows_need():
    """256 rows of 4-bit cells with a 1-bit DAC: 12 bits, 18 pJ at 1 V; differential rows: half of them and a sign."""
    sizes = {"rows": 256, "cols": 256, "cell_bits": 4, "energy": {"adc_supply_v": 1}}
    assert conversion_aj(make_accelerator(**sizes), COLUMNS) == 17_977_216
    assert conversion_aj(make_accelerator(**sizes), Encoding.DIFFERENTIAL_ROWS) == 17_977_216
    eight = make_accelerator(**sizes, adc_bits=8)
    assert conversion_aj(eight, COLUMNS) == 865_536


def test_fewer_active_rows_need_fewer_bits_of_an_ideal_adc():
    hardware = make_accelerator(
        rows=256, cols=256, cell_bits=4, crossbar={"active_rows": 16}, energy={"adc_pj_per_bit": 1}
    )
    assert conversion_aj(hardware, COLUMNS) == 8_000_000  # 16 * 15 = 240


def test_time_and_energy_of_conversion_are_those_of_the_bits_of_a_calibrated_adc():
    """Six bits where 12 would tell all sums apart: as many MVMs and conversions, each half as long and as expensive."""
    layer, times = MvmLayer("dense", "linear", 10, 200, 3, 1), {"adc_latency_us_per_bit": 0.001}
    hardware = {"rows": 256, "cols": 256, "cell_bits": 4, "energy": {"adc_pj_per_bit": 1}}
    whole = make_accelerator(**hardware, adc_bits=12, converters=times)
    six = make_accelerator(**hardware, adc_bits=6, converters={**times, "adc_range": "calibrated-layer"})
    policy = Policy.uniform(["dense"], BitWidths(4, 3))
    costs = [cost_network([layer], policy, one, model=MappingModel.BEST) for one in (whole, six)]
    assert costs[0].mapping.layers == costs[1].mapping.layers
    rounds = costs[0].mapping.layers[0].counts.conversions
    assert costs[0].latency_ps - costs[1].latency_ps == rounds * 6 * 1_000
    expensive, cheap = (energy_of(layer, "4/3", one).energy.component_aj[Component.ADC] for one in (whole, six))
    assert expensive == 2 * cheap


@pytest.mark.parametrize(("columns", "conversions"), [("digital", 20), ("analog", 10)])
def test_differences_are_converted_shifted_and_added_once(columns, conversions):
    """Ten outputs of one digit and sign, two rows of tiles, three positions and three steps."""
    layer = MvmLayer("dense", "linear", 10, 20, 3, 1)
    hardware = make_accelerator(
        rows=16, cols=64, cell_bits=4, energy=ENERGIES, converters={"column_difference": columns}
    )
    (energy,) = energy_of(layer, "4/3", hardware).layers
    activity = energy.activity
    assert activity.conversions == activity.operations == 2 * 3 * 3 * conversions
    assert activity.cell_reads == 20 * 20 * 3 * 3


def test_a_batch_shares_the_energy_of_writes():
    layer, hardware = MvmLayer("dense", "linear", 10, 20, 3, 1), make_accelerator(energy=ENERGIES)
    one, three = (energy_of(layer, "4/3", hardware, batch=batch).energy.component_aj for batch in (1, 3))
    assert three[Component.WRITE] == one[Component.WRITE]
    assert three[Component.ADC] == 3 * one[Component.ADC]


def test_layers_add_up_to_the_network():
    layers = [MvmLayer("a", "linear", 10, 20, 3, 1), MvmLayer("b", "matmul", 6, 5, 6, 4)]
    hardware = make_accelerator(energy=ENERGIES)
    cost = cost_network(layers, Policy.uniform(["a", "b"], BitWidths(4, 3)), hardware, model=MappingModel.PAPER)
    network = energy_network(cost, hardware)
    assert [layer.name for layer in network.layers] == ["a", "b"]
    assert network.energy.total_aj == sum(layer.energy.total_aj for layer in network.layers)


def test_energies_are_frozen_values():
    energy = EnergyBreakdown({Component.DAC: 2, Component.CROSSBAR: 1}, (Component.ADC,))
    assert list(energy.component_aj) == [Component.CROSSBAR, Component.DAC]
    with pytest.raises(TypeError):
        energy.component_aj[Component.DAC] = 3
    assert hash(energy) == hash(EnergyBreakdown({Component.CROSSBAR: 1, Component.DAC: 2}, (Component.ADC,)))
    assert add_energies([]) == EnergyBreakdown()
    assert energy + EnergyBreakdown() == energy
