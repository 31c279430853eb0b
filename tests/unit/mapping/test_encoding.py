import numpy as np
import pytest

from mho.accelerator.spec import PAPER_ENCODINGS, Encoding
from mho.errors import MappingError
from mho.mapping.encoding import (
    CORRECTION,
    StoredRange,
    count_cols,
    count_rows,
    describe_encoding,
    encode_block,
    encode_matrix,
)
from mho.mapping.tiling import Tile

NARROW = StoredRange(-127, 127)


def describe(encoding, outputs=3, inputs=5, num_weight_slices=2, cell_bits=4, values=NARROW):
    return describe_encoding(
        encoding,
        outputs=outputs,
        inputs=inputs,
        num_weight_slices=num_weight_slices,
        cell_bits=cell_bits,
        values=values,
    )


def test_differential_columns_hold_the_two_parts_side_by_side():
    encoded = encode_matrix(np.array([[0x5A], [-0x21]]), Encoding.DIFFERENTIAL_COLUMNS, 2, 4, values=NARROW)
    assert encoded.cells.tolist() == [[0xA, 0, 0x5, 0, 0, 0x1, 0, 0x2]]
    assert encoded.col_output.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert encoded.col_weight.tolist() == [1, -1, 16, -16] * 2
    assert encoded.row_sign.tolist() == [1]
    assert encoded.weight_offset == 0


def test_differential_rows_hold_the_two_parts_below_each_other():
    encoded = encode_matrix(np.array([[0x5A, -0x21]]), Encoding.DIFFERENTIAL_ROWS, 2, 4, values=NARROW)
    assert encoded.cells.tolist() == [[0xA, 0x5], [0, 0], [0, 0], [0x1, 0x2]]
    assert encoded.row_input.tolist() == [0, 0, 1, 1]
    assert encoded.row_sign.tolist() == [1, -1, 1, -1]
    assert encoded.col_weight.tolist() == [1, 16]


def test_offset_adds_a_constant_and_a_column_of_ones():
    encoded = encode_matrix(np.array([[-127, 1]]), Encoding.OFFSET, 2, 4, values=NARROW)
    assert encoded.weight_offset == 127
    assert encoded.cells.tolist() == [[0, 0, 1], [0x0, 0x8, 1]]
    assert encoded.col_output.tolist() == [0, 0, CORRECTION]
    assert encoded.col_weight.tolist() == [1, 16, 1]


def test_offset_binary_weights_fit_one_bit():
    encoded = encode_matrix(np.array([[-1, 1]]), Encoding.OFFSET, 1, 1, values=StoredRange.of_grid(-1, 1, 1))
    assert encoded.cells.tolist() == [[0, 1], [1, 1]]
    assert encoded.col_weight.tolist() == [2, 1]


def test_unsigned_weights_need_no_offset():
    assert describe(Encoding.OFFSET, values=StoredRange(0, 255)).weight_offset == 0


def test_ternary_is_not_binary():
    assert StoredRange.of_grid(-1, 1, 2).step == 1
    assert StoredRange.of_grid(-1, 1, 1).step == 2
    assert StoredRange.of_grid(0, 1, 1).step == 1


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_the_layout_has_the_lines_that_are_counted(encoding):
    rule = describe(encoding, outputs=7, inputs=11, num_weight_slices=3)
    assert (rule.rows, rule.cols) == (count_rows(11, encoding), count_cols(7, 3, encoding))
    assert (count_rows(10, encoding), count_cols(10, 2, encoding)) == {
        Encoding.DIFFERENTIAL_COLUMNS: (10, 40),
        Encoding.DIFFERENTIAL_ROWS: (20, 20),
        Encoding.OFFSET: (10, 21),
    }[encoding]


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_a_tile_of_the_rule_encodes_that_tile_of_the_matrix(encoding):
    weights = np.random.default_rng(0).integers(-127, 128, (6, 9))
    whole = encode_matrix(weights, encoding, 2, 4, values=NARROW)
    rule = describe(encoding, outputs=6, inputs=9)
    last = rule.cols - 1
    for tile in (
        Tile(0, 4, 0, 5),
        Tile(3, 9, 5, 11),
        Tile(8, 9, last, last + 1),
        Tile(0, rule.rows, last - 2, last + 1),
    ):
        block = encode_block(weights, rule.block(tile))
        assert (block == whole.cells[tile.row_start : tile.row_stop, tile.col_start : tile.col_stop]).all()


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_a_stack_of_matrices_is_encoded_like_each_alone(encoding):
    weights = np.random.default_rng(1).integers(-127, 128, (2, 3, 4, 5)).astype(np.int8)
    rule = describe(encoding, outputs=4, inputs=5)
    stack = encode_block(weights, rule)
    assert stack.shape == (2, 3, rule.rows, rule.cols)
    assert (stack[1, 2] == encode_block(weights[1, 2], rule)).all()


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
@pytest.mark.parametrize(("values", "bad"), [(NARROW, -128), (NARROW, 128), (StoredRange(-1, 1, 2), 0)])
def test_an_integer_outside_of_its_range_is_an_error_and_never_clipped(encoding, values, bad):
    with pytest.raises(MappingError, match="expected: "):
        encode_matrix(np.full((1, 1), bad), encoding, 2, 4, values=values)


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_too_few_slices_are_an_error_that_states_demand_and_limit(encoding):
    with pytest.raises(MappingError, match=r"digits up to (127|254), but 1 cell\(s\) of 4 bits hold at most 15"):
        describe(encoding, num_weight_slices=1)


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (-(2**30), 0), (0, 2**30)])
def test_an_impossible_range_is_an_error(limits):
    with pytest.raises(MappingError):
        StoredRange(*limits)


def test_a_rule_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        describe(Encoding.OFFSET).row_input[0] = 3


@pytest.mark.slow
def test_the_largest_layer_of_vgg16_is_encoded_within_seconds_and_little_memory():
    import tracemalloc

    weights = np.random.default_rng(0).integers(-127, 128, (4096, 25088), dtype=np.int8)
    tracemalloc.start()
    encoded = encode_matrix(weights, Encoding.DIFFERENTIAL_COLUMNS, 2, 4, values=NARROW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert encoded.cells.shape == (25088, 16384)
    assert peak < encoded.cells.nbytes + 150e6
