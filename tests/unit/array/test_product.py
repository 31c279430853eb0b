"""The product of one array: what goes in, what noise does, that batches and threads change nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from memory import PeakMemory
from pairwise import pairwise_cases
from plain_array import array_product, make_layout

from mho.arithmetic.exactness import exact_products
from mho.array import integer_product, read_noise
from mho.array.conductances import Conditions, Device
from mho.array.converters import drive_levels, make_adc
from mho.array.layout import list_conversions
from mho.array.product import _BLOCK_BYTES
from mho.array.read_noise import read_variance
from mho.array.wire_noise import WireNoise
from mho.errors import DataError
from mho.hardware.array import Array
from mho.hardware.converters import ColumnDifference

READS = 20_000
ERRORS = 5
"""Standard errors within which a mean or a variance must lie."""
WEIGHTS = (1, -1, 4, -4)
ROWS, OUTPUTS = 12, 3


@pytest.fixture
def layout():
    return make_layout(ROWS, OUTPUTS, WEIGHTS, input_bits=4, dac_bits=1)


@pytest.fixture
def counts():
    return np.random.default_rng(1).integers(0, 4, (ROWS, OUTPUTS * len(WEIGHTS))).astype(float)


@pytest.fixture
def codes():
    return np.random.default_rng(2).integers(0, 16, ROWS)


def symmetric_adc(layout, difference, bits, largest):
    limits = np.full(len(list_conversions(layout, difference).plus), float(largest))
    return make_adc(bits, -limits, limits)


def repeated(codes):
    return np.broadcast_to(codes, (READS, len(codes)))


def assert_mean_and_variance(results, mean, variance):
    """For nearly Gaussian results; the standard error of a variance is its sqrt(2 / n) part."""
    assert (np.abs(results.mean(axis=0) - mean) < ERRORS * np.sqrt(variance / len(results))).all()
    assert (np.abs(results.var(axis=0) / variance - 1) < ERRORS * math.sqrt(2 / len(results))).all()


def noise_of_results(layout, codes, variance):
    """The closed form, cell by cell: squares of all factors that a cell's deviation takes on its way."""
    total = np.zeros(layout.outputs)
    slices = layout.slice_codes(codes[None])[:, 0]
    for step, row, col in np.ndindex(layout.steps, layout.rows, layout.cols):
        factor = int(slices[step, row]) * int(layout.col_weight[col]) << step * layout.step_shift
        total[layout.col_output[col]] += factor**2 * variance[row, col]
    return total


@pytest.mark.parametrize(
    ("kind", "difference", "dac_bits"),
    [("range", "digital", 1), ("range", "analog", 2), ("conductance", "digital", 2), ("conductance", "analog", 1)],
)
def test_noise_of_an_ideal_adc_has_the_variance_of_the_closed_form(kind, difference, dac_bits, counts, codes):
    layout = make_layout(ROWS, OUTPUTS, WEIGHTS, input_bits=4, dac_bits=dac_bits)
    variance = read_variance(Device(Array(read_noise=0.1, read_noise_of=kind, on_off_ratio=4), 2), counts, Conditions())
    product = array_product(layout, counts, difference=ColumnDifference(difference), variance=variance)
    results = product.run(repeated(codes), np.random.default_rng(5))
    ideal = array_product(layout, counts).run(codes[None])[0]
    assert_mean_and_variance(results, ideal, noise_of_results(layout, codes, variance))


def read_cell_by_cell(layout, counts, codes, variance, adc, difference):
    """Draw a deviation of every cell for every step of every read."""
    conversions, generator = list_conversions(layout, difference), np.random.default_rng(9)
    slices = layout.slice_codes(codes[None])[:, 0]
    results = np.zeros((READS, layout.outputs))
    for step in range(layout.steps):
        cells = counts + np.sqrt(variance) * generator.standard_normal((READS, *counts.shape))
        sums = np.einsum("r,nrc->nc", slices[step].astype(float), conversions.subtract(cells))
        read = adc.read(adc.convert(sums)) * conversions.weight * 2.0 ** (step * layout.step_shift)
        np.add.at(results.T, conversions.output, read.T)
    return results


@pytest.mark.parametrize(("kind", "difference"), zip(["range", "conductance"], ColumnDifference, strict=True))
@pytest.mark.parametrize(("dac_bits", "is_fast"), [(1, True), (2, False)])
def test_noise_before_an_adc_gives_what_deviations_of_cells_give(
    kind, difference, dac_bits, is_fast, counts, codes, monkeypatch
):
    """Two samples, one of either kind: their means and variances differ by no more than chance has it."""
    monkeypatch.setattr(read_noise, "has_fast_bytes", lambda: is_fast)
    layout = make_layout(ROWS, OUTPUTS, WEIGHTS, input_bits=4, dac_bits=dac_bits)
    variance = read_variance(Device(Array(read_noise=0.2, read_noise_of=kind), 2), counts, Conditions())
    adc = symmetric_adc(layout, difference, 4, 12)
    product = array_product(layout, counts, difference=difference, variance=variance, adc=adc)
    results = product.run(repeated(codes), np.random.default_rng(5))
    wanted = read_cell_by_cell(layout, counts, codes, variance, adc, difference)
    gap = np.abs(results.mean(axis=0) - wanted.mean(axis=0))
    assert (gap < ERRORS * np.sqrt(2 * wanted.var(axis=0) / READS)).all()
    fourth = ((wanted - wanted.mean(axis=0)) ** 4).mean(axis=0) / wanted.var(axis=0) ** 2
    ratio = results.var(axis=0) / wanted.var(axis=0)
    assert (np.abs(ratio - 1) < ERRORS * np.sqrt(2 * (fourth - 1) / READS)).all()


def test_the_closed_form_of_noise_is_that_of_each_cell():
    counts = np.array([[0.0, 1.0, 3.0]])
    absolute = read_variance(Device(Array(read_noise=0.1, read_noise_of="range"), 2), counts, Conditions())
    np.testing.assert_allclose(absolute, [[0.09] * 3])
    relative = read_variance(Device(Array(read_noise=0.1, on_off_ratio=4), 2), counts, Conditions())
    np.testing.assert_allclose(relative, [[0.01, 0.04, 0.16]])
    assert read_variance(Device(Array(), 2), counts, Conditions()) is None


@pytest.mark.parametrize("kind", ["ideal", "between", "converted", "curved"])
def test_batches_and_threads_change_nothing(kind, monkeypatch):
    layout = make_layout(70, 9, (1, -1, 16, -16), dac_bits=4 if kind == "curved" else 1)
    generator = np.random.default_rng(4)
    counts = generator.integers(0, 16, (70, 36)).astype(float)
    codes = generator.integers(0, 256, (101, 70))
    options = {}
    if kind != "ideal":
        counts += generator.normal(0, 0.3, counts.shape)
    if kind == "curved":
        options["levels"] = drive_levels(4, 0.3)
    if kind in ("converted", "curved"):
        options["adc"] = symmetric_adc(layout, ColumnDifference.DIGITAL, 6, 150)
    product = array_product(layout, counts, **options)
    wanted = product.run(codes)
    assert (np.concatenate([product.run(codes[:1]), product.run(codes[1:60]), product.run(codes[60:])]) == wanted).all()
    monkeypatch.setattr("mho.array.product._BLOCK_BYTES", 1)
    assert (product.run(codes) == wanted).all()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert (product.run(codes) == wanted).all()
    finally:
        torch.set_num_threads(threads)


def test_cells_are_resolved_as_finely_as_solutions_of_wires_need():
    """A full-size array of 8-bit weights and inputs: within 1e-9 of the largest result, as `mho.array.wires` is."""
    layout = make_layout(256, 16, (1, -1, 16, -16))
    generator = np.random.default_rng(6)
    counts = generator.uniform(0, 15, (256, 64))
    codes = generator.integers(0, 256, (50, 256))
    matrix = (counts * layout.col_weight).reshape(256, 16, 4).sum(axis=2)
    wanted = codes @ matrix
    assert np.abs(array_product(layout, counts).run(codes) - wanted).max() < 1e-9 * np.abs(wanted).max()


def test_settings_of_torch_do_not_reach_products(layout, counts, codes):
    wanted = array_product(layout, counts).run(codes[None])
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert (array_product(layout, counts).run(codes[None]) == wanted).all()
    finally:
        torch.set_float32_matmul_precision(before)


def test_memory_does_not_grow_with_the_batch():
    layout = make_layout(256, 64, (1, -1))
    product = array_product(layout, np.ones((256, 128)), adc=make_adc(8, np.zeros(128), np.full(128, 99.0)))
    largest = []
    original = product._path.run
    product._path.run = lambda codes, noise: largest.append(len(codes)) or original(codes, noise)
    product.run(np.zeros((5000, 256), np.uint8))
    assert sum(largest) == 5000
    assert max(largest) * product._path.bytes_per_input <= 4 << 20


MEMORY_CASES = pairwise_cases(
    {
        "adc_bits": ("ideal", "8"),
        "cells": ("whole", "between"),
        "noise": ("quiet", "noise", "wires"),
        "dac_bits": ("1", "4"),
        "bytes": ("fast", "slow"),
    }
)


@pytest.mark.parametrize("case", MEMORY_CASES, ids=str)
def test_memory_in_passing_is_that_of_a_block_whatever_the_batch(case, monkeypatch):
    """What torch takes: no more for nine blocks than for three, near what is planned, far below what all take at once.

    DACs of more than one bit are not linear. Products of bytes may take less than planned, as inputs stay bytes. Both
    routes run on every processor.
    """
    adc_bits, cells, noise = case["adc_bits"], case["cells"], case["noise"]
    dac_bits, is_fast = int(case["dac_bits"]), case["bytes"] == "fast"
    for module in (integer_product, read_noise):
        monkeypatch.setattr(module, "has_fast_bytes", lambda: is_fast)
    layout, generator = make_layout(256, 16, (1, -1), input_bits=8, dac_bits=dac_bits), np.random.default_rng(1)
    counts = generator.integers(0, 4, (256, 32)) + (0.1 if cells == "between" else 0.0)
    squares = generator.random(counts.shape) / 100
    variance = {"quiet": None, "noise": squares, "wires": WireNoise(counts, squares, squares / 9, np.full(32, 1e-3))}
    adc = None if adc_bits == "ideal" else symmetric_adc(layout, ColumnDifference.DIGITAL, int(adc_bits), 100)
    levels = drive_levels(dac_bits, 0.3) if dac_bits > 1 else None
    product = array_product(layout, counts, adc=adc, levels=levels, variance=variance[noise])
    block = _BLOCK_BYTES // product.bytes_per_input
    product.run(np.zeros((1, 256), np.uint8), generator)  # what is made once
    peaks = []
    for blocks in (3, 9):
        with PeakMemory() as memory:
            product.run(generator.integers(0, 256, (blocks * block, 256)).astype(np.uint8), generator)
        peaks.append(memory.peak)
    assert peaks[0] == peaks[1]
    assert (0.1 if is_fast else 0.3) * _BLOCK_BYTES < peaks[0] < 1.6 * _BLOCK_BYTES


def test_the_same_stream_gives_the_same_reads(layout, counts, codes):
    product = array_product(layout, counts, variance=np.full(counts.shape, 0.1))
    first, again, other = (product.run(codes[None], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_noise_needs_a_stream_and_its_absence_none(layout, counts, codes):
    with pytest.raises(DataError, match="stream"):
        array_product(layout, counts, variance=np.full(counts.shape, 0.1)).run(codes[None])
    assert not array_product(layout, counts, variance=np.zeros(counts.shape)).has_noise


@pytest.mark.parametrize("difference", ColumnDifference)
def test_what_columns_carry_can_be_seen(difference, layout, counts, codes):
    counts = counts + 0.25
    product = array_product(layout, counts, difference=difference, is_observed=True)
    wanted = layout.slice_codes(codes[None])[:, 0] @ list_conversions(layout, difference).subtract(counts)
    with exact_products():
        found = product.sum_columns(torch.from_numpy(codes[None]))
    assert (found.numpy() * product.sum_unit == wanted).all()


def test_a_row_that_is_not_driven_has_no_noise(layout, counts):
    product = array_product(layout, counts, variance=np.full(counts.shape, 0.1))
    assert (product.run(np.zeros((5, ROWS), int), np.random.default_rng(1)) == 0).all()


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, ROWS + 1), int),
        np.zeros(ROWS, int),
        np.zeros((2, ROWS)),
        np.full((2, ROWS), 16),
        np.full((2, ROWS), -1),
        np.full((2, ROWS), 16, np.uint8),
    ],
)
def test_codes_that_do_not_fit_are_errors(layout, counts, codes):
    with pytest.raises(DataError, match="codes"):
        array_product(layout, counts).run(codes)


def test_arrays_that_do_not_fit_are_errors(layout, counts):
    with pytest.raises(DataError, match="counts"):
        array_product(layout, counts[:-1])
    with pytest.raises(DataError, match="counts"):
        array_product(layout, counts * math.nan)
    with pytest.raises(DataError, match="variance"):
        array_product(layout, counts, variance=counts[:, 1:])
    with pytest.raises(DataError, match="one a conversion"):
        array_product(layout, counts, adc=make_adc(4, np.zeros(5), np.ones(5)))


def test_sums_that_leave_no_precision_are_errors():
    layout = make_layout(64, 1, (1 << 20,), input_bits=30)
    with pytest.raises(DataError, match="2\\^53"):
        array_product(layout, np.ones((64, 1)))
    with pytest.raises(DataError, match="no precision"):
        array_product(layout, np.full((64, 1), 0.3))


def test_an_empty_batch_gives_no_results(layout, counts):
    assert array_product(layout, counts).run(np.zeros((0, ROWS), int)).shape == (0, OUTPUTS)
