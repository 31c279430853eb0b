"""``mho study``: sweep parameters of arrays and converters over chips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mho
from mho.cli.arguments import (
    DataRootOption,
    DirectoryOption,
    FreshOption,
    JsonOption,
    PrintedOption,
    TableFormat,
    TableFormatOption,
    chosen_format,
)
from mho.cli.configs import check_config
from mho.cli.dry_runs import CheckOption, print_dry_run
from mho.cli.outputs import check_outputs, printed_into
from mho.cli.progress_lines import chip_progress
from mho.errors import ConfigError
from mho.terminal import Console, echo

if TYPE_CHECKING:
    from mho.report.study_document import StudyResult

_LINES = 10
"""Lines of progress where standard error is no terminal."""


ProcessesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=1024, help="Processes that simulate chips, by default 1; results do not depend on them."
    ),
]
RayOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Simulate on a Ray cluster: host:port, auto, or local.")
]
DrawOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the charts into one .svg or .png file too.")
]


def study(
    config: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Chips and sweeps; see examples/studies/.")],
    directory: DirectoryOption = None,
    data_root: DataRootOption = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    fresh: FreshOption = False,
    draw: DrawOption = None,
    output_format: TableFormatOption = TableFormat.TEXT,
    output: PrintedOption = None,
    as_json: JsonOption = False,
    check: CheckOption = False,
) -> None:
    """Sweep parameters of arrays and converters over chips of many seeds: how accurate is a program on them?

    Every result is kept: after an interruption, or with more points or seeds, the same command goes on where it was.
    """
    check_config(config, "examples/studies")
    from mho.report.drawing_files import check_suffix
    from mho.report.study_drawing import write_chart
    from mho.workflow.study_config import load_study

    if draw is not None:
        check_suffix(draw)
    settings = load_study(config, directory=directory, data_root=data_root)
    if draw is not None and not settings.swept:
        raise ConfigError(
            "nothing is swept: there is no chart to draw",
            where=f"{config}: --draw",
            hint="add a table [sweeps]",
        )
    check_outputs({"--draw": draw, "--output": output}, (config, settings.to_json()), kept=settings.directory)
    chosen = chosen_format(output_format, as_json=as_json)
    if check:
        from mho.api.dry_runs import check_study

        places = {"directory": directory, "data_root": data_root}
        found = check_study(config, processes=processes, ray=ray, fresh=fresh, **places)
        print_dry_run(found, as_json=chosen is TableFormat.JSON)
        return
    result = mho.study(
        config,
        directory=directory,
        data_root=data_root,
        processes=processes,
        ray=ray,
        fresh=fresh,
        on_progress=chip_progress(),
    )
    if draw is not None:
        write_chart(result, draw)
    with printed_into(output):
        _print(result, settings.directory, chosen)


def _print(result: StudyResult, directory: Path, chosen: TableFormat) -> None:
    from mho.report.study_text import print_study, write_csv
    from mho.workflow.study import CSV_FILE, LOG_FILE, PAGE_FILE, RESULT_FILE

    if chosen is TableFormat.JSON:
        echo(json.dumps(result.model_dump(mode="json"), indent=2))
    elif chosen is TableFormat.CSV:
        echo(write_csv(result), nl=False)
    else:
        print_study(Console(), result)
        log, figures, table = (directory / name for name in (LOG_FILE, RESULT_FILE, CSV_FILE))
        echo(f"\nanswers of chips in {log}, figures in {figures} and {table}")
        echo(f"page: {directory / PAGE_FILE}")
