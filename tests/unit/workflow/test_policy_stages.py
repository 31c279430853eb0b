import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mho.workflow.config import TrainingSettings
from mho.workflow.policy_stages import POLICY_FILE, QUANTIZED_FILE, SEARCH_FILE, TrainFinalists


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
    figures, folder = _finish(tmp_path, trained, 1.0)
    assert (figures["finalists"], figures["index"], bool(figures["notes"])) == (tried, taken, noted)
    assert (folder / QUANTIZED_FILE).read_text() == f"of {taken}"


def test_within_a_cost_budget_all_finalists_are_trained_and_the_most_accurate_is_taken(tmp_path):
    figures, folder = _finish(tmp_path, {1: 0.97, 3: 0.98, 0: 0.98}, None)
    assert (figures["finalists"], figures["index"], figures["notes"]) == ([1, 3, 0], 3, [])
    assert (folder / QUANTIZED_FILE).read_text() == "of 3"


def _finish(tmp_path, trained, allowed_drop_points):
    (tmp_path / SEARCH_FILE).write_text(json.dumps({"records": []}))
    stage = FinalistsWithoutTraining(
        prepared=None,
        search=SimpleNamespace(folder=tmp_path, figures={"order": [1, 3, 0], "trained": trained}),
        reference=SimpleNamespace(figures={"validation": {"accuracy": 0.96}}),
        training=TrainingSettings(epochs=1, learning_rate=0.1),
        allowed_drop_points=allowed_drop_points,
        finalists=3,
        seed=0,
    )
    folder = Path(tmp_path / "found")
    folder.mkdir()
    return stage.make(folder, print), folder
