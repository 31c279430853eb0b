"""``mho mix``: bit widths of several networks that share one accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho.cli.arguments import ProcessesOption, RayOption
from mho.cli.configs import check_config
from mho.terminal import Console, echo


def mix(
    config: Annotated[Path, typer.Argument(help="Networks, each with the file of its run, and search (TOML).")],
    directory: Annotated[Path | None, typer.Option(help="Where results go, instead of the file's.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where the data of all networks lies, instead of their files'.")
    ] = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
) -> None:
    """Search the bit widths of several networks together: within one budget of crossbars, or each within a loss.

    Each network is trained and calibrated in the directory of its own run, where its evaluations are kept too: after an
    interruption the same command goes on where it was.
    """
    check_config(config, "examples")

    from mho.quantization.allocator import keep_freed_memory
    from mho.report.mix_text import print_mix
    from mho.workflow.mix import search_mix
    from mho.workflow.mix_config import load_mix
    from mho.workflow.progress import show_progress
    from mho.workflow.search_execution import SearchExecution

    settings = load_mix(config, directory=directory)
    execution = SearchExecution(processes, ray)
    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    with show_progress() as make_progress:
        found = search_mix(settings, data_root=data_root, make_progress=make_progress, execution=execution)
    echo("")
    print_mix(Console(), found.result, found.parts)
    for note in found.notes:
        echo(f"note: {note}")
    echo(f"every policy tried, and policy.NETWORK.json of each network: {found.folder}")
