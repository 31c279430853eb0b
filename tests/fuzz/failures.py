"""Failing cases of the fuzzer: reduced to as few changes as fail alike, saved, and read again."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from fuzzing import Case, Files, Kind, Outcome, Special, make_files, run_cases, write_files
from random_networks import Chooser


def reduce(kind: Kind, outcome: Outcome) -> Outcome:
    """Return the failing case with as few of its changes as fail in the same way."""
    steps = list(outcome.steps)
    for step in outcome.steps:
        fewer = tuple(other for other in steps if other != step)
        (found,) = run_cases(kind, [Case(outcome.case.seed, fewer)])
        if found.state == "failed" and found.signature == outcome.signature:
            outcome, steps = found, list(fewer)
    return outcome


def save(kind: Kind, outcome: Outcome, folder: Path) -> Path:
    """Write a failing case with its files, to be looked at and read again; return its folder.

    What is no plain file (a pipe, a sparse file of gigabytes) stands in case.json alone.
    """
    place = folder / f"{kind.name}-{outcome.case.seed}"
    shutil.rmtree(place, ignore_errors=True)
    (place / "files").mkdir(parents=True)
    files: Files = {}
    with contextlib.suppress(Exception):  # where the fuzzer itself cannot make the case
        files = make_files(kind, outcome.case)[0]
    write_files(place / "files", {name: content for name, content in files.items() if isinstance(content, bytes)})
    special = {name: asdict(content) for name, content in files.items() if isinstance(content, Special)}
    content = {"kind": kind.name, **asdict(outcome), "special": special}
    (place / "case.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (place / "error.txt").write_text(outcome.error, encoding="utf-8", errors="backslashreplace")
    return place


class Replayed(Kind):
    """The saved files of a case of another kind."""

    changes, is_damaged = (0,), False

    def __init__(self, kind: Kind, place: Path) -> None:
        self.name, self.rewrites, self.read, self.arguments = kind.name, kind.rewrites, kind.read, kind.arguments
        folder, case = place / "files", json.loads((place / "case.json").read_text(encoding="utf-8"))
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self._files: Files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self._files |= {name: Special(**content) for name, content in case["special"].items()}

    def draw(self, chooser: Chooser) -> Files:  # noqa: ARG002
        return dict(self._files)

    def files(self, mutant: Files) -> Files:
        return mutant
