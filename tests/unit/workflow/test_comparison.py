"""One network on several accelerators: figures are those of `mho.cost` and `mho.schedule`."""

from __future__ import annotations

import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_residual
from chip_schedules import ACCELERATOR as MESH
from comparisons import ONE, ask, run_of
from reload_schedules import ACCELERATOR as FEW

from mho.cost_model.area import AreaComponent
from mho.cost_model.energy import Component, energy_network
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, PolicyError
from mho.hardware.loading import accelerator_from_json
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.report.comparison_document import Comparison
from mho.report.schedule_document import ScheduleDocument
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.regime import Regime
from mho.simulation.chip_search import simulate_best
from mho.workflow.comparison import ComparisonRequest, compare_accelerators


@pytest.fixture(scope="module")
def network():
    return make_residual()


# -- time, energy, writes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "batch"), [(MappingModel.BEST, 1), (MappingModel.PAPER, 1), (MappingModel.BEST, 3)])
def test_one_crossbar_takes_what_mho_cost_says(network, model, batch):
    run = run_of(network, ONE, model=model, batch=batch)
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    cost = cost_network(derive_layer_table(network), policy, ONE, model=model, batch=batch)
    spent = energy_network(cost, ONE).energy
    assert run.regime is Regime.ONE_CROSSBAR
    assert run.latency_us == cost.latency_ps / 1e6
    assert run.interval_us == pytest.approx(cost.latency_ps / 1e6 / batch)
    assert run.energy_pj == pytest.approx(spent.total_pj / batch)
    assert run.energy_untold == spent.unspecified
    assert run.tiles == sum(layer.mapping.tiles for layer in cost.layers)
    assert run.cell_writes == sum(layer.writes for layer in cost.layers) / batch
    assert run.lifetime_inputs == 10**6 * batch // sum(layer.writes for layer in cost.layers)


@pytest.mark.parametrize(("simulate", "batch"), [(True, 1), (False, 1), (True, 2)])
def test_chips_that_hold_the_network_take_what_mho_schedule_says(network, simulate, batch):
    run = run_of(network, MESH, simulate=simulate, batch=batch)
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    demand = ChipDemand.of(network, policy, MESH)
    schedule = simulate_best(demand, batch=batch) if simulate else demand.schedule(batch=batch)
    stated = ScheduleDocument.of("mine", schedule, with_energy=True)
    assert run.regime is Regime.WEIGHT_STATIONARY
    if simulate:
        expected = schedule.timing.latency_ps / 1e6, schedule.timing.interval_ps / 1e6
    else:
        expected = schedule.ideal.makespan_ps / 1e6, schedule.ideal.interval_ps / 1e6
    assert (run.latency_us, run.interval_us) == expected
    assert (run.energy_pj, run.energy_untold) == (stated.energy.total_pj, stated.energy.untold)
    assert (Component.INTERCONNECT in run.energy_untold) is not simulate
    assert run.tiles == sum(layer.tiles for layer in stated.layers)
    assert (run.cell_writes, run.lifetime_inputs) == (0, None)


def test_chips_that_do_not_hold_it_rewrite_tiles(network):
    run = run_of(network, FEW, bits=(8, 8), batch=2)
    policy = Policy.uniform(network.layer_names, BitWidths(8, 8))
    found = ChipDemand.of(network, policy, FEW).schedule_reload(2)
    assert run.regime is Regime.TIME_MULTIPLEXED
    assert (run.latency_us, run.interval_us) == (found.latency_ps / 1e6, found.interval_ps / 1e6)
    assert run.lifetime_inputs == found.lifetime_inputs
    assert run.cell_writes == found.cell_writes_per_input > 0
    assert run.energy_pj > 0


def test_two_crossbars_are_a_chip(network):
    run = run_of(network, ONE, crossbars=2)
    assert run.regime is Regime.TIME_MULTIPLEXED
    assert run.latency_us < run_of(network, ONE).latency_us


def test_operands_that_are_stored_for_each_input_wear_cells_once():
    chip = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=40, endurance={"cell_writes": 500})
    run = run_of(make_attention(), chip)
    assert (run.regime, run.cell_writes, run.lifetime_inputs) == (Regime.WEIGHT_STATIONARY, 1, 500)


def test_crossbars_of_all_chips_are_overridden(network):
    document = ask(network, ONE, MESH, crossbars=80)
    assert [line.run.crossbars for line in document.accelerators] == [80, 80]
    assert {line.run.regime for line in document.accelerators} == {Regime.WEIGHT_STATIONARY}


def test_what_is_not_specified_is_named(network):
    stated, silent = ask(network, ONE, make_accelerator(rows=16, cols=16)).accelerators
    assert stated.run.energy_untold[:2] == (Component.ADC, Component.DAC)
    assert stated.area_mm2 == pytest.approx(16 * 4e-6)
    assert AreaComponent.CROSSBAR in stated.area_untold
    assert (silent.run.energy_pj, silent.run.energy_untold, silent.area_mm2, silent.area_untold) == (None, (), None, ())
    assert silent.run.lifetime_inputs is None
    assert (stated.endurance_writes, silent.endurance_writes) == (10**6, None)
    assert silent.run.cell_writes > 0


def test_values_that_are_yours_to_set_are_reported(network):
    content = {**ONE.to_json(), "sources": {"crossbar.rows": "yours to set: 16", "crossbar.cols": "a paper"}}
    (line,) = ask(network, accelerator_from_json(content, where="test")).accelerators
    assert line.keys_to_set == ("crossbar.rows",)


# -- widths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "weight_bits", "adc_bits"),
    [("differential-columns", 4, 9), ("differential-rows", 4, 9), ("offset", 3, 9)],
)
def test_widths_that_cells_and_converters_take_at_once(network, encoding, weight_bits, adc_bits):
    """16 rows of 3-bit cells and 2-bit inputs: sums to 16 * 7 * 3 = 336; in rows of both signs half, and a sign."""
    accelerator = make_accelerator(
        rows=16, cols=24, cell_bits=3, dac_bits=2, encoding=encoding, mapping={"allowed": {"encodings": [encoding]}}
    )
    widths = run_of(network, accelerator, model=MappingModel.PAPER, bits=(8, 5)).widths
    assert (widths.cell_bits, widths.one_cell_weight_bits, widths.dac_bits) == (3, weight_bits, 2)
    assert (widths.adc_bits, widths.full_adc_bits, widths.adc_rows) == ("ideal", adc_bits, 16)
    assert (widths.weight_slices, widths.input_steps) == ((3, 3), (3, 3))


def test_rows_that_an_adc_resolves(network):
    accelerator = make_accelerator(rows=16, cols=24, adc_bits=4)
    widths = run_of(network, accelerator).widths
    assert (widths.adc_bits, widths.full_adc_bits, widths.adc_rows) == (4, 6, 5)


def test_widths_of_each_layer_are_reported(network):
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4)).replace({"head": BitWidths(2, 8)})
    document = compare_accelerators(ComparisonRequest(network, policy, model=MappingModel.PAPER), [ONE], name="mine")
    assert [(one.name, one.weight_bits, one.act_bits) for one in document.layers][-1] == ("head", 2, 8)
    widths = document.accelerators[0].run.widths
    assert (widths.weight_slices, widths.input_steps) == ((1, 2), (4, 8))


# -- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_does_not_run_on_one_accelerator_is_reported_in_its_line(network):
    poor = make_accelerator(cell_bits=4, dac_bits=4, adc_bits=4)
    bad, good = ask(network, poor, ONE).accelerators
    assert bad.run is None
    assert "does not resolve" in bad.problem
    assert good == ask(network, ONE).accelerators[0]


def test_crossbars_that_do_not_fill_cores_are_reported_in_a_line(network):
    bad, good = ask(network, MESH, ONE, crossbars=33).accelerators
    assert "33 crossbars do not fill whole cores of 10" in bad.problem
    assert good.run.crossbars == 33


def test_wrong_requests_are_errors(network):
    with pytest.raises(ConfigError, match="no accelerator"):
        ask(network)
    with pytest.raises(ConfigError, match="batch 0"):
        ask(network, ONE, batch=0)
    with pytest.raises(PolicyError, match="layer"):
        compare_accelerators(ComparisonRequest(network, Policy({"no": BitWidths(4, 4)})), [ONE], name="mine")


def test_a_comparison_survives_json(network):
    document = ask(network, ONE, MESH, make_accelerator(cell_bits=4, dac_bits=4, adc_bits=4))
    assert Comparison.model_validate_json(document.model_dump_json()) == document
