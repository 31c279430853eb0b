"""``mho mix``: bit widths of several networks that share one accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import DataRootOption, DirectoryOption, JsonOption, ProcessesOption, RayOption
from mho.cli.configs import check_config
from mho.cli.dry_runs import CheckOption, print_dry_run
from mho.cli.outputs import check_outputs, shows_progress, write_output
from mho.terminal import Console, echo, echo_note

ResultOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Copy every policy tried, and the best (JSON), here too."),
]


def mix(
    config: Annotated[
        Path, typer.Argument(metavar="FILE.toml", help="Networks, each with the file of its run, and the search.")
    ],
    directory: DirectoryOption = None,
    data_root: DataRootOption = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    output: ResultOption = None,
    as_json: JsonOption = False,
    check: CheckOption = False,
) -> None:
    """Search the bit widths of several networks together: within one budget of crossbars, or each within a loss.

    Each network is trained and calibrated in the directory of its own run, where its evaluations are kept too: after an
    interruption the same command goes on where it was.
    """
    check_config(config, "examples")
    check_outputs({"--output": output}, config)
    if check:
        from mho.api.dry_runs import check_mix

        found = check_mix(config, directory=directory, data_root=data_root, processes=processes, ray=ray)
        print_dry_run(found, as_json=as_json)
        return
    from mho.quantization.allocator import keep_freed_memory
    from mho.report.mix_text import print_mix

    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    outcome = mho.mix(
        config,
        directory=directory,
        data_root=data_root,
        processes=processes,
        ray=ray,
        show_progress=shows_progress(as_json=as_json),
    )
    content = outcome.result_file.read_bytes()
    if output is not None:
        write_output(output, content, hint=f"it lies in {outcome.folder}")
    if as_json:
        echo(content.decode(), nl=False)
        return
    echo("")
    print_mix(Console(), outcome.result, outcome.parts)
    for note in outcome.notes:
        echo_note(f"note: {note}")
    echo(f"every policy tried, and policy.NETWORK.json of each network: {outcome.folder}")
