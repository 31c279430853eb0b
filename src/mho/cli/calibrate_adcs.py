"""``mho calibrate-adcs``: the ranges of a chip's ADCs, from data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.array.calibration import RangeMethod, RangeRule
from mho.cli.arguments import JsonOption
from mho.cli.chip import (
    ChipInputsOption,
    ChipSeedOption,
    ElapsedOption,
    HardwareOption,
    PlacementOption,
    ProgramArgument,
    ReadsOption,
    Samples,
    TemperatureOption,
    load_chip,
)
from mho.cli.help import one_of
from mho.cli.outputs import check_outputs, print_done
from mho.errors import ConfigError
from mho.formats import plural
from mho.program.container import read_program


class Sharing(StrEnum):
    """What shares a range: all columns of a layer, those of each of its weight slices, or those of each ADC."""

    LAYER = "layer"
    SLICE = "slice"
    ADC = "adc"


RangesOutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="R.npz", help="Where to write the ranges.")]
MethodOption = Annotated[
    RangeMethod,
    typer.Option(
        "--range-method",
        metavar="METHOD",
        help="The part of the sums with the least squared error, a share of them, or all. " + one_of(RangeMethod),
    ),
]
ShareOption = Annotated[
    float | None,
    typer.Option(
        metavar="S", help="Share of the sums that is kept, with --range-method percentile; by default 0.9999."
    ),
]
PerOption = Annotated[Sharing | None, typer.Option(help="What shares a range; by default what the hardware says.")]


def calibrate_adcs(
    program: ProgramArgument,
    inputs: ChipInputsOption,
    seed: ChipSeedOption,
    output: RangesOutputOption,
    hardware: HardwareOption = None,
    method: MethodOption = RangeMethod.MSE,
    share: ShareOption = None,
    per: PerOption = None,
    elapsed_s: ElapsedOption = None,
    temperature_k: TemperatureOption = None,
    reads: ReadsOption = None,
    placement: PlacementOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the ranges of the ADCs of a chip from the column sums that occur in data.

    The chip that the seed gives runs the data with ideal ADCs and without read noise. `mho simulate --seed N --ranges
    R.npz` runs programs with what was found.
    """
    if share is not None and method is not RangeMethod.PERCENTILE:
        raise ConfigError("--share is for --range-method percentile")
    check_outputs({"--output": output}, (program, inputs, hardware))
    chip = load_chip(seed, hardware, elapsed_s=elapsed_s, temperature_k=temperature_k, reads=reads, placement=placement)
    loaded = read_program(program)
    fitted = chip.fit(loaded)
    found = mho.calibrate(
        loaded,
        Samples.read(inputs, loaded).inputs,
        seed=seed,
        hardware=fitted,
        method=method.value,
        share=RangeRule.share if share is None else share,
        per=None if per is None else per.value,
        conditions=chip.conditions,
    )
    mho.save(found, output)
    tiles = [tile for layer in found.layers.values() for tile in layer]
    conversions = sum(len(lowest) for lowest, _ in tiles)
    different = len({(low, high) for lowest, highest in tiles for low, high in zip(lowest, highest, strict=True)})
    own_bits = {layer.adc_bits or found.adc_bits for layer in loaded.layers if layer.name in found.layers}
    bits = f"{min(own_bits)} to {max(own_bits)}" if len(own_bits) > 1 else next(iter(own_bits), found.adc_bits)
    print_done(
        f"{output}: ranges of {bits}-bit ADCs for {plural(len(found.layers), 'layer')}, {plural(len(tiles), 'tile')}, "
        f"{plural(conversions, 'conversion')}; {plural(different, 'different range')}",
        {
            "output": str(output),
            "adc_bits": sorted(own_bits) or [found.adc_bits],
            "layers": len(found.layers),
            "tiles": len(tiles),
            "conversions": conversions,
            "different_ranges": different,
        },
        as_json=as_json,
    )
