"""`mho quantize`: a float file and samples become a file that `mho cost` and `mho compile` take at its own widths."""

import json
from pathlib import Path

import numpy as np
import pytest
from chip_networks import make_chain
from commands import fails, made_once

import mho
from mho.cli.main import main


def make_folder():
    """A float network, samples, others that do not fit, and a policy."""
    network = make_chain()
    mho.save(network, "float.onnx")
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(32, 1, 6, 6)).astype(np.float32))
    smooth = np.random.default_rng(1).normal(size=(64, 1, 1, 6)).repeat(6, axis=2)
    np.savez("smooth.npz", x=smooth.astype(np.float32))
    np.savez("nan.npz", x=np.full((4, 1, 6, 6), np.nan, dtype=np.float32))
    np.savez("shape.npz", x=np.zeros((4, 1, 9, 9), dtype=np.float32))
    policy = mho.Policy.uniform(network.layer_names, mho.BitWidths(4, 5))
    Path("policy.json").write_text(json.dumps(policy.to_json()))


folder = made_once(make_folder)


def test_float_file_to_program(folder, capsys):
    assert (
        main(["quantize", "float.onnx", "--activation-samples", "x.npz", "--policy", "policy.json", "-o", "q.onnx"])
        == 0
    )
    assert main(["compile", "q.onnx", "--accelerator", "pelke2026-4bit", "-o", "p.mho"]) == 0
    assert main(["simulate", "p.mho", "--inputs", "x.npz"]) == 0


def test_float_file_to_a_program_of_integers_alone(folder, capsys):
    samples = ["--activation-samples", "x.npz", "-o", "integers.onnx"]
    assert main(["quantize", "float.onnx", "--arithmetic", "integer", *samples]) == 0
    compiling = ["--accelerator", "pelke2026-4bit", "--arithmetic", "integer", "-o", "integers.mho"]
    assert main(["compile", "integers.onnx", *compiling]) == 0
    assert main(["simulate", "integers.mho", "--inputs", "x.npz"]) == 0
    # A file of quantized layers gets what is missing, and is refused before.
    main(["quantize", "float.onnx", "--activation-samples", "x.npz", "-o", "layers.onnx"])
    assert "--arithmetic integer" in fails(capsys, "compile", "layers.onnx", *compiling)
    assert main(["quantize", "layers.onnx", "--arithmetic", "integer", "--digital-bits", "8", *samples]) == 0
    assert main(["compile", "integers.onnx", *compiling]) == 0
    assert "beside it" in fails(capsys, "quantize", "float.onnx", "--digital-bits", "8", *samples)
    # What would quantize its layers anew is refused, never ignored.
    for option in (["--effort", "good"], ["--bits", "4/4"], ["--policy", "policy.json"]):
        again = ["quantize", "layers.onnx", "--arithmetic", "integer", *option, *samples]
        assert "quantized already" in fails(capsys, *again)
    assert "quantized already" in fails(capsys, "quantize", "layers.onnx", *samples)


def test_costing_a_quantized_file_uses_its_own_widths(folder, capsys):
    main(["quantize", "float.onnx", "--activation-samples", "x.npz", "--bits", "4/5", "-o", "q.onnx"])
    capsys.readouterr()
    main(["cost", "q.onnx", "--accelerator", "pelke2026-4bit", "--format", "json"])
    own = json.loads(capsys.readouterr().out)
    main(["cost", "float.onnx", "--accelerator", "pelke2026-4bit", "--format", "json", "--policy", "policy.json"])
    assert own["latency_us"] == json.loads(capsys.readouterr().out)["latency_us"]
    assert {(layer["weight_bits"], layer["act_bits"]) for layer in own["layers"]} == {(4, 5)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx", "--activation-samples", "x.npz"], "missing.onnx"),
        (["float.onnx", "--activation-samples", "missing.npz"], "missing.npz"),
        (["float.onnx", "--activation-samples", "policy.json"], "policy.json"),
        (["float.onnx", "--activation-samples", "x.npz", "--bits", "9/9"], "1..8, or 16"),
        (["float.onnx", "--activation-samples", "x.npz", "--bits", "4/4", "--policy", "policy.json"], "one of them"),
        (["float.onnx", "--activation-samples", "x.npz", "--effort", "bets"], "effort is 'bets'"),
        (["float.onnx", "--activation-samples", "nan.npz"], "NaN"),
        (["float.onnx", "--activation-samples", "shape.npz"], "shape"),
    ],
)
def test_bad_input_is_one_clear_error(folder, capsys, arguments, message):
    assert message in fails(capsys, "quantize", *arguments, "-o", "q.onnx")
    assert not (folder / "q.onnx").exists()


def test_efforts_differ_in_what_they_write_and_say_so(folder, capsys):
    for effort in ("fast", "good"):
        arguments = ["float.onnx", "--activation-samples", "smooth.npz", "--bits", "3/4", "-o", f"{effort}.onnx"]
        assert main(["quantize", *arguments, "--effort", effort, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["effort"] == effort
    assert Path("fast.onnx").read_bytes() != Path("good.onnx").read_bytes()
