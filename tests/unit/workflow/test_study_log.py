"""The log of a study: no chip is counted twice, and damaged lines are named."""

from __future__ import annotations

import json

import pytest

from mho.errors import InputFileError
from mho.workflow.study_log import StudyLog


@pytest.fixture
def path(tmp_path):
    log = StudyLog(tmp_path / "results.jsonl")
    log.append("a", 3, {"seed": 0})
    log.append("b", 0, {"seed": 1})
    return log.path


def test_what_was_appended_is_there_again(path):
    log = StudyLog(path)
    assert (len(log), log.find("a"), log.find("b"), log.find("c")) == (2, 3, 0, None)
    assert [json.loads(line).get("seed") for line in path.read_text().splitlines()] == [None, 0, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "line 3: a damaged line"),
        ('{"key": "b", "correct": -1}', "line 3: a damaged line"),
        ('{"key": "b", "correct": true}', "line 3: a damaged line"),
        ('{"key": "a", "correct": 3}', "line 3: a chip that has a line already"),
    ],
)
def test_damaged_and_doubled_lines_are_named(path, line, message):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, ""]))
    with pytest.raises(InputFileError, match=message):
        StudyLog(path)
