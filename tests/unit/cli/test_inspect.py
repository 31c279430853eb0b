"""`mho inspect`: what a network, a program or an accelerator holds, as text and as JSON, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_networks import SeededChooser, random_network

import mho
from mho.cli.main import main
from mho.hardware.loading import accelerator_from_json, list_presets, load_accelerator, to_toml
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.program.container import write_program
from mho.program.lowering import compile_network
from mho.quantization.export import write_qcdq_onnx


@pytest.fixture
def network() -> Network:
    return random_network(SeededChooser(2))


@pytest.fixture
def model(network: Network, tmp_path: Path) -> str:
    write_qcdq_onnx(network, tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


def test_layers_widths_and_operations_of_a_network_are_shown(
    network: Network, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", model]) == 0
    text = capsys.readouterr().out
    assert "quantized" in text
    for node in network.mvm_nodes:
        (line,) = [line for line in text.splitlines() if node.name in line.split()]
        assert f"{node.quantization.weight.bits}/{node.quantization.input.bits}" in line
    assert f"{len(network.mvm_nodes)} MVM layers" in text


def test_the_json_has_what_the_text_shows(network: Network, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["quantized"] is True
    assert document["inputs"] == {tensor.name: list(tensor.shape) for tensor in network.inputs}
    for row, layer in zip(document["layers"], derive_layer_table(network), strict=True):
        assert (row["name"], row["outputs"], row["inputs"]) == (layer.name, layer.outputs, layer.inputs)
        assert row["weight_bits"] == network.node(layer.name).quantization.weight.bits


@pytest.mark.parametrize("options", [[], ["--format", "json"]])
def test_a_program_is_shown(
    network: Network, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    program = compile_network(network, load_accelerator("pelke2026-4bit"), metadata={})
    write_program(program, tmp_path / "p.mho")
    assert main(["inspect", str(tmp_path / "p.mho"), *options]) == 0
    text = capsys.readouterr().out
    for name in network.layer_names:
        assert name in text
    if options:
        assert [layer["name"] for layer in json.loads(text)["layers"]] == list(network.layer_names)


def test_weights_of_a_program_for_a_chip_are_written_once_into_all_copies(
    network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = mho.schedule(network, "pelke2026-4bit", crossbars=40, simulate=False)
    program = mho.compile_schedule(network, schedule)
    assert program.schedule is not None
    write_program(program, tmp_path / "p.mho")
    assert main(["inspect", str(tmp_path / "p.mho"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["chip_crossbars"] == program.schedule.used_crossbars
    written = sum(layer["copies"] * (layer["writes"] - layer["operand_writes"]) for layer in shown["layers"])
    operands = sum(layer["copies"] * layer["operand_writes"] for layer in shown["layers"])
    assert operands > 0
    assert sum(layer["copies"] * layer["tiles"] for layer in shown["layers"]) == shown["chip_crossbars"]
    assert main(["inspect", str(tmp_path / "p.mho")]) == 0
    text = capsys.readouterr().out
    assert f"{written} writes of weights, once for all samples; {operands} writes of operands" in text


def test_the_values_of_an_accelerator_are_shown_with_their_sources_and_marks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["inspect", "isaac"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (adc,) = [line for line in lines if line.split()[:1] == ["energy.adc_pj"]]
    assert "1.5625" in adc
    assert "8 ADCs of 8 bits take 16 mW" in adc
    (cycle,) = [line for line in lines if line.split()[:1] == ["interconnect.cycle_ns"]]
    assert "yours to set: 1 GHz" in cycle
    assert "yours to set: interconnect.cycle_ns, interconnect.hop_latency_cycles" in lines
    assert any(line.startswith("area 85.42 mm2") for line in lines)
    assert not any("energy.cell_read_pj" in line for line in lines)
    assert "9-bit ADC; time of conversions: within the MVM" in lines


def test_the_price_of_an_ideal_adc_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "pelke2026-4bit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ideal ADC (needs 12 bits); time of conversions: unspecified, they take no time of their own" in lines


def test_an_accelerator_file_is_shown_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(load_accelerator("puma")), encoding="utf-8")
    assert main(["inspect", str(path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("keys_to_set") == ["interconnect.hop_latency_cycles"]
    assert accelerator_from_json(document, where="printed") == load_accelerator("puma")


@pytest.mark.parametrize("target", ["nothing.onnx", "nothing.mho", "nothing.toml", "nothing"])
def test_what_is_not_there_is_one_clear_error(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", target]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert target in error
    assert "Traceback" not in error


def test_a_shape_that_is_none_is_reported(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model, "--input-shape", "3,x"]) == 2
    assert "is not a shape" in capsys.readouterr().err


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_shows_its_values_sources_and_marks(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", name]) == 0
    text = capsys.readouterr().out
    accelerator = load_accelerator(name)
    words = set(text.split())
    assert set(accelerator.sources) <= words
    for source in accelerator.sources.values():
        assert source[:40] in text
    seen = [line for line in text.splitlines() if line.startswith("yours to set: ")]
    assert seen == ([f"yours to set: {', '.join(accelerator.keys_to_set)}"] if accelerator.keys_to_set else [])
