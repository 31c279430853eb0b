"""Helps: each option has a text and a heading, each command an example, and 80 columns hold it all."""

import pytest
import typer.main
from commands import run

from mho.cli.commands import COMMANDS
from mho.cli.main import _build_app, main


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_fits_80_columns_and_has_an_example(name, capsys):
    text = run(capsys, name, "--help")
    assert max(map(len, text.splitlines())) <= 80
    assert f"Example: mho {name}" in text
    assert "<bool>" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_says_what_stands_without_it(name):
    command = typer.main.get_command(_build_app(name)).commands[name]
    options = [one for one in command.params if one.param_type_name == "option"]
    assert [one.name for one in options if not one.help] == []
    words = ("default", "instead", "with ", "where ", "of one layer", "--layer", "rite", "Draw", "Copy", "shared")
    silent = [
        one.name
        for one in options
        if one.default is None and not one.required and not any(word in one.help for word in words)
    ]
    assert set(silent) <= OPTIONAL, name


OPTIONAL = {
    "policy", "bits", "layer", "draw", "seed", "inputs", "ranges", "corrections", "explanation", "cost_budget", "track",
    "agent", "learn_from", "probe_images", "ray", "storage", "data", "data_root", "chip_samples", "elapsed_s", "rows",
    "cols", "cell_bits", "write_latency_us", "mvm_latency_us", "dac_bits", "adc_bits", "encoding", "crossbars", "cores",
    "adc_range", "columns_per_adc", "programming_error", "read_noise",
    "prompt", "prefill", "tokenizer",
}  # fmt: skip
"""Options without which something is simply not done, or stays as the accelerator has it."""


def test_commands_stand_under_headings(capsys):
    text = run(capsys, "--help")
    for heading in {command.panel for command in COMMANDS.values()}:
        assert f"─ {heading} ─" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mho co", {"cost", "compare", "compile", "correct-channels"}),
        ("mho cost --ene", {"--energy"}),
        ("mho cost resnet8 --accelerator pelke", {"pelke2026-2bit", "pelke2026-4bit"}),
        ("mho cost resnet8 --mapping ", {"best", "paper"}),
    ],
)
def test_bash_completes_commands_options_and_values(words, expected, monkeypatch, capsys):
    monkeypatch.setenv("_MHO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert main([]) == 0
    assert set(capsys.readouterr().out.split()) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_completion_are_printed(shell, monkeypatch, capsys):
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    assert main(["--show-completion"]) == 0
    assert "_MHO_COMPLETE" in capsys.readouterr().out
