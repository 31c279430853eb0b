"""``mho run``: from a configuration to a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mho
from mho.cli.arguments import (
    ArithmeticOption,
    DataRootOption,
    DigitalOption,
    DirectoryOption,
    FreshOption,
    JsonOption,
    MappingObjectiveOption,
    MaxErrorOption,
    NotDigitalOption,
    ProcessesOption,
    RayOption,
    WeightsOption,
    read_rules,
)
from mho.cli.configs import check_config
from mho.cli.dry_runs import CheckOption, print_dry_run
from mho.cli.outputs import check_outputs, shows_progress, write_output
from mho.errors import ConfigError
from mho.terminal import echo, echo_note

if TYPE_CHECKING:
    from mho.workflow.run import FinishedRun

ReportOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Copy the report (.html) or its figures (.json) here too."),
]


PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Train, compile and simulate this policy (JSON); search none."),
]


def run(
    config: Annotated[Path, typer.Argument(metavar="FILE.toml", help="What to do; mho new run writes such a file.")],
    directory: DirectoryOption = None,
    data_root: DataRootOption = None,
    weights: WeightsOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    arithmetic: ArithmeticOption = None,
    policy: PolicyOption = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    fresh: FreshOption = False,
    output: ReportOption = None,
    as_json: JsonOption = False,
    check: CheckOption = False,
) -> None:
    """Train, search bit widths, compile, simulate and report, as a configuration says.

    What finished is kept: after an interruption the same command goes on where it was.
    """
    check_config(config, "examples")
    if output is not None and output.suffix not in (".html", ".json"):
        raise ConfigError("no .html or .json file", where=str(output), expected="the report or its figures")
    check_outputs({"--output": output}, (config, weights, policy))
    given: dict[str, Any] = {
        "directory": directory,
        "data_root": data_root,
        "weights": weights,
        "policy": policy,
        "accelerator": {**read_rules(max_error, mapping_objective, digital, not_digital), "arithmetic": arithmetic},
        "processes": processes,
        "ray": ray,
    }
    if check:
        from mho.api.dry_runs import check_run

        print_dry_run(check_run(config, **given, fresh=fresh), as_json=as_json)
        return
    from mho.quantization.allocator import keep_freed_memory

    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    finished = mho.run(config, **given, fresh=fresh, show_progress=shows_progress(as_json=as_json))
    if output is not None:
        source = finished.page if output.suffix == ".html" else finished.result_file
        write_output(output, source.read_bytes(), hint=f"it lies in {source}")
    broken = [check.name for check in finished.result.checks if not check.passed]
    if as_json:
        echo(json.dumps(finished.result.model_dump(mode="json"), indent=2))
    else:
        _tell(finished)
    if finished.result.search.failed:
        echo("the search failed; the same command goes on with it", err=True)
    if broken:
        echo(f"broken checks: {', '.join(broken)}; see the report", err=True)
    if broken or finished.result.search.failed:
        raise typer.Exit(1)


def _tell(finished: FinishedRun) -> None:
    from mho.formats import format_seconds
    from mho.report.result_text import tell_checks

    result = finished.result
    echo("")
    echo(result.sentence)
    for note in result.notes:
        echo_note(f"note: {note}")
    for part in result.absent:
        echo(f"left out: {part.part}: {part.reason}")
    echo(tell_checks(result))
    echo(f"working time {format_seconds(result.seconds)}; figures in {finished.result_file}")
    echo(f"report: {finished.page}")
    echo(f"in short, or beside another run: mho report {finished.result_file.parent}")
