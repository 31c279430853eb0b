import numpy as np
import pytest
from accelerators import make_accelerator

from mho.hardware.spec import Crossbar, Encoding
from mho.mapping.tiling import (
    count_col_tiles,
    count_conversion_rounds,
    count_conversions,
    count_row_tiles,
    split_tiles,
)


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


@pytest.mark.parametrize(
    ("encoding", "difference", "width", "sums", "rounds"),
    [
        # 26 columns in tiles of 8, 8, 8 and 2, three to an ADC (three ADCs a crossbar).
        (Encoding.DIFFERENTIAL_COLUMNS, "digital", 8, 26, 3 * 3 + 1),
        (Encoding.DIFFERENTIAL_COLUMNS, "analog", 8, 13, 3 * 2 + 1),
        (Encoding.OFFSET, "analog", 8, 26, 3 * 3 + 1),
        # Tiles of 7: one column of each but the last is parted from its partner; 7, 7, 7, 5 columns give 4, 4, 4, 3.
        (Encoding.DIFFERENTIAL_COLUMNS, "analog", 7, 15, 3 * 2 + 1),
    ],
)
def test_sums_to_convert_are_columns_or_pairs_of_them(encoding, difference, width, sums, rounds):
    hardware = make_accelerator(cols=width, converters={"columns_per_adc": 3, "column_difference": difference})
    assert count_conversions(26, hardware, encoding) == sums
    assert count_conversion_rounds(26, hardware, encoding) == rounds


def test_a_pair_shares_an_adc_which_then_converts_columns_of_other_encodings_one_after_the_other():
    hardware = make_accelerator(cols=8, converters={"column_difference": "analog"})
    rounds = [count_conversion_rounds(8, hardware, one) for one in (Encoding.DIFFERENTIAL_COLUMNS, Encoding.OFFSET)]
    assert rounds == [1, 2]
