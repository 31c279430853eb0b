"""The log of a study: nothing is lost, nothing is counted twice, and what is no log stays as it is."""

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


def test_a_kill_at_any_byte_loses_at_most_the_last_line(path):
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        log = StudyLog(path)
        assert len(log) == max(0, sum(end <= cut for end in ends) - 1)
        if log.find("b") is None:
            log.append("b", 0, {})
        assert StudyLog(path).find("b") == 0


def test_other_files_are_refused_and_left_alone(tmp_path):
    for content in ("notes\n", "[]", '{"format": "mho-evaluation-log"}\n'):
        path = tmp_path / "results.jsonl"
        path.write_text(content)
        with pytest.raises(InputFileError, match="not the log of a study"):
            StudyLog(path)
        assert path.read_text() == content


def test_another_version_is_refused(path):
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(InputFileError, match="another version"):
        StudyLog(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 3: a damaged line"),
        ("[]", "line 3: a damaged line"),
        ("[" * 10**5, "line 3: a damaged line"),
        ('{"key": "b", "correct": -1}', "line 3: a damaged line"),
        ('{"key": "b", "correct": true}', "line 3: a damaged line"),
        ('{"key": "a", "correct": 3}', "line 3: a chip that has a line already"),
    ],
)
def test_damaged_and_doubled_lines_are_named(path, line, told):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, ""]))
    with pytest.raises(InputFileError, match=told):
        StudyLog(path)
