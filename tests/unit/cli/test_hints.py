"""What people try first: each mistake is one text that names what was meant."""

import shlex
from pathlib import Path

import pytest
from commands import fails, run

from mho.cli.commands import COMMANDS, RENAMED_OPTIONS, with_new_names
from mho.cli.main import main
from mho.errors import propose

MISTAKES = {
    "run digits": "did you mean 'examples/digits.toml'?",
    "run missing.toml": "mho new run missing.toml writes one",
    "search digits": "did you mean 'examples/digits.toml'?",
    "study noise": "did you mean 'examples/studies/noise.toml'?",
    "mix missing.toml": "mho new run missing.toml writes one",
    "cost resnet8 --accelerator mine.toml": "did you mean 'mine-64.toml'?",
    "cost resnet8 --accelerator isaac --input-shape 1,3,32,32": "without the batch axis: 3,32,32",
    "inspect resnet8 --input-shape 1,3,32,32": "without the batch axis: 3,32,32",
    "cost resnet8 --accelerator isaac --input-shape '3 32 32'": "did you mean 3,32,32?",
    "cost resnet8 --accelerator isaac --input-shape 3 32 32": "no spaces: --input-shape 3,32,32",
    "cost resnet18 --accelerator isaac": "did you mean 'torchvision:resnet18'?",
    "cost resnet8 --accelerator pelke": "did you mean 'pelke2026-2bit' or 'pelke2026-4bit'?",
    "cost resnet8 isaac --accelerator isaac": "--accelerator isaac",
    "cost resnet8 --accelerator isaac --bits 4,8": "did you mean 4/8?",
    "cost resnet8 --accelerator isaac --bits 4": "did you mean 4/4?",
    "cost resnet8 -a isaac": "did you mean --accelerator?",
    "cost resnet8 --accelerater isaac": "did you mean '--accelerator'?",
    "cost resnet8 --accelerator isaac --mapping bset": "did you mean 'best'?",
    "cost": "for example: mho cost",
    "inspect pelke": "did you mean 'pelke2026-2bit' or 'pelke2026-4bit'?",
    "presets pelke": "did you mean 'pelke2026-2bit' or 'pelke2026-4bit'?",
    "compile resnet8 --accelerator isaac -o p.mho": "mho quantize makes a quantized model",
    "compile resnet8.onnx --accelerator isaac -o p.mho": "mho quantize makes a quantized model",
    "quantize resnet8 --activation-samples x.npz -o q.onnx": "torch.onnx.export",
    "compare resnet8 --accelerators isaac puma": "no spaces: --accelerators isaac,puma",
    "compare resnet8 --accelerators 'isaac puma'": "did you mean --accelerators isaac,puma?",
    "disassemble p.mho --json": "mho inspect PROGRAM --json",
    "--json cost": "options stand behind the command",
    "cots": "did you mean 'cost'?",
    "digits.toml": "mho run digits.toml",
    "model.onnx": "mho inspect model.onnx",
    "cost resnet8 --accelerator isaac --json --format csv": "one of them",
    "compile q.onnx --accelerator isaac --bits 4/4 -o p.mho": "mho quantize MODEL.onnx --bits W/A",
    "map resnet8 --accelerator isaac --chip": "mho schedule shows a chip",
    "map p.mho --accelerator isaac": "p.mho: is a program",
    "simulate q.onnx --inputs x.npz": "mho compile q.onnx",
    "disassemble q.onnx": "mho compile q.onnx",
    "cost resnet8 --accelerator isaac --policy q.onnx": "q.onnx: is an ONNX file",
    "cost resnet8 --accelerator isaac --policy x.npz": "x.npz: is an archive of arrays",
    "report report.html": "the folder of a run",
    "cost resnet8 --accelerator mine-64": "did you mean 'mine-64.toml'?",
    "inspect mine-64.tml": "did you mean 'mine-64.toml'?",
    "schedule resnet8 --accelerator isaac --objective throughput": "did you mean 'interval'?",
    "inspect unquoted.toml": 'name = my-chip\n  expected: a TOML file\n  hint: text needs quotes: name = "my-chip"',
    "inspect comma.toml": "not a comma: read_noise = 0.03",
    "simulate p.mho --inputs x.npz --hardware isaac": "describes a noisy chip",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("examples/studies").mkdir(parents=True)
    for name in ("examples/digits.toml", "examples/studies/noise.toml", "mine-64.toml"):
        Path(name).touch()
    Path("unquoted.toml").write_text("name = my-chip\n")
    Path("comma.toml").write_text("read_noise = 0,03\n")
    for name in ("q.onnx", "p.mho", "x.npz", "report.html"):
        Path(name).write_bytes(b"\xff" * 100)
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_what_was_meant(mistake, folder, capsys):
    assert MISTAKES[mistake] in fails(capsys, *shlex.split(mistake))


@pytest.mark.parametrize(("option", "value"), [("--crossbars", "0"), ("--batch", "x")])
def test_an_impossible_number_is_reported_in_words_of_its_own(option, value, capsys):
    """Versions of typer have their own words; those of pydantic reach nobody."""
    text = fails(capsys, "schedule", "resnet8", "--accelerator", "isaac", option, value)
    assert option in text
    assert value in text
    assert "Input should" not in text


def test_what_people_try_for_help_and_version_works(capsys):
    assert run(capsys, "help", "schema") == run(capsys, "schema", "--help")
    assert run(capsys) == run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "version") == run(capsys, "--version")


@pytest.mark.parametrize(("command", "option"), RENAMED_OPTIONS)
def test_old_names_of_options_are_read_with_a_note(command, option):
    notes = []
    given = with_new_names([command, "x", option, "3", f"{option}=4", "--", option], notes.append)
    name = RENAMED_OPTIONS[command, option]
    assert given == [command, "x", name, "3", f"{name}=4", "--", option]
    assert [f"{option} of mho {command} is now {name}" in note for note in notes] == [True, True]


def test_old_names_of_commands_run_with_a_note(capsys):
    assert main(["calibrate", "--help"]) == 0
    captured = capsys.readouterr()
    assert "mho calibrate-adcs [OPTIONS]" in captured.out
    assert captured.err.startswith("note: mho calibrate is now mho calibrate-adcs;")


def test_every_command_has_an_example_of_itself():
    assert [name for name, command in COMMANDS.items() if command.example.split()[0] != name] == []


def test_nothing_is_proposed_where_nothing_is_near():
    assert propose(()) == ""
