from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import jsonschema
import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_residual
from commands import run as run_command
from small_programs import grid, linear_network

from mho.errors import InputFileError
from mho.hardware.loading import accelerator_from_json, to_toml
from mho.schemas import json_schema
from mho.workflow.comparison import ComparisonRequest, compare_accelerators

GOLDEN = Path(__file__).parents[2] / "golden" / "comparison"


def make_dense():
    return linear_network(np.random.default_rng(3).integers(-8, 8, (6, 24)), grid(4), weight_bits=4)


@pytest.fixture(scope="module")
def networks():
    return {"residual": make_residual(), "dense": make_dense()}


def name_it(accelerator, name, **sources):
    return accelerator_from_json({**accelerator.to_json(), "name": name, "sources": sources}, where=name)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path, networks):
    """Stand in for the reader of networks, and put accelerators of each kind into the working directory."""
    from chip_schedules import ACCELERATOR as HELD
    from reload_schedules import ACCELERATOR as FEW

    def load_network(spec, *, input_shape=None):
        if spec not in networks:
            raise InputFileError("there is no such network", where=spec)
        return networks[spec]

    module = ModuleType("mho.network.loading")
    module.load_network = load_network
    monkeypatch.setitem(sys.modules, "mho.network.loading", module)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    poor = make_accelerator(cell_bits=4, dac_bits=4, adc_bits=4)
    noisy = make_accelerator(rows=16, cols=16, array={"programming_error": 0.4})
    aging = make_accelerator(rows=16, cols=16, array={"drift_exponent": 0.1, "drift_exponent_std": 0.05})
    ranged = make_accelerator(rows=16, cols=16, adc_bits=4, converters={"adc_range": "calibrated-layer"})
    to_set = {"crossbar.rows": "yours to set: 16"}
    hardware = {"held": HELD, "few": FEW, "poor": poor, "noisy": noisy, "aging": aging, "ranged": ranged}
    for name, accelerator in hardware.items():
        named = name_it(accelerator, name, **(to_set if name == "noisy" else {}))
        (tmp_path / f"{name}.toml").write_text(to_toml(named))
    inputs = np.random.default_rng(4).uniform(0, 3.75, (40, 24)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=inputs, labels=np.arange(40) % 6)


ALL = "held.toml,few.toml,noisy.toml,poor.toml"


def run(capsys, *arguments, network="residual", accelerators=ALL, code=0):
    return run_command(capsys, "compare", network, "--accelerators", accelerators, *arguments, code=code)


def compare_json(capsys, *arguments, **keywords):
    content = json.loads(run(capsys, "--format", "json", *arguments, **keywords))
    jsonschema.validate(content, json_schema("comparison"))
    return content


def test_the_text(capsys, check_golden):
    text = run(capsys, "--bits", "4/8", "--batch", "2")
    check_golden(GOLDEN / "residual.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def test_the_text_with_accuracies(capsys, check_golden):
    text = run(capsys, "--data", "samples.npz", network="dense", accelerators="held.toml,few.toml")
    check_golden(GOLDEN / "accuracy.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def test_the_text_with_several_chips_later(capsys, check_golden):
    options = ["--data", "samples.npz", "--chip-samples", "samples.npz", "--chips", "3", "--elapsed-s", "86400"]
    text = run(capsys, *options, network="dense", accelerators="noisy.toml,aging.toml,ranged.toml")
    check_golden(GOLDEN / "chips.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def test_the_json(capsys, check_golden):
    content = run(capsys, "--bits", "4/8", "--format", "json", accelerators="few.toml,poor.toml")
    jsonschema.validate(json.loads(content), json_schema("comparison"))
    check_golden(GOLDEN / "residual.json", content)


def test_the_bound_on_errors_is_that_of_every_accelerator(capsys):
    def latencies(*options):
        content = compare_json(capsys, "--bits", "4/4", *options, accelerators="noisy.toml,held.toml")
        return [line["run"]["latency_us"] for line in content["accelerators"]]

    (fastest, exact), (slow, same) = latencies("--max-error", "none"), latencies("--max-error", "least")
    assert fastest < slow
    assert exact == same, "nothing errs there"
    assert "best mapping" in run(capsys, "--max-error", "0.1", "--mapping", "paper", code=2)


def test_presets_and_files_keep_their_order(capsys):
    content = compare_json(capsys, accelerators=" stt-mram , ./few.toml,hermes-pcm")
    assert [line["accelerator"] for line in content["accelerators"]] == ["stt-mram", "few", "hermes-pcm"]


def test_widths_are_the_networks_own_or_eight_bits(capsys):
    assert {layer["weight_bits"] for layer in compare_json(capsys)["layers"]} == {8}
    assert {layer["weight_bits"] for layer in compare_json(capsys, network="dense")["layers"]} == {4}


def test_options_reach_the_comparison(capsys, networks, tmp_path):
    names = ("first", "second", "third", "head")
    policy = {"layers": {name: {"weight_bits": 3, "act_bits": 5} for name in names}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    content = compare_json(
        capsys, "--policy", "policy.json", "--crossbars", "60", "--mapping", "paper", "--no-simulate", "--batch", "3"
    )
    assert {(layer["weight_bits"], layer["act_bits"]) for layer in content["layers"]} == {(3, 5)}
    assert [line["run"] and line["run"]["crossbars"] for line in content["accelerators"]] == [60, 60, 60, None]
    assert (content["mapping"], content["batch"]) == ("paper", 3)
    assert "interconnect" in content["accelerators"][0]["run"]["energy_untold"]


def test_accuracies_are_those_of_the_python_function(capsys, networks):
    from mho.cost_model.layer_tables import network_policy
    from mho.evaluation.chips import ChipEvaluation
    from mho.evaluation.samples import read_inputs, read_samples
    from mho.hardware.loading import load_accelerator

    options = [
        "--seed",
        "3",
        "--chips",
        "2",
        "--elapsed-s",
        "100",
        "--chip-samples",
        "samples.npz",
        "--correct-channels",
    ]
    content = compare_json(capsys, "--data", "samples.npz", *options, network="dense", accelerators="noisy.toml")
    dense, hardware = networks["dense"], load_accelerator("./noisy.toml")
    evaluation = ChipEvaluation(read_samples("samples.npz"), 3, 2, 100, read_inputs("samples.npz"), recalibrates=True)
    request = ComparisonRequest(dense, network_policy(dense), evaluation=evaluation)
    assert content == json.loads(compare_accelerators(request, [hardware], name="dense").model_dump_json())
    assert (content["seed"], content["chips"], content["elapsed_s"]) == (3, 2, 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "9/8"], "weight_bits is 9"),
        (["--bits", "8/8", "--policy", "p.json"], "--policy and --bits were given together"),
        (["--policy", "p.json"], "did you mean 'third'?"),
        (["--seed", "1"], "--data X.npz beside it"),
        (["--chips", "2"], "--chips is for simulated chips"),
        (["--elapsed-s", "9"], "--data X.npz beside it"),
        (["--chip-samples", "samples.npz"], "--data X.npz beside it"),
        (["--data", "samples.npz", "--correct-channels"], "--chip-samples C.npz beside it"),
        (["--data", "samples.npz", "--elapsed-s", "-1"], "elapsed_s is -1"),
        (["--data", "samples.npz"], "the network is not quantized"),
        (["--data", "no.npz"], "no.npz"),
        (["--data", "held.toml"], "held.toml"),
    ],
)
def test_bad_input_is_one_clear_error_and_exit_code_2(capsys, tmp_path, arguments, message):
    names = ("first", "second", "thrid", "head")
    widths = {"weight_bits": 4, "act_bits": 4}
    (tmp_path / "p.json").write_text(json.dumps({"layers": dict.fromkeys(names, widths)}))
    assert message in run(capsys, *arguments, code=2)


def test_files_of_one_name_are_distinguished(capsys, tmp_path):
    (tmp_path / "more.toml").write_text((tmp_path / "few.toml").read_text())
    content = compare_json(capsys, accelerators="few.toml,more.toml")
    assert [line["accelerator"] for line in content["accelerators"]] == ["few (few.toml)", "few (more.toml)"]


@pytest.mark.parametrize(
    ("accelerators", "message"),
    [
        ("hermes-pcm,neuram", "did you mean 'neurram'"),
        ("hermes-pcm,,neurram", "a name is missing"),
        ("", "a name is missing"),
        ("isaac,isaac", "'isaac' is named twice"),
        (",", "a name is missing"),
    ],
)
def test_accelerators_that_cannot_be_found_are_errors(capsys, accelerators, message):
    assert message in run(capsys, accelerators=accelerators, code=2)


def test_an_unknown_network_is_an_error(capsys):
    assert "there is no such network" in run(capsys, network="vgg", code=2)


def test_check_tries_the_first_accelerator_and_changes_nothing(capsys):
    found = json.loads(run(capsys, "--check", "--json", accelerators="held.toml,noisy.toml"))
    assert [step["name"] for step in found["steps"]] == ["held", "noisy"]
    assert "samples" not in found["facts"]
    given = ("--data", "samples.npz", "--chips", "3", "--elapsed-s", "10", "--check", "--json")
    found = json.loads(run(capsys, *given, network="dense", accelerators="noisy.toml"))
    assert found["facts"]["samples"] == "40 on 3 chips of each, 2 times"
    assert found["seconds"] > 0
