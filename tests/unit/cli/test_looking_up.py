"""`mho presets`, `mho doctor`, and what all commands share: --json, --output, --quiet, --verbose."""

import json
from pathlib import Path

import pytest
from commands import fails, run

from mho.api import environment
from mho.cli.main import main
from mho.hardware.loading import list_presets, load_accelerator


def test_presets_are_listed_with_crossbar_technology_and_source(capsys):
    rows = {row["name"]: row for row in json.loads(run(capsys, "presets", "--json"))}
    assert tuple(rows) == list_presets()
    assert (rows["hermes-pcm"]["technology"], rows["hermes-pcm"]["source"]) == ("PCM", "Nature Electronics 2023")
    assert (rows["isaac"]["rows"], rows["isaac"]["cols"], rows["isaac"]["cell_bits"]) == (128, 128, 2)
    text = run(capsys, "presets")
    assert [name for name in list_presets() if f" {name} " not in text] == []


def test_a_preset_is_shown_with_its_sources(capsys):
    shown = json.loads(run(capsys, "presets", "puma", "--json"))
    assert shown["sources"] == dict(load_accelerator("puma").sources)
    assert run(capsys, "presets", "puma") == run(capsys, "inspect", "puma")


def test_the_doctor_names_versions_and_extras(capsys):
    found = json.loads(run(capsys, "doctor", "--json"))
    assert found["libraries"]["numpy"]
    assert "ray" in found["extras"]["ray"]
    assert found["processors"] >= 1
    text = run(capsys, "doctor")
    assert max(map(len, text.splitlines())) < 80
    assert found["integer_products"].split(",")[0] in text


def test_the_doctor_says_how_to_get_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(environment, "_required", lambda: (["numpy", "no-such-one"], {"more": ["no-such-extra"]}))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "pip install no-such-one" in text
    assert "not installed: pip install no-such-extra" in text


@pytest.mark.parametrize("command", ["presets", "presets isaac", "schema policy", "inspect isaac --json"])
def test_output_holds_what_would_be_printed(command, tmp_path, capsys):
    printed = run(capsys, *command.split())
    assert run(capsys, *command.split(), "--output", str(tmp_path / "file")) == ""
    assert (tmp_path / "file").read_text() == printed


def test_nothing_is_written_where_a_command_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fails(capsys, "cost", "resnet8", "--accelerator", "nothing", "-o", "cost.txt")
    assert not Path("cost.txt").exists()


def test_quiet_leaves_out_notes_and_verbose_adds_what_it_took(tmp_path, capsys):
    written = ["presets", "-o", str(tmp_path / "file")]
    seen = {}
    for option in ("", "-q", "-v"):
        assert main([*written, *filter(None, [option])]) == 0
        seen[option] = capsys.readouterr().err
    assert seen["-q"] == ""
    assert seen[""] == f"written to {tmp_path / 'file'}\n"
    assert "MiB of memory" in seen["-v"]
    assert "one of them" in fails(capsys, *written, "-q", "-v")
