"""How near the first order of read noise under resistive wires comes: the tables of docs/wires.md.

    python benchmarks/wire_noise.py [--reads 2000] [--large-reads 600]

First, reads whose cells are drawn and whose network is solved anew each time, against `linearize_noise`: arrays of 32 x
32 node by node, those of 128 x 128 by their transfer matrices. Then the formula against the exact sum of first order.
Random cells of 1 to 100 uS; noise is a part of each cell's conductance; rows are driven on the left.

Errors are those of the standard deviations of all columns and inputs. What chance adds to squares is taken off: 1 / (2
(reads - 1)) of the squared errors, 1 / (reads - 1) of the squared correlations; "<" tells how small a value this leaves
to be seen. What follows ± is the standard error, from how columns differ. Times are of the processor.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from mho.array.nodal import first_order_variance, solve_nodal
from mho.array.wire_noise import linearize_noise
from mho.array.wires import Wires, transfer_matrix

Floats = NDArray[np.float64]

NODAL_UP_TO = 32
"""Larger arrays are solved by their transfer matrices, which equal nodal solutions to 1e-11."""
INPUTS, ARRAYS_AT_ONCE = 24, 20
FORMULA_SIZE, FORMULA_INPUTS = 48, 60
FORMULA_OHM = (1, 3, 10, 36, 140, 470, 1700)


@dataclass(frozen=True)
class Case:
    """One row: size, ohm a segment, kind of inputs, noise as a part of each cell's conductance."""

    size: int
    ohm: float
    inputs: str
    noise: float


CASES = [
    *(Case(32, ohm, "random bits", noise) for ohm in (3, 20, 60) for noise in (0.05, 0.3)),
    *(Case(32, 20, inputs, 0.05) for inputs in ("one bit in ten", "bits of both signs", "0 to 1 V")),
    *(Case(128, ohm, "random bits", 0.2) for ohm in (0.5, 2, 10)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=2000, help="of arrays of 32 x 32 (2000)")
    parser.add_argument("--large-reads", type=int, default=600, help="of arrays of 128 x 128 (600); 0 leaves them out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| array, ohm a segment | ideal / real current | inputs | noise | reads | mean error | rms error ", end="")
    print("| shift of the mean | correlation of columns, rms | s |")
    print("|---" * 10 + "|")
    for case in CASES:
        reads = options.reads if case.size <= NODAL_UP_TO else options.large_reads
        if reads:
            print(row_of_reads(case, reads, np.random.default_rng(options.seed)), flush=True)
    print("\n| ohm a segment | ideal / real current | rms error of the formula | largest error |")
    print("|---" * 4 + "|")
    for ohm in FORMULA_OHM:
        print(row_of_formula(ohm, np.random.default_rng(options.seed)), flush=True)


def row_of_reads(case: Case, reads: int, rng: np.random.Generator) -> str:
    start = time.process_time()
    cells, volts = draw_cells(case.size, rng), draw_inputs(case.inputs, case.size, INPUTS, rng)
    wires = Wires(case.ohm, case.ohm)
    noise = linearize_noise(cells, case.noise * cells, wires)
    amperes = volts @ noise.transfer
    expected = np.sqrt(noise.variance(volts, amperes))
    found = np.concatenate(list(solve_reads(case, cells, volts, reads, rng))) - amperes  # [reads, inputs, cols]
    errors = found.std(axis=0, ddof=1) / expected - 1
    shifts = found.mean(axis=0) / expected
    ratio = np.abs(volts @ cells).sum() / np.abs(amperes).sum()
    spread = 1 / (2 * (reads - 1))
    return (
        f"| {case.size} x {case.size}, {case.ohm:g} | {ratio:.2f} | {case.inputs} | {case.noise:.0%} | {reads} "
        f"| {with_error(100 * errors, '+.2f', '.2f')} % | {root(1e4 * errors**2, 1e4 * spread, '.2f')} % "
        f"| {with_error(shifts, '+.4f', '.4f')} | {root(squared_correlations(found), 1 / (reads - 1), '.3f')} "
        f"| {time.process_time() - start:.0f} |"
    )


def solve_reads(case: Case, cells: Floats, volts: Floats, reads: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Give the currents of reads, amperes [some reads, inputs, cols], until there are enough."""
    wires = Wires(case.ohm, case.ohm)
    for start in range(0, reads, ARRAYS_AT_ONCE):
        some = min(ARRAYS_AT_ONCE, reads - start)
        drawn = np.maximum(cells * (1 + case.noise * rng.standard_normal((some, *cells.shape))), 0.0)
        if case.size <= NODAL_UP_TO:
            yield np.array([solve_nodal(read, volts, wires).currents_ampere for read in drawn])
        else:
            yield volts @ transfer_matrix(drawn, wires)


def row_of_formula(ohm: float, rng: np.random.Generator) -> str:
    cells, wires = draw_cells(FORMULA_SIZE, rng), Wires(ohm, ohm)
    volts = draw_inputs("random bits", FORMULA_SIZE, FORMULA_INPUTS, rng)
    noise = linearize_noise(cells, 0.05 * cells, wires)
    amperes = volts @ noise.transfer
    exact = first_order_variance(cells, 0.05 * cells, volts, wires)
    errors = np.sqrt(noise.variance(volts, amperes) / exact) - 1
    ratio = (volts @ cells).sum() / amperes.sum()
    return f"| {ohm:g} | {ratio:.2f} | {np.sqrt((errors**2).mean()):.2%} | {np.abs(errors).max():.1%} |"


def draw_cells(size: int, rng: np.random.Generator) -> Floats:
    return rng.uniform(1e-6, 1e-4, (size, size))


def draw_inputs(kind: str, rows: int, count: int, rng: np.random.Generator) -> Floats:
    if kind == "0 to 1 V":
        return rng.random((count, rows))
    if kind == "one bit in ten":
        return (rng.random((count, rows)).argsort(axis=1) < rows // 10).astype(np.float64)
    bits = (rng.random((count, rows)) < 0.5).astype(np.float64)
    return bits * rng.choice([-1.0, 1.0], bits.shape) if kind == "bits of both signs" else bits


def squared_correlations(found: Floats) -> Floats:
    """Return squared correlations of all pairs of columns, [inputs, pairs], of deviations [reads, inputs, cols]."""
    pairs = np.triu_indices(found.shape[2], 1)
    return np.array([np.corrcoef(found[:, number].T)[pairs] ** 2 for number in range(found.shape[1])])


def with_error(values: Floats, form: str, error_form: str) -> str:
    """Tell the mean of [inputs, cols] with its standard error; inputs share reads, columns nearly do not."""
    of_columns = values.mean(axis=0)
    return f"{values.mean():{form}} ± {of_columns.std(ddof=1) / np.sqrt(len(of_columns)):{error_form}}"


def root(squares: Floats, by_chance: float, form: str) -> str:
    """Tell the root of the mean of squares [inputs, ...] less what is expected by chance, or what it is below."""
    of_others = squares.mean(axis=0)
    uncertain = of_others.std(ddof=1) / np.sqrt(len(of_others))
    left = squares.mean() - by_chance
    return f"{np.sqrt(left):{form}}" if left > 2 * uncertain else f"< {np.sqrt(max(left, 0) + 2 * uncertain):{form}}"


if __name__ == "__main__":
    main()
