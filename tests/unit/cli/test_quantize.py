"""`mho quantize`: a float file and samples become a file that `mho cost` and `mho compile` take at its own widths."""

import json
import shutil

import numpy as np
import pytest

import mho
from mho.cli.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A float network, samples and a policy."""
    folder = tmp_path_factory.mktemp("files")
    network = mho.load("resnet8", input_shape=(1, 8, 8))
    mho.save(network, folder / "float.onnx")
    np.savez(folder / "x.npz", x=np.random.default_rng(0).normal(size=(32, 1, 8, 8)).astype(np.float32))
    policy = mho.Policy.uniform(network.layer_names, mho.BitWidths(4, 5))
    (folder / "policy.json").write_text(json.dumps(policy.to_json()))
    return folder


@pytest.fixture
def folder(files, tmp_path, monkeypatch):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_float_file_to_program(folder, capsys):
    assert main(["quantize", "float.onnx", "--calibration", "x.npz", "--policy", "policy.json", "-o", "q.onnx"]) == 0
    assert main(["compile", "q.onnx", "--accelerator", "pelke2026-4bit", "-o", "p.mho"]) == 0
    assert main(["simulate", "p.mho", "--inputs", "x.npz"]) == 0


def test_costing_a_quantized_file_uses_its_own_widths(folder, capsys):
    main(["quantize", "float.onnx", "--calibration", "x.npz", "--bits", "4/5", "-o", "q.onnx"])
    capsys.readouterr()
    main(["cost", "q.onnx", "--accelerator", "pelke2026-4bit", "--format", "json"])
    own = json.loads(capsys.readouterr().out)
    main(["cost", "float.onnx", "--accelerator", "pelke2026-4bit", "--format", "json", "--policy", "policy.json"])
    assert own["latency_us"] == json.loads(capsys.readouterr().out)["latency_us"]
    assert {(layer["weight_bits"], layer["act_bits"]) for layer in own["layers"]} == {(4, 5)}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.onnx", "--calibration", "x.npz"], "missing.onnx"),
        (["float.onnx", "--calibration", "missing.npz"], "missing.npz"),
        (["float.onnx", "--calibration", "policy.json"], "policy.json"),
        (["float.onnx", "--calibration", "x.npz", "--bits", "9/9"], "1..8, or 16"),
        (["float.onnx", "--calibration", "x.npz", "--bits", "4/4", "--policy", "policy.json"], "one of them"),
        (["float.onnx", "--calibration", "nan.npz"], "NaN"),
        (["float.onnx", "--calibration", "shape.npz"], "shape"),
    ],
)
def test_bad_input_is_one_clear_error(folder, capsys, arguments, told):
    np.savez("nan.npz", x=np.full((4, 1, 8, 8), np.nan, dtype=np.float32))
    np.savez("shape.npz", x=np.zeros((4, 1, 9, 9), dtype=np.float32))
    assert main(["quantize", *arguments, "-o", "q.onnx"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not (folder / "q.onnx").exists()
