"""``mho report``: one run in short, its picture, two runs compared."""

from __future__ import annotations

import json

import pytest
from commands import run as run_command
from run_results import make_result

import mho


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_text(make_result().model_dump_json())
    return folder


def test_a_run_is_reported_in_short(run, capsys):
    out = run_command(capsys, "report", str(run))
    for words in (
        "A sentence with <brackets>",
        "found policy",
        "97.80 %",
        "2.22x",
        "1 of 2 checks passed; broken: ONNX",
    ):
        assert words in out, words
    out = run_command(capsys, "report", str(run), "--format", "json")
    assert json.loads(out)["name"] == "sample"
    assert mho.read_result(run).name == "sample"


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<svg"), ("a.PNG", b"\x89PNG")])
def test_a_run_is_drawn_in_the_size_of_previews(run, tmp_path, capsys, name, start):
    run_command(capsys, "report", str(run), "--image", str(tmp_path / name))
    content = (tmp_path / name).read_bytes()
    assert content[: len(start)] == start
    size = b'width="1200" height="630"' if start == b"<svg" else (1200).to_bytes(4) + (630).to_bytes(4)
    assert size in content[:200]


def test_two_runs_are_compared_in_text_json_and_a_page(run, tmp_path, capsys):
    page = tmp_path / "both.html"
    out = run_command(capsys, "report", str(run), str(run), "-o", str(page))
    assert "Neither is better: both are equally fast" in out
    assert "Neither is better" in page.read_text()
    out = run_command(capsys, "report", str(run), str(run), "--format", "json")
    assert json.loads(out) == mho.compare_runs(run, run).model_dump(mode="json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{run}", "-o", "x.html"), "--output is for two runs"),
        (("{run}", "{run}", "--image", "x.svg"), "--image is for one run"),
        (("{run}", "--image", "x.gif"), "drawings are .svg or .png files"),
        (("{run}", "{run}", "-o", "{run}/result.json"), "would replace a file that is read"),
        (("nowhere",), "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_text(run, capsys, arguments, message):
    assert message in run_command(capsys, "report", *(one.format(run=run) for one in arguments), code=2)
