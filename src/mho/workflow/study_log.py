"""The log of a study: the correct samples of every chip, one JSON line each (`mho.durable_log`).

A line is known by the hash of everything that its result depends on: program, samples, hardware, conditions, seed. So a
study goes on where it was, also where points or chips were added to it, and no chip is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mho.durable_log import LogFormat, append_line, damaged_line, open_log
from mho.workflow.run_directory import hash_json

LOG = LogFormat("mho-study-log", 1, "the log of a study")


class StudyLog:
    """Correct samples by key, in memory and in a file.

    Args:
        path: the file; made where it does not exist, continued where it does.

    Raises:
        InputFileError: the file is no log of a study, or a line before the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._correct: dict[str, int] = {}
        for where, content in open_log(path, LOG, {}).lines:
            key, correct = (content.get("key"), content.get("correct")) if isinstance(content, dict) else (None, None)
            if not isinstance(key, str) or not isinstance(correct, int) or isinstance(correct, bool) or correct < 0:
                raise damaged_line("a damaged line", where)
            if key in self._correct:
                raise damaged_line("a chip that has a line already", where)
            self._correct[key] = correct

    def __len__(self) -> int:
        return len(self._correct)

    def find(self, key: str) -> int | None:
        """Return the correct samples of a chip; None where it was not simulated yet."""
        return self._correct.get(key)

    def read(self, key: str) -> int:
        """Return the correct samples of a chip that was simulated."""
        return self._correct[key]

    def append(self, key: str, correct: int, about: Mapping[str, Any]) -> None:
        """Add the result of a chip, and make them durable before returning.

        Args:
            key: of the chip, which has no line yet.
            correct: samples that it classifies correctly.
            about: JSON values for who reads the file.

        Raises:
            InputFileError: the file cannot be written.
        """
        assert key not in self._correct, "every chip is simulated once"
        append_line(self.path, {"key": key, "correct": correct, **about})
        self._correct[key] = correct


def chip_key(ingredients: Mapping[str, Any]) -> str:
    """Return the key of a chip: the hash of everything, as JSON, that its result depends on."""
    return hash_json(ingredients)
