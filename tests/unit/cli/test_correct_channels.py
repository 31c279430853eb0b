"""`mho correct-channels` and `mho simulate --corrections`: the same as in Python, and one clear error for bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bits import assert_same_bits
from commands import fails, made_once
from random_networks import random_inputs
from small_programs import grid, linear_network

import mho
from mho.array_files import read_arrays, write_arrays
from mho.cli.main import main
from mho.errors import MhoError
from mho.hardware.loading import accelerator_from_json, load_accelerator, to_toml
from mho.quantization.export import write_qcdq_onnx

ON_CHIP = ("simulate", "p.mho", "--inputs", "x.npz", "--seed", "5", "-o", "y.npz")
RECALIBRATE = ("correct-channels", "p.mho", "--inputs", "x.npz", "--seed", "5", "-o", "c.npz")
OLD = ("--hardware", "old.toml", "--elapsed-s", "1000")


def make_folder():
    """A program of one dense layer, inputs, and hardware that drifts, also with coarse ADCs."""
    network = linear_network(np.random.default_rng(0).integers(-7, 8, (5, 40)), grid(4))
    write_qcdq_onnx(network, "model.onnx")
    assert main(["compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "p.mho", "--mapping", "paper"]) == 0
    write_arrays("x.npz", random_inputs(network, 20))
    content = load_accelerator("pelke2026-4bit").to_json()
    content["array"].update(drift_exponent=0.1, programming_error=0.02)
    for name, converters in (("old", {}), ("coarse", {"adc_bits": 4, "adc_range": "calibrated-columns"})):
        content["converters"].update(converters)
        Path(f"{name}.toml").write_text(to_toml(accelerator_from_json(content, where=name)), encoding="utf-8")


folder = made_once(make_folder)


def test_a_chip_answers_better_with_its_corrections_and_as_in_python(folder, capsys):
    inputs, conditions = read_arrays("x.npz"), mho.Conditions(elapsed_s=1000)
    exact = mho.simulate("p.mho", inputs)["y"]
    assert main([*ON_CHIP, *OLD]) == 0
    plain = read_arrays("y.npz")["y"]
    assert main([*RECALIBRATE, *OLD]) == 0
    assert capsys.readouterr().out.endswith("c.npz: corrections of 1 layers, 5 channels; 5 change\n")
    assert main([*ON_CHIP, *OLD, "--corrections", "c.npz"]) == 0
    found = read_arrays("y.npz")
    assert np.square(found["y"] - exact).mean() < 0.1 * np.square(plain - exact).mean()
    given = {"seed": 5, "hardware": "old.toml", "conditions": conditions}
    corrections = mho.recalibrate("p.mho", inputs, **given)
    for one in (corrections, "c.npz", Path("c.npz")):
        assert_same_bits(mho.simulate("p.mho", inputs, **given, corrections=one), found)
    mho.save(corrections, "again.npz")
    assert (folder / "again.npz").read_bytes() == (folder / "c.npz").read_bytes()


def test_ranges_of_adcs_come_first(folder, capsys):
    chip = ("--hardware", "coarse.toml", "--elapsed-s", "1000")
    assert "mho calibrate" in fails(capsys, *RECALIBRATE, *chip)
    assert main(["calibrate-adcs", *RECALIBRATE[1:-1], "r.npz", *chip]) == 0
    assert main([*RECALIBRATE, *chip, "--ranges", "r.npz", "--batch-size", "7"]) == 0
    assert main([*ON_CHIP, *chip, "--ranges", "r.npz", "--corrections", "c.npz"]) == 0
    given = {"seed": 5, "hardware": "coarse.toml", "conditions": mho.Conditions(elapsed_s=1000), "ranges": "r.npz"}
    inputs = read_arrays("x.npz")
    corrections = mho.recalibrate("p.mho", inputs, **given)
    assert_same_bits(mho.simulate("p.mho", inputs, **given, corrections=corrections), read_arrays("y.npz"))


def test_what_was_found_elsewhere_is_refused_unless_that_is_said(folder, capsys):
    chip = ("--hardware", "coarse.toml", "--elapsed-s", "1000")
    assert main(["calibrate-adcs", *RECALIBRATE[1:-1], "r.npz", *chip]) == 0
    other = (*RECALIBRATE[:4], "--seed", "6", "-o", "c.npz", *chip, "--ranges", "r.npz")
    assert "ranges of ADCs were found with seed = 5, and it is 6" in fails(capsys, *other)
    assert main([*other, "--transferred"]) == 0
    assert "ranges from elsewhere: seed = 5 (here 6)\n" in capsys.readouterr().err
    assert main([*RECALIBRATE, *chip, "--ranges", "r.npz"]) == 0
    on_chip = (*ON_CHIP, *chip[:3], "2000", "--corrections", "c.npz")
    assert "elapsed_s = 1000.0, and it is 2000.0" in fails(capsys, *on_chip, "--ranges", "r.npz")
    assert main(["calibrate-adcs", *RECALIBRATE[1:-1], "r2.npz", *chip[:3], "2000"]) == 0
    assert "corrections were found with elapsed_s = 1000.0" in fails(capsys, *on_chip, "--ranges", "r2.npz")
    assert main([*on_chip, "--ranges", "r.npz", "--transferred"]) == 0
    message = capsys.readouterr().out
    for what in ("ranges", "corrections"):
        assert f"{what} from elsewhere: elapsed_s = 1000.0 (here 2000.0)\n" in message
    inputs, later = read_arrays("x.npz"), mho.Conditions(elapsed_s=2000)
    given = {"seed": 5, "hardware": "coarse.toml", "conditions": later, "ranges": "r.npz", "corrections": "c.npz"}
    assert_same_bits(mho.simulate("p.mho", inputs, **given, transferred=True), read_arrays("y.npz"))
    with pytest.raises(MhoError, match="found with elapsed_s"):
        mho.simulate("p.mho", inputs, **given)


def test_corrections_are_of_the_ranges_that_they_were_found_with(folder, capsys):
    chip = ("--hardware", "coarse.toml", "--elapsed-s", "1000")
    for name, method in (("r.npz", "mse"), ("r2.npz", "extremes")):
        assert main(["calibrate-adcs", *RECALIBRATE[1:-1], name, *chip, "--range-method", method]) == 0
    assert main([*RECALIBRATE, *chip, "--ranges", "r.npz"]) == 0
    message = fails(capsys, *ON_CHIP, *chip, "--ranges", "r2.npz", "--corrections", "c.npz")
    assert "corrections were found with ranges = " in message
    assert main([*ON_CHIP, *chip, "--ranges", "r2.npz", "--corrections", "c.npz", "--transferred"]) == 0
    assert "corrections from elsewhere: ranges = " in capsys.readouterr().out


def test_an_ideal_chip_changes_nothing_and_says_so(folder, capsys):
    assert main([*RECALIBRATE]) == 0
    assert capsys.readouterr().out.endswith("5 channels; 0 change\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "p.mho", "--inputs", "x.npz", "--corrections", "c.npz"), "--corrections is of a chip"),
        ((*ON_CHIP, "--corrections", "x.npz"), "holds no 'origin'"),
        ((*ON_CHIP, "--corrections", "none.npz"), "none.npz"),
        ((*ON_CHIP, "--transferred"), "--ranges or --corrections"),
        ((*RECALIBRATE, "--transferred"), "--ranges R.npz"),
        ((*RECALIBRATE, "--elapsed-s", "0"), "elapsed_s is 0"),
        ((*RECALIBRATE, "--ranges", "x.npz"), "holds no 'origin'"),
        ((*RECALIBRATE[:3], "old.toml", *RECALIBRATE[4:]), "old.toml"),
        ((*RECALIBRATE[:-1], "x.npz/c.npz"), "x.npz"),
    ],
)
def test_bad_input_is_one_clear_error(folder, capsys, arguments, message):
    assert message in fails(capsys, *arguments)


def test_corrections_of_another_program_are_refused(folder, capsys):
    assert main([*RECALIBRATE]) == 0
    main(["compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "p.mho", "--encoding", "offset"])
    assert "another program" in fails(capsys, *ON_CHIP, "--corrections", "c.npz")


def test_python_refuses_corrections_without_a_seed(folder):
    with pytest.raises(MhoError, match="a seed"):
        mho.simulate("p.mho", read_arrays("x.npz"), corrections="c.npz")
