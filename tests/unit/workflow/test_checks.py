import numpy as np
import pytest

from mho.workflow.checks import judge_logits


def test_logits_are_judged_by_their_largest_element_and_cross_entropy():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    found = judge_logits(logits + 500.0, np.array([0, 1]))
    assert (found["correct"], found["count"], found["accuracy"]) == (1, 2, 0.5)
    assert found["loss"] == pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2, abs=1e-4)
