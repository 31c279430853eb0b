from dataclasses import fields

import pytest
from accelerators import make_accelerator

from mho.mapping.activity import Activity, count_activity, count_reading, count_writing
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.paper_mapping import plan_layer
from mho.network.layers import MvmLayer
from mho.policy import BitWidths

DENSE = MvmLayer("dense", "linear", outputs=10, inputs=20, positions=3, repeat=1)
HEADS = MvmLayer("scores", "matmul", outputs=6, inputs=5, positions=7, repeat=4)


def test_a_dense_layer_by_hand():
    """Differential columns of 2-bit cells: 20 rows x (10 * 2 * 2 = 40) columns, on 8x8 crossbars 3 x 5 tiles."""
    mapping = plan_layer(DENSE, BitWidths(4, 3), make_accelerator())
    assert (mapping.rows, mapping.cols, mapping.tiles) == (20, 40, 15)
    passes = 3 * 3  # positions, slices of an input
    assert count_reading(mapping) == Activity(
        reads=15 * passes,
        cell_reads=20 * 40 * passes,
        driven_rows=20 * 5 * passes,  # in each of the five crossbars beside each other
        conversions=40 * 3 * passes,  # in each of the three crossbars above each other
        operations=40 * 3 * passes,
        buffer_bits=20 * 5 * 3 * 3 + 10 * 3 * 3,
    )
    assert count_writing(mapping, make_accelerator()) == Activity(cell_writes=20 * 40, memory_bits=20 * 40 * 2)


def test_rows_that_may_not_be_active_at_once_take_more_reads_but_are_driven_once():
    hardware = make_accelerator(crossbar={"active_rows": 3})
    all_rows, some_rows = (
        count_reading(plan_layer(DENSE, BitWidths(4, 3), one)) for one in (make_accelerator(), hardware)
    )
    assert some_rows.reads > all_rows.reads
    assert (some_rows.driven_rows, some_rows.cell_reads) == (all_rows.driven_rows, all_rows.cell_reads)
    assert some_rows.conversions > all_rows.conversions


def test_weights_are_written_once_for_a_batch_and_activations_for_each_sample():
    hardware = make_accelerator()
    dense, heads = (plan_layer(layer, BitWidths(4, 3), hardware) for layer in (DENSE, HEADS))
    for mapping, writes in ((dense, 1), (heads, 5)):
        expected = count_reading(mapping).times(5) + count_writing(mapping, hardware).times(writes)
        assert count_activity(mapping, hardware, batch=5) == expected


def test_weights_that_stay_are_not_written_but_activations_are():
    hardware = make_accelerator()
    dense, heads = (plan_layer(layer, BitWidths(4, 3), hardware) for layer in (DENSE, HEADS))
    assert count_activity(dense, hardware, weights_stay=True) == count_reading(dense)
    assert count_activity(heads, hardware, weights_stay=True) == count_activity(heads, hardware)


def test_an_activation_that_is_stored_comes_from_a_buffer_and_not_from_outside():
    writing = count_writing(plan_layer(HEADS, BitWidths(4, 3), make_accelerator()), make_accelerator())
    assert writing.memory_bits == 0
    assert writing.buffer_bits == 6 * 5 * 4 * 4
    assert writing.cell_writes == 4 * 5 * (6 * 2 * 2)


def test_groups_that_share_a_tile_have_cells_between_them():
    """Four heads of 2x3, offset: with the digital sum two rows and three columns each."""
    layer = MvmLayer("scores", "matmul", outputs=3, inputs=2, positions=7, repeat=4)
    hardware = make_accelerator(
        rows=16,
        cols=16,
        cell_bits=4,
        encoding="offset",
        mapping={"allowed": {"encodings": ["offset", "offset-digital"]}},
    )
    mapping = choose_mapping(layer, BitWidths(4, 1), hardware)
    (part,) = mapping.parts
    assert part.groups_per_tile == 4
    assert count_writing(mapping, hardware).cell_writes == 16 * part.rows * part.cols
    assert count_reading(mapping).driven_rows == 4 * part.rows * part.windows * part.num_steps


def test_a_product_of_the_digital_unit_touches_no_crossbar():
    hardware = make_accelerator(digital={"operation_latency_us": 0.000001})
    mapping = choose_mapping(HEADS, BitWidths(4, 3), hardware)
    assert mapping.is_digital
    activity = count_activity(mapping, hardware)
    assert (activity.reads, activity.cell_reads, activity.driven_rows, activity.conversions) == (0, 0, 0, 0)
    assert (activity.cell_writes, activity.memory_bits) == (0, 0)
    assert activity.operations == HEADS.macs
    assert activity.buffer_bits == 4 * 5 * (7 * 3 + 6 * 4) + 4 * 6 * 7 * 3


def test_weights_of_the_digital_unit_come_from_outside():
    hardware = make_accelerator(mapping={"digital_layers": "auto"}, digital={"operation_latency_us": 0.000001})
    layer = MvmLayer("layer", "linear", 5, 7, 3, 1)
    mapping = choose_mapping(layer, BitWidths(4, 3), hardware)
    assert mapping.is_digital
    once, resident = (count_activity(mapping, hardware, weights_stay=stay) for stay in (False, True))
    assert (once.memory_bits, resident.memory_bits) == (5 * 7 * 4, 0)
    assert (once.cell_writes, once.operations) == (0, layer.macs)
    assert once.buffer_bits == 7 * (3 * 3 + 5 * 4) + 5 * 3 * 3


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_happens_several_times_is_added_up(count):
    one = Activity(*range(1, len(fields(Activity)) + 1))
    assert one.times(count) == sum([one] * count, Activity())
