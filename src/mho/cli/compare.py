"""``mho compare``: one network on several accelerators, in one table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    JsonOption,
    MappingObjectiveOption,
    MaxErrorOption,
    NetworkArgument,
    PolicyOption,
    PrintedOption,
    chosen_format,
    load_with_widths,
    note_doubts,
    read_rules,
)
from mho.cli.dry_runs import CheckOption, print_dry_run
from mho.cli.outputs import printed_into
from mho.cli.progress_lines import shown_work
from mho.errors import ConfigError
from mho.hardware.loading import load_distinct, override
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.terminal import Console, echo

if TYPE_CHECKING:
    from mho.report.comparison_document import Comparison

AcceleratorsOption = Annotated[
    str, typer.Option(metavar="A,B,...", help="Presets and TOML files, separated by commas without spaces.")
]
ChipMappingOption = Annotated[MappingModel, typer.Option(help="Any exact mapping, or that of the paper.")]
SimulateOption = Annotated[bool, typer.Option(help="Simulate interconnects and buffers of chips.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        metavar="X.npz", help="Samples by the names of inputs, and labels: simulates accuracies on the arrays."
    ),
]
ChipSamplesOption = Annotated[
    str | None,
    typer.Option(
        metavar="C.npz",
        help="Other samples by the names of inputs, with --data: ranges of each chip's calibrated ADCs.",
    ),
]
ChipsOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=MOST, help="Chips of each accelerator, with --data; by default 1."),
]
FirstSeedOption = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Of the first chip, with --data; by default 0.")
]
LaterOption = Annotated[
    float | None, typer.Option(metavar="T", help="Simulate chips again T seconds after the write, with --data.")
]
CorrectOption = Annotated[
    bool,
    typer.Option("--correct-channels", help="Correct scales and biases of chips' channels, with --chip-samples."),
]


def compare(
    network: NetworkArgument,
    accelerators: AcceleratorsOption,
    policy: PolicyOption = None,
    bits: BitsOption = None,
    crossbars: CrossbarsOption = None,
    batch: FollowingBatchOption = 1,
    mapping: ChipMappingOption = DEFAULT_MODEL,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    simulate: SimulateOption = True,
    data: DataOption = None,
    chip_samples: ChipSamplesOption = None,
    chips: ChipsOption = None,
    seed: FirstSeedOption = None,
    elapsed_s: LaterOption = None,
    correct_channels: CorrectOption = False,
    output_format: FormatOption = Format.TEXT,
    input_shape: InputShapeOption = None,
    as_json: JsonOption = False,
    output: PrintedOption = None,
    check: CheckOption = False,
) -> None:
    """Compare accelerators on one network: widths, crossbars, time, energy, area, endurance, accuracy.

    A chip of several crossbars is scheduled, with weights that stay where it holds the network; one crossbar is used
    again for every tile. Figures that an accelerator leaves unspecified are named, and what cannot run on it has its
    reason in its line. With --data, chips of each accelerator are simulated: mean accuracy, and that of the worst.
    """
    given = {"chip-samples": chip_samples, "chips": chips, "seed": seed, "elapsed-s": elapsed_s}
    _check_options(data, {**given, "correct-channels": correct_channels or None})
    chosen = chosen_format(output_format, as_json=as_json)
    names = _split(accelerators)
    with printed_into(output, network, names, policy, data, chip_samples):
        rules = read_rules(max_error, mapping_objective, None, None, mapping=mapping)
        hardware = [note_doubts(override(one, **rules)) for one in load_distinct(names, where="--accelerators")]
        loaded, widths = load_with_widths(mho.load, network, policy=policy, bits=bits, input_shape=input_shape)
        options: dict[str, Any] = {"crossbars": crossbars, "mapping": mapping, "batch": batch, "simulate": simulate}
        if data is not None:
            options |= {"samples": data, "seed": seed or 0, "chips": chips or 1, "elapsed_s": elapsed_s}
            options |= {"calibration": chip_samples, "recalibrate": correct_channels}
        if check:
            from mho.api.dry_runs import check_compare

            print_dry_run(check_compare(loaded, hardware, widths, options), as_json=chosen is Format.JSON)
            return
        with shown_work(f"comparing {len(hardware)} accelerators") as tell:
            document = mho.compare(loaded, hardware, widths, **options, on_progress=lambda now: tell(now.detail))
        _print(document.model_copy(update={"network": network}), chosen)


def _check_options(data: str | None, given: dict[str, Any]) -> None:
    if data is None and (unused := [name for name, value in given.items() if value is not None]):
        raise ConfigError(f"--{unused[0]} is for simulated chips", expected="--data X.npz beside it")
    if given["correct-channels"] and given["chip-samples"] is None:
        raise ConfigError("--correct-channels needs inputs", expected="--chip-samples C.npz beside it")


def _split(accelerators: str) -> list[str]:
    """Return the names in a list with commas. Raises `ConfigError` where it has other separators, or lacks a name."""
    names = [name.strip() for name in accelerators.split(",")]
    error = {"where": "--accelerators", "expected": "presets and TOML files, such as hermes-pcm,neurram"}
    if "" in names:
        raise ConfigError("a name is missing", **error)
    parts = re.split(r"[\s;]+", accelerators.strip())
    if len(names) == 1 < len(parts) and not Path(accelerators).exists():
        hint = f"did you mean --accelerators {','.join(parts)}?"
        raise ConfigError(f"{accelerators!r} is not a list with commas", **error, hint=hint)
    return names


def _print(document: Comparison, output_format: Format) -> None:
    if output_format is Format.JSON:
        echo(json.dumps(document.model_dump(mode="json"), indent=2))
    else:
        from mho.report.comparison_text import print_comparison

        print_comparison(Console(), document)
