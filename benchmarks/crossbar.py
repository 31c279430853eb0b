"""One crossbar, all that it may be: products a second on each path, beside blocked NumPy in the same run.

    python benchmarks/crossbar.py [--rounds 15] [--batch 1024] [--parts]

The job: 256x256 signed 8-bit weights in two 4-bit slices, differential columns that are subtracted before conversion,
8-bit unsigned inputs in eight 1-bit steps; one MVM is the full product, that is 32 array reads; one thread. Every
path is checked before it is timed: exact ones against NumPy to the last bit, noisy ones by mean and variance. All
take turns in every round; figures are medians of processor time. `benchmarks/crossbar_wires.py` measures wires with a
resistance. With --parts it tells where the time of a clipped ADC goes instead.

Peers (`benchmarks/crossbar_peers.py`) take their turns in the same rounds where they are installed. Where none is,
what a path reaches of the best peer's speed is given by way of NumPy's. In another run of the same job (2 cores,
AVX-512, 1 thread), beside the same NumPy (62,600 MVM/s with ideal, 58,700 with clipped ADCs), aihwkit-lightning, with
slicing emulated around it, gave 46,000, aihwkit's C++ tile with noise 4,600.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from crossbar_peers import Sliced, list_peers

from mho.arithmetic.exactness import exact_products
from mho.array.conductances import Device
from mho.array.converters import Adc, make_adc
from mho.array.integer_product import IntegerProduct, ProductKernel, has_fast_bytes
from mho.array.layout import ArrayLayout, list_conversions
from mho.array.periphery import Periphery
from mho.array.product import ArrayProduct
from mho.array.read_noise import draw_normal, read_variance
from mho.hardware.array import Array
from mho.hardware.converters import ColumnDifference

SIZE, SLICES, CELL_BITS, INPUT_BITS = 256, 2, 4, 8
READ_NOISE = "0.02"
CHECKED_READS = 4000

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Job:
    weights: np.ndarray
    counts: np.ndarray
    codes: np.ndarray
    layout: ArrayLayout

    @property
    def slices(self) -> np.ndarray:
        """[rows, slices * outputs], float32: the differences of columns, slice by slice."""
        cells = self.counts.reshape(SIZE, SIZE, SLICES, 2)
        return np.ascontiguousarray((cells[..., 0] - cells[..., 1]).transpose(0, 2, 1), np.float32).reshape(SIZE, -1)


@dataclass(frozen=True)
class Path:
    """One row of the table: what runs, which path of NumPy it stands beside, what is to be reached of whose speed."""

    run: Callable[[], object]
    beside: str = ""
    target: float = 0
    peer: float = 0  # speed of the best peer elsewhere, as a part of NumPy's
    peers: str = ""  # which paths of peers do the same
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="tell what parts of a clipped ADC take")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    job = make_job(options.batch)
    print(f"{torch.backends.cpu.get_cpu_capability()}, {'' if has_fast_bytes() else 'no '}fast products of bytes")
    if options.parts:
        tell_parts(job, options.rounds)
        return
    paths = {
        "NumPy, ideal ADC": Path(best_of(partial(numpy_blocks, job, None))),
        "NumPy, 8-bit clipped ADC": Path(best_of(partial(numpy_blocks, job, clipping(job)))),
        "ideal ADC": Path(ideal(job), "NumPy, ideal ADC", 10, 46_000 / 62_600, "ideal"),
        "8-bit clipped ADC": Path(converted(job, clipping(job)), "NumPy, 8-bit clipped ADC", 2),
        "8-bit ADC over the full scale": Path(converted(job, full_scale(job)), "NumPy, 8-bit clipped ADC"),
        "cells with errors, ideal ADC": Path(with_errors(job, None), "NumPy, ideal ADC"),
        "cells with errors, clipped ADC": Path(with_errors(job, clipping(job)), "NumPy, 8-bit clipped ADC"),
        "read noise, ideal ADC": Path(noisy(job, None), "NumPy, ideal ADC", 10, 4_600 / 62_600, "noise"),
        "read noise, clipped ADC": Path(
            noisy(job, clipping(job)), "NumPy, 8-bit clipped ADC", 4, 4_600 / 58_700, "noise"
        ),
        "read noise, errors, clipped ADC": Path(
            noisy(job, clipping(job), with_cell_errors(job)), "NumPy, 8-bit clipped ADC"
        ),
    }
    kinds = add_peers(paths, job)
    report(options, paths, measure(paths, options.rounds), kinds)


def tell_parts(job: Job, rounds: int) -> None:
    """Time the parts of the path with a clipped ADC, block by block, and the product by each route."""
    adc, block, blocks = clipping(job), 128, len(job.codes) // 128
    periphery = Periphery(job.layout, difference=ColumnDifference.ANALOG, adc=adc)
    feed, readout = periphery.feed, periphery.readout(are_whole=True, are_noisy=False)
    matrix = periphery.conversions.subtract(job.counts).astype(np.int64)
    codes = feed.take(job.codes[:block])
    drives = feed.slices(codes).flatten(0, 1)
    floats, plain = drives.numpy().astype(np.float32), matrix.astype(np.float32)
    products = {route: IntegerProduct(matrix, feed.largest, route) for route in ProductKernel}
    chosen = IntegerProduct(matrix, feed.largest)
    with exact_products():
        sums = chosen.multiply(drives)
        parts: dict[str, Callable[[], object]] = {
            "cut inputs into steps": lambda: feed.slices(codes),
            "NumPy's product of the steps": lambda: floats @ plain,
            **{f"product by {route}": partial(product.multiply, drives) for route, product in products.items()},
            "clip, shift and add": lambda: readout.run(sums, block),
            "a normal number a conversion": lambda: draw_normal(sums.to(torch.float32), None),
        }
        paths = {name: Path(partial(repeat, run, blocks)) for name, run in parts.items()}
        paths["all, as it runs"] = Path(converted(job, adc))
        paths["NumPy, all"] = Path(best_of(partial(numpy_blocks, job, adc)))
        seconds = measure(paths, rounds)
    for name in paths:
        print(f"  {name:34} {1e6 * seconds[name] / len(job.codes):8.2f} us an MVM")
    sums_of_one = INPUT_BITS * SLICES * SIZE
    print(f"one MVM: {SIZE * sums_of_one:,} multiplications, {sums_of_one:,} conversions; product by {chosen.kernel}")


def repeat(run: Callable[[], object], times: int) -> None:
    for _ in range(times):
        run()


def add_peers(paths: dict[str, Path], job: Job) -> dict[str, str]:
    """Add the peers that run here to the paths, say which do not, and return the kind of each that does."""
    slices = np.ascontiguousarray(job.slices.reshape(SIZE, SLICES, SIZE).transpose(1, 0, 2))
    sliced = Sliced(slices, job.weights, job.codes, CELL_BITS, INPUT_BITS)
    beside = {"clipped": "NumPy, 8-bit clipped ADC"}
    kinds = {}
    for peer in list_peers():
        run, words = peer.prepare(sliced)
        if run is None:
            print(f"{peer.name}: {words}")
            continue
        paths[peer.name] = Path(run, beside.get(peer.kind, "NumPy, ideal ADC"), note=words)
        kinds[peer.name] = peer.kind
    return kinds


def make_job(batch: int) -> Job:
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, (SIZE, SIZE))
    digits = np.abs(weights)[..., None] >> CELL_BITS * np.arange(SLICES) & ((1 << CELL_BITS) - 1)
    cells = np.stack([np.where(weights[..., None] > 0, digits, 0), np.where(weights[..., None] < 0, digits, 0)], -1)
    layout = ArrayLayout(
        row_sign=np.ones(SIZE, np.int64),
        row_shift=np.zeros(SIZE, np.int64),
        col_output=np.repeat(np.arange(SIZE), 2 * SLICES),
        col_weight=np.tile([sign << CELL_BITS * k for k in range(SLICES) for sign in (1, -1)], SIZE),
        outputs=SIZE,
        input_bits=INPUT_BITS,
        dac_bits=1,
        steps=INPUT_BITS,
        step_shift=1,
    )
    codes = generator.integers(0, 1 << INPUT_BITS, (batch, SIZE)).astype(np.uint8)
    return Job(weights, cells.reshape(SIZE, -1).astype(np.float64), codes, layout)


def clipping(job: Job) -> Adc:
    """Eight bits that read sums of -128 .. 127 exactly."""
    return spread(job, 127.0)


def full_scale(job: Job) -> Adc:
    return spread(job, float(SIZE * ((1 << CELL_BITS) - 1)))


def spread(job: Job, largest: float) -> Adc:
    limits = np.full(len(list_conversions(job.layout, ColumnDifference.ANALOG).plus), largest)
    return make_adc(8, -limits, limits)


def numpy_blocks(job: Job, adc: Adc | None, block: int) -> np.ndarray:
    """Plain NumPy at its best: a float32 product of all slices for a block of vectors and steps that fits the cache."""
    slices, results = job.slices, np.empty((len(job.codes), SIZE), np.float32)
    steps = np.arange(INPUT_BITS, dtype=np.uint8)[:, None, None]
    for start in range(0, len(job.codes), block):
        bits = (job.codes[None, start : start + block] >> steps & 1).astype(np.float32)
        sums = bits.reshape(-1, SIZE) @ slices
        if adc is not None:
            np.clip(sums, np.float32(adc.low[0]), np.float32(adc.low[0] + adc.largest_code), out=sums)
        sums = sums.reshape(INPUT_BITS, -1, SLICES * SIZE)
        total = sums[-1].copy()
        for step in reversed(range(INPUT_BITS - 1)):
            total *= 2
            total += sums[step]
        results[start : start + block] = total[:, :SIZE] + (1 << CELL_BITS) * total[:, SIZE:]
    return results


def best_of(run: Callable[..., np.ndarray]) -> Run:
    """Return NumPy's product with the size of blocks that is fastest here."""
    times = {}
    for block in (16, 32, 64, 128, 256):
        run(block=block)
        start = time.process_time()
        run(block=block)
        times[block] = time.process_time() - start
    return partial(run, block=min(times, key=lambda block: times[block]))


def ideal(job: Job) -> Run:
    product = ArrayProduct(Periphery(job.layout), job.counts)
    assert (product.run(job.codes) == job.codes.astype(np.int64) @ job.weights).all()
    assert (numpy_blocks(job, None, 64) == product.run(job.codes)).all()
    return partial(product.run, job.codes)


def converted(job: Job, adc: Adc) -> Run:
    product = ArrayProduct(Periphery(job.layout, difference=ColumnDifference.ANALOG, adc=adc), job.counts)
    wanted = plain_results(job, job.counts, adc)
    if adc.only_clips:
        assert (product.run(job.codes) == wanted).all()
        assert (numpy_blocks(job, adc, 64) == wanted).all()
    else:
        np.testing.assert_allclose(product.run(job.codes), wanted, rtol=1e-12, atol=1e-6)
    return partial(product.run, job.codes)


def with_cell_errors(job: Job) -> np.ndarray:
    return job.counts + np.random.default_rng(1).normal(0, 0.3, job.counts.shape)


def with_errors(job: Job, adc: Adc | None) -> Run:
    counts = with_cell_errors(job)
    product = ArrayProduct(Periphery(job.layout, difference=ColumnDifference.ANALOG, adc=adc), counts)
    found, wanted = product.run(job.codes), plain_results(job, counts, adc)
    if adc is None:
        assert np.abs(found - wanted).max() < 1e-9 * np.abs(wanted).max()
    else:  # a sum may lie so near to the edge of a code that its last bits decide
        assert (found == wanted).mean() > 0.9999
    return partial(product.run, job.codes)


def plain_results(job: Job, counts: np.ndarray, adc: Adc | None) -> np.ndarray:
    """The definition, step by step, in float64."""
    conversions = list_conversions(job.layout, ColumnDifference.ANALOG)
    results = np.zeros((len(job.codes), SIZE))
    for step, bits in enumerate(job.layout.slice_codes(job.codes)):
        sums = bits @ conversions.subtract(counts)
        read = sums if adc is None else adc.read(adc.convert(sums))
        np.add.at(results.T, conversions.output, (read * conversions.weight * 2**step).T)
    return results


def noisy(job: Job, adc: Adc | None, counts: np.ndarray | None = None) -> Run:
    counts = job.counts if counts is None else counts
    variance = read_variance(Device(Array(read_noise=float(READ_NOISE)), CELL_BITS), counts)
    assert variance is not None
    product = ArrayProduct(
        Periphery(job.layout, difference=ColumnDifference.ANALOG, adc=adc), counts, variance=variance
    )
    reads = np.random.default_rng(2)
    check_noise(job, product, counts, variance, adc, reads)
    return partial(product.run, job.codes, reads)


def check_noise(
    job: Job,
    product: ArrayProduct,
    counts: np.ndarray,
    variance: np.ndarray,
    adc: Adc | None,
    reads: np.random.Generator,
) -> None:
    """Compare mean and variance of many reads of one input with noise that is drawn for every conversion."""
    found = product.run(np.repeat(job.codes[:1], CHECKED_READS, axis=0), reads)
    conversions = list_conversions(job.layout, ColumnDifference.ANALOG)
    wanted = np.zeros((CHECKED_READS, SIZE))
    generator = np.random.default_rng(3)
    for step, bits in enumerate(job.layout.slice_codes(job.codes[:1])[:, 0]):
        std = np.sqrt(bits @ conversions.add(variance))
        sums = bits @ conversions.subtract(counts) + std * generator.standard_normal((CHECKED_READS, len(std)))
        read = sums if adc is None else adc.read(adc.convert(sums))
        np.add.at(wanted.T, conversions.output, (read * conversions.weight * 2**step).T)
    error = np.sqrt((found.var(axis=0) + wanted.var(axis=0)) / CHECKED_READS)
    assert (np.abs(found.mean(axis=0) - wanted.mean(axis=0)) < 6 * error).all()
    assert (np.abs(found.std(axis=0) / wanted.std(axis=0) - 1) < 6 / np.sqrt(CHECKED_READS)).all()


def measure(paths: dict[str, Path], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(rounds + 1):
        for name, path in paths.items():
            start = time.process_time()
            path.run()
            if number:  # the first round warms up
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report(
    options: argparse.Namespace, paths: dict[str, Path], seconds: dict[str, float], kinds: dict[str, str]
) -> None:
    print(f"batches of {options.batch}, {options.threads} thread(s), medians of {options.rounds} interleaved rounds")
    for name, path in paths.items():
        line = f"  {name:34} {options.batch / seconds[name]:12,.0f} MVM/s"
        if path.beside:
            ratio = seconds[path.beside] / seconds[name]
            line += f"  {ratio:6.2f} of NumPy's speed"
            rivals = [seconds[peer] for peer, kind in kinds.items() if path.peers == kind]
            if path.peer:
                ratio = min(rivals) / seconds[name] if rivals else ratio / path.peer
                line += f", {ratio:6.1f} of the best peer's" + ("" if rivals else " elsewhere")
            if path.target:
                line += f"  (target {path.target:g}: {'met' if ratio >= path.target else 'missed'})"
        print(line + (f"  ({path.note})" if path.note else ""))


if __name__ == "__main__":
    main()
