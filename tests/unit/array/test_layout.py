from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from plain_array import layouts, make_layout

from mho.array.layout import NO_COLUMN, list_conversions
from mho.errors import DataError
from mho.hardware.converters import ColumnDifference


def pairs(layout, difference):
    found = list_conversions(layout, difference)
    return list(zip(found.plus.tolist(), found.minus.tolist(), strict=True))


def test_neighbours_of_opposite_weights_are_one_conversion_where_differences_are_analog():
    layout = make_layout(2, 2, (1, -1, 4, -4))
    assert pairs(layout, ColumnDifference.ANALOG) == [(0, 1), (4, 5), (2, 3), (6, 7)]
    alone = [(0, NO_COLUMN), (4, NO_COLUMN), (1, NO_COLUMN), (5, NO_COLUMN)]
    assert pairs(layout, ColumnDifference.DIGITAL)[:4] == alone


@pytest.mark.parametrize("weights", [(1, -2), (1, 1), (-4, 2)])
def test_other_neighbours_are_converted_alone(weights):
    assert all(minus == NO_COLUMN for _, minus in pairs(make_layout(1, 2, weights), ColumnDifference.ANALOG))


def test_a_column_whose_neighbour_lies_elsewhere_is_converted_alone():
    layout = make_layout(1, 2, (-1,))
    layout = replace(layout, col_output=np.array([0, 1, 1]), col_weight=np.array([-1, 1, -1]))
    assert pairs(layout, ColumnDifference.ANALOG) == [(0, NO_COLUMN), (1, 2)]


@pytest.mark.parametrize("weights", [(1, 2, -2, -4), (1, 1, -1, 4), (-1, 1, -1, 4, -4, 1)])
def test_columns_of_other_encodings_are_no_pairs_where_two_weights_happen_to_be_opposite(weights):
    assert all(minus == NO_COLUMN for _, minus in pairs(make_layout(1, 2, weights), ColumnDifference.ANALOG))


def test_columns_parted_by_edges_of_arrays_are_converted_alone_at_either_end():
    layout = make_layout(1, 3, (-1,))
    layout = replace(layout, col_output=np.array([0, 1, 1, 2]), col_weight=np.array([-4, 1, -1, 1]))
    assert pairs(layout, ColumnDifference.ANALOG) == [(0, NO_COLUMN), (1, 2), (3, NO_COLUMN)]


@given(layouts())
def test_every_column_is_converted_once_and_counts_as_before(layout):
    for difference in ColumnDifference:
        found = list_conversions(layout, difference)
        both = np.concatenate([found.plus, found.minus[found.minus != NO_COLUMN]])
        assert sorted(both.tolist()) == list(range(layout.cols))
        assert (found.output == layout.col_output[found.plus]).all()
        assert (found.weight == layout.col_weight[found.plus]).all()
        minus = found.minus != NO_COLUMN
        assert (layout.col_weight[found.minus[minus]] == -found.weight[minus]).all()
        assert (layout.col_output[found.minus[minus]] == found.output[minus]).all()
        for block in found.blocks:
            assert (np.diff(found.output[block]) > 0).all()
        assert [block.stop - block.start for block in found.blocks if block.stop == block.start] == []
        assert found.blocks[0].start == 0
        assert found.blocks[-1].stop == len(found.plus)


@given(layouts())
def test_slices_of_codes_add_up_to_them(layout):
    codes = np.random.default_rng(0).integers(0, 1 << layout.input_bits, (3, layout.rows))
    slices = layout.slice_codes(codes)
    assert slices.shape == (layout.steps, 3, layout.rows)
    assert slices.max() < 1 << layout.dac_bits
    if layout.takes_whole_codes:
        places = np.int64(1) << layout.step_shift * np.arange(layout.steps)
        assert (np.tensordot(places, slices, 1) == codes).all()


def test_rows_that_are_driven_alone_keep_their_signs_and_shifts():
    layout = replace(make_layout(4, 1, (1,)), row_sign=np.array([1, -1, 1, -1]), row_shift=np.array([0, 1, 2, 3]))
    part = layout.drive_rows(1, 3)
    assert (part.rows, part.row_sign.tolist(), part.row_shift.tolist()) == (2, [-1, 1], [1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_sign": np.array([1])}, "rows differ"),
        ({"row_sign": np.array([1, 0])}, "signs of rows"),
        ({"row_shift": np.array([0, -1])}, "shifts of rows"),
        ({"col_output": np.array([0])}, "columns differ"),
        ({"is_correction": np.array([True])}, "columns differ"),
        ({"col_output": np.array([0, 1])}, "outputs of columns"),
        ({"col_weight": np.array([1, 3])}, "powers of two"),
        ({"col_weight": np.array([1, 0])}, "powers of two"),
        ({"input_bits": 0}, "codes have no bits"),
        ({"input_bits": 33}, "codes have no bits"),
        ({"steps": 0}, "no steps"),
        ({"row_sign": np.zeros(0, int), "row_shift": np.zeros(0, int)}, "no rows"),
    ],
)
def test_what_is_not_laid_out_well_is_an_error(change, message):
    with pytest.raises(DataError, match=message):
        replace(make_layout(2, 1, (1, -1)), **change)
