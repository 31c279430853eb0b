"""The log of a study: the answers of every chip, one JSON line each; a kill loses at most the line in the making.

A line is known by the hash of everything that its answers depend on: program, samples, hardware, conditions, seed. So a
study goes on where it was, also where points or chips were added to it, and no chip is counted twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mho.errors import InputFileError, file_errors
from mho.input_files import parse_json, read_file
from mho.workflow.run_directory import hash_json

FORMAT, VERSION = "mho-study-log", 1
_BEGINNING = b'{"format": "mho-study-log"'
_HEADER = {"format": FORMAT, "version": VERSION}


class StudyLog:
    """Right answers by key, in memory and in a file.

    Args:
        path: the file; made where it does not exist, continued where it does.

    Raises:
        InputFileError: the file is no log of a study, or a line before the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._correct: dict[str, int] = {}
        self._open()

    def __len__(self) -> int:
        return len(self._correct)

    def find(self, key: str) -> int | None:
        """Return the right answers of a chip; None where it was not asked yet."""
        return self._correct.get(key)

    def read(self, key: str) -> int:
        """Return the right answers of a chip that was asked."""
        return self._correct[key]

    def append(self, key: str, correct: int, about: Mapping[str, Any]) -> None:
        """Add the answers of a chip, and make them durable before returning.

        Args:
            key: of the chip, which has no line yet.
            correct: right answers.
            about: JSON values for who reads the file.

        Raises:
            InputFileError: the file cannot be written.
        """
        assert key not in self._correct, "every chip is asked once"
        self._append_line({"key": key, "correct": correct, **about})
        self._correct[key] = correct

    def _open(self) -> None:
        content = read_file(self.path, expected="the log of a study") if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if not _BEGINNING.startswith(content[: len(_BEGINNING)]):
            hint = "name another directory; where this file was a log, delete it: its chips are simulated again"
            raise InputFileError("not the log of a study", where=str(self.path), hint=hint)
        if not whole:
            self._truncate(0)
            self._append_line(_HEADER)
            return
        header, *lines = whole.splitlines()
        if _parse(header) != _HEADER:
            raise InputFileError(
                "the log of another version", where=str(self.path), expected=f"version {VERSION} of {FORMAT}"
            )
        for number, line in enumerate(lines, start=2):
            self._read_line(line, f"{self.path}: line {number}")
        if len(whole) < len(content):
            self._truncate(len(whole))

    def _read_line(self, line: bytes, where: str) -> None:
        content = _parse(line)
        key, correct = (content.get("key"), content.get("correct")) if isinstance(content, dict) else (None, None)
        if not isinstance(key, str) or not isinstance(correct, int) or isinstance(correct, bool) or correct < 0:
            raise InputFileError("a damaged line", where=where, hint="delete the line: its chip is simulated again")
        if key in self._correct:
            raise InputFileError("a chip that has a line already", where=where, hint="delete one of the two lines")
        self._correct[key] = correct

    def _append_line(self, content: Mapping[str, Any]) -> None:
        line = (json.dumps(content, allow_nan=False) + "\n").encode()
        with file_errors(self.path, "cannot be written"), self.path.open("ab") as file:
            size = file.seek(0, os.SEEK_END)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # a full disk must not leave half a line for the next to be glued to
                    self._truncate(size)
                raise

    def _truncate(self, size: int) -> None:
        with self.path.open("ab") as file:
            file.truncate(size)
            file.flush()
            os.fsync(file.fileno())


def chip_key(ingredients: Mapping[str, Any]) -> str:
    """Return the key of a chip: the hash of everything, as JSON, that its answers depend on."""
    return hash_json(ingredients)


def _parse(line: bytes) -> Any:
    try:
        return parse_json(line, where="")
    except InputFileError:
        return None
