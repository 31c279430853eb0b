"""`mho simulate --seed` and `mho calibrate-adcs`: programs on chips, and one clear error for bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bits import assert_same_bits
from commands import fails, made_once
from random_networks import random_inputs
from small_programs import grid, linear_network, matmul_network

import mho
from mho.array_files import read_arrays, write_arrays
from mho.cli.main import main
from mho.errors import MhoError
from mho.hardware.loading import accelerator_from_json, load_accelerator, to_toml
from mho.program.container import read_program
from mho.quantization.export import write_qcdq_onnx
from mho.simulation.adc_ranges import read_ranges

ON_CHIP = ("simulate", "p.mho", "--inputs", "x.npz", "--seed", "5")
CALIBRATE = ("calibrate-adcs", "p.mho", "--inputs", "x.npz", "--seed", "5", "-o", "r.npz")


def write_hardware(name, *, array=None, **converters):
    content = load_accelerator("pelke2026-4bit").to_json()
    content["converters"].update(converters)
    content["array"].update(array or {})
    content["name"] = name
    Path(f"{name}.toml").write_text(to_toml(accelerator_from_json(content, where=name)), encoding="utf-8")


def make_folder():
    """A program of one dense layer, inputs, the same with labels that exact integers get right, and hardware."""
    network = linear_network(np.random.default_rng(0).integers(-7, 8, (5, 40)), grid(4))
    write_qcdq_onnx(network, "model.onnx")
    assert main(["compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "p.mho", "--mapping", "paper"]) == 0
    inputs = random_inputs(network, 20)
    write_arrays("x.npz", inputs)
    exact = mho.simulate("p.mho", inputs)["y"]
    write_arrays("labelled.npz", {**inputs, "labels": exact.argmax(axis=1)})
    write_hardware("bad", array={"programming_error": 0.3})
    write_hardware("old", array={"drift_exponent": 0.05, "drift_activation_ev": 0.3, "read_disturb_reads": 100})
    write_hardware("stuck", array={"stuck_on_rate": 0.005, "stuck_off_rate": 0.02})
    write_hardware("pulses", array={"pulse_error": 0.01, "verify_pulses": 4})
    write_hardware("coarse", adc_bits=3)
    write_hardware("layer", adc_bits=3, adc_range="calibrated-layer")


folder = made_once(make_folder)


def outputs_of(*arguments):
    assert main([*arguments, "-o", "y.npz"]) == 0
    return read_arrays("y.npz")


def test_an_ideal_chip_gives_the_exact_integers_and_says_so(folder, capsys):
    exact = outputs_of("simulate", "p.mho", "--inputs", "x.npz")
    capsys.readouterr()
    assert_same_bits(outputs_of(*ON_CHIP), exact)
    out = capsys.readouterr().out
    assert "chip 5 of pelke2026-4bit, y: 0 of 20 samples (0.00 %) have another largest output" in out
    assert "deviation 0.00 %" in out
    assert "accuracy" not in out


def test_what_a_bad_chip_gets_wrong_is_reported_in_answers_and_labels(folder, capsys):
    arguments = ("simulate", "p.mho", "--inputs", "labelled.npz", "--seed", "5", "--hardware", "bad.toml")
    found = outputs_of(*arguments)["y"]
    labels = read_arrays("labelled.npz")["labels"]
    others = int((found.argmax(axis=1) != labels).sum())
    assert 0 < others < 20
    out = capsys.readouterr().out
    assert f"{others} of 20 samples ({5 * others:.2f} %) have another largest output" in out
    assert f"accuracy on 20 labels: {100 - 5 * others:.2f} % on the chip, 100.00 % with exact integers" in out
    main(["simulate", "p.mho", "--inputs", "labelled.npz", "--skip-zero-slices"])
    assert "accuracy on 20 labels: 100.00 % with exact integers" in capsys.readouterr().out
    assert_same_bits(outputs_of(*arguments, "--batch-size", "3"), {"y": found})
    assert (outputs_of(*(*arguments[:5], "6", *arguments[6:]))["y"] != found).any()


def test_conditions_are_those_of_python(folder):
    plain = outputs_of(*ON_CHIP, "--hardware", "old.toml")
    given = {"--elapsed-s": "1000", "--temperature-k": "350", "--reads": "10"}
    seen = [plain]
    for count in range(1, 4):
        options = [part for pair in list(given.items())[:count] for part in pair]
        seen.append(outputs_of(*ON_CHIP, "--hardware", "old.toml", *options))
        assert (seen[-1]["y"] != seen[-2]["y"]).any()
    conditions = mho.Conditions(elapsed_s=1000, temperature_k=350, reads=10)
    inputs = read_arrays("x.npz")
    assert_same_bits(mho.simulate("p.mho", inputs, seed=5, hardware="old.toml", conditions=conditions), seen[-1])


@pytest.mark.parametrize(
    ("per", "options"),
    [
        ("adc", ()),
        ("slice", ()),
        ("adc", ("--range-method", "extremes")),
        ("adc", ("--range-method", "percentile", "--share", "0.9")),
    ],
)
def test_calibrated_ranges_are_those_of_python_and_better_than_the_full_scale(folder, per, options):
    inputs, exact = read_arrays("x.npz"), outputs_of("simulate", "p.mho", "--inputs", "x.npz")["y"]
    assert main([*CALIBRATE, "--hardware", "coarse.toml", "--per", per, *options]) == 0
    found = outputs_of(*ON_CHIP, "--hardware", "coarse.toml", "--ranges", "r.npz")
    method = options[1] if options else "mse"
    share = {"share": 0.9} if "--share" in options else {}
    ranges = mho.calibrate("p.mho", inputs, seed=5, hardware="coarse.toml", per=per, method=method, **share)
    assert_same_bits(mho.simulate("p.mho", inputs, seed=5, hardware="coarse.toml", ranges=ranges), found)
    assert_same_bits(mho.simulate("p.mho", inputs, seed=5, hardware="coarse.toml", ranges="r.npz"), found)
    mho.save(ranges, "again.npz")
    assert (folder / "again.npz").read_bytes() == (folder / "r.npz").read_bytes()
    coarse = outputs_of(*ON_CHIP, "--hardware", "coarse.toml")["y"]
    assert np.square(found["y"] - exact).mean() < 0.5 * np.square(coarse - exact).mean()


def test_stuck_cells_and_what_placement_leaves_of_them_are_reported(folder, capsys):
    plain = outputs_of(*ON_CHIP, "--hardware", "stuck.toml")
    message = capsys.readouterr().out
    assert "of 400 cells deviate as mapped\n" in message
    placed = outputs_of(*ON_CHIP, "--hardware", "stuck.toml", "--placement", "fault-aware")
    assert ", 0 on the chosen lines; 0.0 % of the weighted squared error is left" in capsys.readouterr().out
    inputs = read_arrays("x.npz")
    found = mho.simulate("p.mho", inputs, seed=5, hardware="stuck.toml", placement="fault-aware")
    assert_same_bits(found, placed)
    assert_same_bits(placed, mho.simulate("p.mho", inputs))
    assert (plain["y"] != placed["y"]).any()


def test_pulses_and_their_time_are_reported(folder, capsys):
    outputs_of(*ON_CHIP, "--hardware", "pulses.toml")
    message = capsys.readouterr().out
    assert "written by 4.00 pulses a cell on average, at most 4; 224.00 us a crossbar; 100 % of cells stay" in message


def test_ranges_are_of_the_placement_that_they_were_found_with(folder, capsys):
    write_hardware("layer", array={"stuck_on_rate": 0.01}, adc_bits=3, adc_range="calibrated-layer")
    assert main([*CALIBRATE, "--hardware", "layer.toml", "--placement", "fault-aware"]) == 0
    on_chip = (*ON_CHIP, "--hardware", "layer.toml", "--ranges", "r.npz")
    assert "found with array.placement = fault-aware, and it is as-mapped" in fails(capsys, *on_chip)
    found = outputs_of(*on_chip, "--placement", "fault-aware")
    ranges = mho.calibrate("p.mho", read_arrays("x.npz"), seed=5, hardware="layer.toml", placement="fault-aware")
    options = {"ranges": ranges, "hardware": "layer.toml", "placement": "fault-aware"}
    assert_same_bits(mho.simulate("p.mho", read_arrays("x.npz"), seed=5, **options), found)


def test_what_was_found_is_reported(folder, capsys):
    assert main([*CALIBRATE, "--hardware", "layer.toml"]) == 0
    # Five outputs of one 4-bit digit each, in two columns each; 40 rows in one tile.
    out = capsys.readouterr().out
    assert out.endswith("r.npz: ranges of 3-bit ADCs for 1 layer, 1 tile, 10 conversions; 1 different range\n")
    assert main([*CALIBRATE, "--hardware", "layer.toml", "--per", "slice"]) == 0
    assert capsys.readouterr().out.endswith("10 conversions; 2 different ranges\n")
    assert read_ranges("r.npz").adc_range == "calibrated-slices"


def test_a_program_for_calibrated_adcs_answers_exactly_and_says_that_a_chip_does_not(folder, capsys):
    assert main(["compile", "model.onnx", "--accelerator", "layer.toml", "-o", "q.mho", "--mapping", "paper"]) == 0
    assert_same_bits(outputs_of("simulate", "q.mho", "--inputs", "x.npz"), mho.simulate("p.mho", read_arrays("x.npz")))
    assert "the ADCs of layer are calibrated: these outputs are those of ideal ADCs" in capsys.readouterr().out
    assert read_program("q.mho").accelerator.converters.adc_bits == 3
    assert "needs an ADC" not in fails(capsys, "simulate", "q.mho", "--inputs", "x.npz", "--seed", "1")
    refused = fails(
        capsys, "compile", "model.onnx", "--accelerator", "coarse.toml", "-o", "n.mho", "--mapping", "paper"
    )
    assert "converters.adc_range" in refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "p.mho", "--inputs", "x.npz", "--hardware", "bad.toml"), "--seed N"),
        (("simulate", "p.mho", "--inputs", "x.npz", "--elapsed-s", "3"), "--elapsed-s is of a chip"),
        (("simulate", "p.mho", "--inputs", "x.npz", "--reads", "0"), "--reads is of a chip"),
        (("simulate", "p.mho", "--inputs", "x.npz", "--ranges", "r.npz"), "--ranges is of a chip"),
        (("simulate", "p.mho", "--inputs", "x.npz", "--placement", "fault-aware"), "--placement is of a chip"),
        (("simulate", "p.mho", "--timing", "--seed", "3"), "--inputs X.npz"),
        ((*ON_CHIP, "--engine", "interpreter"), "engine of its own"),
        ((*ON_CHIP, "--elapsed-s", "0"), "elapsed_s is 0"),
        ((*ON_CHIP, "--elapsed-s", "1000", "--reads", "5"), "--elapsed-s changes nothing on pelke2026-4bit"),
        ((*ON_CHIP, "--hardware", "bad.toml", "--reads", "5"), "array.read_disturb_reads and conditions.reads"),
        ((*ON_CHIP, "--hardware", "bad.toml", "--placement", "fault-aware"), "--placement changes nothing on bad"),
        (
            (*CALIBRATE, "--hardware", "layer.toml", "--temperature-k", "350"),
            "--temperature-k changes nothing on layer",
        ),
        ((*ON_CHIP, "--temperature-k", "nan"), "temperature_k is nan"),
        ((*ON_CHIP, "--hardware", "nowhere.toml"), "nowhere.toml"),
        ((*ON_CHIP, "--hardware", "pelke2026-2bit"), "crossbar.cell_bits is 2"),
        ((*ON_CHIP, "--hardware", "layer.toml"), "mho calibrate"),
        ((*ON_CHIP, "--hardware", "layer.toml", "--ranges", "x.npz"), "holds no 'origin'"),
        ((*ON_CHIP, "--hardware", "layer.toml", "--ranges", "none.npz"), "none.npz"),
        ((*CALIBRATE,), "adc_bits is 'ideal'"),
        ((*CALIBRATE, "--per", "layer"), "adc_bits is 'ideal'"),
        ((*CALIBRATE, "--per", "slice"), "adc_bits is 'ideal'"),
        ((*CALIBRATE, "--hardware", "coarse.toml"), "'calibrated-layer', 'calibrated-slices' or 'calibrated-columns'"),
        ((*CALIBRATE, "--hardware", "coarse.toml"), "adc_range 'full-scale'"),
        ((*CALIBRATE, "--hardware", "layer.toml", "--share", "0.9"), "--range-method percentile"),
        ((*CALIBRATE, "--hardware", "layer.toml", "--range-method", "percentile", "--share", "2"), "share is 2"),
        ((*CALIBRATE[:3], "r.toml", *CALIBRATE[4:]), "r.toml"),
        ((*CALIBRATE[:-1], "x.npz/r.npz", "--hardware", "layer.toml"), "x.npz"),
    ],
)
def test_bad_input_is_one_clear_error(folder, capsys, arguments, message):
    assert message in fails(capsys, *arguments)


def test_ranges_of_another_program_and_labels_that_are_none_are_errors(folder, capsys):
    assert main([*CALIBRATE, "--hardware", "layer.toml"]) == 0
    main(["compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "q.mho", "--encoding", "offset"])
    other = ("simulate", "q.mho", *ON_CHIP[2:], "--hardware", "layer.toml", "--ranges", "r.npz")
    refused = fails(capsys, *other)
    assert "another program" in refused
    assert refused.startswith("error: r.npz: on ")
    write_arrays("odd.npz", {**read_arrays("x.npz"), "labels": np.zeros(20)})
    assert "labels" in fails(capsys, "simulate", "p.mho", "--inputs", "odd.npz", "--seed", "5")


def test_labels_are_checked_against_the_program_before_it_runs(folder, capsys, monkeypatch):
    monkeypatch.setattr("mho.simulation.analog.AnalogExecutor.run", None)
    monkeypatch.setattr("mho.simulation.executor.Executor.run", None)
    inputs = read_arrays("x.npz")
    for labels, message in (
        (np.zeros(19, int), "19 labels for 20 samples"),
        (np.full(20, 5), "a label is 5"),
        (np.full(20, 1 << 63, np.uint64), f"a label is {1 << 63}\n  expected: 0..4"),
    ):
        write_arrays("odd.npz", {**inputs, "labels": labels})
        for seed in ((), ("--seed", "5")):
            assert message in fails(capsys, "simulate", "p.mho", "--inputs", "odd.npz", *seed)


def test_python_refuses_what_is_of_a_chip_without_a_seed_and_engines_with_one(folder):
    inputs = read_arrays("x.npz")
    for given in (
        {"hardware": "bad.toml"},
        {"conditions": mho.Conditions(3)},
        {"ranges": "r.npz"},
        {"placement": "as-mapped"},
    ):
        with pytest.raises(MhoError, match="a seed"):
            mho.simulate("p.mho", inputs, **given)
    with pytest.raises(MhoError, match="engine of its own"):
        mho.simulate("p.mho", inputs, engine="interpreter", seed=1)
    with pytest.raises(MhoError, match="seed -1"):
        mho.simulate("p.mho", inputs, seed=-1)
    with pytest.raises(MhoError, match="placement is 'best'"):
        mho.simulate("p.mho", inputs, seed=1, placement="best")
    with pytest.raises(MhoError, match="method is 'best'"):
        mho.calibrate("p.mho", inputs, seed=1, hardware="layer.toml", method="best")


def test_a_program_without_cells_has_no_ranges_and_says_so(folder, capsys):
    network = matmul_network()
    content = load_accelerator("pelke2026-4bit").to_json()
    content["converters"].update(adc_bits=6, adc_range="calibrated-layer")
    content["digital"].update(operation_latency_us=0.000001)  # quicker than writing cells for every sample
    program = mho.compile(network, accelerator_from_json(content, where="quick"))
    mho.save(program, "quick.mho")
    write_arrays("quick.npz", random_inputs(network, 2))
    capsys.readouterr()
    assert main(["calibrate-adcs", "quick.mho", "--inputs", "quick.npz", "--seed", "1", "-o", "r.npz"]) == 0
    assert (
        capsys.readouterr().out
        == "r.npz: ranges of 6-bit ADCs for 0 layers, 0 tiles, 0 conversions; 0 different ranges\n"
    )
