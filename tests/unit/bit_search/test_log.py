import json

import pytest

from mho.bit_search.evaluation import FAILED, OK, EvaluationRecord, Measurement
from mho.bit_search.log import EvaluationLog
from mho.errors import InputFileError, MhoError
from mho.policy import BitWidths, Policy

PROBLEM = {"network": "n", "data": "d", "seed": 1}


def record(weight_bits, **changes):
    fields = {
        "policy": Policy({"a": BitWidths(weight_bits, 8), "b": BitWidths(8, 8)}), "score": 1.25, "accuracy": 0.5,
        "cost": 10**15, "seed": 2**63 - 1, "seconds": 0.5, "method": "rl", "index": 0, "fidelity": "ptq",
        "status": OK, **changes,
    }  # fmt: skip
    return EvaluationRecord(**fields)


@pytest.fixture
def path(tmp_path):
    log = EvaluationLog(tmp_path / "log.jsonl", PROBLEM)
    for bits in (8, 4, 3):
        log.append(record(bits))
    return log.path


def test_what_was_appended_is_there_when_the_log_is_opened_again(path):
    log = EvaluationLog(path, PROBLEM)
    assert [r.policy["a"].weight_bits for r in log.records] == [8, 4, 3]
    assert [r.index for r in log.records] == [0, 1, 2]
    assert log.find(record(4).policy, "ptq") == record(4, index=1)
    assert log.find(record(4).policy, "qat") is None
    assert not log.was_repaired


def test_a_log_of_another_problem_is_refused_and_says_what_differs(path):
    before = path.read_bytes()
    with pytest.raises(InputFileError, match=r"another problem: it differs in data, seed"):
        EvaluationLog(path, {"network": "n", "data": "other", "seed": 2})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"score": float("nan")},
        {"accuracy": None},
        {"status": "fine"},
        {"policy": {}},
        {"more": 1},
        {"seed": "x"},
        {"objective": "speed"},
        {"unit": "aJ"},
        {"cost": None},
        {"latency_ps": 5},
        {"accuracy": ...},
    ],
)
def test_a_damaged_line_in_the_middle_is_named(path, change):
    lines = path.read_text().splitlines()
    content = {**json.loads(lines[2]), **change}
    lines[2] = json.dumps({key: value for key, value in content.items() if value is not ...})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputFileError, match=r"log.jsonl: line 3"):
        EvaluationLog(path, PROBLEM)


def test_a_policy_is_logged_once_a_fidelity(path):
    log = EvaluationLog(path, PROBLEM)
    with pytest.raises(MhoError, match="evaluated before"):
        log.append(record(8))
    log.append(record(8, fidelity="qat"))
    assert len(EvaluationLog(path, PROBLEM)) == 4


def test_failed_evaluations_are_kept_as_such(tmp_path):
    path = tmp_path / "log.jsonl"
    EvaluationLog(path, PROBLEM).append(record(8, score=None, accuracy=None, status=FAILED, note="diverged"))
    (kept,) = EvaluationLog(path, PROBLEM).records
    assert (kept.status, kept.score, kept.note, kept.is_ok) == (FAILED, None, "diverged", False)


@pytest.mark.parametrize("values", [(float("nan"), 0.5), (float("inf"), 0.5), (1.0, float("nan"))])
def test_a_measurement_that_is_not_finite_is_a_failed_one(values):
    measurement = Measurement.of(*values)
    assert (measurement.score, measurement.accuracy) == (None, None)
    assert "diverged" in measurement.note


def test_a_log_of_any_problem_is_read_into_memory_and_copied(path, tmp_path):
    log, before = EvaluationLog.read(path), path.read_bytes()
    assert log.problem == PROBLEM
    assert log.records == EvaluationLog(path, PROBLEM).records
    log.copy_to(tmp_path / "copy.jsonl")
    log.append(record(2))
    assert (path.read_bytes(), (tmp_path / "copy.jsonl").read_bytes()) == (before, before)


def test_a_log_without_a_problem_is_not_read(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"format": "mho-evaluation-log", "version": 2}\n')
    with pytest.raises(InputFileError, match="the problem is missing"):
        EvaluationLog.read(tmp_path / "log.jsonl")
