"""``mho simulate``: run a program file on arrays."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mho.program.container import read_program


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
) -> None:
    """Run a program and tell how long the accelerator would take.

    The latency is that of one sample, from the program's own writes and MVMs.
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
