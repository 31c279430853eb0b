"""Errors by class, of logits and predictions made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mho.errors import DataError
from mho.evaluation.classes import ClassScore, Confusion, Predictions, count_confusions, score_classes

LABELS = np.array([0, 0, 0, 1, 1, 3])
PREDICTED = np.array([0, 1, 1, 1, 0, 0])
LOSSES = np.array([0.5, 1.5, 1.0, 0.25, 0.75, 4.0])
PREDICTIONS = Predictions(PREDICTED, LOSSES)


def test_each_class_has_its_samples_its_correct_ones_and_its_mean_loss():
    assert score_classes(LABELS, PREDICTIONS, 4) == (
        ClassScore(3, 1, 1.0),
        ClassScore(2, 1, 0.5),
        ClassScore(0, 0, None),
        ClassScore(1, 0, 4.0),
    )


def test_confusions_are_counted_the_most_frequent_first():
    assert count_confusions(LABELS, PREDICTIONS) == (Confusion(0, 1, 2), Confusion(1, 0, 1), Confusion(3, 0, 1))


def test_a_perfect_classifier_confuses_nothing():
    assert count_confusions(LABELS, Predictions(LABELS, LOSSES)) == ()


def test_cross_entropy_is_that_of_the_softmax_also_for_large_logits():
    logits = np.array([[0.0, 0.0], [np.log(3.0), 0.0], [1000.0, 0.0]], dtype=np.float32)
    labels = np.array([1, 0, 1])
    assert Predictions.of(logits, labels).losses == pytest.approx([np.log(2), np.log(4 / 3), 1000.0])
    assert Predictions.of(logits, labels).classes.tolist() == [0, 0, 0]


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="6 predictions for 2 labels"):
        score_classes(LABELS[:2], PREDICTIONS, 4)
    with pytest.raises(DataError, match="labels 0 to 3"):
        score_classes(LABELS, PREDICTIONS, 3)
