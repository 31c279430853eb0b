"""``mho estimate``: the accuracy of a quantized network on chips that are not ideal, by the statistical model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import (
    MOST,
    AcceleratorOption,
    DigitalOption,
    JsonOption,
    MappingObjectiveOption,
    MaxErrorOption,
    NotDigitalOption,
    read_rules,
)
from mho.cli.chip import ElapsedOption, ReadsOption, TemperatureOption
from mho.cli.progress_lines import shown_work
from mho.formats import plural
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.network.loading import load_file
from mho.terminal import echo

DataOption = Annotated[Path, typer.Option(metavar="X.npz", help="Samples by the name of the input, and labels.")]
CalibrationOption = Annotated[
    Path | None, typer.Option("--chip-samples", metavar="C.npz", help="Other samples: ranges and errors of converters.")
]
ChipsOption = Annotated[int, typer.Option(metavar="N", min=0, max=MOST, help="Chips that are simulated beside it.")]
SeedOption = Annotated[int, typer.Option(metavar="N", min=0, help="Of the random numbers.")]
MappingOption = Annotated[MappingModel, typer.Option(help="Any exact mapping, or that of the paper.")]


def estimate(
    model: Annotated[Path, typer.Argument(metavar="Q.onnx", help="A quantized model.")],
    accelerator: AcceleratorOption,
    data: DataOption,
    chip_samples: CalibrationOption = None,
    mapping: MappingOption = DEFAULT_MODEL,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    elapsed_s: ElapsedOption = None,
    temperature_k: TemperatureOption = None,
    reads: ReadsOption = None,
    chips: ChipsOption = 0,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Estimate a network's accuracy on chips by the statistical model of arrays, beside that of exact integers.

    The mean over chips. With --chips, so many are simulated, and their mean accuracy stands beside, with both times.
    """
    network = load_file(model)
    with shown_work("estimating"):
        found = mho.estimate(
            network,
            mho.accelerator(
                accelerator, **read_rules(max_error, mapping_objective, digital, not_digital, mapping=mapping)
            ),
            str(data),
            mapping=mapping.value,
            conditions=mho.Conditions(elapsed_s, temperature_k, reads or 0),
            calibration=chip_samples,
            chips=chips,
            seed=seed,
        )
    if as_json:
        echo(json.dumps(asdict(found), indent=2))
        return
    echo(f"{found.network} on {found.accelerator}, {plural(found.samples, 'sample')}, {mapping.value} mapping")
    echo(f"  integers           {found.exact:7.2%}")
    echo(f"  estimate           {found.estimated:7.2%}   {found.estimated_s:.1f} s")
    if found.sampled is not None:
        echo(f"  {plural(found.chips, 'sampled chip'):17}  {found.sampled:7.2%}   {found.sampled_s:.1f} s")
