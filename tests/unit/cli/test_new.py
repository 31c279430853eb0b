"""Files that `mho new` writes: mho takes them as they are."""

import shlex
from pathlib import Path
from typing import get_args

import pytest
from commands import fails, run

import mho
from mho.hardware.loading import list_presets, load_accelerator
from mho.task.task import TaskKind
from mho.workflow.config import load_config


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("preset", list_presets())
def test_an_accelerator_like_a_preset_is_that_preset(preset, capsys):
    run(capsys, "new", "accelerator", f"{preset}.toml", "--like", preset)
    assert mho.accelerator(f"./{preset}.toml") == load_accelerator(preset).model_copy(
        update={"description": f"Begun from {preset}."}
    )


def test_options_are_values_of_the_accelerator_and_lose_the_source_of_the_preset(capsys):
    options = shlex.split("--rows 64 --adc-bits 6 --mvm-latency-us 0.25 --encoding offset --crossbars 8")
    run(capsys, "new", "accelerator", "my.toml", *options)
    made = mho.accelerator("my.toml")
    assert (made.crossbar.rows, made.converters.adc_bits, made.chip.crossbars) == (64, 6, 8)
    assert str(made.crossbar.mvm_latency_us) == "0.25"
    assert [str(one) for one in made.mapping.allowed.encodings] == ["offset"]
    assert "crossbar.rows" not in made.sources
    assert "crossbar.cols" in made.sources


def test_figures_of_datasheets_are_options(capsys):
    options = "--adc-range calibrated-columns --columns-per-adc 8 --programming-error 2e-2 --read-noise 0.01"
    run(capsys, "new", "accelerator", "my.toml", *shlex.split(options), "--encoding", "differential-columns")
    made = mho.accelerator("my.toml")
    assert (made.converters.adc_range, made.converters.columns_per_adc) == ("calibrated-columns", 8)
    assert (float(made.array.programming_error), float(made.array.read_noise)) == (0.02, 0.01)
    assert [str(one) for one in made.mapping.allowed.encodings] == ["differential-columns"]
    assert {"mapping.encoding", "mapping.allowed"} & set(made.sources) == set()


def test_a_run_is_one(capsys):
    Path("below").mkdir()
    run(capsys, "new", "accelerator", "my.toml")
    run(
        capsys, "new", "run", "below/first.toml", "--accelerator", "my.toml", "--data", "npz", "--data-root", "data.npz"
    )
    made = load_config("below/first.toml")
    assert made.run.name == "first"
    assert Path(made.accelerator.name).resolve() == Path("my.toml").resolve()
    assert made.data.root is not None
    assert made.data.root.resolve() == Path("data.npz").resolve()
    assert made.search.allowed_drop == 1


def test_a_run_without_options_is_that_of_digits(capsys):
    run(capsys, "new", "run", "digits.toml")
    made = load_config("digits.toml")
    assert (made.network.name, made.data.name, made.accelerator.name) == ("resnet8", "digits", "pelke2026-4bit")


@pytest.mark.parametrize("kind", get_args(TaskKind))
def test_a_run_of_every_task_is_one(kind, capsys):
    Path("below").mkdir()
    options = ("--task", kind, "--network", "net.py:make", "--data", "data.py:make", "--allowed-drop", "0.25")
    run(capsys, "new", "run", "below/other.toml", *options)
    made = load_config("below/other.toml")
    assert (made.task.task().kind, made.search.allowed_drop) == (kind, 0.25)
    for name, file in ((made.network.name, "net.py"), (made.data.name, "data.py")):
        assert Path(name.partition(":")[0]).resolve() == Path(file).resolve()


def test_a_file_that_is_there_is_replaced_by_force_alone(capsys):
    Path("a.toml").write_text("mine")
    assert "--force replaces it" in fails(capsys, "new", "accelerator", "a.toml")
    assert Path("a.toml").read_text() == "mine"
    run(capsys, "new", "accelerator", "a.toml", "--force")
    assert mho.accelerator("a.toml").name == "a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "a.toml", "--rows", "4"], "--rows is no option of a new run"),
        (["accelerator", "a.toml", "--network", "resnet8"], "--network is no option of a new accelerator"),
        (["accelerator", "a"], "a.toml"),
        (["accelerator", "a.toml", "--cell-bits", "99"], "crossbar.cell_bits: is 99"),
        (["accelerator", "a.toml", "--adc-bits", "few"], "converters.adc_bits: is 'few'"),
        (["run", "a.toml", "--data", "cifar10"], "needs 'root'"),
        (["run", "a.toml", "--task", "segmentatoin"], "did you mean 'segmentation'?"),
        (["run", "a.toml", "--task", "segmentation"], "data 'digits' has one class a sample"),
        (["run", "a.toml", "--task", "regression", "--data", "d.py:f"], "how much worse the mean squared error"),
        (["accelerator", "a.toml", "--task", "regression"], "--task is no option of a new accelerator"),
        (["run", "a.toml", "--accelerator", "isac"], "did you mean 'isaac'?"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(arguments, message, capsys):
    assert message in fails(capsys, "new", *arguments)
    assert not Path("a.toml").exists()


def test_what_no_option_gives_is_asked_on_a_terminal(monkeypatch, capsys):
    asked = {}

    def prompt(question, *, default):
        asked[question] = default
        return {"Columns of a crossbar": "32", "Bits of an ADC, or ideal": "6"}.get(question, default)

    monkeypatch.setattr("mho.cli.new.can_ask", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    run(capsys, "new", "accelerator", "my.toml", "--rows", "64")
    made = mho.accelerator("my.toml")
    assert (made.crossbar.rows, made.crossbar.cols, made.converters.adc_bits) == (64, 32, 6)
    assert "Rows of a crossbar" not in asked
    assert asked["Bits of a cell"] == "4"
    assert "crossbar.cell_bits" in made.sources
    assert "crossbar.cols" not in made.sources
