"""The file of predictions."""

from __future__ import annotations

import numpy as np
import pytest

from mho.errors import InputFileError
from mho.evaluation.classes import Predictions
from mho.workflow.predictions import read_predictions, write_predictions

LABELS = np.array([0, 2, 1])


def test_predictions_are_read_as_they_were_written(tmp_path):
    written = {
        "float": Predictions(np.array([0, 2, 2]), np.array([0.1, 0.2, 1.5])),
        "found": Predictions(np.array([0, 1, 1]), np.array([0.2, 2.0, 0.25])),
    }
    write_predictions(tmp_path / "p.npz", LABELS, written)
    labels, read = read_predictions(tmp_path / "p.npz")
    assert labels.tolist() == LABELS.tolist()
    assert {name: (one.classes.tolist(), one.losses.tolist()) for name, one in read.items()} == {
        name: (one.classes.tolist(), one.losses.tolist()) for name, one in written.items()
    }


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"labels": LABELS}, "holds no predictions"),
        ({"found_classes": LABELS, "found_losses": LABELS / 2}, "do not fit each other"),
        ({"labels": LABELS, "found_classes": LABELS}, "do not fit each other"),
        ({"labels": LABELS, "found_classes": LABELS[:2], "found_losses": LABELS / 2}, "do not fit each other"),
        ({"labels": LABELS, "found_classes": LABELS / 2, "found_losses": LABELS / 2}, "other types"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, what):
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(InputFileError, match=what):
        read_predictions(tmp_path / "p.npz")
