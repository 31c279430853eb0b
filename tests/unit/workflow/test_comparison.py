"""One network on several accelerators: figures are those of `mho.cost` and `mho.schedule`, accuracies of the arrays."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from accelerators import make_accelerator, with_array
from chip_networks import make_attention, make_residual
from chip_schedules import ACCELERATOR as MESH
from reload_schedules import ACCELERATOR as FEW
from small_programs import grid, linear_network

import mho
from mho.array.conductances import Conditions
from mho.cost_model.area import AreaComponent
from mho.cost_model.energy import Component, energy_network
from mho.cost_model.latency import cost_network
from mho.cost_model.layer_tables import network_policy
from mho.errors import ConfigError, DataError, InputFileError, PolicyError
from mho.evaluation.chips import ChipEvaluation
from mho.evaluation.samples import LabelledSamples, read_inputs, read_samples
from mho.hardware.loading import accelerator_from_json
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.ptq import quantize
from mho.report.comparison_document import ChipAccuracy, Comparison, Regime
from mho.report.comparison_text import print_comparison
from mho.report.schedule_document import ScheduleDocument
from mho.scheduling.chip_schedule import ChipDemand, schedule_network
from mho.simulation.analog import AnalogExecutor
from mho.simulation.chip_search import simulate_best
from mho.terminal import Console
from mho.workflow.comparison import ComparisonRequest, compare_accelerators

ONE = make_accelerator(
    rows=16, cols=16, energy={"mvm_pj": 3, "cell_write_pj": 7}, endurance={"cell_writes": 10**6}, area={"adc_um2": 4}
)


@pytest.fixture(scope="module")
def network():
    return make_residual()


ASKING = ("seed", "chips", "elapsed_s", "calibration", "recalibrates")


def ask(network, *accelerators, bits=(4, 4), samples=None, **keys):
    policy = Policy.uniform(network.layer_names, BitWidths(*bits))
    of_chips = {name: keys.pop(name) for name in ASKING if name in keys}
    if samples is not None:
        keys["evaluation"] = ChipEvaluation(samples, **of_chips)
    return compare_accelerators(ComparisonRequest(network, policy, **keys), accelerators, name="mine")


def run_of(network, accelerator, **keys):
    (line,) = ask(network, accelerator, **keys).accelerators
    assert line.problem is None
    return line.run


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
    schedules = ChipDemand.of(network, policy, MESH).list_schedules(batch=batch)
    schedule = simulate_best(schedules) if simulate else next(schedules)
    told = ScheduleDocument.of("mine", schedule, with_energy=True)
    assert run.regime is Regime.WEIGHT_STATIONARY
    if simulate:
        expected = schedule.timing.latency_ps / 1e6, schedule.timing.interval_ps / 1e6
    else:
        expected = schedule.ideal.makespan_ps / 1e6, schedule.ideal.interval_ps / 1e6
    assert (run.latency_us, run.interval_us) == expected
    assert (run.energy_pj, run.energy_untold) == (told.energy.total_pj, told.energy.untold)
    assert (Component.INTERCONNECT in run.energy_untold) is not simulate
    assert run.tiles == sum(layer.tiles for layer in told.layers)
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


def test_what_is_not_told_is_named(network):
    told, silent = ask(network, ONE, make_accelerator(rows=16, cols=16)).accelerators
    assert told.run.energy_untold[:2] == (Component.ADC, Component.DAC)
    assert told.area_mm2 == pytest.approx(16 * 4e-6)
    assert AreaComponent.CROSSBAR in told.area_untold
    assert (silent.run.energy_pj, silent.run.energy_untold, silent.area_mm2, silent.area_untold) == (None, (), None, ())
    assert silent.run.lifetime_inputs is None
    assert (told.endurance_writes, silent.endurance_writes) == (10**6, None)
    assert silent.run.cell_writes > 0


def test_values_that_are_yours_to_set_are_told(network):
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


def test_widths_of_each_layer_are_told(network):
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4)).replace({"head": BitWidths(2, 8)})
    document = compare_accelerators(ComparisonRequest(network, policy, model=MappingModel.PAPER), [ONE], name="mine")
    assert [(one.name, one.weight_bits, one.act_bits) for one in document.layers][-1] == ("head", 2, 8)
    widths = document.accelerators[0].run.widths
    assert (widths.weight_slices, widths.input_steps) == ((1, 2), (4, 8))


# -- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_does_not_run_on_one_accelerator_is_told_in_its_line(network):
    poor = make_accelerator(cell_bits=4, dac_bits=4, adc_bits=4)
    bad, good = ask(network, poor, ONE).accelerators
    assert bad.run is None
    assert "does not resolve" in bad.problem
    assert good == ask(network, ONE).accelerators[0]


def test_crossbars_that_do_not_fill_cores_are_told_in_a_line(network):
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


# -- accuracy ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier():
    weights = np.random.default_rng(3).integers(-8, 8, (6, 24))
    return linear_network(weights, grid(4), weight_bits=4)


@pytest.fixture(scope="module")
def samples(classifier):
    """Labels that exact integers give, but for one of four samples."""
    inputs = np.random.default_rng(4).uniform(0, 3.75, (80, 24)).astype(np.float32)
    labels = run_quantized(classifier, inputs)["y"].argmax(axis=1)
    labels[::4] = (labels[::4] + 1) % 6
    assert len(set(labels)) == 6
    return LabelledSamples(inputs, labels)


NOISY = {"programming_error": 0.4, "on_off_ratio": 5}


@pytest.mark.parametrize(("crossbars", "rows"), [(1, 16), (1, 64), (40, 16)])
def test_ideal_arrays_are_as_right_as_exact_integers(classifier, samples, crossbars, rows):
    document = ask(classifier, make_accelerator(rows=rows, cols=16, crossbars=crossbars), samples=samples)
    assert document.exact_accuracy == document.accelerators[0].run.accuracy.mean == 0.75
    assert (document.samples, document.seed) == (80, 0)


def test_layers_that_would_have_copies_are_simulated_without(network):
    """Copies are other cells; what a chip answers is told of one copy of each layer."""
    inputs = np.random.default_rng(5).normal(size=(16, 2, 8, 8)).astype(np.float32)
    quantized = quantize(network, Policy.uniform(network.layer_names, BitWidths(4, 4)), inputs)
    schedule = schedule_network(quantized, Policy.uniform(network.layer_names, BitWidths(4, 4)), MESH)
    assert max(schedule.copies.values()) > 1
    labels = run_quantized(quantized, inputs)[network.outputs[0].name].argmax(axis=1)
    run = run_of(quantized, MESH, samples=LabelledSamples(inputs, labels))
    assert (run.accuracy.mean, run.accuracy_problem) == (1, None)


@pytest.mark.parametrize("crossbars", [1, 3, 40])
def test_arrays_that_are_not_ideal_are_less_right_and_each_seed_is_a_chip(classifier, samples, crossbars):
    hardware = with_array(make_accelerator(rows=16, cols=16, crossbars=crossbars), **NOISY)
    found = [ask(classifier, hardware, samples=samples, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (document.accelerators[0].run.accuracy.mean for document in found)
    assert first == again
    assert first != other
    assert max(first, other) < found[0].exact_accuracy == 0.75


def test_several_chips_tell_their_mean_and_the_worst(classifier, samples):
    hardware = with_array(make_accelerator(rows=16, cols=16), **NOISY)
    single = [ask(classifier, hardware, samples=samples, seed=seed).accelerators[0].run for seed in (5, 6, 7)]
    document = ask(classifier, hardware, samples=samples, seed=5, chips=3)
    found = document.accelerators[0].run.accuracy
    assert (document.seed, document.chips) == (5, 3)
    assert found.right == tuple(80 * run.accuracy.mean for run in single)
    assert len(set(found.right)) > 1
    assert found.mean == pytest.approx(sum(found.right) / 240)
    assert found.worst == min(found.right) / 80


def test_chips_that_are_all_alike_are_asked_once(classifier, samples, monkeypatch):
    asked = []
    run = AnalogExecutor.run

    def watch(executor, inputs, *arguments):
        asked.append(len(inputs))
        return run(executor, inputs, *arguments)

    monkeypatch.setattr(AnalogExecutor, "run", watch)
    alike = with_array(make_accelerator(rows=16, cols=16), on_off_ratio=3, off_current="kept", drift_exponent=0.1)
    document = ask(classifier, alike, samples=samples, chips=4)
    assert asked == [80]
    assert len(set(document.accelerators[0].run.accuracy.right)) == 1
    assert len(document.accelerators[0].run.accuracy.right) == 4
    for errors in ({"drift_exponent_std": 0.1}, {"read_noise": 0.1}, {"stuck_on_rate": 0.1}, {"cell_variation": 0.1}):
        asked.clear()
        ask(classifier, with_array(alike, **errors), samples=samples, chips=2)
        assert asked == [80, 80], errors


def test_chips_that_drift_are_less_right_later_and_others_are_not(classifier, samples):
    drifting = with_array(make_accelerator(rows=16, cols=16), drift_exponent=0.2, drift_exponent_std=0.1)
    document = ask(classifier, drifting, ONE, samples=samples, elapsed_s=1e6)
    aged, steady = (line.run for line in document.accelerators)
    assert document.elapsed_s == 1e6
    assert aged.accuracy.mean == 0.75
    assert aged.aged_accuracy == chips_of(classifier, drifting, samples, Conditions(1e6))
    assert aged.aged_accuracy.mean < 0.7
    assert steady.aged_accuracy == steady.accuracy
    assert ask(classifier, drifting, samples=samples).accelerators[0].run.aged_accuracy is None


def test_what_cannot_be_told_of_a_later_time_leaves_what_is_told_of_now(classifier, samples):
    slow = {"drift_exponent": 0.2, "drift_reference_s": 50}
    drifting = with_array(make_accelerator(rows=16, cols=16), **slow)
    (line,) = ask(classifier, drifting, samples=samples, elapsed_s=10).accelerators
    assert line.run.accuracy == chips_of(classifier, drifting, samples, None)
    assert line.run.aged_accuracy is None
    assert "before array.drift_reference_s" in line.run.accuracy_problem


def test_bits_of_conversions_that_a_policy_tells_are_told(classifier, samples):
    ranged = make_accelerator(rows=16, cols=16, adc_bits=6, converters={"adc_range": "calibrated-layer"})
    own = network_policy(classifier)
    (name,) = classifier.layer_names
    evaluation = ChipEvaluation(samples, calibration=samples.inputs[:20])
    request = ComparisonRequest(classifier, own.with_adc_bits({name: 3}), evaluation=evaluation)
    document = compare_accelerators(request, (ranged, ONE), name="mine")
    line, ideal = document.accelerators
    assert document.layers[0].adc_bits == 3
    assert (line.run.widths.adc_bits, line.run.widths.layer_adc_bits) == (6, (3, 3))
    program = mho.compile(classifier, ranged, adc_bits={name: 3})
    ranges = mho.calibrate(program, samples.inputs[:20], seed=0)
    outputs = mho.simulate(program, samples.inputs, seed=0, ranges=ranges)
    assert line.run.accuracy.mean == samples.accuracy(outputs)
    assert "ADC" in str(ideal.problem or ideal.run.accuracy_problem)
    told = StringIO()
    print_comparison(Console(file=told, width=250), document)
    assert "at 4/4/3 on 2 accelerators" in told.getvalue()
    assert re.search(r"test +16 x 16 +\S+ +\S+ +\S+ +3 \(", told.getvalue())
    plain = ask(classifier, ranged, samples=samples, calibration=samples.inputs[:20])
    assert plain.accelerators[0].run.widths.layer_adc_bits is None
    assert "adc_bits" not in plain.model_dump(mode="json")["layers"][0]


def chips_of(network, hardware, samples, conditions, **keys):
    """Ask chip 0 as `mho.simulate` does."""
    outputs = mho.simulate(mho.compile(network, hardware), samples.inputs, seed=0, conditions=conditions, **keys)
    return ChipAccuracy.of([round(samples.accuracy(outputs) * len(samples))], len(samples))


@pytest.mark.parametrize("adc_range", ["calibrated-columns", "calibrated-slices"])
def test_calibrated_adcs_find_their_ranges_on_calibration_inputs(classifier, samples, adc_range):
    ranged = make_accelerator(rows=16, cols=16, adc_bits=3, converters={"adc_range": adc_range})
    drifting = with_array(ranged, drift_exponent=0.2)
    calibration = samples.inputs[:20]
    document = ask(classifier, ranged, drifting, samples=samples, calibration=calibration, elapsed_s=1e4)
    fresh, aged = (line.run for line in document.accelerators)
    assert document.calibration_samples == 20
    ranges = mho.calibrate(mho.compile(classifier, ranged), calibration, seed=0)
    assert fresh.accuracy == chips_of(classifier, ranged, samples, None, ranges=ranges)
    later = Conditions(1e4)
    ranges = mho.calibrate(mho.compile(classifier, drifting), calibration, seed=0, conditions=later)
    assert aged.aged_accuracy == chips_of(classifier, drifting, samples, later, ranges=ranges)
    assert fresh.accuracy.mean < 0.75


def test_recalibration_of_channels_helps_chips_that_drifted(classifier, samples):
    drifting = with_array(make_accelerator(rows=16, cols=16), stuck_on_rate=0.1, drift_exponent=0.05)
    inputs = {classifier.inputs[0].name: samples.inputs[:40]}
    asked = {"samples": samples, "calibration": inputs, "elapsed_s": 1e6}
    plain, mended = (ask(classifier, drifting, recalibrates=does, **asked) for does in (False, True))
    assert (plain.is_recalibrated, mended.is_recalibrated, mended.calibration_samples) == (False, True, 40)
    before, after = (document.accelerators[0].run.aged_accuracy.mean for document in (plain, mended))
    assert after > before
    program = mho.compile(classifier, drifting)
    corrections = mho.recalibrate(program, inputs, seed=0, conditions=Conditions(1e6))
    wanted = chips_of(classifier, drifting, samples, Conditions(1e6), corrections=corrections)
    assert mended.accelerators[0].run.aged_accuracy == wanted


def test_impossible_chips_are_errors(samples):
    for keys, told in (
        ({"chips": 0}, "chips is 0"),
        ({"elapsed_s": 0.0}, "elapsed_s"),
        ({"recalibrates": True}, "needs"),
    ):
        with pytest.raises(ConfigError, match=told):
            ChipEvaluation(samples, **keys)


def test_without_samples_no_accuracy_is_told(classifier):
    document = ask(classifier, ONE)
    run = document.accelerators[0].run
    assert (document.samples, document.seed, document.exact_accuracy, run.accuracy) == (None,) * 4
    assert (document.chips, document.elapsed_s, document.calibration_samples, run.aged_accuracy) == (None,) * 4


def test_arrays_that_cannot_be_simulated_say_why(classifier, samples):
    """Ranges of ADCs that data must tell first."""
    ranged = make_accelerator(rows=16, cols=16, adc_bits=6, converters={"adc_range": "calibrated-layer"})
    bad, good = (line.run for line in ask(classifier, ranged, ONE, samples=samples).accelerators)
    assert bad.accuracy is None
    assert "rang" in bad.accuracy_problem
    assert bad.latency_us > 0
    assert (good.accuracy.mean, good.accuracy_problem) == (0.75, None)


def test_accuracies_need_the_networks_own_integers(network, classifier, samples):
    with pytest.raises(DataError, match="not quantized"):
        ask(network, ONE, samples=samples)
    with pytest.raises(DataError, match="other widths"):
        ask(classifier, ONE, bits=(4, 3), samples=samples)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": np.zeros(3, int)}, "3 labels for 80 samples"),
        ({"labels": np.full(80, 6)}, "a label is 6"),
        ({"labels": np.full(80, -1)}, "labels of shape"),
        ({"labels": np.zeros((80, 1), int)}, "labels of shape"),
        ({"labels": np.zeros(80)}, "type float64"),
        ({"labels": np.zeros(0, int)}, "at least one"),
        ({"inputs": np.zeros((80, 23), np.float32)}, "23"),
    ],
)
def test_samples_that_do_not_suit_are_errors(classifier, samples, change, told):
    with pytest.raises(DataError, match=told):
        ask(classifier, ONE, samples=replace(samples, **change))


def test_outputs_that_are_no_scores_are_an_error(samples):
    one_output = linear_network(np.ones((1, 24), int), grid(4), weight_bits=4)
    with pytest.raises(DataError, match="no scores of classes"):
        ask(one_output, ONE, samples=samples)


def test_samples_come_from_files(tmp_path, classifier, samples):
    np.savez(tmp_path / "s.npz", x=samples.inputs, labels=samples.labels)
    read = read_samples(tmp_path / "s.npz")
    assert ask(classifier, ONE, samples=read) == ask(classifier, ONE, samples=samples)
    np.savez(tmp_path / "t.npz", x=samples.inputs)
    with pytest.raises(DataError, match="'labels'"):
        read_samples(tmp_path / "t.npz")
    with pytest.raises(InputFileError):
        read_samples(tmp_path / "no.npz")
    assert list(read_inputs(tmp_path / "s.npz")) == ["x"]
    np.savez(tmp_path / "u.npz", labels=samples.labels)
    with pytest.raises(DataError, match="no inputs"):
        read_inputs(tmp_path / "u.npz")


def test_a_comparison_survives_json(network):
    document = ask(network, ONE, MESH, make_accelerator(cell_bits=4, dac_bits=4, adc_bits=4))
    assert Comparison.model_validate_json(document.model_dump_json()) == document
