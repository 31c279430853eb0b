"""What it takes to write a tile: bits from outside, the link that they come over, and the longer of both times."""

from __future__ import annotations

import numpy as np
from accelerators import make_accelerator

from mho.mapping.tile_writing import WritingTime, count_memory_bits

SLOW, FAST = (make_accelerator(cell_bits=2, memory={"bytes_per_us": speed}) for speed in (3, 10**6))


def test_a_slow_link_is_longer_than_the_write_and_each_block_takes_whole_picoseconds_of_it():
    of_one = -(-1001 * 2 * 10**6 // (8 * 3))
    assert WritingTime.of([1001], SLOW, is_stored_dynamically=False) == WritingTime(of_one, of_one)
    assert WritingTime.of([1001] * 2, SLOW, is_stored_dynamically=False) == WritingTime(2 * of_one, 2 * of_one)
    assert SLOW.write_latency_ps < of_one


def test_a_fast_link_does_not_hold_up_the_write():
    assert WritingTime.of([8], FAST, is_stored_dynamically=False) == WritingTime(FAST.write_latency_ps, 2)


def test_an_ideal_link_and_an_operand_take_no_time_of_it():
    ideal = make_accelerator(cell_bits=2)
    assert WritingTime.of([1001], ideal, is_stored_dynamically=False) == WritingTime(ideal.write_latency_ps, 0)
    assert WritingTime.of([1001], SLOW, is_stored_dynamically=True) == WritingTime(SLOW.write_latency_ps, 0)


def test_weights_come_from_outside_and_operands_do_not():
    cells = np.array([3, 5])
    assert count_memory_bits(cells, SLOW, is_stored_dynamically=False).tolist() == [6, 10]
    assert count_memory_bits(cells, SLOW, is_stored_dynamically=True).tolist() == [0, 0]
