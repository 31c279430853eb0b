"""What a command writes is never a file that it reads, by whatever name; other files are replaced."""

import os
import shutil
from pathlib import Path

import onnx
import pytest
from accelerators import make_accelerator
from random_networks import random_inputs
from small_programs import conv_network, grid

from mho.array_files import write_arrays
from mho.cli.main import main
from mho.cli.outputs import check_outputs
from mho.errors import ConfigError
from mho.hardware.loading import to_toml
from mho.quantization.export import write_qcdq_onnx

NETWORK = conv_network(inputs=grid(3, signed=True), pads=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model, its arrays in a file beside it, hardware, inputs and programs."""
    folder = tmp_path_factory.mktemp("made")
    write_qcdq_onnx(NETWORK, folder / "whole.onnx")
    model = onnx.load(folder / "whole.onnx")
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="arrays.npz", size_threshold=0)
    write_arrays(folder / "x.npz", random_inputs(NETWORK, 3))
    for name, crossbars in (("one", 1), ("chip", 16)):
        (folder / f"{name}.toml").write_text(to_toml(make_accelerator(rows=32, cols=32, crossbars=crossbars)))
    (folder / "policy.json").write_text('{"layers": {"conv": {"weight_bits": 4, "act_bits": 3}}}')
    for arguments in ("--accelerator one.toml -o one.mho", "--accelerator chip.toml -o chip.mho"):
        before = Path.cwd()
        os.chdir(folder)
        assert main(["compile", "model.onnx", *arguments.split()]) == 0
        os.chdir(before)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize(
    "command",
    [
        "compile model.onnx --accelerator one.toml -o model.onnx",
        "compile model.onnx --accelerator one.toml -o ./../here/model.onnx",
        "compile model.onnx --accelerator one.toml -o arrays.npz",
        "compile model.onnx --accelerator one.toml -o one.toml",
        "compile model.onnx --accelerator one.toml --policy policy.json -o policy.json",
        "quantize model.onnx --activation-samples x.npz -o model.onnx",
        "quantize model.onnx --activation-samples x.npz -o x.npz",
        "quantize model.onnx --activation-samples x.npz -o arrays.npz",
        "simulate one.mho --inputs x.npz -o x.npz",
        "simulate one.mho --inputs x.npz -o one.mho",
        "simulate one.mho --inputs x.npz --seed 1 --hardware one.toml -o one.toml",
        "simulate one.mho --inputs x.npz -o symbolic.npz",
        "simulate one.mho --inputs x.npz -o hard.npz",
        "simulate chip.mho --inputs policy.json --timing --trace policy.json",
        "calibrate one.mho --inputs x.npz --seed 1 -o x.npz",
        "calibrate one.mho --inputs x.npz --seed 1 -o one.mho",
        "recalibrate one.mho --inputs x.npz --seed 1 -o x.npz",
        "recalibrate one.mho --inputs x.npz --seed 1 --ranges r.npz -o r.npz",
        "schedule model.onnx --accelerator chip.toml --policy policy.json --trace policy.json",
        "schedule model.onnx --accelerator chip.toml --trace t.json --timeline T.html --policy T.html",
        "map model.onnx --accelerator one.toml --layer conv --policy p.svg --draw p.svg",
    ],
)
def test_no_command_replaces_what_it_reads(folder, capsys, command):
    Path("symbolic.npz").symlink_to("x.npz")
    os.link("x.npz", "hard.npz")
    for name in ("r.npz", "T.html", "p.svg"):
        shutil.copy("policy.json", name)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(command.split()) == 2
    assert "would replace a file that is read" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_output_that_is_there_already_is_replaced(folder):
    Path("y.npz").write_bytes(b"old")
    assert main(["simulate", "one.mho", "--inputs", "x.npz", "-o", "y.npz"]) == 0
    assert Path("y.npz").read_bytes() != b"old"
    assert main(["compile", "model.onnx", "--accelerator", "one.toml", "-o", "one.mho"]) == 0


def test_two_outputs_are_two_files(folder):
    with pytest.raises(ConfigError, match="--output and --save-agent name one file"):
        check_outputs({"--output": "a", "--save-agent": Path("../here/a"), "--explanation": None}, ())


def test_files_that_settings_name_and_files_that_are_kept_stay(folder):
    settings = {"accelerator": {"name": "./one.toml"}, "network": {"name": "policy.json:function"}, "bits": (4, None)}
    for path in ("one.toml", "policy.json"):
        with pytest.raises(ConfigError, match=path):
            check_outputs({"--output": path}, ("run.toml", settings))
    with pytest.raises(ConfigError, match=r"chip\.toml"):
        check_outputs({"--output": "chip.toml"}, "one.toml,chip.toml")
    log = Path("run/evaluations/log.jsonl")
    log.parent.mkdir(parents=True)
    for path in (log, Path("run/policy.json")):
        path.write_text("{}")
    with pytest.raises(ConfigError, match=r"log\.jsonl"):
        check_outputs({"--output": log}, (), kept=Path("run"))
    check_outputs({"--output": "run/policy.json", "--explanation": "run/new/e.json"}, (), kept=Path("run"))
