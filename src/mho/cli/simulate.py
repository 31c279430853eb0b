"""``mho simulate``: run a program file on arrays."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mho.program.container import read_program

if TYPE_CHECKING:
    from mho.simulation.zero_slices import ZeroSlices


class Engine(StrEnum):
    """Which engine runs the program; both give the same bits."""

    EXECUTOR = "executor"
    INTERPRETER = "interpreter"


def simulate(
    program: Annotated[Path, typer.Argument(metavar="P.mho", help="A program of `mho compile`.")],
    inputs: Annotated[Path, typer.Option(metavar="X.npz", help="Arrays [N, ...] by the names of the inputs.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="Y.npz", help="Where to write the outputs.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="executor: fast. interpreter: instruction by instruction, slow.")
    ] = Engine.EXECUTOR,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples at once (executor); never changes results.")
    ] = None,
    skip_zero_slices: Annotated[
        bool, typer.Option("--skip-zero-slices", help="Tell which MVMs could be skipped: all their slices are zero.")
    ] = False,
) -> None:
    """Run a program and tell how long the accelerator would take.

    The latency is that of one sample, from the program's own writes and MVMs. With --skip-zero-slices, the times of
    these samples on hardware that skips MVMs all of whose driven rows carry a zero input slice are told too.
    """
    from mho.simulation.arrays import read_arrays, write_arrays
    from mho.simulation.timing import time_program

    loaded, arrays = read_program(program), read_arrays(inputs)
    if engine is Engine.EXECUTOR:
        from mho.simulation.executor import Executor

        executor = Executor(loaded)
        start = time.perf_counter()
        results = executor.run(arrays, batch_size)
    else:
        from mho.simulation.interpreter import interpret

        start = time.perf_counter()
        results = interpret(loaded, arrays).outputs
    seconds = time.perf_counter() - start
    timing = time_program(loaded)
    samples = next(iter(results.values())).shape[0]
    typer.echo(
        f"latency {timing.latency_ps / 1e9:,.4f} ms a sample on {loaded.accelerator.name}: "
        f"{timing.writes:,} crossbar writes, {timing.mvms:,} MVMs"
    )
    for name, array in results.items():
        typer.echo(f"output {name} {list(array.shape)}")
    if output is not None:
        write_arrays(output, results)
        typer.echo(f"written to {output}")
    typer.echo(f"simulated {samples:,} samples in {seconds:.2f} s ({engine.value})")
    if skip_zero_slices:
        from mho.simulation.zero_slices import count_zero_slices

        _tell_zero_slices(count_zero_slices(loaded, arrays, batch_size))


def _tell_zero_slices(found: ZeroSlices) -> None:
    width = max([len("layer"), *(len(layer.name) for layer in found.layers)])
    typer.echo(f"\n{'layer':<{width}}  {'MVMs a sample':>13}  skipped (zero slices)")
    for layer in found.layers:
        typer.echo(f"{layer.name:<{width}}  {layer.mvms:>13,}  {100 * layer.share:6.2f} %")
    typer.echo(f"{'all':<{width}}  {found.mvms:>13,}  {100 * found.share:6.2f} %")
    latencies_ps = found.latencies_ps
    mean, least, most = (
        f"{value / 1e9:,.4f}" for value in (latencies_ps.mean(), latencies_ps.min(), latencies_ps.max())
    )
    typer.echo(
        f"latency with zero slices skipped: {mean} ms a sample on average, {least} at least, {most} at most "
        f"({found.latency_ps / 1e9:,.4f} without skipping)"
    )
