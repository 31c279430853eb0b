"""``mho compare``: one network on several accelerators, in one table."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from mho.cli.arguments import (
    BitsOption,
    CrossbarsOption,
    Format,
    FormatOption,
    InputShapeOption,
    NetworkArgument,
    PolicyOption,
    load_compared,
)
from mho.errors import ConfigError
from mho.mapping.model import DEFAULT_MODEL, MappingModel

AcceleratorsOption = Annotated[str, typer.Option(metavar="A,B,...", help="Presets and TOML files, comma-separated.")]
DataOption = Annotated[
    str | None,
    typer.Option(metavar="X.npz", help="Samples by the names of inputs, and labels: tells accuracies of the arrays."),
]


def compare(
    network: NetworkArgument,
    accelerators: AcceleratorsOption,
    policy: PolicyOption = None,
    bits: BitsOption = None,
    crossbars: CrossbarsOption = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Inputs that follow each other.")] = 1,
    mapping: Annotated[MappingModel, typer.Option(help="Any exact mapping, or that of the paper.")] = DEFAULT_MODEL,
    simulate: Annotated[bool, typer.Option(help="Simulate interconnects and buffers of chips.")] = True,
    data: DataOption = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Of the chips, with --data; 0 without.")] = None,
    output_format: FormatOption = Format.TEXT,
    input_shape: InputShapeOption = None,
) -> None:
    """Compare accelerators on one network: widths, crossbars, time, energy, area, endurance, accuracy.

    A chip of several crossbars is scheduled, with weights that stay where it holds the network; one crossbar is used
    again for every tile. What an accelerator does not tell is named, and what cannot run on it is told in its line.
    """
    if seed is not None and data is None:
        raise ConfigError("--seed is of the chips whose accuracy is told", expected="--data X.npz beside it")
    asked = load_compared(network, accelerators, policy=policy, bits=bits, input_shape=input_shape)

    from mho.report.comparison import Question, compare_accelerators
    from mho.report.comparison_accuracy import read_samples
    from mho.report.comparison_text import print_comparison

    question = Question(
        asked.network,
        asked.policy,
        crossbars=crossbars,
        model=mapping,
        batch=batch,
        simulate=simulate,
        samples=None if data is None else read_samples(data),
        seed=seed or 0,
    )
    document = compare_accelerators(question, asked.accelerators, name=network)
    if output_format is Format.JSON:
        typer.echo(json.dumps(document.model_dump(mode="json"), indent=2))
    else:
        print_comparison(Console(highlight=False), document)
