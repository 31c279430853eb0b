"""The error that sampled arrays cause at the output of a layer, for random weights and inputs: slow and obvious."""

from __future__ import annotations

import math

import numpy as np
import torch

from mho.arithmetic.exactness import exact_products
from mho.array.calibration import RangeRule, SumCounts, without_conversion
from mho.array.conductances import Conditions
from mho.array.crossbar import make_product, write_crossbar
from mho.array.layout import ArrayLayout
from mho.array.seeds import CrossbarSeed
from mho.hardware.converters import AdcRange
from mho.hardware.spec import Accelerator
from mho.mapping.encoding import StoredRange
from mho.mapping.error_moments import INPUT_CLIP, WEIGHT_CLIP
from mho.mapping.layer_arrays import ArrayTile, LayerArrays, arrays_of_layer
from mho.mapping.layer_mapping import LayerMapping


def sample_error(
    mapping: LayerMapping, hardware: Accelerator, *, chips: int = 4, images: int = 4, seed: int = 0
) -> float:
    """Return RMS error over standard deviation of the exact output, over chips, images, outputs and positions."""
    rng, layer = np.random.default_rng(seed), mapping.layer
    arrays = arrays_of_layer(mapping, hardware)
    weights = draw_weights(rng, mapping.values, (layer.repeat, layer.outputs, layer.inputs))
    codes = draw_codes(rng, arrays, mapping.bits.act_bits, images)
    exact = _run(arrays, weights, codes, None, hardware)
    found = [_run(arrays, weights, codes, chip, hardware) for chip in range(chips)]
    return math.sqrt(np.mean([(one - exact) ** 2 for one in found])) / float(exact.std())


def draw_weights(rng: np.random.Generator, values: StoredRange, shape: tuple[int, ...]) -> np.ndarray:
    """Draw integers from the reference distribution."""
    if values.step == 2:
        return rng.choice([values.qmin, values.qmax], shape)
    middle = (values.qmin + values.qmax) / 2 if values.qmin >= 0 else 0
    drawn = middle + rng.standard_normal(shape) * (values.qmax - middle) / WEIGHT_CLIP
    return np.clip(np.rint(drawn), values.qmin, values.qmax).astype(np.int64)


def draw_codes(rng: np.random.Generator, arrays: LayerArrays, bits: int, images: int) -> np.ndarray:
    """Draw padded inputs [images, codes] from the reference distribution."""
    top = (1 << bits) - 1
    size = max(int(tile.inputs.max()) for part in arrays.parts for tile in part.make_tiles()) + 1
    return np.clip(np.rint(rng.standard_normal((images, size)) * top / INPUT_CLIP), 0, top).astype(np.int64)


def _run(
    arrays: LayerArrays, weights: np.ndarray, codes: np.ndarray, chip: int | None, hardware: Accelerator
) -> np.ndarray:
    """Return outputs [images, groups, outputs, positions]; of exact integers where there is no chip."""
    shape = len(codes), arrays.groups, arrays.outputs + 1, arrays.positions
    sums = np.zeros((shape[0], math.prod(shape[1:]) + 1))
    inputs = np.concatenate([codes, np.zeros((len(codes), 1), dtype=np.int64)], axis=1)
    number = 0
    for part in arrays.parts:
        cells = part.encode(weights).astype(np.int64)
        for tile in part.make_tiles():
            number += 1
            digits = _tile_digits(cells[tile.groups], tile)
            results = _read(tile, digits, inputs, None if chip is None else CrossbarSeed(chip, number), hardware)
            for window, to in enumerate(tile.sums):
                for result, target in enumerate(to):
                    sums[:, target] += results[window, :, result]
    found = sums[:, :-1].reshape(shape)
    outputs = found[:, :, :-1]
    if arrays.weight_offset:
        outputs = outputs - arrays.weight_offset * _input_sums(arrays, found, inputs)
    return outputs


def _input_sums(arrays: LayerArrays, found: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return the sums of the codes of each output's inputs: those of columns of ones, or exact ones."""
    if arrays.has_corrections:
        return found[:, :, -1:]
    ones = np.ones((arrays.groups, arrays.outputs, arrays.inputs), dtype=np.int64)
    held = ones - arrays.weight_offset  # what makes every stored integer 1
    shape = len(inputs), arrays.groups, arrays.outputs + 1, arrays.positions
    sums = np.zeros((len(inputs), math.prod(shape[1:]) + 1))
    for part in arrays.parts:
        cells = part.encode(held).astype(np.int64)
        for tile in part.make_tiles():
            layout, digits = tile.layout, _tile_digits(cells[tile.groups], tile)
            for taken, to in zip(tile.inputs, tile.sums, strict=True):
                results = _exact(layout, digits, inputs[:, taken])
                for result, target in enumerate(to):
                    sums[:, target] += results[:, result]
    return sums[:, :-1].reshape(shape)[:, :, :1]


def _tile_digits(cells: np.ndarray, tile: ArrayTile) -> np.ndarray:
    """Return what a tile holds: groups on the diagonal."""
    groups, rows, cols = cells.shape
    whole = np.zeros((groups * rows, groups * cols), dtype=np.int64)
    for group in range(groups):
        whole[group * rows : (group + 1) * rows, group * cols : (group + 1) * cols] = cells[group]
    return whole[tile.rows, tile.cols]


def _read(
    tile: ArrayTile, digits: np.ndarray, inputs: np.ndarray, seed: CrossbarSeed | None, hardware: Accelerator
) -> np.ndarray:
    """Return results [windows, images, results] of all reads of a tile."""
    taken = inputs[:, tile.inputs].transpose(1, 0, 2)
    codes = taken.reshape(-1, taken.shape[2])
    if seed is None:
        return _exact(tile.layout, digits, codes).reshape(*taken.shape[:2], -1)
    elapsed = hardware.mapping.elapsed_s
    conditions = Conditions(None if elapsed is None else float(elapsed))
    cells = write_crossbar(hardware, digits, seed, conditions=conditions)
    total = np.zeros((len(codes), tile.layout.outputs))
    for rows in tile.reads:
        layout, own = tile.layout.drive_rows(rows.start, rows.stop), codes[:, rows]
        ranges = None
        if hardware.converters.has_calibrated_adc:
            ideal = make_product(
                without_conversion(hardware), layout, cells, seed, first_row=rows.start, is_observed=True
            )
            with exact_products():
                found = ideal.sum_columns(torch.from_numpy(own.astype(np.uint8)))
            group = np.arange(found.shape[1]) * (hardware.converters.adc_range is not AdcRange.CALIBRATED_LAYER)
            counts = SumCounts(found.shape[1])
            counts.see(found, group, ideal.sum_unit)
            counts.count(found, group, ideal.sum_unit)
            low, high = counts.find_ranges(RangeRule(), hardware.converters.adc_bits)
            ranges = low[group], high[group]
        product = make_product(hardware, layout, cells, seed, first_row=rows.start, ranges=ranges)
        total += product.run(own, np.random.default_rng([seed.chip, seed.crossbar, rows.start]))
    return total.reshape(*taken.shape[:2], -1)


def _exact(layout: ArrayLayout, digits: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return exact results [batch, results]."""
    results = np.zeros((len(codes), layout.outputs))
    slices = layout.slice_codes(codes)
    for step in range(layout.steps):
        sums = (slices[step] * layout.row_sign) @ digits
        for col in range(layout.cols):
            results[:, layout.col_output[col]] += (
                sums[:, col] * int(layout.col_weight[col]) * (1 << step * layout.step_shift)
            )
    return results
