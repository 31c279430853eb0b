"""One crossbar whose wires have a resistance: set-up, products a second, and how near the exact network they are.

    python benchmarks/crossbar_wires.py

The job: 256 x 256 signed 8-bit weights in two 4-bit slices, differential columns, 8-bit unsigned inputs in eight 1-bit
steps; one MVM is the full product, that is 32 reads of 256 x 256 cells. Rows are driven on the left, columns grounded
at the bottom, each segment has 1 ohm. Four arrays, a slice and a sign each; random weights and inputs, batches of 1024.

Beside mho, in the same interleaved rounds: blocked NumPy (a float32 product a slice, ideal wires). Where badcrossbar is
installed (its plotting is not needed: `pip install --no-deps badcrossbar pathvalidate sigfig`), it solves the first
array for its first inputs. analog-cim-sim, the fastest peer with IR drop, gave 96 MVM/s with the resistance of columns
alone, on a 2-core AVX-512 machine. Times are of the processor; rates
are medians.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from mho.accelerator.converters import ColumnDifference
from mho.array.converters import Adc, make_adc
from mho.array.layout import ArrayLayout
from mho.array.nodal import solve_nodal
from mho.array.product import ArrayProduct
from mho.array.wire_noise import WireNoise, linearize_noise
from mho.array.wires import Wires, transfer_matrix

Floats = NDArray[np.float64]
Result = TypeVar("Result")

SIZE, SLICES, SLICE_BITS, INPUT_BITS, BATCH = 256, 2, 4, 8, 1024
LEVELS = (1 << SLICE_BITS) - 1
PEER_MVM_S = 96
TARGETS = {"ideal": 1000, "clipped": 100}
NODAL_INPUTS = 2
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
    """run answers one batch; seconds collects what it took."""

    name: str
    run: Callable[[], object]
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
    print(f"set-up             {seconds / arrays:.3f} s an array of {SIZE} x {SIZE}")
    noise, seconds = timed(lambda: linearize_noise(job.cells, options.read_noise * job.cells, job.wires))
    print(f"  with read noise  {seconds / arrays:.3f} s an array")
    variance = in_level_steps(noise, job.one_step)
    limits = np.full(SIZE * SLICES, -127.0), np.full(SIZE * SLICES, 127.0)
    adc = make_adc(8, *limits)
    ideal, clipped, noisy_ideal, noisy_clipped = (
        ArrayProduct(
            make_layout(),
            by_columns(transfer / job.one_step),
            difference=ColumnDifference.ANALOG,
            adc=converter,
            variance=deviations,
        )
        for deviations in (None, variance)
        for converter in (None, adc)
    )
    check(job, ideal, clipped, adc)
    reads = np.random.default_rng(options.seed)
    paths = [
        Path("blocked NumPy, ideal wires, ideal ADC", lambda: blocked_numpy(job)),
        Path("IR drop, ideal ADC", lambda: ideal.run(job.codes)),
        Path("IR drop, 8-bit clipped ADC", lambda: clipped.run(job.codes)),
        Path("IR drop, read noise, ideal ADC", lambda: noisy_ideal.run(job.codes, reads)),
        Path("IR drop, read noise, 8-bit clipped ADC", lambda: noisy_clipped.run(job.codes, reads)),
    ]
    measure(paths, options.rounds)
    report(paths)
    run_badcrossbar(job, transfer)


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


def check(job: Job, ideal: ArrayProduct, clipped: ArrayProduct, adc: Adc) -> None:
    """Hold the first results against sums of nodal solutions, step by step."""
    inputs = job.steps[:, :NODAL_INPUTS].reshape(-1, SIZE)
    nodal = np.array([[solve_nodal(cells, inputs, job.wires).currents_ampere for cells in pair] for pair in job.cells])
    sums = (nodal[:, 0] - nodal[:, 1]).reshape(SLICES, INPUT_BITS, NODAL_INPUTS, SIZE) / job.one_step
    shifts = 2.0 ** np.arange(INPUT_BITS)
    place = (WEIGHTS[:, 0, None] * shifts)[..., None, None]
    exact, found = (place * sums).sum(axis=(0, 1)), ideal.run(job.codes[:NODAL_INPUTS])
    read = adc.low[0] + adc.step[0] * np.clip(np.rint((sums - adc.low[0]) / adc.step[0]), 0, adc.largest_code)
    same = (place * read).sum(axis=(0, 1)) == clipped.run(job.codes[:NODAL_INPUTS])
    ideal_wires = job.codes[:NODAL_INPUTS] @ (job.cells * WEIGHTS[..., None, None]).sum(axis=(0, 1)) / job.one_step
    print(f"ideal ADC          {np.abs(found - exact).max() / np.abs(exact).max():.1e} from the nodal solution")
    print(f"clipped ADC        {same.mean():.1%} of results as from the nodal solution, to the last bit")
    print(f"ideal wires        {np.abs(ideal_wires - exact).max() / np.abs(exact).max():.1%} from it")


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


def blocked_numpy(job: Job) -> Floats:
    """Return exact results of ideal wires: a float32 product a step and slice, of the difference of two arrays."""
    total = np.zeros((BATCH, SIZE))
    levels = np.rint((job.cells[:, 0] - job.cells[:, 1]) / job.one_step).astype(np.float32)
    for step in range(INPUT_BITS):
        drives = (job.codes >> step & 1).astype(np.float32)
        for place in range(SLICES):
            total += (drives @ levels[place]).astype(np.float64) * (1 << step + SLICE_BITS * place)
    return total


def measure(paths: list[Path], rounds: int) -> None:
    for _ in range(rounds):
        for path in paths:
            path.seconds.append(timed(path.run)[1])


def report(paths: list[Path]) -> None:
    plain = paths[0].mvm_per_second
    print(f"\n{'path':<40}{'MVM/s':>10}{'x blocked NumPy':>18}{f'x {PEER_MVM_S} (peer)':>16}")
    for path in paths:
        rate = path.mvm_per_second
        print(f"{path.name:<40}{rate:>10,.0f}{rate / plain:>18.2f}{rate / PEER_MVM_S:>16,.0f}")
    for word, path in zip(TARGETS, paths[1:], strict=False):
        reached = path.mvm_per_second / PEER_MVM_S >= TARGETS[word]
        print(f"target, {word} ADC: {TARGETS[word]} x {PEER_MVM_S} MVM/s, {'reached' if reached else 'missed'}")


def run_badcrossbar(job: Job, transfer: Floats) -> None:
    """Compare with badcrossbar's solution of one array for a batch of one-bit inputs, if it is there."""
    logging.disable(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            badcrossbar = importlib.import_module("badcrossbar")
        except ImportError:
            print("badcrossbar is not installed")
            return
        inputs = job.steps[:, :1].reshape(-1, SIZE)
        with np.errstate(divide="ignore"):
            ohms = 1 / job.cells[0, 0]
        solution, seconds = timed(
            lambda: badcrossbar.compute(
                inputs.T, ohms, r_i_word_line=job.wires.row_segment_ohm, r_i_bit_line=job.wires.col_segment_ohm
            )
        )
    expected = inputs @ transfer[0, 0]
    error = np.abs(solution.currents.output - expected).max() / np.abs(expected).max()
    rate = 1 / (seconds * SLICES * 2)
    print(
        f"badcrossbar: {seconds:.1f} s for the {INPUT_BITS} reads of one input and one array, {rate:.2f} MVM/s; "
        f"{error:.1e} apart"
    )


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    start = time.process_time()
    result = run()
    return result, time.process_time() - start


if __name__ == "__main__":
    main()
