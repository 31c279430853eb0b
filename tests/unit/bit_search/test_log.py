import json

import pytest

from mho.bit_search.evaluation import FAILED, OK, EvaluationRecord, Measurement
from mho.bit_search.log import EvaluationLog
from mho.bit_search.objective import Objective
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


def test_a_torn_last_line_is_dropped_and_the_log_goes_on(path):
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last + 1, len(whole), 11):
        path.write_bytes(whole[:cut])
        log = EvaluationLog(path, PROBLEM)
        assert log.was_repaired
        assert len(log) == 2
        log.append(record(3))
        assert path.read_bytes() == whole


def test_a_last_line_of_noise_is_dropped(path):
    path.write_bytes(path.read_bytes() + b"\0\0\0\0\n")
    log = EvaluationLog(path, PROBLEM)
    assert (log.was_repaired, len(log)) == (True, 3)
    assert len(EvaluationLog(path, PROBLEM)) == 3


def test_a_torn_header_starts_the_log_anew(path):
    header = path.read_bytes().splitlines(keepends=True)[0]
    for cut in range(0, len(header), 11):
        path.write_bytes(header[:cut])
        assert len(EvaluationLog(path, PROBLEM)) == 0
        assert path.read_bytes() == header


def test_a_log_of_another_problem_is_refused_and_says_what_differs(path):
    before = path.read_bytes()
    with pytest.raises(InputFileError, match=r"another problem: it differs in data, seed"):
        EvaluationLog(path, {"network": "n", "data": "other", "seed": 2})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"hello", b"{}\n", b'{"format": "other"}\n', b"\x89PNG\r\n\x1a\n", b"[" * 10**5],
)
def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="not an evaluation log"):
        EvaluationLog(path, PROBLEM)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [{"score": float("nan")}, {"accuracy": None}, {"status": "fine"}, {"policy": {}}, {"more": 1}, {"seed": "x"}],
)
def test_a_damaged_line_in_the_middle_is_named(path, change):
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **change})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputFileError, match=r"log.jsonl: line 3"):
        EvaluationLog(path, PROBLEM)


def test_a_line_without_one_of_its_keys_is_named(path):
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({key: value for key, value in json.loads(lines[2]).items() if key != "accuracy"})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputFileError, match="'accuracy' is missing"):
        EvaluationLog(path, PROBLEM)


def test_a_line_that_is_nested_too_deeply_is_a_damaged_one(path):
    lines = path.read_text().splitlines()
    for read in (lambda: EvaluationLog(path, PROBLEM), lambda: EvaluationLog.read(path)):
        path.write_text("\n".join([*lines[:2], "[" * 10**5, *lines[2:]]) + "\n")
        with pytest.raises(InputFileError, match=r"log.jsonl: line 3"):
            read()


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


def test_a_log_of_version_1_is_read_and_rewritten(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["version"] = 1
    for line in lines[1:]:
        line["latency_ps"] = line.pop("cost")
        del line["objective"], line["unit"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = EvaluationLog(path, PROBLEM)
    assert [(one.cost, one.objective) for one in log.records] == [(10**15, Objective.LATENCY)] * len(log)
    assert json.loads(path.read_text().splitlines()[0])["version"] == 2
    assert EvaluationLog(path, PROBLEM).records == log.records


@pytest.mark.parametrize(("key", "value"), [("objective", "speed"), ("unit", "aJ"), ("cost", None), ("latency_ps", 5)])
def test_a_line_whose_cost_is_not_clear_is_refused(path, key, value):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1][key] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputFileError):
        EvaluationLog(path, PROBLEM)


def test_reading_a_log_of_any_problem_leaves_its_file_alone(path):
    torn = path.read_bytes() + b'{"index": 3, "pol'
    path.write_bytes(torn)
    log = EvaluationLog.read(path)
    assert log.problem == PROBLEM
    assert log.records == EvaluationLog.read(path).records
    assert [r.policy["a"].weight_bits for r in log.records] == [8, 4, 3]
    log.append(record(2))
    assert path.read_bytes() == torn


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", b'{"format": "mho-evaluation-log", "version": 2}\n', b"\xff\xfe\n", b"[" * 10**5],
)
def test_what_is_no_log_is_not_read(tmp_path, content):
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(InputFileError):
        EvaluationLog.read(tmp_path / "log.jsonl")


def test_a_copy_holds_the_same_records(path, tmp_path):
    log = EvaluationLog.read(path)
    log.copy_to(tmp_path / "copy.jsonl")
    assert EvaluationLog(tmp_path / "copy.jsonl", PROBLEM).records == log.records
