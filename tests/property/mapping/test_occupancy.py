"""What is said of cells before any weight is known is what encoding weights does."""

from __future__ import annotations

import numpy as np
from accelerators import accelerators
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mho.hardware.spec import Encoding
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.encoding import CORRECTION
from mho.mapping.occupancy import CellCount, PartOccupancy, count_cells
from mho.network.layers import ConvShape, MvmLayer
from mho.policy import BitWidths


@st.composite
def layers(draw):
    outputs, repeat = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["conv", "conv", "linear", "matmul"]))
    if kind != "conv":
        repeat = repeat if kind == "matmul" else 1
        return MvmLayer("layer", kind, outputs, draw(st.integers(1, 30)), draw(st.integers(1, 9)), repeat)
    kernel, stride = draw(st.sampled_from([(1, 1), (3, 1), (3, 2), (2, 1)]))
    size = kernel + draw(st.integers(0, 5))
    out = (size - kernel) // stride + 1
    shape = ConvShape(1, (size, size), (out, out), (kernel, kernel), (stride, stride), (1, 1), (0, 0, 0, 0))
    return MvmLayer("layer", kind, outputs, draw(st.integers(1, 4)) * kernel * kernel, out * out, repeat, shape)


@st.composite
def mapped_layers(draw):
    hardware = draw(accelerators())
    bits = BitWidths(draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    return choose_mapping(draw(layers()), bits, hardware), hardware


quick = settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))


@given(mapped_layers())
@quick
def test_cells_that_hold_something_are_those_that_some_weights_fill(case):
    mapping, hardware = case
    layer, values = mapping.layer, mapping.values
    shape = (layer.repeat, layer.outputs, layer.inputs)
    for number, part in enumerate(mapping.parts):
        occupancy = PartOccupancy.of(mapping, number, hardware)
        filled = np.zeros((part.rows, part.cols), dtype=bool)
        for value in range(values.qmin, values.qmax + 1, values.step):
            filled |= (occupancy.contents.encode(np.full(shape, value)) > 0).any(axis=0)
        held = occupancy.meet(np.arange(part.rows), np.arange(part.cols))
        assert not (filled & ~held).any()
        if mapping.encoding is not Encoding.TWOS_COMPLEMENT and values.step == 1:
            np.testing.assert_array_equal(filled, held)


@given(mapped_layers())
@quick
def test_tiles_add_up_to_what_is_counted_for_the_layer(case):
    mapping, hardware = case
    total, tiles = CellCount(0, 0, 0), 0
    for number in range(len(mapping.parts)):
        occupancy = PartOccupancy.of(mapping, number, hardware)
        is_one = occupancy.contents.cols.output == CORRECTION
        for place in occupancy.contents.tiles():
            cells, count = occupancy.tile(place), occupancy.count_tile(place)
            assert cells.held.shape[0] <= hardware.crossbar.rows
            assert cells.held.shape[1] <= hardware.crossbar.cols
            assert count.digits == cells.held[:, ~is_one[cells.col]].sum()
            assert count.corrections == cells.held[:, is_one[cells.col]].sum()
            total, tiles = total + count, tiles + 1
    assert tiles == mapping.tiles
    assert total == count_cells(mapping, hardware)
    assert 0 <= total.utilization <= 1
