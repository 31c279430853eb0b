"""``mho study``: sweep parameters of arrays and converters over chips."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mho.cli.arguments import TableFormat, TableFormatOption
from mho.cli.configs import check_config
from mho.cli.outputs import check_outputs
from mho.terminal import Console, echo, echo_over, is_terminal

if TYPE_CHECKING:
    from mho.workflow.study import OnChip

_LINES = 10
"""Lines of progress where standard error is no terminal."""


def study(
    config: Annotated[Path, typer.Argument(help="What to sweep (TOML); see examples/studies/.")],
    directory: Annotated[Path | None, typer.Option(help="Where results go, instead of the file's.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where the data lies, instead of the file's.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1024, help="That simulate chips; results do not depend on them."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Simulate on a Ray cluster: host:port, auto, or local.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier studies left in the directory.")] = False,
    draw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the charts into one .svg or .png file too.")
    ] = None,
    output_format: TableFormatOption = TableFormat.TEXT,
) -> None:
    """Sweep parameters of arrays and converters over chips of many seeds: how accurate is a program on them?

    Every result is kept: after an interruption, or with more points or seeds, the same command goes on where it was.
    """
    check_config(config, "examples/studies")
    from mho.report.drawing_files import check_suffix
    from mho.report.study_drawing import write_chart
    from mho.report.study_text import print_study, write_csv
    from mho.workflow.study import CSV_FILE, LOG_FILE, PAGE_FILE, RESULT_FILE, run_study
    from mho.workflow.study_config import load_study

    if draw is not None:
        check_suffix(draw)
    settings = load_study(config, directory=directory, data_root=data_root)
    check_outputs({"--draw": draw}, (config, settings.to_json()), kept=settings.directory)
    finished = run_study(
        settings,
        where=str(config),
        processes=processes,
        ray=ray,
        fresh=fresh,
        on_chip=_make_progress(is_terminal(err=True)),
    )
    if draw is not None:
        write_chart(finished.result, draw)
    if output_format is TableFormat.JSON:
        echo(json.dumps(finished.result.model_dump(mode="json"), indent=2))
    elif output_format is TableFormat.CSV:
        echo(write_csv(finished.result), nl=False)
    else:
        print_study(Console(), finished.result)
        place = finished.directory
        echo(f"\nanswers of chips in {place / LOG_FILE}, figures in {place / RESULT_FILE} and {place / CSV_FILE}")
        echo(f"page: {place / PAGE_FILE}")


def _make_progress(in_place: bool) -> OnChip:
    """Return what prints progress on standard error: one line that changes on a terminal, a few lines elsewhere."""
    start, first = time.monotonic(), 0

    def show(done: int, total: int) -> None:
        nonlocal first
        first = first or done
        seconds = time.monotonic() - start
        left = f", {seconds * (total - done) / (done - first + 1):,.0f} s left" if done < total else ""
        line = f"{done:,} of {total:,} chips, {seconds:,.0f} s{left}"
        if in_place:
            echo_over(line, is_last=done == total)
        elif done == total or done * _LINES // total > (done - 1) * _LINES // total:
            echo(line, err=True)

    return show
