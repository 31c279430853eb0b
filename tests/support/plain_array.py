"""What an array answers, cell by cell and step by step, as it is defined: the oracle of its fast product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mho.array.converters import Adc
from mho.array.layout import NO_COLUMN, ArrayLayout, Conversions, list_conversions
from mho.array.periphery import Periphery
from mho.array.product import ArrayProduct
from mho.hardware.converters import ColumnDifference


def array_product(
    layout: ArrayLayout,
    counts: np.ndarray,
    *,
    difference: ColumnDifference = ColumnDifference.DIGITAL,
    levels: np.ndarray | None = None,
    adc: Adc | None = None,
    **options: Any,
) -> ArrayProduct:
    """Return the product of an array with a periphery of its own."""
    return ArrayProduct(Periphery(layout, difference=difference, levels=levels, adc=adc), counts, **options)


def plain_results(
    layout: ArrayLayout,
    counts: np.ndarray,
    codes: np.ndarray,
    *,
    difference: ColumnDifference = ColumnDifference.DIGITAL,
    kept_off_steps: float = 0.0,
    levels: Sequence[float] | None = None,
    adc: Adc | None = None,
) -> np.ndarray:
    """Return results [batch, outputs]: every cell, step and conversion on its own."""
    conversions = list_conversions(layout, difference)
    results = np.zeros((len(codes), layout.outputs))
    for vector, code in enumerate(codes):
        for step in range(layout.steps):
            volts = [drive(layout, int(code[row]), row, step, levels) for row in range(layout.rows)]
            for number in range(len(conversions.plus)):
                total = read_column(layout, conversions, counts, volts, number, kept_off_steps)
                if adc is not None:
                    total = convert(adc, total, number)
                weight = int(conversions.weight[number]) * 2.0 ** (step * layout.step_shift)
                results[vector, conversions.output[number]] += weight * total
    return results


def drive(layout: ArrayLayout, code: int, row: int, step: int, levels: Sequence[float] | None) -> float:
    piece = code >> (step * layout.step_shift + int(layout.row_shift[row])) & ((1 << layout.dac_bits) - 1)
    return int(layout.row_sign[row]) * (piece if levels is None else float(levels[piece]))


def read_column(
    layout: ArrayLayout, conversions: Conversions, counts: np.ndarray, volts: list[float], number: int, kept: float
) -> float:
    plus, minus = int(conversions.plus[number]), int(conversions.minus[number])
    total = 0.0
    for row in range(layout.rows):
        taken = kept if minus == NO_COLUMN else -float(counts[row, minus])
        total += volts[row] * (float(counts[row, plus]) + taken)
    return total


def convert(adc: Adc, total: float, number: int) -> float:
    moved = adc.gain[number] * total + adc.offset[number] - adc.low[number]
    code = min(max(round(float(moved / adc.step[number])), 0), 2**adc.bits - 1)
    return float(adc.low[number] + adc.step[number] * code)


@st.composite
def layouts(draw, most_rows: int = 7, most_outputs: int = 4) -> ArrayLayout:
    """Any layout: rows of both signs, input slices side by side, columns of any results, in pairs and alone."""
    dac_bits = draw(st.integers(1, 8))
    at_once = draw(st.integers(1, 3))
    input_bits = draw(st.integers(1, 12))
    rows = draw(st.integers(1, most_rows))
    outputs = draw(st.integers(1, most_outputs))
    columns = []
    for output in draw(st.lists(st.integers(0, outputs - 1), min_size=1, max_size=8)):
        weight = 1 << draw(st.integers(0, 6))
        columns += draw(
            st.sampled_from([[(output, weight)], [(output, -weight)], [(output, weight), (output, -weight)]])
        )
    signs = draw(st.sampled_from([[1], [-1, 1]]))
    return ArrayLayout(
        row_sign=np.array([draw(st.sampled_from(signs)) for _ in range(rows)]),
        row_shift=np.array([dac_bits * draw(st.integers(0, at_once - 1)) for _ in range(rows)]),
        col_output=np.array([output for output, _ in columns]),
        col_weight=np.array([weight for _, weight in columns]),
        outputs=outputs,
        input_bits=input_bits,
        dac_bits=dac_bits,
        steps=-(-input_bits // (dac_bits * at_once)),
        step_shift=dac_bits * at_once,
    )


def make_layout(
    rows: int, outputs: int, weights: Sequence[int], *, input_bits: int = 8, dac_bits: int = 1
) -> ArrayLayout:
    """Return an array in which each result has columns of `weights`, fed whole codes, one slice after the other."""
    return ArrayLayout(
        row_sign=np.ones(rows, dtype=np.int64),
        row_shift=np.zeros(rows, dtype=np.int64),
        col_output=np.repeat(np.arange(outputs), len(weights)),
        col_weight=np.tile(np.array(weights, dtype=np.int64), outputs),
        outputs=outputs,
        input_bits=input_bits,
        dac_bits=dac_bits,
        steps=-(-input_bits // dac_bits),
        step_shift=dac_bits,
    )
