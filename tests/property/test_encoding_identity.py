"""The cells, read as the rule says, are the weights; and sums over crossbars are the product."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.accelerator.spec import PAPER_ENCODINGS, Crossbar
from mho.mapping.encoding import CORRECTION, StoredRange, describe_encoding, encode_block, encode_matrix
from mho.mapping.slicing import count_input_slices, count_weight_slices, slice_inputs
from mho.mapping.tiling import split_tiles


def ranges():
    """Grids that a stored operand may have, with the bits that mapping counts."""
    wide = st.sampled_from([*range(3, 9), 16])
    narrow = wide.map(lambda bits: (-(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1, bits))
    full = st.integers(2, 8).map(lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, bits))
    unsigned = st.sampled_from([*range(1, 9), 16]).map(lambda bits: (0, 2**bits - 1, bits))
    return st.one_of(narrow, full, unsigned, st.just((-1, 1, 1)), st.just((-1, 1, 2)))


@st.composite
def stored_matrices(draw):
    qmin, qmax, bits = draw(ranges())
    values = StoredRange.of_grid(qmin, qmax, bits)
    outputs, inputs = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = generator.integers(0, (qmax - qmin) // values.step + 1, (outputs, inputs)) * values.step + qmin
    if draw(st.booleans()):
        weights[:] = draw(st.sampled_from([qmin, qmax]))
    return weights, values, bits


@given(stored_matrices(), st.sampled_from(PAPER_ENCODINGS), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_cells_read_as_told_are_the_weights(stored, encoding, cell_bits):
    weights, values, bits = stored
    encoded = encode_matrix(weights, encoding, count_weight_slices(bits, cell_bits), cell_bits, values=values)
    assert encoded.cells.max() < 2**cell_bits
    read = np.full(weights.shape, -encoded.weight_offset)
    for row, (source, sign) in enumerate(zip(encoded.row_input, encoded.row_sign, strict=True)):
        for col, (output, weight) in enumerate(zip(encoded.col_output, encoded.col_weight, strict=True)):
            if output != CORRECTION:
                read[output, source] += int(sign) * int(weight) * int(encoded.cells[row, col])
    assert (read == weights).all()


@given(
    stored_matrices(),
    st.sampled_from(PAPER_ENCODINGS),
    st.integers(1, 8),
    st.integers(1, 8),
    st.sampled_from([1, 2, 5, 8, 16]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=300, deadline=None)
def test_tiled_and_sliced_mvms_add_up_to_the_integer_product(
    stored, encoding, cell_bits, dac_bits, act_bits, size, seed
):
    weights, values, bits = stored
    outputs, inputs = weights.shape
    codes = np.random.default_rng(seed).integers(0, 2**act_bits, inputs)
    rule = describe_encoding(
        encoding,
        outputs=outputs,
        inputs=inputs,
        num_weight_slices=count_weight_slices(bits, cell_bits),
        cell_bits=cell_bits,
        values=values,
    )
    crossbar = Crossbar(rows=size[0], cols=size[1], cell_bits=cell_bits, write_latency_us=1, mvm_latency_us=1)
    sums, correction = np.zeros(outputs, dtype=np.int64), 0
    for tile in split_tiles(rule.rows, rule.cols, crossbar):
        part = rule.block(tile)
        cells = encode_block(weights, part).astype(np.int64)
        for index, step in enumerate(slice_inputs(codes, count_input_slices(act_bits, dac_bits), dac_bits)):
            counts = ((step[part.row_input] * part.row_sign) @ cells * part.col_weight) << (index * dac_bits)
            for output, count in zip(part.col_output, counts, strict=True):
                if output == CORRECTION:
                    correction += count
                else:
                    sums[output] += count
    assert (sums - rule.weight_offset * correction == weights @ codes).all()
