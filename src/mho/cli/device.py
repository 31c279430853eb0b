"""A program on a device, for ``mho simulate --device``."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mho
from mho.cli.chip import Samples
from mho.errors import ConfigError
from mho.program.program import Program
from mho.terminal import echo

if TYPE_CHECKING:
    from mho.evaluation.chip import Outputs

DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="Run it on hardware instead, sample by sample: module:factory, file.py:factory or tcp:HOST:PORT.",
    ),
]
CompareOption = Annotated[
    bool, typer.Option("--compare", help="With --device: compare every count, and name what differences may be.")
]


def check_device_options(device: str | None, *, compare: bool, others: dict[str, Any]) -> None:
    """Refuse options beside --device that would not act. Raises `ConfigError`."""
    if device is None and compare:
        raise ConfigError("--compare is of a device", expected="--device beside it")
    given = [name for name, value in others.items() if value not in (None, False)]
    if device is not None and given:
        raise ConfigError(f"--{given[0]} is of the simulator", hint="leave it out, or leave out --device")


def run_on_device(
    program: Program, samples: Samples, device: str, figures: dict[str, Any], *, compare: bool
) -> tuple[Outputs, float]:
    """Run a program on a device and print what differs; return its outputs and the seconds that it took."""
    start = time.perf_counter()
    run = mho.run_on_device(program, samples.inputs, device, compare=compare)
    seconds = time.perf_counter() - start
    figures |= {"device": device, "calls": dict(run.calls)}
    echo(f"device: {sum(run.calls.values()):,} calls, of them {run.calls.get('mvm', 0):,} MVMs")
    if run.comparison is not None:
        for line in run.comparison.describe():
            echo(line)
        found = run.comparison
        figures["comparison"] = {
            "counts": found.counts,
            "different": found.different,
            "first": None if found.first is None else asdict(found.first),
            "sizes": {str(size): count for size, count in sorted(found.sizes.items())},
            "layers": {name: {"different": one, "counts": all_} for name, (one, all_) in found.by_layer.items()},
            "columns": [
                {"crossbar": crossbar, "column": column, "different": count}
                for (crossbar, column), count in sorted(found.by_column.items())
            ],
            "findings": [asdict(finding) for finding in found.findings],
        }
    return run.outputs, seconds
