import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mho.quantization.policy import BitWidths, Policy
from mho.search.evaluation import EvaluationRecord
from mho.search.goal import pareto_front
from mho.workflow.config import TrainingSettings
from mho.workflow.policy_stages import POLICY_FILE, QUANTIZED_FILE, SEARCH_FILE, TrainFinalists
from mho.workflow.search_stage import order_finalists


def record(index: int, latency_ps: int, accuracy: float) -> EvaluationRecord:
    policy = Policy({"fc": BitWidths(8, 8 - index)})
    return EvaluationRecord(policy, 1.0 - accuracy, accuracy, latency_ps, 0, 0.0, "rl", index, "f", "ok")


def result(*records: EvaluationRecord, best: int) -> SimpleNamespace:
    return SimpleNamespace(records=records, front=pareto_front(records), require_best=lambda: records[best])


def space(*outside: int) -> SimpleNamespace:
    return SimpleNamespace(contains=lambda policy: 8 - policy["fc"].act_bits not in outside)


def test_finalists_are_the_winner_and_then_slower_ones_that_are_more_accurate():
    records = (record(0, 100, 0.99), record(1, 50, 0.97), record(2, 60, 0.96), record(3, 70, 0.985), record(4, 40, 0.5))
    assert order_finalists(result(*records, best=1), space()) == [1, 3, 0]


def test_uniform_8_8_is_no_finalist_where_it_breaks_the_limits_of_the_search():
    records = (record(0, 100, 0.99), record(1, 50, 0.97), record(2, 70, 0.98))
    assert order_finalists(result(*records, best=1), space(0)) == [1, 2]


class FinalistsWithoutTraining(TrainFinalists):
    """Takes what training came to from its search's figures."""

    def _train(self, index, number, place, report):  # noqa: ARG002
        place.mkdir()
        for file in (QUANTIZED_FILE, POLICY_FILE):
            (place / file).write_text(f"of {index}")
        accuracy = self.search.figures["trained"][index]
        return {"validation": {"accuracy": accuracy}, "notes": [], "points": [], "policy": {}}


@pytest.mark.parametrize(
    ("trained", "tried", "taken", "noted"),
    [
        ({1: 0.96, 3: 0.9, 0: 0.9}, [1], 1, False),
        ({1: 0.90, 3: 0.951, 0: 0.9}, [1, 3], 3, False),
        ({1: 0.90, 3: 0.94, 0: 0.94}, [1, 3, 0], 3, True),
    ],
)
def test_the_fastest_finalist_that_keeps_the_drop_is_taken_else_the_most_accurate_with_a_note(
    tmp_path, trained, tried, taken, noted
):
    (tmp_path / SEARCH_FILE).write_text(json.dumps({"records": []}))
    stage = FinalistsWithoutTraining(
        prepared=None,
        search=SimpleNamespace(folder=tmp_path, figures={"order": [1, 3, 0], "trained": trained}),
        reference=SimpleNamespace(figures={"validation": {"accuracy": 0.96}}),
        training=TrainingSettings(epochs=1, learning_rate=0.1),
        allowed_drop_points=1.0,
        finalists=3,
        seed=0,
    )
    folder = Path(tmp_path / "found")
    folder.mkdir()
    figures = stage.make(folder, print)
    assert (figures["finalists"], figures["index"], bool(figures["notes"])) == (tried, taken, noted)
    assert (folder / QUANTIZED_FILE).read_text() == f"of {taken}"
