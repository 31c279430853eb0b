"""How the answers of a chip differ from exact ones."""

import numpy as np
import pytest

from mho.simulation.chip_answers import Difference


def test_samples_with_another_largest_element_are_counted_and_the_deviation_is_a_share():
    exact = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 5.0]])
    found = np.array([[0.0, 4.0], [0.0, 4.0], [0.0, 5.0]])
    gap = Difference.of(found, exact)
    assert (gap.samples, gap.others) == (3, 1)
    assert gap.share == pytest.approx(1 / 3)
    assert gap.deviation == pytest.approx(5 / np.sqrt(50))


def test_equal_answers_do_not_differ_also_where_they_are_zero_or_none():
    for shape in ((4, 3), (4, 2, 2), (0, 3)):
        assert Difference.of(np.zeros(shape), np.zeros(shape)) == Difference(shape[0], 0, 0.0)
    assert Difference.of(np.zeros((0, 3)), np.zeros((0, 3))).share == 0
    assert Difference.of(np.ones((1, 3)), np.zeros((1, 3))).deviation == np.inf
