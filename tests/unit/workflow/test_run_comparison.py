"""Two runs compared: which is better, and whether by more than chance."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from run_results import make_result

from mho.errors import InputFileError
from mho.evaluation.classes import Predictions
from mho.input_files import hash_file
from mho.report.result import RunResult
from mho.report.result_figures import ChipAccuracies
from mho.report.run_comparison_page import render_run_comparison
from mho.report.run_comparison_text import print_run_comparison
from mho.schemas import json_schema
from mho.terminal import Console
from mho.workflow.finished_runs import FinishedRunFiles, read_run
from mho.workflow.predictions import write_predictions
from mho.workflow.run_comparison import compare_runs, compare_settings

GOLDEN = Path(__file__).parents[2] / "golden" / "comparison"
LABELS = np.zeros(500, dtype=np.int64)


def changed(result: RunResult, *, latency_us: float = 9_000.0, **changes) -> RunResult:
    *others, found = result.candidates
    found = found.model_copy(update={"latency_us": latency_us, "speedup": 20_000 / latency_us})
    return result.model_copy(update={"candidates": (*others, found), **changes})


def with_correct(result: RunResult, correct: int) -> RunResult:
    *others, found = result.candidates
    score = found.test.model_copy(update={"correct": correct, "accuracy": correct / 500})
    return result.model_copy(update={"candidates": (*others, found.model_copy(update={"test": score}))})


def predicting(wrong: range) -> tuple[np.ndarray, Predictions]:
    classes = LABELS.copy()
    classes[list(wrong)] = 1
    return LABELS, Predictions(classes, np.zeros(500))


def files(result: RunResult, wrong: range | None = None, name: str = "a") -> FinishedRunFiles:
    if wrong is not None:
        result = with_correct(result, 500 - len(wrong))
        result = result.model_copy(update={"data": result.data.model_copy(update={"test_sha256": "ef" * 32})})
    return FinishedRunFiles(f"runs/{name}", result, None if wrong is None else predicting(wrong))


@pytest.mark.parametrize(
    ("latency_us", "wrong", "better", "words"),
    [
        (
            4_500.0,
            range(10, 23),
            "second",
            "B is better: B is 2.00x as fast, and accuracies differ by no more than chance",
        ),
        (9_000.0, range(2), "second", "B is better: both are equally fast, and B is more accurate by more than chance"),
        (
            4_500.0,
            range(60),
            None,
            "Each is better in one: B is 2.00x as fast, and A is more accurate by more than chance",
        ),
        (
            9_000.0,
            range(1, 12),
            None,
            "Neither is better: both are equally fast, and accuracies differ by no more than",
        ),
        (18_000.0, range(60), "first", "A is better: A is 2.00x as fast, and A is more accurate by more than chance"),
    ],
)
def test_the_better_run_is_better_in_one_and_by_chance_at_most_worse_in_the_other(latency_us, wrong, better, words):
    found = compare_runs(files(make_result(), range(11)), files(changed(make_result(), latency_us=latency_us), wrong))
    assert found.better == better
    assert found.verdict.startswith(words)
    assert found.accuracies[0].test == "McNemar's exact test on the same 500 samples"


def test_samples_that_are_not_the_same_are_compared_as_independent():
    first, second = files(make_result(), range(11)), files(make_result())
    found = compare_runs(first, second).accuracies[0]
    assert found.test == "Fisher's exact test, as of different samples"
    assert found.p_value > 0.5


def test_accuracies_on_other_data_are_not_compared():
    other = make_result()
    other = other.model_copy(update={"data": other.data.model_copy(update={"name": "cifar10"})})
    found = compare_runs(files(make_result()), files(changed(other, latency_us=3_000.0)))
    assert (found.better, found.accuracies[0].p_value) == (None, None)
    assert found.verdict == "B is 3.00x as fast; test data differ, so accuracies cannot be compared."
    assert "Data differ: digits and cifar10." in found.notes


def test_chips_are_compared_by_their_means():
    def on_chips(accuracies):
        chips = ChipAccuracies(name="found", label="found policy", images=100, hardware="x", accuracies=accuracies)
        return files(make_result().model_copy(update={"chip_accuracies": (chips,)}))

    comparison = compare_runs(on_chips((0.5, 0.52, 0.51)), on_chips((0.9, 0.93, 0.91)))
    found = comparison.accuracies[0]
    assert (found.better, found.first.accuracy, found.first.count) == ("second", pytest.approx(0.51), 3)
    assert comparison.better == "second", "the verdict goes by chips"
    assert compare_runs(on_chips((0.5,)), on_chips((0.9,))).accuracies[0].test.startswith("Fisher's exact test")
    ideal, unsampled = make_result(), make_result().model_copy(update={"unsampled": "simulation.chips is 0"})
    found = compare_runs(on_chips((0.5, 0.52)), files(ideal)).accuracies[0]
    assert (found.better, found.second.accuracy) == ("second", ideal.candidate("found").test.accuracy)
    assert compare_runs(on_chips((0.5,)), files(unsampled)).accuracies[0].test == "only one run sampled chips"


def test_only_settings_that_differ_are_listed():
    first = {"run.name": "a", "search.budget": "80", "qat.epochs": "20"}
    second = {"run.name": "b", "search.budget": "60", "search.batch": "4", "qat.epochs": "20"}
    assert [(one.key, one.first, one.second) for one in compare_settings(first, second)] == [
        ("search.budget", "80", "60"), ("search.batch", None, "4"),
    ]  # fmt: skip


@pytest.fixture
def document():
    second = changed(make_result(), latency_us=4_500.0, name="narrow")
    second = second.model_copy(
        update={
            "settings": {"run": {"name": "narrow", "seed": 2}, "search": {"method": "exact", "budget": 40}},
            "layers": (*second.layers[:-1], second.layers[0].model_copy(update={"name": "head"})),
        }
    )
    return compare_runs(files(make_result(), range(11)), files(second, range(8, 21), "b"))


def test_the_comparison_reads_as_before(document, check_golden):
    console = Console(file=io.StringIO(), width=80)
    print_run_comparison(console, document)
    text = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"
    check_golden(GOLDEN / "runs.txt", text)


def test_page_and_json_hold_every_figure(document):
    jsonschema.validate(json.loads(document.model_dump_json()), json_schema("run-comparison"))
    page = render_run_comparison(document)
    assert "<script" not in page
    assert "None" not in page
    for words in (
        "search.method",
        "rl",
        "exact",
        "4.50\u202fms",
        "0.500",
        "4.44\u00d7",
        "McNemar",
        "layer1.0.conv1",
        "head",
    ):
        assert words in page, words


def test_the_comparison_shows_itself_as_a_table(document):
    rows = document.table().rows
    assert rows[0] == ("latency of one inference, us", 9_000.0, 4_500.0, "second")
    assert rows[-1] == ("integer-reference accuracy", 0.978, 0.974, None)
    assert repr(document) == f"RunComparison({document.verdict})"


def write_run(folder: Path, wrong: range) -> Path:
    folder.mkdir()
    write_predictions(folder / "predictions.npz", LABELS, {"found": predicting(wrong)[1]})
    entry = {"path": "predictions.npz", "what": "", "bytes": 1, "sha256": hash_file(folder / "predictions.npz")}
    content = files(make_result(), wrong).result.model_dump(mode="json") | {"files": [entry]}
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def test_runs_are_read_with_the_predictions_that_belong_to_them(tmp_path):
    run = write_run(tmp_path / "run", range(5))
    found = read_run(run)
    assert found.predictions[1].classes.sum() == 5
    assert read_run(run / "result.json").result == found.result
    write_predictions(run / "predictions.npz", LABELS, {"found": predicting(range(9))[1]})
    assert read_run(run).predictions is None, "they are of another run"
    (run / "predictions.npz").unlink()
    assert read_run(run).predictions is None


def test_a_folder_without_a_result_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(InputFileError, match=r"holds no result of a run[\s\S]*goes on with the same mho run"):
        read_run(tmp_path)


@pytest.mark.parametrize("lacks", ["found", "latency", "layers"])
def test_a_result_that_was_edited_is_refused(tmp_path, lacks):
    content = make_result().model_dump(mode="json")
    if lacks == "found":
        content["candidates"].pop()
    elif lacks == "latency":
        content["candidates"][-1]["latency_us"] = None
    else:
        content["layers"] = []
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(InputFileError, match="not the result of a whole run"):
        read_run(tmp_path)
