"""``--check`` of long commands: what would be done, and roughly how long."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mho.formats import format_seconds
from mho.report.columns import Column, print_columns
from mho.terminal import Console, Text

if TYPE_CHECKING:
    from mho.workflow.dry_run import DryRun

CheckOption = Annotated[
    bool,
    typer.Option("--check", help="Check everything, say what would be done and roughly how long; change nothing."),
]


def print_dry_run(found: DryRun, *, as_json: bool) -> None:
    """Print what a command would do, as text or as JSON."""
    console = Console()
    if as_json:
        content = {**asdict(found), "seconds": found.seconds}
        console.out(json.dumps(content, indent=2))
        return
    width = max(map(len, found.facts))
    for name, fact in found.facts.items():
        console.print(Text(f"{name:<{width}}  {fact}"))
    times = ["finished" if step.is_finished else format_seconds(step.seconds) for step in found.steps]
    steps = Column("step", tuple(step.name for step in found.steps), "in all", most=40)
    print_columns(console, [steps, Column("about", tuple(times), format_seconds(found.seconds))])
    console.print(f"({found.basis}). Everything fits together; nothing was changed.", style="dim")
