"""The evaluation log: every evaluated policy, one JSON line each (`mho.durable_log`).

The first line names the problem (network, data, accelerator, settings of the evaluation) by its hash; a log of another
problem is refused. All methods and objectives may share one log: what it holds is not evaluated again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mho.bit_search.evaluation import EvaluationRecord, problem_hash
from mho.durable_log import LogFormat, append_line, damaged_line, open_log, read_log, write_log
from mho.errors import InputFileError, MhoError
from mho.policy import Policy

LOG = LogFormat("mho-evaluation-log", 2, "an evaluation log")


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
            found = open_log(self.path, LOG, self._header)
            self._check_problem(self.path, found.header)
            self.was_repaired = found.was_repaired
            self._read(found.lines)

    @classmethod
    def read(cls, path: str | Path) -> EvaluationLog:
        """Return a copy in memory of a log of any problem; the file stays as it is, also where another run adds to it.

        A line at the end that is not whole is left out.

        Raises:
            InputFileError: the file cannot be read, is no evaluation log, or a line before the last is damaged.
        """
        found = read_log(Path(path), LOG)
        if not isinstance(found.header.get("problem"), dict):
            raise InputFileError("the problem is missing in the first line", where=str(path))
        log = cls(None, found.header["problem"])
        log._read(found.lines)
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
            append_line(self.path, record.to_json())
        self._keep(record)
        return record

    def copy_to(self, path: Path) -> None:
        """Write all records to a file, atomically. Raises `InputFileError`."""
        write_log(path, LOG, self._header, (record.to_json() for record in self._records))

    def _keep(self, record: EvaluationRecord) -> None:
        self._records.append(record)
        self._by_key[(record.policy, record.fidelity)] = record

    def _read(self, lines: tuple[tuple[str, Any], ...]) -> None:
        for where, content in lines:
            try:
                record = EvaluationRecord.from_json(content, where=where)
            except MhoError as error:
                raise damaged_line(error.what, error.where, expected=error.expected) from error
            self._keep(replace(record, index=len(self._records)))

    @property
    def _header(self) -> dict[str, Any]:
        return {"hash": problem_hash(self.problem), "problem": self.problem}

    def _check_problem(self, path: Path, header: Mapping[str, Any]) -> None:
        if header.get("hash") != problem_hash(self.problem):
            raise InputFileError(
                f"this log belongs to another problem{_differences(header.get('problem'), self.problem)}",
                where=str(path),
                hint="use another run directory, or delete the log to start over",
            )


def _differences(theirs: Any, ours: Mapping[str, Any]) -> str:
    if not isinstance(theirs, dict):
        return ""
    keys = sorted(key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key))
    return f": it differs in {', '.join(keys)}" if keys else ""
