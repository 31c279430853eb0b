"""One crossbar whose wires have a resistance: set-up, products a second, and how near the exact network they are.

    python benchmarks/crossbar_wires.py

The job: 256 x 256 signed 8-bit weights in two 4-bit slices, differential columns, 8-bit unsigned inputs in eight 1-bit
steps; one MVM is the full product, that is 32 reads of 256 x 256 cells. Rows are driven on the left, columns grounded
at the bottom, each segment has 1 ohm. Four arrays, a slice and a sign each; random weights and inputs, batches of 1024.

Beside mho, in the same interleaved rounds: blocked NumPy of `benchmarks/crossbar.py`, whose wires are ideal. Where
badcrossbar is installed (its plotting is not needed: `pip install --target DIR --no-deps badcrossbar pathvalidate
sigfig`, and DIR in PYTHONPATH), it solves the first array for its first inputs. analog-cim-sim, the fastest peer with
IR drop, gave 96 MVM/s with the resistance of columns alone, on a 2-core AVX-512 machine. Times are of the processor;
rates are medians.

Results that are further than 1e-9 from the nodal solution, or from badcrossbar's, end it with an error.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from crossbar import Job as PlainJob
from crossbar import best_of, numpy_blocks
from numpy.typing import NDArray

from mho.array.converters import Adc, make_adc
from mho.array.layout import ArrayLayout
from mho.array.nodal import solve_nodal
from mho.array.periphery import Periphery
from mho.array.product import ArrayProduct
from mho.array.wire_noise import WireNoise, linearize_noise
from mho.array.wires import Wires, transfer_matrix
from mho.hardware.converters import ColumnDifference

Floats = NDArray[np.float64]
Result = TypeVar("Result")

SIZE, SLICES, SLICE_BITS, INPUT_BITS, BATCH = 256, 2, 4, 8, 1024
LEVELS = (1 << SLICE_BITS) - 1
PEER_MVM_S = 96
TARGETS = {"ideal": 1000, "clipped": 100}
SETUP_S = 2.0
NODAL_INPUTS = 2
LARGEST_GAP = 1e-9
"""How far results may be from another solution of the same network, of the largest of them."""
NUMPY_IDEAL, NUMPY_CLIPPED = "NumPy, ideal wires, ideal ADC", "NumPy, ideal wires, 8-bit clipped ADC"
WEIGHTS = np.array([[sign << SLICE_BITS * k for sign in (1, -1)] for k in range(SLICES)])
"""What the columns of each array count for, [slices, signs]."""


@dataclass(frozen=True)
class Job:
    """cells: conductances [slices, signs, rows, outputs], S; codes: uint8 [batch, rows]; one_step: one level, S."""

    cells: Floats
    codes: NDArray[np.uint8]
    one_step: float
    wires: Wires

    @property
    def steps(self) -> Floats:
        """One-bit inputs, [steps, batch, rows]."""
        return ((self.codes[None] >> np.arange(INPUT_BITS)[:, None, None]) & 1).astype(np.float64)


@dataclass
class Path:
    """run answers one batch; beside: NumPy's path with the same ADC; seconds collects what it took."""

    name: str
    run: Callable[[], object]
    beside: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def mvm_per_second(self) -> float:
        return BATCH / statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--segment-ohm", type=float, default=1.0)
    parser.add_argument("--lrs-siemens", type=float, default=4e-5, help="conductance of the highest level (4e-5)")
    parser.add_argument("--read-noise", type=float, default=0.02, help="part of a cell's conductance (0.02)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    job = make_job(options.seed, options.lrs_siemens, Wires(options.segment_ohm, options.segment_ohm))
    arrays = SLICES * 2
    transfer, seconds = timed(lambda: transfer_matrix(job.cells, job.wires))
    reached = "reached" if seconds / arrays <= SETUP_S else "missed"
    print(f"set-up             {seconds / arrays:.3f} s an array of {SIZE} x {SIZE} (target {SETUP_S:g} s: {reached})")
    noise, seconds = timed(lambda: linearize_noise(job.cells, options.read_noise * job.cells, job.wires))
    print(f"  with read noise  {seconds / arrays:.3f} s an array")
    variance = in_level_steps(noise, job.one_step)
    limits = np.full(SIZE * SLICES, -127.0), np.full(SIZE * SLICES, 127.0)
    adc = make_adc(8, *limits)
    ideal, clipped, noisy_ideal, noisy_clipped = (
        ArrayProduct(
            Periphery(make_layout(), difference=ColumnDifference.ANALOG, adc=converter),
            by_columns(transfer / job.one_step),
            variance=deviations,
        )
        for deviations in (None, variance)
        for converter in (None, adc)
    )
    gap = check(job, ideal, clipped, adc)
    reads = np.random.default_rng(options.seed)
    plain = PlainJob(np.empty(0), by_columns(np.rint(job.cells / job.one_step)), job.codes, make_layout())
    paths = [
        Path(NUMPY_IDEAL, best_of(partial(numpy_blocks, plain, None))),
        Path(NUMPY_CLIPPED, best_of(partial(numpy_blocks, plain, adc))),
        Path("IR drop, ideal ADC", lambda: ideal.run(job.codes), NUMPY_IDEAL),
        Path("IR drop, 8-bit clipped ADC", lambda: clipped.run(job.codes), NUMPY_CLIPPED),
        Path("IR drop, read noise, ideal ADC", lambda: noisy_ideal.run(job.codes, reads), NUMPY_IDEAL),
        Path("IR drop, read noise, 8-bit clipped ADC", lambda: noisy_clipped.run(job.codes, reads), NUMPY_CLIPPED),
    ]
    measure(paths, options.rounds)
    exact_mvm_per_second, other_gap = run_badcrossbar(job, transfer)
    report(paths, exact_mvm_per_second)
    for name, found in (("the nodal solution", gap), ("badcrossbar", other_gap)):
        if not found <= LARGEST_GAP:
            sys.exit(f"results are {found:.1e} from {name}, more than {LARGEST_GAP:g}")


def make_job(seed: int, lrs_siemens: float, wires: Wires) -> Job:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (SIZE, SIZE))
    magnitude = np.abs(weights)
    levels = np.array(
        [
            [np.where(sign * weights > 0, magnitude >> SLICE_BITS * k & LEVELS, 0) for sign in (1, -1)]
            for k in range(SLICES)
        ]
    )
    codes = rng.integers(0, 1 << INPUT_BITS, (BATCH, SIZE), dtype=np.uint8)
    return Job(levels * (lrs_siemens / LEVELS), codes, lrs_siemens / LEVELS, wires)


def make_layout() -> ArrayLayout:
    zeros = np.zeros(SIZE, dtype=np.int64)
    outputs = np.repeat(np.arange(SIZE), WEIGHTS.size)
    return ArrayLayout(
        zeros + 1, zeros, outputs, np.tile(WEIGHTS.ravel(), SIZE), SIZE, INPUT_BITS, dac_bits=1, steps=8, step_shift=1
    )


def check(job: Job, ideal: ArrayProduct, clipped: ArrayProduct, adc: Adc) -> float:
    """Compare the first results with sums of nodal solutions, step by step; return how far ideal ADCs are from them."""
    inputs = job.steps[:, :NODAL_INPUTS].reshape(-1, SIZE)
    nodal = np.array([[solve_nodal(cells, inputs, job.wires).currents_ampere for cells in pair] for pair in job.cells])
    sums = (nodal[:, 0] - nodal[:, 1]).reshape(SLICES, INPUT_BITS, NODAL_INPUTS, SIZE) / job.one_step
    shifts = 2.0 ** np.arange(INPUT_BITS)
    place = (WEIGHTS[:, 0, None] * shifts)[..., None, None]
    exact, found = (place * sums).sum(axis=(0, 1)), ideal.run(job.codes[:NODAL_INPUTS])
    read = adc.low[0] + adc.step[0] * np.clip(np.rint((sums - adc.low[0]) / adc.step[0]), 0, adc.largest_code)
    same = (place * read).sum(axis=(0, 1)) == clipped.run(job.codes[:NODAL_INPUTS])
    ideal_wires = job.codes[:NODAL_INPUTS] @ (job.cells * WEIGHTS[..., None, None]).sum(axis=(0, 1)) / job.one_step
    gap = float(np.abs(found - exact).max() / np.abs(exact).max())
    print(f"ideal ADC          {gap:.1e} from the nodal solution")
    print(f"clipped ADC        {same.mean():.1%} of results as from the nodal solution, to the last bit")
    print(f"ideal wires        {np.abs(ideal_wires - exact).max() / np.abs(exact).max():.1%} from it")
    return gap


def by_columns(parts: Floats) -> Floats:
    """Return what [slices, signs, ..., outputs] hold as [..., columns], the columns of an output side by side."""
    moved = np.moveaxis(parts, (0, 1), (-2, -1))
    return np.ascontiguousarray(moved.reshape(*moved.shape[:-3], -1))


def in_level_steps(noise: WireNoise, one_step: float) -> WireNoise:
    return WireNoise(
        by_columns(noise.transfer / one_step),
        by_columns(noise.squares / one_step**2),
        by_columns(noise.products / one_step),
        by_columns(noise.currents),
    )


def measure(paths: list[Path], rounds: int) -> None:
    for _ in range(rounds):
        for path in paths:
            path.seconds.append(timed(path.run)[1])


def report(paths: list[Path], exact_mvm_per_second: float | None) -> None:
    """Print rates, beside those of NumPy, of the fastest peer and of badcrossbar where it is known."""
    rates = {path.name: path.mvm_per_second for path in paths}
    print(f"\n{'path':<40}{'MVM/s':>10}{'x NumPy':>10}{f'x {PEER_MVM_S} (peer)':>16}{'x badcrossbar':>16}")
    for path in paths:
        rate = rates[path.name]
        beside = f"{rate / rates[path.beside]:.2f}" if path.beside else ""
        exact = f"{rate / exact_mvm_per_second:,.0f}" if exact_mvm_per_second else ""
        print(f"{path.name:<40}{rate:>10,.0f}{beside:>10}{rate / PEER_MVM_S:>16,.0f}{exact:>16}")
    for word, path in zip(TARGETS, paths[2:], strict=False):
        reached = rates[path.name] / PEER_MVM_S >= TARGETS[word]
        print(f"target, {word} ADC: {TARGETS[word]} x {PEER_MVM_S} MVM/s, {'reached' if reached else 'missed'}")


def run_badcrossbar(job: Job, transfer: Floats) -> tuple[float | None, float]:
    """Return MVM/s of badcrossbar and how far it is: None and 0 where it is not there.

    It solves one array for the eight one-bit steps of one input; an MVM is that four times.
    """
    logging.disable(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            badcrossbar = importlib.import_module("badcrossbar")
        except ImportError:
            print("badcrossbar is not installed")
            return None, 0.0
        inputs = job.steps[:, :1].reshape(-1, SIZE)
        with np.errstate(divide="ignore"):
            ohms = 1 / job.cells[0, 0]
        solution, seconds = timed(
            lambda: badcrossbar.compute(
                inputs.T, ohms, r_i_word_line=job.wires.row_segment_ohm, r_i_bit_line=job.wires.col_segment_ohm
            )
        )
    expected = inputs @ transfer[0, 0]
    gap = float(np.abs(solution.currents.output - expected).max() / np.abs(expected).max())
    rate = 1 / (seconds * SLICES * 2)
    print(
        f"badcrossbar        {gap:.1e} apart; {seconds:.1f} s for the {INPUT_BITS} reads of one input and one array, "
        f"{rate:.2f} MVM/s"
    )
    return rate, gap


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    start = time.process_time()
    result = run()
    return result, time.process_time() - start


if __name__ == "__main__":
    main()
