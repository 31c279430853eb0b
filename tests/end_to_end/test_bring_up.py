"""The page "Bring up your chip" runs from top to bottom: its files, its Python and its commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from mho.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "bring-up.md"
_BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
_PROMISE = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.pages
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    printed = ""
    for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        kind, text = block["kind"], block["text"]
        if block["file"] == "pyproject.toml":  # what pip does of an entry point
            points = tomllib.loads(text)["project"]["entry-points"]
            info = tmp_path / "my_chip-1.0.dist-info"
            info.mkdir()
            lines = [f"[{group}]\n{name} = {value}\n" for group, own in points.items() for name, value in own.items()]
            (info / "entry_points.txt").write_text("".join(lines))
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_chip\nVersion: 1.0\n")
        elif block["file"]:
            Path(block["file"]).write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)
            assert capsys.readouterr().out.splitlines() == _PROMISE.findall(text)
        elif kind == "sh":
            for line in text.splitlines():
                command, *arguments = shlex.split(line)
                if command == "make" and not (shutil.which("make") and shutil.which("cc")):
                    continue
                if command == "make":
                    subprocess.run([command, *arguments], check=True, capture_output=True)
                    continue
                assert main(arguments) == 0, line
                printed = capsys.readouterr().out
        else:
            assert text.strip() in printed
    assert len(Path("words/program.bin").read_bytes()) % 4 == 0
