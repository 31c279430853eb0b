"""The Pareto front, compared with trying all pairs of points."""

import numpy as np

from mho.pareto import pareto_front


def test_the_front_is_what_no_other_point_betters():
    draws = np.random.default_rng(0)
    for size in (0, 1, 2, 30):
        first, second = draws.integers(0, 8, (2, size))
        front = pareto_front(first, second)
        points = list(zip(first.tolist(), second.tolist(), strict=True))
        best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
        assert [points[place] for place in front] == sorted(best)


def test_of_equal_points_the_ties_decide_and_then_the_order():
    assert pareto_front([1, 1, 1], [2, 2, 2], [5, 4, 4]).tolist() == [1]
