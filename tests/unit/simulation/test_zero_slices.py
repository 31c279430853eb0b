"""Zero input slices counted by hand; `tests/property/simulation` compares the count with the interpreter."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import change_instructions, compile_small, conv_network, grid, linear_network, matmul_network

from mho.errors import DataError, ProgramError
from mho.mapping.layer_mapping import MappingModel
from mho.program.instructions import LoadInput, Loop, Mvm, QuantizeInput
from mho.program.lowering import compile_network
from mho.simulation.interpreter import interpret
from mho.simulation.zero_slices import count_zero_slices


def dense(rows=2, **converters):
    """Three inputs of 3 bits on the grid of 1/4, two outputs in 8 columns of 3 bits and 3 tiles of 3 columns."""
    network = linear_network(np.ones((2, 3), np.int64), grid(3))
    accelerator = make_accelerator(
        rows=rows,
        cols=3,
        converters={"columns_per_adc": 2, "adc_bits": 8, "adc_latency_us_per_bit": 0.01, **converters},
        digital={"operation_latency_us": 0.001},
    )
    return compile_network(network, accelerator, model=MappingModel.PAPER)


def test_mvms_of_a_dense_layer_by_hand():
    # Codes 1, 2, 4 lie in tiles of two rows and one: slices of the first are 1, 1, 0, of the second 0, 0, 1.
    x = np.array([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0], [1.75, 1.75, 1.75]])
    (layer,) = count_zero_slices(dense(), x).layers
    assert (layer.name, layer.mvms) == ("fc", 18)
    # Three zero slices, each once for every tile beside it; all six of a zero input; none of ones.
    np.testing.assert_array_equal(layer.skipped, [9, 18, 0])
    assert layer.share == 27 / 54


def test_time_is_saved_for_the_mvm_and_for_what_follows_it():
    found = count_zero_slices(dense(), np.zeros((1, 3)))
    # Each slice: tiles of 3, 3 and 2 columns, read by 2 ADCs in 2, 2 and 1 rounds of 8 bits at 10 ns; 8 additions.
    slice_ps = 3 * 1_300_001 + 5 * 8 * 10_000 + 8 * 1_000
    np.testing.assert_array_equal(found.layers[0].saved_ps, [6 * slice_ps])
    # Only the six writes are left.
    np.testing.assert_array_equal(found.latencies_ps, [6 * 53_000_007])
    assert found.latency_ps == 6 * 53_000_007 + 6 * slice_ps


def test_slices_that_enter_together_are_skipped_together():
    network = linear_network(np.ones((1, 1), np.int64), grid(4))
    program = compile_network(network, make_accelerator(rows=4, cols=64), model=MappingModel.BEST)
    assert interpret(program, np.zeros((1, 1))).mvms == {"fc": 1}
    found = count_zero_slices(program, np.array([[0.0], [0.25], [2.0]]))
    np.testing.assert_array_equal(found.skipped, [1, 0, 0])


def test_signed_inputs_are_zero_where_their_codes_are():
    # Codes are shifted to start at 0: the smallest integer has no slice in use, and 0 has the highest one.
    network = conv_network(inputs=grid(3, signed=True), pads=(0, 0, 0, 0))
    program = compile_network(network, make_accelerator(rows=18), model=MappingModel.PAPER)
    x = np.stack([np.full((2, 4, 5), -1.0), np.zeros((2, 4, 5))])
    found = count_zero_slices(program, x)
    np.testing.assert_array_equal(found.skipped, [found.mvms, found.mvms * 2 // 3])


def test_only_the_streamed_operand_counts():
    program = compile_small(matmul_network(streamed=grid(3), stored=grid(4, signed=True)))
    a, b = np.ones((1, 2, 3, 4)), np.ones((1, 2, 4, 5))
    assert count_zero_slices(program, {"a": a * 1.75, "b": b * 0}).share == 0
    assert count_zero_slices(program, {"a": a * 0, "b": b}).share == 1


def test_wide_codes_are_counted_too():
    # 18 bits, more than are looked up in a table: six slices of 3 bits.
    network = linear_network(np.ones((1, 2), np.int64), grid(16, scale=1.0))
    program = compile_network(network, make_accelerator(rows=2, cols=64, dac_bits=3), model=MappingModel.PAPER)
    wide = change_instructions(program, QuantizeInput, lambda item: replace(item, qmax=2**18 - 1))
    found = count_zero_slices(wide, np.array([[2.0**17, 2.0**17 + 1], [0, 0]]))
    np.testing.assert_array_equal(found.skipped, [4, 6])


def test_progress_and_batch_sizes():
    seen = []
    x = np.random.default_rng(0).uniform(0, 1, (5, 3))
    parts = count_zero_slices(dense(), x, 2, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    np.testing.assert_array_equal(parts.skipped, count_zero_slices(dense(), x).skipped)
    with pytest.raises(DataError, match="batch size 0"):
        count_zero_slices(dense(), x, 0)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="unknown input 'z'"):
        count_zero_slices(dense(), {"z": np.zeros((1, 3))})


def test_a_crossbar_that_is_driven_elsewhere_than_it_is_read_is_refused():
    program = change_instructions(dense(), Mvm, lambda item: Loop("again", 2, (item,)))
    with pytest.raises(ProgramError, match="not driven, read and counted in one loop"):
        count_zero_slices(program, np.zeros((1, 3)))
    with pytest.raises(ProgramError, match="layer fc"):
        count_zero_slices(change_instructions(dense(), LoadInput, lambda _: None), np.zeros((1, 3)))


def test_the_interpreter_skips_only_on_request():
    x = np.array([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0]])
    plain, skipping = interpret(dense(), x), interpret(dense(), x, skip_zero_slices=True)
    np.testing.assert_array_equal(plain.skipped["fc"].mvms, [0, 0])
    np.testing.assert_array_equal(skipping.skipped["fc"].mvms, [9, 18])
    np.testing.assert_array_equal(skipping.outputs["y"], plain.outputs["y"])
    assert skipping.mvms == plain.mvms
