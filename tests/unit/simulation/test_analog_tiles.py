"""Tiles of a program on a chip: how finely cells are kept where wires have a resistance."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from plain_reads import PlainCrossbar, plain_answers
from random_networks import random_inputs
from small_programs import compile_small, grid, linear_network

from mho.simulation import analog_tiles
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor

WIRES = {
    "lrs_siemens": 1e-4,
    "row_segment_ohm": 10,
    "col_segment_ohm": 15,
    "on_off_ratio": 8,
    "programming_error": 0.02,
}
FINENESS = {1: 13, 2: 12, 3: 11, 4: 10, 5: 9, 6: 8, 7: 8, 8: 8}
"""Bits of a cell -> cells are kept in whole multiples of 2^-so many level steps (docs/arrays.md)."""


def write_with_wires(program, hardware, monkeypatch):
    """Return an executor, and for each tile its crossbar by the plain oracle, with wires solved node by node."""
    writes, original = [], analog_tiles.write_crossbar

    def record(made, digits, seed, *, write=0, conditions=None, lines=None):
        writes.append((digits, PlainCrossbar.written(made, digits, seed, conditions, lines, write)))
        return original(made, digits, seed, write=write, conditions=conditions, lines=lines)

    monkeypatch.setattr(analog_tiles, "write_crossbar", record)
    executor = AnalogExecutor(program, 7, hardware=hardware)
    ((layer, tiles),) = executor.tiles.items()
    assert len(writes) == len(tiles), f"{layer} has a write a tile"
    return executor, tiles, writes


def answer_plainly(hardware, tile, counts, codes):
    """Return answers of a tile, and by how much the kept fineness may make them differ."""
    layout, conversions = tile.product.layout, tile.product.conversions
    wanted = plain_answers(hardware, layout, counts[: layout.rows, : layout.cols], codes, None, fraction_bits=40)
    weights = np.bincount(conversions.output, np.abs(conversions.weight), layout.outputs)
    return wanted, codes.sum(axis=1)[:, None] * weights * 0.5 ** (FINENESS[hardware.crossbar.cell_bits] + 1)


@pytest.mark.parametrize("cell_bits", FINENESS)
@pytest.mark.parametrize(("encoding", "difference"), [("differential-columns", "analog"), ("offset", "digital")])
def test_a_program_with_wires_answers_as_the_nodal_solutions_of_its_chip(cell_bits, encoding, difference, monkeypatch):
    """Within what docs/arrays.md says, for single rows as for whole inputs, and nearly as far off as it says."""
    network = linear_network(np.random.default_rng(0).integers(-8, 8, (5, 14)), grid(4))
    hardware = make_accelerator(
        16, 24, cell_bits, encoding=encoding, array=WIRES, converters={"column_difference": difference}
    )
    program = compile_small(network, hardware)
    _, tiles, writes = write_with_wires(program, hardware, monkeypatch)
    largest_part = 0.0
    for tile, (_, crossbar) in zip(tiles, writes, strict=True):
        rows = tile.product.layout.rows
        codes = np.concatenate([15 * np.eye(rows, dtype=np.int64), np.random.default_rng(1).integers(0, 16, (9, rows))])
        counts = crossbar.sums(np.eye(hardware.crossbar.rows))
        wanted, bound = answer_plainly(hardware, tile, counts, codes)
        gaps = np.abs(tile.product.run(codes) - wanted)
        assert (gaps <= bound + 1e-9).all()
        largest_part = max(largest_part, float((gaps / bound).max()))
    assert largest_part > 0.6, "cells are kept more finely than docs/arrays.md says"


def test_outputs_of_a_program_with_wires_are_those_of_the_nodal_solutions(monkeypatch):
    """Layers of several tiles, from inputs to outputs: scales of inputs and weights are 1/4 and 1/2."""
    network = linear_network(np.random.default_rng(0).integers(-8, 8, (5, 14)), grid(4))
    hardware = make_accelerator(9, 12, 2, array=WIRES)
    program = compile_small(network, hardware)
    executor, tiles, writes = write_with_wires(program, hardware, monkeypatch)
    assert len(tiles) > 3
    inputs, change, allowed = random_inputs(network, 4), np.zeros((4, 5)), np.zeros((4, 5))

    def compare(layer, number, tile, codes):
        digits, crossbar = writes[number]
        wanted, bound = answer_plainly(hardware, tile, crossbar.sums(np.eye(hardware.crossbar.rows)), codes.numpy())
        exact, _ = answer_plainly(hardware, tile, digits, codes.numpy())
        some = tile.results + tile.sums[0]
        change[:, some] += (wanted - exact)[:, : len(some)]
        allowed[:, some] += bound[:, : len(some)]

    found = executor.run(inputs, observe=compare)["y"].reshape(4, 5)
    wanted = Executor(program).run(inputs)["y"].reshape(4, 5) + 0.125 * change
    assert (np.abs(found - wanted) <= 0.125 * allowed + 1e-5).all()
    assert np.abs(change).max() > 100 * allowed.max(), "wires change too little to tell anything"
