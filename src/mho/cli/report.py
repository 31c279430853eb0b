"""``mho report``: a finished run in short, a picture of it to share, or two runs compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import Format, FormatOption, JsonOption, chosen_format
from mho.cli.outputs import check_outputs
from mho.errors import ConfigError, file_errors
from mho.terminal import Console, echo


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run, or its result.json.")],
    other: Annotated[Path | None, typer.Argument(help="Another one, to compare with.")] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the run's headline figures, 1200 x 630 pixels: .svg or .png."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the comparison as a page (HTML).")
    ] = None,
    output_format: FormatOption = Format.TEXT,
    as_json: JsonOption = False,
) -> None:
    """Show a finished run in short, or compare two: settings, policies, time, energy, accuracy, which is better.

    Accuracies are compared with confidence intervals; where both runs classified the same test samples, sample by
    sample. Nothing is computed on the network again.
    """
    chosen = chosen_format(output_format, as_json=as_json)
    if other is None:
        if output is not None:
            raise ConfigError("--output is for two runs", hint="the page of one run is report.html in its directory")
        _report_one(run, image, chosen)
        return
    if image is not None:
        raise ConfigError("--image is for one run", expected="one run directory")
    check_outputs({"--output": output}, [_result_file(run), _result_file(other)])
    document = mho.compare_runs(run, other)
    if output is not None:
        from mho.cache_folder import write_atomically
        from mho.report.run_comparison_page import render_run_comparison

        with file_errors(output, "cannot be written"):
            write_atomically(output, render_run_comparison(document).encode())
    if chosen is Format.JSON:
        echo(json.dumps(document.model_dump(mode="json"), indent=2))
    else:
        from mho.report.run_comparison_text import print_run_comparison

        print_run_comparison(Console(), document)


def _report_one(run: Path, image: Path | None, output_format: Format) -> None:
    check_outputs({"--image": image}, [_result_file(run)])
    result = mho.read_result(run)
    if image is not None:
        mho.draw_run(result, image)
    if output_format is Format.JSON:
        echo(json.dumps(result.model_dump(mode="json"), indent=2))
        return
    from mho.report.networks_text import print_found_policy
    from mho.report.result_text import print_result

    print_result(Console(), result)
    print_found_policy(Console(), result)
    if run.is_dir() and (page := run / "report.html").is_file():
        echo(f"report: {page}")


def _result_file(run: Path) -> Path:
    return run / "result.json" if run.is_dir() else run
