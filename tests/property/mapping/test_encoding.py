"""The cells, read as rows and columns tell, are the weights: for every encoding, range, cell and input slice."""

import numpy as np
from accelerators import make_accelerator
from examples import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.best_mapping import MappingChoice
from mho.mapping.cell_contents import lay_out
from mho.mapping.encoding import CORRECTION, StoredRange
from mho.mapping.layer_mapping import Range
from mho.mapping.layer_search import Piece
from mho.mapping.paper_mapping import plan_layer
from mho.mapping.slicing import count_nominal_slices
from mho.network.layers import LayerIntegers, MvmLayer
from mho.policy import BitWidths


def ranges():
    """Grids that a stored operand may have, with the bits that mapping counts."""
    wide = st.sampled_from([*range(3, 9), 16])
    narrow = wide.map(lambda bits: (-(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1, bits))
    full = st.sampled_from([*range(2, 9), 16]).map(lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, bits))
    unsigned = st.sampled_from([*range(1, 9), 16]).map(lambda bits: (0, 2**bits - 1, bits))
    odd = st.tuples(st.integers(-200, 0), st.integers(1, 55)).map(lambda ends: (*ends, 8))
    never_positive = st.sampled_from(range(1, 9)).map(lambda bits: (-(2**bits) + 1, 0, bits))
    return st.one_of(narrow, full, unsigned, odd, never_positive, st.just((-1, 1, 1)), st.just((-1, 1, 2)))


@st.composite
def stored_matrices(draw):
    """A layer of some range and integers of it, [groups, outputs, inputs]."""
    qmin, qmax, bits = draw(ranges())
    values = StoredRange.of_grid(qmin, qmax, bits)
    groups, outputs, inputs = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = generator.integers(0, (qmax - qmin) // values.step + 1, (groups, outputs, inputs)) * values.step + qmin
    if draw(st.booleans()):
        weights[:] = draw(st.sampled_from([qmin, qmax]))
    integers = LayerIntegers(qmin, qmax, bits, takes_input_sums=False, takes_stored_sums=False)
    positions = draw(st.integers(1, 3))
    return MvmLayer("fc", "matmul", outputs, inputs, positions, groups, integers=integers), values, bits, weights


@given(stored_matrices(), st.sampled_from(Encoding), st.integers(1, 8), st.integers(1, 8), st.data())
@settings(max_examples=examples(300), deadline=None)
def test_cells_read_as_specified_are_the_weights(stored, encoding, cell_bits, dac_bits, data):
    layer, _, bits, weights = stored
    hardware = make_accelerator(200, 200, cell_bits, dac_bits)
    choice = MappingChoice(layer, bits, hardware, 1)
    candidates = choice.candidates(encoding)
    number = data.draw(st.integers(0, len(candidates.shape) - 1))
    whole = Piece(Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs), number, 1)
    mapping = choice.build(BitWidths(bits, 8), encoding, [whole])
    check(lay_out(mapping, mapping.parts[0], hardware), weights)


@given(stored_matrices(), st.sampled_from(PAPER_ENCODINGS), st.integers(1, 8))
@settings(max_examples=examples(200), deadline=None)
def test_the_cells_of_the_paper_hold_the_weights_in_as_many_slices_as_it_counts(stored, encoding, cell_bits):
    layer, values, bits, weights = stored
    # The paper counts by bits alone; a wider range asks for more.
    assume(values.magnitude.bit_length() <= bits and values.qmax - values.qmin < 1 << bits)
    hardware = make_accelerator(200, 200, cell_bits, encoding=encoding)
    mapping = plan_layer(layer, BitWidths(bits, 8), hardware)
    assert mapping.parts[0].num_weight_slices == count_nominal_slices(bits, cell_bits)
    check(lay_out(mapping, mapping.parts[0], hardware), weights)


def check(contents, weights):
    """Every copy of every weight is the sum over its rows and columns, and every other cell is zero."""
    rows, cols = contents.rows, contents.cols
    cells = contents.encode(weights).astype(np.int64)
    assert cells.max() < 1 << contents.accelerator.crossbar.cell_bits
    meets = (rows.pixel[:, 1, None] == cols.position[None, :, 1]) & (rows.pixel[:, 0, None] == 0)
    assert not (cells * ~meets).any()
    signed = cells * rows.sign[:, None] * cols.weight
    _, outputs, inputs = weights.shape
    for shift in np.unique(rows.shift):
        for position in np.unique(cols.position[:, 1]):
            for source in range(inputs):
                chosen = (rows.channel == source) & (rows.shift == shift) & (rows.pixel[:, 1] == position)
                for output in (*range(outputs), CORRECTION):
                    columns = (cols.output == output) & (cols.position[:, 1] == position)
                    read = signed[:, chosen][:, :, columns].sum(axis=(1, 2))
                    wanted = 1 if output == CORRECTION else weights[:, output, source] + contents.weight_offset
                    if output != CORRECTION or columns.any():
                        np.testing.assert_array_equal(read, np.broadcast_to(wanted, read.shape) << shift)
