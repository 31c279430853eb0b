"""Finished runs as they lie on disk: their figures, and what their found policies predict for test samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mho.errors import InputFileError
from mho.evaluation.classes import Labels, Predictions
from mho.input_files import hash_file
from mho.report.result import RunResult, read_result
from mho.workflow.predictions import PREDICTIONS_FILE, read_predictions

RESULT_FILE = "result.json"
_FOUND = "found"


@dataclass(frozen=True, eq=False)
class FinishedRunFiles:
    """A finished run as it lies on disk.

    Attributes:
        given: what the user called it.
        result: its figures.
        predictions: labels of its test samples and what the found policy's program predicts; None where there is none.
    """

    given: str
    result: RunResult
    predictions: tuple[Labels, Predictions] | None


def read_run(path: str | Path) -> FinishedRunFiles:
    """Read a run directory, or its `result.json`.

    Raises:
        InputFileError: there is no result, or it cannot be read.
        ConfigError: the result is of another version.
    """
    given = Path(path)
    file = given / RESULT_FILE if given.is_dir() else given
    if given.is_dir() and not file.exists():
        raise InputFileError(
            "the folder holds no result of a run", where=str(given), expected=f"{RESULT_FILE}, as mho run writes it",
            hint="a run that was interrupted goes on with the same mho run",
        )  # fmt: skip
    result = read_result(file)
    _check_whole(result, str(file))
    return FinishedRunFiles(str(path), result, _read_predictions(file.parent, result))


def _check_whole(result: RunResult, where: str) -> None:
    """Check that a result has what every run ends with: a file that was edited may lack it."""
    found = {one.name: one for one in result.candidates}
    timed = [found[name] for name in ("reference", _FOUND) if name in found]
    is_whole = "float" in found and len(timed) == 2 and all(one.latency_us and one.speedup for one in timed)
    if not is_whole or not result.layers:
        raise InputFileError(
            "not the result of a whole run", where=where, expected="float, reference and found, with times, and layers",
            hint="the same mho run writes it anew",
        )  # fmt: skip


def _read_predictions(folder: Path, result: RunResult) -> tuple[Labels, Predictions] | None:
    """Return predictions that belong to the result; those of other contents do not count."""
    for entry in result.files:
        path = folder / entry.path
        if path.name == PREDICTIONS_FILE and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            if hash_file(path) != entry.sha256:
                return None
            labels, predictions = read_predictions(path)
            return (labels, predictions[_FOUND]) if _FOUND in predictions else None
    return None
