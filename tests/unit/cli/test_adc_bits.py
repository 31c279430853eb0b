"""ADC bits of layers on the command line: what costs show, what programs carry, what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_chain
from commands import fails, made_once

from mho.array_files import write_arrays
from mho.cli.main import main
from mho.cost_model.document import CostDocument
from mho.hardware.loading import to_toml
from mho.policy import BitWidths, Policy
from mho.program.container import read_program
from mho.quantization.export import write_qcdq_onnx
from mho.quantization.ptq import quantize

CONVERTERS = {"adc_range": "calibrated-columns", "adc_latency_us_per_bit": 0.2, "columns_per_adc": 4}
HARDWARE = make_accelerator(32, 32, 2, adc_bits=8, crossbars=20, converters=CONVERTERS, energy={"adc_pj_per_bit": 1})
NETWORK = make_chain()
FIRST, SECOND = NETWORK.layer_names


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MHO_CACHE_DIR", str(tmp_path / "cache"))


def make_folder():
    """A model at 4/4, an accelerator, policies and inputs."""
    samples = np.random.default_rng(0).standard_normal((4, 1, 6, 6)).astype(np.float32)
    policy = Policy.uniform(NETWORK.layer_names, BitWidths(4, 4))
    write_qcdq_onnx(quantize(NETWORK, policy, samples), "model.onnx")
    write_arrays("x.npz", {NETWORK.inputs[0].name: samples})
    Path("hw.toml").write_text(to_toml(HARDWARE), encoding="utf-8")
    for name, one in (
        ("plain", policy),
        ("adc", policy.with_adc_bits({SECOND: 5})),
        ("other", policy.replace({FIRST: BitWidths(3, 4, 5)})),
        ("many", policy.with_adc_bits({SECOND: 9})),
    ):
        Path(f"{name}.json").write_text(json.dumps(one.to_json()), encoding="utf-8")


folder = made_once(make_folder)


def cost(capsys, policy, *more):
    assert main(["cost", "model.onnx", "--accelerator", "hw.toml", "--policy", policy, *more]) == 0
    return capsys.readouterr().out


def test_costs_show_adc_bits_where_a_layer_has_its_own(folder, capsys):
    text = cost(capsys, "adc.json")
    assert "W/A/ADC" in text
    assert "4/4/5" in text
    limited, plain = (
        json.loads(cost(capsys, f"{name}.json", "--format", "json", "--energy")) for name in ("adc", "plain")
    )
    assert [row.get("adc_bits") for row in limited["layers"]] == [None, 5]
    assert [row.get("adc_bits", "no key") for row in plain["layers"]] == ["no key"] * 2
    assert "adc_bits" not in limited["layers"][0]
    assert limited["layers"][0]["latency_us"] == plain["layers"][0]["latency_us"]
    assert limited["layers"][1]["latency_us"] < plain["layers"][1]["latency_us"]
    assert limited["energy"]["layers"][1]["components_pj"]["adc"] == pytest.approx(
        plain["energy"]["layers"][1]["components_pj"]["adc"] * 5 / 8
    )
    CostDocument.model_validate(limited)
    rows = list(csv.DictReader(io.StringIO(cost(capsys, "adc.json", "--format", "csv"))))
    assert [row["adc_bits"] for row in rows] == ["", "5"]
    assert "adc_bits" not in cost(capsys, "plain.json", "--format", "csv")
    assert "W/A/ADC" not in cost(capsys, "plain.json")


@pytest.mark.parametrize("chip", [("--crossbars", "1"), ()])
def test_a_program_carries_adc_bits_from_the_policy_to_the_chip(folder, capsys, chip):
    compile_with = ["compile", "model.onnx", "--accelerator", "hw.toml", *chip]
    assert main([*compile_with, "-o", "p.mho", "--policy", "adc.json"]) == 0
    assert main([*compile_with, "-o", "q.mho"]) == 0
    assert {layer.name: layer.adc_bits for layer in read_program("p.mho").layers} == {FIRST: None, SECOND: 5}
    assert {layer.adc_bits for layer in read_program("q.mho").layers} == {None}
    assert read_program("p.mho").metadata["policy"]["layers"][SECOND]["adc_bits"] == 5
    capsys.readouterr()
    assert main(["disassemble", "p.mho"]) == 0
    assert capsys.readouterr().out.count("5-bit conversions") == 1
    for file, bits in (("p.mho", [None, 5]), ("q.mho", [None, None])):
        assert main(["inspect", file, "--format", "json"]) == 0
        assert [layer["adc_bits"] for layer in json.loads(capsys.readouterr().out)["layers"]] == bits
        assert main(["inspect", file]) == 0
        assert ("ADC bits" in capsys.readouterr().out) is (file == "p.mho")
    assert main(["calibrate-adcs", "q.mho", "--inputs", "x.npz", "--seed", "1", "-o", "r.npz"]) == 0
    assert "ranges of 8-bit ADCs" in capsys.readouterr().out
    assert main(["calibrate-adcs", "p.mho", "--inputs", "x.npz", "--seed", "1", "-o", "r.npz"]) == 0
    assert "ranges of 5 to 8-bit ADCs" in capsys.readouterr().out
    assert main(["simulate", "p.mho", "--inputs", "x.npz", "--seed", "1", "--ranges", "r.npz", "-o", "y.npz"]) == 0
    assert "other program" in fails(
        capsys, "simulate", "q.mho", "--inputs", "x.npz", "--seed", "1", "--ranges", "r.npz", "-o", "y.npz"
    ).replace("another program", "other program")


@pytest.mark.parametrize(
    ("policy", "accelerator", "message"),
    [
        ("other.json", "hw.toml", "3/4/5, and the model has 4/4"),
        ("many.json", "hw.toml", "converted with 9 bits"),
        ("adc.json", "pelke2026-4bit", "ADCs are ideal"),
        ("missing.json", "hw.toml", "missing.json"),
    ],
)
def test_policies_that_do_not_suit_model_or_adcs_are_refused(folder, capsys, policy, accelerator, message):
    asked = ("compile", "model.onnx", "--accelerator", accelerator, "-o", "p.mho", "--policy", policy)
    assert message in fails(capsys, *asked)
