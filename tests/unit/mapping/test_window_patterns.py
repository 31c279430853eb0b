import itertools
from collections import Counter

import pytest

from mho.mapping.window_patterns import list_patterns, tabulate_windows
from mho.mapping.windows import Axis, PositionGrid


@pytest.mark.parametrize("size", [1, 2, 7, 12])
@pytest.mark.parametrize("number", range(len(list_patterns())))
def test_a_pattern_gives_every_position_every_tap_exactly_once(number, size):
    pattern = list_patterns()[number]
    axis = Axis(size, pattern.kernel, pattern.stride, 1)
    grid = PositionGrid(1, axis, axis)
    assert pattern.fits(grid)
    met = Counter()
    for window in pattern.windows:
        height, width = grid.sweeps(window)
        for m, n in itertools.product(range(height.count), range(width.count)):
            for pixel, position in itertools.product(window.pixels, window.positions):
                y, x = position[0] + m * height.step, position[1] + n * width.step
                tap = grid.tap(window, pixel, position)
                if tap is not None and 0 <= y < size and 0 <= x < size:
                    met[y, x, tap] += 1
    assert met == Counter(itertools.product(range(size), range(size), range(pattern.kernel**2)))


@pytest.mark.parametrize("pattern", list_patterns())
def test_windows_of_a_pattern_are_equally_large_and_begin_where_the_layer_does(pattern):
    first = pattern.windows[0]
    for window in pattern.windows:
        assert len(set(window.pixels)) == len(window.pixels) == len(first.pixels)
        assert len(set(window.positions)) == len(window.positions) == len(window.taps) == len(first.positions)
        for axis in (0, 1):
            assert 0 <= max(position[axis] for position in window.positions) < window.step[axis] == first.step[axis]


def test_patterns_are_offered_where_they_fit():
    fitting = PositionGrid(1, Axis(14, 3, 1, 1), Axis(14, 3, 1, 1))
    dilated = PositionGrid(1, Axis(14, 3, 1, 2), Axis(14, 3, 1, 2))
    assert max(len(pattern) for pattern in tabulate_windows(fitting, 4, 4).patterns) > 1
    assert max(len(pattern) for pattern in tabulate_windows(dilated, 4, 4).patterns) == 1
    assert len(tabulate_windows(fitting, 1, 9).patterns) == 1
