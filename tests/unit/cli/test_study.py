from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from commands import run as run_command
from studies import STUDY, write_study

from mho.cli.main import main
from mho.schemas import json_schema

GOLDEN = Path(__file__).parents[2] / "golden" / "study"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)


def run(capsys, *arguments, text=STUDY, code=0):
    Path("small.toml").write_text(text)
    return run_command(capsys, "study", "small.toml", *arguments, code=code)


def test_the_text(capsys, check_golden):
    text = run(capsys)
    check_golden(GOLDEN / "small.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    table = Path("studies/small/table.txt").read_text()
    assert "\n".join(line.rstrip() for line in text.splitlines()).startswith(table.rstrip())


def test_the_text_of_a_grid(capsys, check_golden):
    text = run(capsys, text=STUDY.replace("[study]", '[study]\ndesign = "grid"').replace("[3, 5]", "1"))
    check_golden(GOLDEN / "grid.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def test_the_csv(capsys, check_golden):
    content = run(capsys, "--format", "csv", "--directory", "out")
    check_golden(GOLDEN / "small.csv", content)
    assert content == Path("out/table.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [row["sweep"] for row in rows] == ["array.programming_error"] * 3 + ["converters.adc_bits"] * 3
    assert float(rows[0]["mean"]) == 1


def test_the_json(capsys):
    content = json.loads(run(capsys, "--format", "json"))
    jsonschema.validate(content, json_schema("study-result"))
    assert content == json.loads(Path("studies/small/result.json").read_text())


def test_charts_are_drawn_into_a_file(capsys):
    assert ".pdf" in run(capsys, "--draw", "x.pdf", code=2)
    assert not Path("studies").exists()
    run(capsys, "--draw", "x.svg")
    assert "array.programming_error" in Path("x.svg").read_text()


def test_progress_is_reported_on_standard_error(capsys):
    Path("small.toml").write_text(STUDY)
    assert main(["study", "small.toml"]) == 0
    message = capsys.readouterr().err.splitlines()
    assert message[0].startswith("1 of 10 chips")
    assert message[-1].startswith("10 of 10 chips")
    assert main(["study", "small.toml"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["study", "small.toml", "--fresh"]) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("10 of 10 chips")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[study]", "[studdy]", "did you mean 'study'?"),
        ("[study]", "[study", "not TOML"),
        ('file = "dense.mho"', "", "small.toml: program: give either file"),
        ('file = "dense.mho"', 'network = "dense.onnx"', "network and accelerator go together"),
        ('file = "dense.mho"', 'network = "x.onnx"\naccelerator = "no"', "there is no accelerator 'no'"),
        ('file = "dense.mho"', 'file = "no.mho"', "no.mho"),
        ('file = "dense.mho"', 'file = "samples.npz"', "samples.npz"),
        ('file = "samples.npz"', 'file = "no.npz"', "no.npz"),
        ('file = "samples.npz"', 'file = "calibration.npz"', "'labels', integers [N]"),
        ('file = "samples.npz"', 'file = "short.npz"', "x [3, 24]"),
        ('file = "samples.npz"', 'file = "narrow.npz"', "[40, 23]"),
        ('file = "samples.npz"', 'file = "far.npz"', "a label is 9"),
        ('file = "samples.npz"', 'file = "samples.npz"\nimages = 41', "at most 40"),
        ('file = "samples.npz"', "", "small.toml: data: missing"),
        ("[samples]", '[data]\nname = "digits"\n[samples]', "not from both"),
        ("on_off_ratio = 20", "on_off_ratio = 1", "array.on_off_ratio"),
        ("array.on_off_ratio = 20", 'converters.adc_range = "calibrated-layer"', "calibration.file"),
        (
            "[base]\narray.on_off_ratio = 20",
            '[calibration]\nfile = "narrow.npz"\n[base]\nconverters.adc_range = "calibrated-layer"',
            "[40, 23]",
        ),
        ("[base]", '[calibration]\nfile = "calibration.npz"\n[base]', "no point calibrates anything"),
        ("[0, 0.1, 0.3]", "[0, 0.1, 0.1]", "sweeps.array.programming_error: a value stands there twice"),
        ("[0, 0.1, 0.3]", "[true]", "sweeps.array.programming_error: is [True]"),
    ],
)
def test_bad_input_is_one_clear_error_before_anything_starts(capsys, old, new, message):
    inputs = np.ones((40, 24), np.float32)
    np.savez("short.npz", x=inputs[:3], labels=np.zeros(40, int))
    np.savez("narrow.npz", x=inputs[:, :23], labels=np.zeros(40, int))
    np.savez("far.npz", x=inputs, labels=np.full(40, 9))
    assert old in STUDY
    assert message in run(capsys, text=STUDY.replace(old, new), code=2)
    assert not Path("studies").exists()


def test_a_file_in_the_way_is_one_clear_error(capsys):
    Path("out").write_text("")
    assert "out" in run(capsys, "--directory", "out", code=2)
    assert "--data-root" in run(capsys, "--data-root", "data", code=2)
    assert main(["study", "small.toml", "--processes", "0"]) == 2
    assert main(["study", "no.toml"]) == 2
