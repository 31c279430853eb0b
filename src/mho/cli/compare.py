"""``mho compare``: one network on several accelerators, in one table."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import mho
from mho.cli.arguments import (
    MOST,
    BitsOption,
    CrossbarsOption,
    FollowingBatchOption,
    Format,
    FormatOption,
    InputShapeOption,
    NetworkArgument,
    PolicyOption,
    load_with_widths,
)
from mho.errors import ConfigError
from mho.hardware.loading import load_distinct
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.terminal import Console, echo

AcceleratorsOption = Annotated[str, typer.Option(metavar="A,B,...", help="Presets and TOML files, comma-separated.")]
CalibrationOption = Annotated[
    str | None,
    typer.Option(metavar="C.npz", help="Other samples by the names of inputs, with --data, for calibrated ADCs."),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        metavar="X.npz", help="Samples by the names of inputs, and labels: simulates accuracies on the arrays."
    ),
]


def compare(
    network: NetworkArgument,
    accelerators: AcceleratorsOption,
    policy: PolicyOption = None,
    bits: BitsOption = None,
    crossbars: CrossbarsOption = None,
    batch: FollowingBatchOption = 1,
    mapping: Annotated[MappingModel, typer.Option(help="Any exact mapping, or that of the paper.")] = DEFAULT_MODEL,
    simulate: Annotated[bool, typer.Option(help="Simulate interconnects and buffers of chips.")] = True,
    data: DataOption = None,
    calibration: CalibrationOption = None,
    chips: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MOST, help="Of each accelerator, with --data; 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Of the first chip, with --data; 0.")] = None,
    elapsed_s: Annotated[
        float | None,
        typer.Option(metavar="T", help="Simulate chips again so many seconds after the write, with --data."),
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Correct scales and biases of chips, with --calibration.")
    ] = False,
    output_format: FormatOption = Format.TEXT,
    input_shape: InputShapeOption = None,
) -> None:
    """Compare accelerators on one network: widths, crossbars, time, energy, area, endurance, accuracy.

    A chip of several crossbars is scheduled, with weights that stay where it holds the network; one crossbar is used
    again for every tile. Figures that an accelerator leaves unspecified are named, and what cannot run on it has its
    reason in its line. With --data, chips of each accelerator are simulated: mean accuracy, and that of the worst.
    """
    given = {"calibration": calibration, "chips": chips, "seed": seed, "elapsed-s": elapsed_s}
    given["recalibrate"] = recalibrate or None
    if data is None and (unused := [name for name, value in given.items() if value is not None]):
        raise ConfigError(f"--{unused[0]} is for simulated chips", expected="--data X.npz beside it")
    if recalibrate and calibration is None:
        raise ConfigError("--recalibrate needs inputs", expected="--calibration C.npz beside it")
    names = [name.strip() for name in accelerators.split(",")]
    if "" in names:
        raise ConfigError(
            "a name is missing", where="--accelerators", expected="presets and TOML files, such as hermes-pcm,neurram"
        )
    hardware = load_distinct(names, where="--accelerators")
    loaded, widths = load_with_widths(mho.load, network, policy=policy, bits=bits, input_shape=input_shape)
    document = mho.compare(
        loaded,
        hardware,
        widths,
        crossbars=crossbars,
        mapping=mapping,
        batch=batch,
        simulate=simulate,
        samples=data,
        seed=seed or 0,
        chips=chips or 1,
        elapsed_s=elapsed_s,
        calibration=calibration,
        recalibrate=recalibrate,
    )
    document = document.model_copy(update={"network": network})
    if output_format is Format.JSON:
        echo(json.dumps(document.model_dump(mode="json"), indent=2))
    else:
        from mho.report.comparison_text import print_comparison

        print_comparison(Console(), document)
