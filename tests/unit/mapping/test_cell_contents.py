"""What lies in the cells of small layers, worked out by hand."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator

from mho.array.layout import begin_pairs
from mho.errors import MappingError
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.best_mapping import MappingChoice
from mho.mapping.cell_contents import lay_out
from mho.mapping.encoding import CORRECTION, StoredRange, count_cols, count_rows
from mho.mapping.layer_mapping import Range
from mho.mapping.layer_search import Piece
from mho.mapping.paper_mapping import plan_layer
from mho.network.layers import ConvShape, LayerIntegers, MvmLayer
from mho.policy import BitWidths

NARROW, BINARY, FULL = StoredRange(-127, 127), StoredRange(-1, 1, 2), StoredRange(-128, 127)


def dense(outputs, inputs, values=NARROW, weight_bits=8, positions=1):
    integers = LayerIntegers(values.qmin, values.qmax, weight_bits, False, False)
    return MvmLayer("fc", "linear", outputs, inputs, positions, 1, integers=integers)


def lay_out_as_the_paper(encoding, layer, weight_bits=8, cell_bits=4):
    hardware = make_accelerator(64, 64, cell_bits, encoding=encoding)
    mapping = plan_layer(layer, BitWidths(weight_bits, 8), hardware)
    return lay_out(mapping, mapping.parts[0], hardware)


def lay_out_best(encoding, layer, wanted, *, weight_bits=8, cell_bits=4, dac_bits=1, per_tile=1):
    """Lay out a whole layer as the first candidate that `wanted` (positions, slices at once) holds of."""
    hardware = make_accelerator(64, 64, cell_bits, dac_bits)
    choice = MappingChoice(layer, weight_bits, hardware, 1)
    candidates = choice.candidates(encoding)
    numbers = range(len(candidates.shape))
    number = next(n for n in numbers if (candidates.positions[n], candidates.slices_at_once[n]) == wanted)
    piece = Piece(Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs), number, per_tile)
    mapping = choice.build(BitWidths(weight_bits, 8), encoding, [piece])
    return lay_out(mapping, mapping.parts[0], hardware)


def cells_of(contents, weights):
    return contents.encode(np.array(weights)[None])[0].tolist()


def test_differential_columns_hold_the_two_parts_side_by_side():
    contents = lay_out_as_the_paper(Encoding.DIFFERENTIAL_COLUMNS, dense(2, 1))
    assert cells_of(contents, [[0x5A], [-0x21]]) == [[0xA, 0, 0x5, 0, 0, 0x1, 0, 0x2]]
    assert contents.cols.output.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert contents.cols.weight.tolist() == [1, -1, 16, -16] * 2
    assert contents.rows.sign.tolist() == [1]
    assert contents.weight_offset == 0


def test_differential_rows_hold_the_two_parts_below_each_other():
    contents = lay_out_as_the_paper(Encoding.DIFFERENTIAL_ROWS, dense(1, 2))
    assert cells_of(contents, [[0x5A, -0x21]]) == [[0xA, 0x5], [0, 0], [0, 0], [0x1, 0x2]]
    assert contents.rows.channel.tolist() == [0, 0, 1, 1]
    assert contents.rows.sign.tolist() == [1, -1, 1, -1]
    assert contents.cols.weight.tolist() == [1, 16]


def test_offset_adds_a_constant_and_a_column_of_ones():
    contents = lay_out_as_the_paper(Encoding.OFFSET, dense(1, 2))
    assert contents.weight_offset == 127
    assert cells_of(contents, [[-127, 1]]) == [[0, 0, 1], [0x0, 0x8, 1]]
    assert contents.cols.output.tolist() == [0, 0, CORRECTION]
    assert contents.cols.weight.tolist() == [1, 16, 1]


def test_digital_offset_adds_the_constant_without_the_column():
    contents = lay_out_best(Encoding.OFFSET_DIGITAL, dense(1, 2), (1, 1))
    assert contents.weight_offset == 127
    assert cells_of(contents, [[-127, 1]]) == [[0, 0], [0x0, 0x8]]
    assert contents.cols.output.tolist() == [0, 0]


def test_twos_complement_holds_the_bits_below_the_sign_and_the_sign_bit_for_itself():
    contents = lay_out_best(Encoding.TWOS_COMPLEMENT, dense(1, 4, FULL), (1, 1))
    assert contents.weight_offset == 0
    # -128 is a sign bit and no more; -1 is a sign bit and 127.
    assert cells_of(contents, [[0x5A, -0x21, -128, -1]]) == [[0, 0xA, 5], [1, 0xF, 5], [1, 0, 0], [1, 0xF, 7]]
    assert contents.cols.weight.tolist() == [-128, 1, 16]
    assert contents.cols.is_sign_bit.tolist() == [1, 0, 0]


def test_no_columns_of_twos_complement_look_like_differential_ones():
    """Two slices side by side shift a weight of five bits, so that a digit counts as much as the sign bit."""
    layer = dense(2, 3, StoredRange(-16, 15), weight_bits=5)
    cols = lay_out_best(Encoding.TWOS_COMPLEMENT, layer, (1, 2), weight_bits=5).cols
    assert cols.weight.tolist() == [-16, 1, 16] * 2
    for first, last in itertools.combinations(range(7), 2):  # wherever tiles are cut
        assert not begin_pairs(cols.output[first:last], cols.weight[first:last]).any()


def test_unsigned_weights_have_no_sign_bit_in_twos_complement():
    contents = lay_out_best(Encoding.TWOS_COMPLEMENT, dense(1, 1, StoredRange(0, 255)), (1, 1))
    assert cells_of(contents, [[0xA5]]) == [[5, 0xA]]
    assert contents.cols.weight.tolist() == [1, 16]


def test_offset_binary_weights_fit_one_bit():
    contents = lay_out_as_the_paper(Encoding.OFFSET, dense(1, 2, BINARY, 1), 1, 1)
    assert cells_of(contents, [[-1, 1]]) == [[0, 1], [1, 1]]
    assert contents.cols.weight.tolist() == [2, 1]


def test_unsigned_weights_need_no_offset():
    assert lay_out_as_the_paper(Encoding.OFFSET, dense(1, 1, StoredRange(0, 255))).weight_offset == 0


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_the_layout_has_the_lines_that_are_counted(encoding):
    contents = lay_out_as_the_paper(encoding, dense(7, 11, StoredRange(-2047, 2047), 16), 16)
    assert contents.rows.channel.shape == (count_rows(11, encoding),)
    assert contents.cols.output.shape == (count_cols(7, 4, encoding),)


def test_input_slices_side_by_side_meet_the_weight_shifted_as_they_are():
    contents = lay_out_best(Encoding.DIFFERENTIAL_ROWS, dense(1, 1), (1, 2), dac_bits=2)
    assert contents.rows.shift.tolist() == [0, 0, 2, 2]
    assert contents.rows.sign.tolist() == [1, -1, 1, -1]
    assert contents.step_shift == 4
    assert contents.cols.weight.tolist() == [1, 16, 256]
    assert cells_of(contents, [[0x5A]]) == [[0xA, 0x5, 0], [0, 0, 0], [0x8, 0x6, 0x1], [0, 0, 0]]
    assert cells_of(contents, [[-0x21]]) == [[0, 0, 0], [0x1, 0x2, 0], [0, 0, 0], [0x4, 0x8, 0]]


def test_ones_and_sign_bits_are_shifted_with_their_input_slices():
    offset = lay_out_best(Encoding.OFFSET, dense(1, 1), (1, 8))
    assert offset.part.correction_cols == 2
    assert [row[-2:] for row in cells_of(offset, [[0]])] == [
        [1, 0],
        [2, 0],
        [4, 0],
        [8, 0],
        [0, 1],
        [0, 2],
        [0, 4],
        [0, 8],
    ]
    twos = lay_out_best(Encoding.TWOS_COMPLEMENT, dense(1, 1), (1, 8))
    assert twos.cols.weight[twos.cols.is_sign_bit == 1].tolist() == [-128, -2048]
    assert [row[:2] for row in cells_of(twos, [[-1]])] == [row[-2:] for row in cells_of(offset, [[0]])]


def convolution(width=6, pads=(0, 1, 0, 1), kernel=(1, 3), stride=1, groups=1):
    """A convolution of one output and one channel a group, along one axis."""
    out = (width + pads[1] + pads[3] - kernel[1]) // stride + 1
    conv = ConvShape(1, (1, width), (1, out), kernel, (1, stride), (1, 1), pads)
    return MvmLayer("conv", "conv", 1, kernel[0] * kernel[1], out, groups, conv)


def test_a_window_of_two_positions_holds_the_kernel_twice_one_pixel_apart():
    contents = lay_out_best(Encoding.DIFFERENTIAL_ROWS, convolution(), (2, 1), cell_bits=8)
    positive = contents.rows.sign == 1
    assert contents.rows.pixel[positive, 1].tolist() == [0, 1, 2, 3]
    assert contents.cols.position[:, 1].tolist() == [0, 1]
    assert contents.encode(np.array([[[1, 2, 3]]]))[0, positive].tolist() == [[1, 0], [2, 1], [3, 2], [0, 3]]
    assert contents.part.windows == 3


def test_a_window_of_pixels_serves_positions_before_its_origin():
    hardware = make_accelerator(64, 64, 8)
    choice = MappingChoice(convolution(), 8, hardware, 1)
    candidates = choice.candidates(Encoding.DIFFERENTIAL_ROWS)
    number = next(
        n
        for n in range(len(candidates.shape))
        if str(candidates.table.patterns[candidates.shape[n]][0].width.kind) == "pixels"
        and (candidates.rows(0, 3)[n], candidates.slices_at_once[n]) == (2 * 2, 1)
    )
    mapping = choice.build(
        BitWidths(8, 8), Encoding.DIFFERENTIAL_ROWS, [Piece(*[Range(0, 1)] * 2, Range(0, 3), number, 1)]
    )
    contents = lay_out(mapping, mapping.parts[0], hardware)
    positive = contents.rows.sign == 1
    assert contents.rows.pixel[positive, 1].tolist() == [0, 1]
    assert contents.cols.position[:, 1].tolist() == [-2, -1, 0, 1]
    # Position -2 reads pixels -2, -1 and 0: of those the window has pixel 0, with the last tap.
    assert contents.encode(np.array([[[1, 2, 3]]]))[0, positive].tolist() == [[3, 2, 1, 0], [0, 3, 2, 1]]


@pytest.mark.parametrize("encoding", Encoding)
def test_groups_are_encoded_one_by_one_and_share_tiles_on_the_diagonal(encoding):
    layer = convolution(groups=5)
    contents = lay_out_best(encoding, layer, (1, 1), cell_bits=8, per_tile=2)
    weights = np.arange(15).reshape(5, 1, 3) - 7
    cells = contents.encode(weights)
    assert cells.shape == (5, contents.part.rows, contents.part.cols)
    for group in range(5):
        alone = lay_out_best(encoding, convolution(), (1, 1), cell_bits=8)
        np.testing.assert_array_equal(cells[group], alone.encode(weights[group : group + 1])[0])
    places = list(contents.tiles())
    assert [(place.groups.start, place.groups.stop) for place in places] == [(0, 2), (2, 4), (4, 5)]
    assert len(places) == contents.part.counts.tiles


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(("values", "bits", "bad"), [(NARROW, 8, -128), (NARROW, 8, 128), (BINARY, 1, 0)])
def test_an_integer_outside_of_its_range_is_an_error_and_never_clipped(encoding, values, bits, bad):
    contents = lay_out_best(encoding, dense(1, 1, values, bits), (1, 1), weight_bits=bits)
    with pytest.raises(MappingError, match="expected: "):
        contents.encode(np.full((1, 1, 1), bad))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_cells_do_not_depend_on_the_type_of_the_integers(dtype):
    weights = np.random.default_rng(1).integers(-127, 128, (1, 4, 5))
    for encoding in Encoding:
        contents = lay_out_best(encoding, dense(4, 5), (1, 8))
        np.testing.assert_array_equal(contents.encode(weights.astype(dtype)), contents.encode(weights))


def test_weights_that_the_cells_of_the_paper_cannot_hold_are_an_error_that_states_the_demand():
    """The paper's count goes by the policy's width; a grid of full range asks for one bit more."""
    layer = dense(1, 1, StoredRange(-8, 7), 4)
    with pytest.raises(MappingError, match=r"integers -8\.\.7 do not fit 3 cell\(s\) of 1 bits"):
        plan_layer(
            replace(layer, integers=replace(layer.integers, weight_bits=3)),
            BitWidths(3, 8),
            make_accelerator(cell_bits=1),
        )
    plan_layer(layer, BitWidths(4, 8), make_accelerator(cell_bits=1))


@pytest.mark.slow
def test_the_largest_layer_of_vgg16_is_encoded_within_seconds_and_little_memory():
    weights = np.random.default_rng(0).integers(-127, 128, (1, 4096, 25088), dtype=np.int8)
    contents = lay_out_as_the_paper(Encoding.DIFFERENTIAL_COLUMNS, dense(4096, 25088))
    tracemalloc.start()
    cells = contents.encode(weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cells.shape == (1, 25088, 16384)
    assert peak < cells.nbytes + 150e6


def test_one_weight_has_the_cells_of_a_matrix_that_holds_it_everywhere_in_every_window():
    """Patterns leave some positions of a window without taps: the weight is one of another position then."""
    conv = ConvShape(1, (4, 4), (2, 2), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1))
    layer, hardware = MvmLayer("conv", "conv", 2, 18, 4, 1, conv), make_accelerator(64, 64, 2)
    choice = MappingChoice(layer, 4, hardware, 1)
    shapes = choice.candidates(Encoding.DIFFERENTIAL_COLUMNS).shape
    for number in [int(np.flatnonzero(shapes == shape)[0]) for shape in np.unique(shapes)]:
        piece = Piece(Range(0, 1), Range(0, 2), Range(0, 18), number, 1)
        mapping = choice.build(BitWidths(4, 4), Encoding.DIFFERENTIAL_COLUMNS, [piece])
        for part in mapping.parts:
            contents = lay_out(mapping, part, hardware)
            one = contents.encode_one()
            assert len(one.rows)
            assert len(one.cols)
            for integer, digits in zip(one.integers, one.digits, strict=True):
                cells = contents.encode(np.full((1, 2, 18), integer))[0]
                assert cells[np.ix_(one.rows, one.cols)].tolist() == digits.tolist()
