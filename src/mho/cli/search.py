"""``mho search``: bit widths alone, from the configuration of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mho.cli.arguments import ProcessesOption, RayOption

if TYPE_CHECKING:
    from mho.workflow.search_run import SearchOutcome


def search(
    config: Annotated[Path, typer.Argument(help="Network, data, accelerator and search (TOML); see examples/.")],
    method: Annotated[
        str | None,
        typer.Option(help="rl, rl-paper, exact, evolution, tpe, uniform or random, instead of the file's."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="What is made least, instead of the file's: latency (on one crossbar), chip-latency (of one input on "
            "the whole chip), interval (between inputs there), energy or energy-delay (of one input)."
        ),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Distinct policies to evaluate, instead of the file's.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Policies that the method is asked for at once, instead of the file's.")
    ] = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the found policy (JSON).")] = None,
    directory: Annotated[Path | None, typer.Option(help="Run directory, instead of the file's.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where the data lies, instead of the file's.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Trained float weights (.safetensors).")] = None,
) -> None:
    """Search bit widths in the run directory of a configuration, without training and compiling the winner.

    Evaluations are kept and shared by all methods and objectives: after an interruption the same command goes on where
    it was.
    """
    from mho.quantization.memory import keep_freed_memory
    from mho.report.text import format_cost
    from mho.workflow.config import load_config
    from mho.workflow.progress import PlainProgress, TerminalProgress, WorkMeter
    from mho.workflow.search_execution import SearchExecution
    from mho.workflow.search_run import search_alone, with_search

    settings = load_config(config, directory=directory, data_root=data_root, weights=weights)
    settings = with_search(settings, method=method, budget=budget, objective=objective, batch=batch)
    execution = SearchExecution(processes, ray)
    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    if sys.stdout.isatty():
        from rich.console import Console

        with TerminalProgress(Console()) as progress:
            found = search_alone(
                settings, make_progress=lambda work: progress.measured_by(WorkMeter(work)), execution=execution
            )
    else:
        found = search_alone(
            settings, make_progress=lambda work: PlainProgress(WorkMeter(work)), execution=execution
        )
    if output is not None:
        _write_policy(found, output)
    unit = found.objective.unit
    typer.echo("")
    typer.echo(
        f"{settings.search.method}: {found.objective.words}"
        f" {format_cost(found.cost, unit)} instead of {format_cost(found.reference_cost, unit)}"
        f" at uniform 8/8, {found.gain:.2f}x less, after {found.tried} policies,"
        f" {100 * found.accuracy:.2f} % on validation data ({100 * found.reference_accuracy:.2f} % at 8/8),"
        " before full training"
    )
    typer.echo(f"weight/activation bits: {' '.join(str(bits) for bits in found.policy.layers.values())}")
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"every policy tried: {found.result_file}")


def _write_policy(found: SearchOutcome, path: Path) -> None:
    import json

    from mho.cache_folder import write_atomically
    from mho.errors import InputFileError

    try:
        write_atomically(path, (json.dumps(found.policy.to_json(), indent=2) + "\n").encode())
    except OSError as error:
        reason = error.strerror or "cannot be written"
        hint = f"the policy lies in {found.result_file}; the same command writes it without searching again"
        raise InputFileError(reason, where=str(path), hint=hint) from error
