import itertools
from collections import Counter

import pytest

from mho.mapping.windows import SINGLE, Axis, Extent, PositionGrid, Stationary, Window, list_windows
from mho.network.layers import ConvShape, MvmLayer

AXES = [
    Axis(positions, kernel, stride, dilation)
    for positions, kernel, stride, dilation in itertools.product((1, 4, 7), (1, 2, 3), (1, 2, 4), (1, 2))
]


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_windows_meet_every_pixel_of_every_position_exactly_once(axis):
    wanted = Counter((position, tap) for position in range(axis.positions) for tap in range(axis.kernel))
    for extent in axis.extents(max_positions=99, max_pixels=99):
        met = Counter()
        sweep = axis.sweep(extent)
        for number in range(sweep.count):
            origin = number * sweep.step
            for pixel, offset in itertools.product(axis.pixel_offsets(extent), axis.position_offsets(extent)):
                tap, rest = divmod(pixel - offset * axis.stride, axis.dilation)
                if rest == 0 and 0 <= tap < axis.kernel and 0 <= origin + offset < axis.positions:
                    met[origin + offset, tap] += 1
        assert met == wanted, extent


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_runs_are_all_windows_in_order(axis):
    for extent in axis.extents(max_positions=99, max_pixels=99):
        sweep = axis.sweep(extent)
        numbers = [number for run in sweep.runs() for number in range(run.first, run.first + run.count)]
        assert numbers == list(range(sweep.count))


def test_overlapping_kernels_share_pixels():
    axis = Axis(positions=8, kernel=3, stride=1, dilation=1)
    assert axis.pixel_offsets(Extent(Stationary.POSITIONS, 4)) == (0, 1, 2, 3, 4, 5)
    assert axis.position_offsets(Extent(Stationary.PIXELS, 2)) == (-2, -1, 0, 1)


def test_positions_of_a_1x1_convolution_lie_in_one_line():
    conv = ConvShape(2, (7, 5), (7, 5), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
    grid = PositionGrid.of(MvmLayer("layer", "conv", 4, 8, 70, 1, conv))
    assert (grid.batch, grid.height.positions, grid.width.positions) == (2, 1, 35)


def test_the_first_window_is_a_single_position_and_no_window_beats_another():
    grid = PositionGrid(1, Axis(14, 3, 1, 1), Axis(14, 3, 1, 1))
    windows = list_windows(grid, 64, 64)
    assert windows[0] == SINGLE
    sizes = [(len(grid.pixels(w, 0, 9)), len(grid.positions(w)), grid.count_windows(w)) for w in windows[1:]]
    for one, other in itertools.permutations(sizes, 2):
        assert not all(a <= b for a, b in zip(one, other, strict=True))


def test_a_part_of_the_kernel_reads_fewer_pixels():
    grid = PositionGrid(1, Axis(8, 3, 1, 1), Axis(8, 3, 1, 1))
    window = Window(Extent(Stationary.POSITIONS, 2), Extent(Stationary.POSITIONS, 2))
    assert len(grid.pixels(window, 0, 9)) == 16
    assert len(grid.pixels(window, 0, 3)) == 2 * 4
    assert len(grid.pixels(window, 8, 9)) == 2 * 2
