"""``mho simulate``: run a program file on arrays."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mho.errors import ConfigError
from mho.program.container import read_program
from mho.program.program import Program

if TYPE_CHECKING:
    from mho.simulation.zero_slices import ZeroSlices


class Engine(StrEnum):
    """Which engine runs the program; both give the same bits."""

    EXECUTOR = "executor"
    INTERPRETER = "interpreter"


def simulate(
    program: Annotated[Path, typer.Argument(metavar="P.mho", help="A program of `mho compile`.")],
    inputs: Annotated[
        Path | None, typer.Option(metavar="X.npz", help="Arrays [N, ...] by the names of the inputs.")
    ] = None,
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
    timing: Annotated[
        bool, typer.Option("--timing", help="Tell when every layer works, and what it waits for. Needs no inputs.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Inputs that follow each other on a chip, with --timing.")
    ] = None,
) -> None:
    """Run a program on inputs, and tell how long the accelerator would take.

    The latency is that of one sample, from the program's own instructions. A program that was compiled with --chip is
    timed by a simulation of its schedule, and the interpreter runs it in the order of the schedule. With
    --skip-zero-slices, the times of these samples on hardware that skips MVMs all of whose driven rows carry a zero
    input slice are told too.
    """
    _check_options(inputs, output, skip_zero_slices=skip_zero_slices, timing=timing, batch=batch)
    loaded = read_program(program)
    if timing:
        _tell_timing(loaded, batch or 1)
    if inputs is not None:
        _run(loaded, inputs, output, engine, batch_size)
        if skip_zero_slices:
            from mho.simulation.arrays import read_arrays
            from mho.simulation.zero_slices import count_zero_slices

            _tell_zero_slices(count_zero_slices(loaded, read_arrays(inputs), batch_size))


def _check_options(
    inputs: Path | None, output: Path | None, *, skip_zero_slices: bool, timing: bool, batch: int | None
) -> None:
    if inputs is None and not timing:
        raise ConfigError("nothing to simulate", expected="--inputs X.npz, or --timing")
    if inputs is None and (output is not None or skip_zero_slices):
        raise ConfigError("--output" if output else "--skip-zero-slices", expected="--inputs X.npz beside it")
    if batch is not None and not timing:
        raise ConfigError("--batch is for --timing", hint="--batch-size tells how many samples an engine takes at once")


def _tell_timing(program: Program, batch: int) -> None:
    from rich.console import Console

    from mho.report.timing_text import print_chip_timing, print_crossbar_timing
    from mho.simulation.program_timing import time_on_chip
    from mho.simulation.timing import time_program

    console = Console(highlight=False)
    if program.schedule is not None:
        print_chip_timing(console, program, time_on_chip(program, batch=batch))
    elif batch > 1:
        raise ConfigError("--batch is for programs that were compiled with --chip", where=program.name)
    else:
        print_crossbar_timing(console, program, time_program(program))


def _run(loaded: Program, inputs: Path, output: Path | None, engine: Engine, batch_size: int | None) -> None:
    """Run a program on arrays, and tell what came out."""
    from mho.simulation.arrays import read_arrays, write_arrays

    arrays = read_arrays(inputs)
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
    samples = next(iter(results.values())).shape[0]
    typer.echo(_tell_latency(loaded))
    for name, array in results.items():
        typer.echo(f"output {name} {list(array.shape)}")
    if output is not None:
        write_arrays(output, results)
        typer.echo(f"written to {output}")
    typer.echo(f"simulated {samples:,} samples in {seconds:.2f} s ({engine.value})")


def _tell_latency(program: Program) -> str:
    from mho.simulation.program_timing import time_on_chip
    from mho.simulation.timing import time_program

    name = program.accelerator.name
    if program.schedule is None:
        timing = time_program(program)
        latency, what = timing.latency_ps, f"{timing.writes:,} crossbar writes, {timing.mvms:,} MVMs"
    else:
        latency, what = time_on_chip(program).latency_ps, f"{program.schedule.used_crossbars:,} crossbars"
    return f"latency {latency / 1e9:,.4f} ms a sample on {name}: {what}"


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
