"""``mho vectors``: what happens in one layer of a program, MVM by MVM, for those who build the hardware."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import MOST, JsonOption
from mho.cli.chip import ProgramArgument, Samples
from mho.cli.outputs import print_done
from mho.program.container import read_program

InputsOption = Annotated[Path, typer.Option(metavar="X.npz", help="Arrays [N, ...] by the names of the inputs.")]
LayerOption = Annotated[str, typer.Option(metavar="NAME", help="The MVM layer; `mho disassemble` names all.")]
WindowsOption = Annotated[
    str | None, typer.Option(metavar="FIRST:STOP", help="Windows that are recorded, such as 0:4; by default all.")
]
SampleOption = Annotated[int, typer.Option(metavar="N", min=0, max=MOST, help="Which sample of the inputs.")]
AdcBitsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Bits of ADCs that read whole steps and clip; by default the accelerator's, or enough."
    ),
]
FolderOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new or empty folder.")]


def vectors(
    program: ProgramArgument,
    inputs: InputsOption,
    layer: LayerOption,
    output: FolderOption,
    windows: WindowsOption = None,
    sample: SampleOption = 0,
    adc_bits: AdcBitsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write test vectors of one layer for RTL: cells, drives, counts, codes, sums and outputs of each MVM.

    The folder holds a `$readmemh` file for each array, all of them as JSON and .npz, parameters for a testbench
    (parameters.svh), and a manifest that says what each array is.
    """
    loaded = read_program(program)
    given = {"layer": layer, "windows": windows, "sample": str(sample), "adc-bits": adc_bits}
    options = {name: str(value) for name, value in given.items() if value is not None}
    written = mho.emit(loaded, "vectors", output, inputs=Samples.read(inputs, loaded).inputs, options=options)
    lines = [*written.lines, f"{len(written.files)} files in {output}"]
    figures = asdict(written) | {"directory": str(output), "files": [str(file) for file in written.files]}
    print_done("\n".join(lines), figures, as_json=as_json)
