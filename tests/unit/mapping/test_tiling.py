import numpy as np
import pytest

from mho.accelerator.spec import Crossbar
from mho.mapping.tiling import count_col_tiles, count_row_tiles, split_tiles


def crossbar(rows, cols):
    return Crossbar(rows=rows, cols=cols, cell_bits=4, write_latency_us=1, mvm_latency_us=1)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (256, 256), (257, 255), (700, 1030), (5, 2000)])
def test_tiles_cover_every_cell_once_and_fit_the_crossbar(rows, cols):
    array = crossbar(256, 128)
    tiles = split_tiles(rows, cols, array)
    covered = np.zeros((rows, cols), dtype=int)
    for tile in tiles:
        assert 0 < tile.rows <= 256
        assert 0 < tile.cols <= 128
        covered[tile.row_start : tile.row_stop, tile.col_start : tile.col_stop] += 1
    assert (covered == 1).all()
    assert len(tiles) == count_row_tiles(rows, array) * count_col_tiles(cols, array)


def test_tiles_that_add_up_to_the_same_outputs_follow_each_other():
    starts = [(tile.col_start, tile.row_start) for tile in split_tiles(5, 5, crossbar(2, 3))]
    assert starts == sorted(starts)
