import numpy as np
import pytest
from accelerators import make_accelerator

from mho.hardware.loading import load_accelerator
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.occupancy import NO_TAP, PartOccupancy, count_cells
from mho.mapping.paper_mapping import plan_layer
from mho.network.layers import ConvShape, MvmLayer
from mho.policy import BitWidths

HARDWARE = load_accelerator("pelke2026-4bit")


def conv(outputs, channels, size, repeat=1):
    shape = ConvShape(1, (size, size), (size, size), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    return MvmLayer("layer", "conv", outputs, channels * 9, size * size, repeat, shape)


def test_im2col_fills_the_cells_of_its_matrix():
    layer = MvmLayer("layer", "linear", 10, 300, 1, 1)
    cells = count_cells(plan_layer(layer, BitWidths(4, 8), HARDWARE), HARDWARE)
    assert cells.digits == 300 * 20
    assert cells.corrections == 0
    assert cells.all == 2 * 256 * 256
    assert cells.utilization == cells.digits / cells.all


def test_columns_of_ones_are_counted_apart():
    hardware = make_accelerator(rows=8, cols=16, cell_bits=4, encoding="offset")
    cells = count_cells(plan_layer(MvmLayer("layer", "linear", 3, 8, 1, 1), BitWidths(4, 8), hardware), hardware)
    assert (cells.digits, cells.corrections, cells.all) == (8 * 3, 8, 128)


def test_a_slice_more_than_the_magnitudes_need_holds_nothing():
    """In the paper's counting, five bits take two 4-bit cells, though magnitudes up to 15 fit one."""
    hardware = make_accelerator(rows=8, cols=16, cell_bits=4)
    mapping = plan_layer(MvmLayer("layer", "linear", 3, 8, 1, 1), BitWidths(5, 8), hardware)
    assert mapping.parts[0].cols == 12
    assert count_cells(mapping, hardware).digits == 8 * 6


def test_a_window_leaves_cells_empty_where_pixels_and_positions_do_not_meet():
    hardware = make_accelerator(
        rows=12, cols=4, cell_bits=4, mapping={"allowed": {"encodings": ["differential-columns"], "splits": False}}
    )
    mapping = choose_mapping(conv(1, 1, 6), BitWidths(4, 1), hardware)
    occupancy = PartOccupancy.of(mapping, 0, hardware)
    assert len(occupancy.positions) == 2
    assert (occupancy.taps == NO_TAP).sum() == 2 * 3
    assert (np.sort(occupancy.taps[occupancy.taps[:, 0] != NO_TAP, 0]) == np.arange(9)).all()
    assert occupancy.count().digits == 2 * 9 * 2


def test_groups_that_share_a_tile_fill_its_diagonal():
    hardware = make_accelerator(rows=16, cols=16, cell_bits=4)
    mapping = choose_mapping(MvmLayer("layer", "matmul", 2, 4, 1, 4), BitWidths(4, 1), hardware)
    occupancy = PartOccupancy.of(mapping, 0, hardware)
    (place,) = occupancy.contents.tiles()
    cells = occupancy.tile(place)
    assert len(place.groups) == 4
    np.testing.assert_array_equal(cells.held, cells.row_group[:, None] == cells.col_group)


def test_every_so_many_lines_are_those_lines_of_the_whole():
    mapping = choose_mapping(conv(8, 4, 6), BitWidths(4, 4), HARDWARE)
    occupancy = PartOccupancy.of(mapping, 0, HARDWARE)
    place = next(occupancy.contents.tiles())
    np.testing.assert_array_equal(occupancy.tile(place, every=3).held, occupancy.tile(place).held[::3, ::3])


@pytest.mark.parametrize("bits", [BitWidths(1, 1), BitWidths(8, 8)])
def test_a_product_in_the_digital_unit_uses_no_cell(bits):
    hardware = make_accelerator(digital={"operation_latency_us": 0.000001})
    mapping = choose_mapping(MvmLayer("layer", "matmul", 2, 4, 3, 4), bits, hardware)
    assert mapping.is_digital
    assert count_cells(mapping, hardware).utilization == 0
