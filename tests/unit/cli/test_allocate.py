"""`mho allocate`: a float file and samples become a policy that `mho quantize` takes."""

import json
from pathlib import Path

import numpy as np
import pytest
from chip_networks import make_residual
from commands import fails, made_once, run

import mho

NAMES = make_residual().layer_names


def make_folder():
    """A float network, samples, and an accelerator on whose crossbars its layers take more than one each."""
    mho.save(make_residual(), "float.onnx")
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(32, 1, 2, 8, 8)).astype(np.float32))
    samples = np.load("x.npz")["x"]
    mho.save(mho.quantize(make_residual(), "8/8", samples), "quantized.onnx")
    text = Path(mho.__file__).parent.joinpath("hardware/presets/isaac.toml").read_text()
    sizes = {"rows = 128": "rows = 16", "cols = 128": "cols = 4", "columns_per_adc = 128": "columns_per_adc = 4"}
    for old, new in sizes.items():
        text = text.replace(old, new)
    Path("small.toml").write_text(text)


folder = made_once(make_folder)
COMMAND = ["allocate", "float.onnx", "--accelerator", "small.toml", "--activation-samples", "x.npz", "-o", "found.json"]


def test_the_policy_that_is_written_keeps_the_budget_and_quantizes(folder, capsys):
    printed = run(capsys, *COMMAND, "--cost-budget", "0.7", "--pin", f"{NAMES[0]}=8/8")
    assert "instead of" in printed
    policy = mho.Policy.load("found.json")
    assert policy[NAMES[0]] == mho.BitWidths(8, 8)
    assert set(policy.layers.values()) <= {mho.BitWidths(bits, 8) for bits in (4, 6, 8)}
    run(capsys, "quantize", "float.onnx", "--activation-samples", "x.npz", "--policy", "found.json", "-o", "q.onnx")
    samples = np.load("x.npz")["x"]
    network, pins = mho.load("float.onnx"), {NAMES[0]: "8/8"}
    measured = mho.measure_divergences(network, samples, layers=NAMES[1:])
    again = mho.allocate(network, "small.toml", measured, cost_budget=0.7, pins=pins)
    assert again.policy == policy
    assert 0.4 < again.share <= 0.7


def test_options_reach_the_measurement_and_the_allocation(folder, capsys):
    options = [
        "--cost-budget", "1", "--widths", "3/4,8/8", "--objective", "energy", "--effort", "good",
        "--probed-samples", "5", "--task", "classification",
    ]  # fmt: skip
    found = json.loads(run(capsys, *COMMAND, *options, "--json"))
    assert (found["samples"], found["effort"], found["unit"], found["objective"]) == (5, "good", "aJ", "energy")
    assert set(found["layers"]) == set(found["divergences"]) == set(NAMES)
    assert all(list(own) == ["3/4", "8/8"] for own in found["divergences"].values())
    network = mho.load("float.onnx")
    measured = mho.measure_divergences(
        network, np.load("x.npz")["x"], widths=("3/4", "8/8"), effort="good", probed_samples=5
    )
    again = mho.allocate(network, "small.toml", measured, cost_budget=1.0, objective="energy")
    printed = {key: value for key, value in found.items() if key != "output"}
    assert {**again.to_json(), **measured.to_json()} == printed


def test_divergences_that_were_written_serve_another_budget(folder, capsys):
    run(capsys, *COMMAND, "--cost-budget", "0.9", "--write-divergences", "measured.json")
    wide = mho.Policy.load("found.json")
    command = [*COMMAND[:4], "--divergences", "measured.json", "-o", "narrow.json"]
    found = json.loads(run(capsys, *command, "--cost-budget", "0.6", "--json"))
    narrow = mho.Policy.load("narrow.json")
    assert narrow != wide
    measured = mho.LayerDivergences.load("measured.json")
    assert {key: found[key] for key in measured.to_json()} == measured.to_json()
    again = mho.allocate(mho.load("float.onnx"), "small.toml", measured, cost_budget=0.6)
    assert (again.policy, again.cost) == (narrow, found["cost"])
    assert "--effort: is for measurements" in fails(capsys, *command, "--cost-budget", "0.6", "--effort", "good")
    assert "one of both" in fails(capsys, *command, "--cost-budget", "0.6", "--activation-samples", "x.npz")
    assert "one of both" in fails(capsys, *COMMAND[:4], "-o", "narrow.json", "--cost-budget", "0.6")
    assert "replace a file" in fails(capsys, *command, "--cost-budget", "0.6", "-o", "measured.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cost-budget", "0.1"], "the cheapest policy costs"),
        (["--cost-budget", "2 km"], "cost budget"),
        (["--cost-budget", "0.9", "--widths", "4/8"], "two or more"),
        (["--cost-budget", "0.9", "--widths", "4/8,eight"], "eight"),
        (["--cost-budget", "0.9", "--pin", "head"], "LAYER=W/A"),
        (["--cost-budget", "0.9", "--pin", "head=8/8", "--pin", "head=4/8"], "two pins"),
        (["--cost-budget", "0.9", "--pin", "haed=8/8"], "haed"),
        (["--cost-budget", "0.9", "--task", "guessing"], "unknown kind of task"),
        (["--cost-budget", "0.9", "--task", "segmentation"], "name the task"),
        (["--cost-budget", "0.9", "--objective", "speed"], "objective is 'speed'"),
        (["--cost-budget", "0.9", "--effort", "bets"], "effort is 'bets'"),
        (["--cost-budget", "0.9", "--activation-samples", "missing.npz"], "missing.npz"),
    ],
)
def test_errors_name_what_is_wrong(folder, capsys, arguments, message):
    assert message in fails(capsys, *COMMAND, *arguments)
    assert not Path("found.json").exists()


def test_a_quantized_file_and_files_that_are_read_are_refused(folder, capsys):
    command = [*COMMAND, "--cost-budget", "0.9"]
    assert "quantized" in fails(capsys, "allocate", "quantized.onnx", *command[2:])
    assert "replace a file" in fails(capsys, *command, "-o", "small.toml")
