"""Commands run within the process, and folders for them that are made once a module."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mho.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Run a command; return what it prints, or with code 2 the one error that it prints instead."""
    capsys.readouterr()
    assert main(list(arguments)) == code
    captured = capsys.readouterr()
    if not code:
        return captured.out
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as a user's error; return what it says."""
    return run(capsys, *arguments, code=2)


def made_once(make: Callable[[], None]) -> Any:
    """Return a fixture: a working directory in which `make` ran, once for all tests; each test has a copy."""
    made: list[Path] = []

    @pytest.fixture
    def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
        if not made:
            path = tmp_path_factory.mktemp("made")
            with contextlib.chdir(path), contextlib.redirect_stdout(io.StringIO()):
                make()
            made.append(path)
        shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return folder
