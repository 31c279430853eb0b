"""``mho run``: from a configuration to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import ProcessesOption, RayOption
from mho.cli.configs import check_config
from mho.terminal import echo


def run(
    config: Annotated[Path, typer.Argument(help="What to do (TOML); see examples/.")],
    directory: Annotated[Path | None, typer.Option(help="Where results go, instead of the file's.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where the data lies, instead of the file's.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Trained float weights (.safetensors).")] = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier runs left in the directory.")] = False,
) -> None:
    """Train, search bit widths, compile, simulate and report, as a configuration says.

    What finished is kept: after an interruption the same command goes on where it was.
    """
    check_config(config, "examples")
    from mho.formats import format_seconds
    from mho.quantization.allocator import keep_freed_memory

    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    finished = mho.run(
        config,
        directory=directory,
        data_root=data_root,
        weights=weights,
        processes=processes,
        ray=ray,
        fresh=fresh,
        show_progress=True,
    )
    result = finished.result
    echo("")
    echo(result.sentence)
    for note in result.notes:
        echo(f"note: {note}")
    for part in result.absent:
        echo(f"left out: {part.part}: {part.reason}")
    if broken := [check.name for check in result.checks if not check.passed]:
        echo(f"broken checks: {', '.join(broken)}; see the report", err=True)
    echo(f"working time {format_seconds(result.seconds)}; figures in {finished.result_file}")
    echo(f"report: {finished.page}")
    if broken:
        raise typer.Exit(1)
