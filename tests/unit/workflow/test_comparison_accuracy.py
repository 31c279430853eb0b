"""Accuracies of a comparison are those that arrays, converters and time leave."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from accelerators import make_accelerator, with_array
from chip_networks import make_residual
from chip_schedules import ACCELERATOR as MESH
from comparisons import ONE, ask, run_of
from small_programs import grid, linear_network

import mho
from mho.array.conductances import Conditions
from mho.cost_model.layer_tables import network_policy
from mho.errors import ConfigError, DataError, InputFileError
from mho.evaluation.chips import ChipEvaluation
from mho.evaluation.samples import LabelledSamples, read_inputs, read_samples
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.ptq import quantize
from mho.report.comparison_document import ChipAccuracy
from mho.report.comparison_text import print_comparison
from mho.scheduling.chip_schedule import schedule_network
from mho.simulation.analog import AnalogExecutor
from mho.terminal import Console
from mho.workflow.comparison import ComparisonRequest, compare_accelerators


@pytest.fixture(scope="module")
def network():
    return make_residual()


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
    """Copies are other cells; what a chip answers is that of one copy of each layer."""
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


def test_chips_that_are_all_alike_are_simulated_once(classifier, samples, monkeypatch):
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


def test_what_cannot_be_reported_of_a_later_time_leaves_what_is_reported_of_today(classifier, samples):
    slow = {"drift_exponent": 0.2, "drift_reference_s": 50}
    drifting = with_array(make_accelerator(rows=16, cols=16), **slow)
    (line,) = ask(classifier, drifting, samples=samples, elapsed_s=10).accelerators
    assert line.run.accuracy == chips_of(classifier, drifting, samples, None)
    assert line.run.aged_accuracy is None
    assert "before array.drift_reference_s" in line.run.accuracy_problem


def test_bits_of_conversions_that_a_policy_gives_are_reported(classifier, samples):
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
    printed = StringIO()
    print_comparison(Console(file=printed, width=250), document)
    assert "at 4/4/3 on 2 accelerators" in printed.getvalue()
    assert re.search(r"test +16 x 16 +\S+ +\S+ +\S+ +3 \(", printed.getvalue())
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
    for keys, message in (
        ({"chips": 0}, "chips is 0"),
        ({"elapsed_s": 0.0}, "elapsed_s"),
        ({"recalibrates": True}, "needs"),
    ):
        with pytest.raises(ConfigError, match=message):
            ChipEvaluation(samples, **keys)


def test_without_samples_no_accuracy_is_reported(classifier):
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
    ("change", "message"),
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
def test_samples_that_do_not_suit_are_errors(classifier, samples, change, message):
    with pytest.raises(DataError, match=message):
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
