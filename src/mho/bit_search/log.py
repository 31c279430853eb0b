"""The evaluation log: every evaluated policy, one JSON line each; a kill loses at most the line in the making.

The first line names the problem (network, data, accelerator, settings of the evaluation) by its hash; a log of another
problem is refused. All methods and objectives may share one log: what it holds is not evaluated again. A log of
version 1, whose costs were all latencies, is read and rewritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mho.bit_search.evaluation import EvaluationRecord, problem_hash
from mho.cache_folder import write_atomically
from mho.errors import InputFileError, MhoError, file_errors
from mho.input_files import parse_json, read_file
from mho.policy import Policy

FORMAT, VERSION, FIRST_VERSION = "mho-evaluation-log", 2, 1
_HINT = "name another file; where this one was a log, delete it: its policies are evaluated again"
_BEGINNING = b'{"format": "mho-evaluation-log"'


class EvaluationLog:
    """Records by (policy, fidelity), kept in memory and, where a path is given, in a file.

    Args:
        path: the file; made where it does not exist, continued where it does. None keeps records in memory only.
        problem: what all evaluations of this log depend on, as JSON.

    Raises:
        InputFileError: the file is no evaluation log, belongs to another problem, or a line before the last is damaged.
    """

    def __init__(self, path: str | Path | None, problem: Mapping[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.problem = dict(problem)
        self.was_repaired = False
        self._records: list[EvaluationRecord] = []
        self._by_key: dict[tuple[Policy, str], EvaluationRecord] = {}
        if self.path is not None:
            self._open(self.path)

    @classmethod
    def read(cls, path: str | Path) -> EvaluationLog:
        """Return a copy in memory of a log of any problem; the file stays as it is, also where another run adds to it.

        A line at the end that is not whole is left out.

        Raises:
            InputFileError: the file cannot be read, is no evaluation log, or a line before the last is damaged.
        """
        path = Path(path)
        lines = _whole_lines(read_file(path, expected="an evaluation log"))
        header: Any = _parse(lines[0]) if lines else None
        version = _check_version(path, header)
        if not isinstance(header.get("problem"), dict):
            raise InputFileError("the problem is missing in the first line", where=str(path))
        log = cls(None, header["problem"])
        for number, line in enumerate(lines[1:], start=2):
            log._keep(log._read_record(line, version, f"{path}: line {number}"))
        return log

    @property
    def records(self) -> tuple[EvaluationRecord, ...]:
        """All records in the order in which they were made."""
        return tuple(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def find(self, policy: Policy, fidelity: str) -> EvaluationRecord | None:
        """Return the record of a policy at a fidelity, or None."""
        return self._by_key.get((policy, fidelity))

    def append(self, record: EvaluationRecord) -> EvaluationRecord:
        """Add a record (its index is set here) and make it durable before returning it.

        Raises:
            MhoError: the policy was evaluated at this fidelity before.
        """
        if self.find(record.policy, record.fidelity) is not None:
            raise MhoError("this policy was evaluated before", where=str(self.path or "evaluation log"))
        record = replace(record, index=len(self._records))
        if self.path is not None:
            _append_line(self.path, record.to_json())
        self._keep(record)
        return record

    def copy_to(self, path: Path) -> None:
        """Write all records to a file, atomically, in the present version. Raises `InputFileError`."""
        lines = (self._header, *(record.to_json() for record in self._records))
        with file_errors(path, "cannot be written"):
            write_atomically(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode())

    def _keep(self, record: EvaluationRecord) -> None:
        self._records.append(record)
        self._by_key[(record.policy, record.fidelity)] = record

    def _open(self, path: Path) -> None:
        with file_errors(path, "cannot be read"):
            path.parent.mkdir(parents=True, exist_ok=True)
            content = read_file(path, expected="an evaluation log") if path.exists() else b""
        lines = _whole_lines(content)
        size = sum(map(len, lines))
        if not lines:
            if not _BEGINNING.startswith(content[: len(_BEGINNING)]):
                raise InputFileError("not an evaluation log", where=str(path), hint=_HINT)
            self.was_repaired = bool(content)
            _truncate(path, 0)
            _append_line(path, self._header)
            return
        version = self._check_header(path, _parse(lines[0]))
        for number, line in enumerate(lines[1:], start=2):
            self._keep(self._read_record(line, version, f"{path}: line {number}"))
        if version == FIRST_VERSION:
            self.copy_to(path)
        elif size < len(content):
            self.was_repaired = True
            _truncate(path, size)

    @property
    def _header(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, "hash": problem_hash(self.problem), "problem": self.problem}

    def _check_header(self, path: Path, header: Any) -> int:
        """Return the version of a log of this problem."""
        version = _check_version(path, header)
        if header.get("hash") != problem_hash(self.problem):
            raise InputFileError(
                f"this log belongs to another problem{_differences(header.get('problem'), self.problem)}",
                where=str(path),
                hint="use another run directory, or delete the log to start over",
            )
        return version

    def _read_record(self, line: bytes, version: int, where: str) -> EvaluationRecord:
        content = _parse(line)
        if content is None:
            raise InputFileError(
                "a damaged line before the end", where=where, hint="delete the line: its policy is evaluated again"
            )
        try:
            read = EvaluationRecord.from_first_version if version == FIRST_VERSION else EvaluationRecord.from_json
            record = read(content, where=where)
        except MhoError as error:
            raise InputFileError(error.what, where=error.where, expected=error.expected) from error
        return replace(record, index=len(self._records))


def _whole_lines(content: bytes) -> list[bytes]:
    """Return the lines of a log, without one at the end that was cut off."""
    lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    return lines[:-1] if len(lines) > 1 and _parse(lines[-1]) is None else lines


def _check_version(path: Path, header: Any) -> int:
    """Return the version of a log of any problem, from its first line."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputFileError("not an evaluation log", where=str(path), hint=_HINT)
    version: Any = header.get("version")
    if version not in (FIRST_VERSION, VERSION):
        raise InputFileError(
            f"version {version!r}", where=str(path), expected=f"version {FIRST_VERSION} or {VERSION} of {FORMAT}"
        )
    return int(version)


def _parse(line: bytes) -> Any:
    """Return the content of a JSON line, None where it is damaged (NaN and infinity are no JSON)."""
    try:
        return parse_json(line, where="")
    except InputFileError:
        return None


def _append_line(path: Path, content: Mapping[str, Any]) -> None:
    line = (json.dumps(content, allow_nan=False) + "\n").encode()
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):  # a full disk must not leave half a line for the next one to be glued to
            _truncate(path, size)
        raise InputFileError(error.strerror or "cannot be written", where=str(path)) from error


def _truncate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _differences(theirs: Any, ours: Mapping[str, Any]) -> str:
    if not isinstance(theirs, dict):
        return ""
    keys = sorted(key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key))
    return f": it differs in {', '.join(keys)}" if keys else ""
