"""``mho correct-channels``: the scale and the bias of a chip's channels, from data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.api.arguments import as_ranges
from mho.cli.arguments import MOST, JsonOption
from mho.cli.chip import (
    ChipInputsOption,
    ChipSeedOption,
    ElapsedOption,
    HardwareOption,
    PlacementOption,
    ProgramArgument,
    RangesOption,
    ReadsOption,
    Samples,
    TemperatureOption,
    TransferredOption,
    load_chip,
    tell_elsewhere,
)
from mho.cli.outputs import check_outputs, print_done
from mho.errors import ConfigError
from mho.program.container import read_program
from mho.terminal import echo_note


def correct_channels(
    program: ProgramArgument,
    inputs: ChipInputsOption,
    seed: ChipSeedOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="C.npz", help="Where to write the corrections.")],
    hardware: HardwareOption = None,
    elapsed_s: ElapsedOption = None,
    temperature_k: TemperatureOption = None,
    reads: ReadsOption = None,
    placement: PlacementOption = None,
    ranges: RangesOption = None,
    transferred: TransferredOption = False,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MOST, help="Samples at once; by default 16.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the scale and the bias of each channel that put right what errors of cells and drift do to it.

    The chip that the seed gives runs the data layer by layer, and exact integers run it beside: each channel gets their
    mean and standard deviation. No labels are needed. `mho simulate --seed N --corrections C.npz` runs programs with
    what was found.
    """
    if transferred and ranges is None:
        raise ConfigError("--transferred is of ranges", expected="--ranges R.npz beside it")
    check_outputs({"--output": output}, (program, inputs, hardware, ranges))
    chip = load_chip(seed, hardware, elapsed_s=elapsed_s, temperature_k=temperature_k, reads=reads, placement=placement)
    loaded = read_program(program)
    fitted, own_ranges = chip.fit(loaded), as_ranges(ranges)
    found = mho.recalibrate(
        loaded,
        Samples.read(inputs, loaded).inputs,
        seed=seed,
        hardware=fitted,
        conditions=chip.conditions,
        ranges=own_ranges,
        transferred=transferred,
        batch_size=batch_size,
    )
    mho.save(found, output)
    differences = {} if own_ranges is None else own_ranges.differences(loaded, seed, fitted, chip.conditions)
    if (elsewhere := tell_elsewhere("ranges", differences)) is not None:
        echo_note(elsewhere)
    layers = found.layers.values()
    channels = sum(layer.scale.size for layer in layers)
    changed = sum(int(((layer.scale != 1) | (layer.shift != 0)).sum()) for layer in layers)
    print_done(
        f"{output}: corrections of {len(layers)} layers, {channels:,} channels; {changed:,} change",
        {"output": str(output), "layers": len(layers), "channels": channels, "changed_channels": changed},
        as_json=as_json,
    )
