"""Names of accelerators, networks, layers and files reach the terminal as text: neither escapes nor markup."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_models
import pytest
from accelerators import make_accelerator
from commands import made_once
from small_programs import conv_network, grid

from mho.cli.main import main
from mho.hardware.loading import accelerator_from_json, to_toml
from mho.program.container import write_program
from mho.program.lowering import compile_network
from mho.quantization.export import write_qcdq_onnx

NAME = "\x1b[31m[/nope] chip [v2]\x1b]0;OWNED\x07"
SHOWN = r"\u001b[31m[/nope] chip [v2]\u001b]0;OWNED\u0007"
CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\uffff]")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def make_folder():
    """A chip, one crossbar, a model and programs whose names are hostile."""
    network = conv_network(inputs=grid(3, signed=True), pads=(1, 1, 1, 1))
    write_qcdq_onnx(network, "model.onnx")
    for file, crossbars in (("one", 1), ("chip", 16)):
        content = make_accelerator(rows=32, cols=32, crossbars=crossbars).to_json()
        hardware = accelerator_from_json({**content, "name": f"{NAME} {file}", "description": NAME}, where="test")
        Path(f"{file}.toml").write_text(to_toml(hardware))
        if file == "one":
            write_program(replace(compile_network(network, hardware), name=NAME), "one.mho")


folder = made_once(make_folder)


@pytest.mark.parametrize(
    "command",
    [
        "inspect ./one.toml",
        "inspect one.mho",
        "disassemble one.mho",
        "simulate one.mho --timing",
        "cost model.onnx --accelerator ./one.toml",
        "map model.onnx --accelerator ./one.toml",
        "schedule model.onnx --accelerator ./chip.toml",
        "schedule model.onnx --accelerator ./one.toml",
        "compare model.onnx --accelerators ./one.toml,./chip.toml",
    ],
)
def test_commands_print_names_as_they_are(folder, capsys, command):
    assert main(command.split()) == 0
    out, err = capsys.readouterr()
    assert SHOWN in out
    assert not CONTROL.search(out + err)


@pytest.mark.parametrize(
    ("command", "find"),
    [
        ("inspect ./one.toml", lambda content: content["name"]),
        ("inspect one.mho", lambda content: content["accelerator"]),
        ("cost model.onnx --accelerator ./one.toml", lambda content: content["accelerator"]["name"]),
    ],
)
def test_json_holds_the_name_itself(folder, capsys, command, find):
    assert main([*command.split(), "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert not CONTROL.search(out)
    assert find(json.loads(out)) == f"{NAME} one"


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", f"{NAME}.toml"],
        ["inspect", NAME],
        ["cost", "model.onnx", "--accelerator", NAME],
        [NAME],
        ["inspect", f"--{NAME}"],
        ["inspect", "a", NAME],
    ],
)
def test_errors_print_names_as_they_are(folder, capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert "[/nope]" in err
    assert not CONTROL.search(out + err)


def test_what_the_library_of_onnx_warns_of_is_not_printed(tmp_path):
    node = onnx.helper.make_node("Relu", [NAME], ["y"])
    model = onnx_models.model(node, {"x": [1, 2]})
    onnx.save(model, tmp_path / "model.onnx")
    # Within this process pytest takes what is logged.
    run = subprocess.run(
        [sys.executable, "-m", "mho", "inspect", "model.onnx"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: model.onnx: nothing makes tensor")
    assert not CONTROL.search(run.stdout + run.stderr)
