"""Programs written for something outside of mho."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mho.api.arguments import as_inputs, as_program, check_number
from mho.argument_checks import check_arguments

if TYPE_CHECKING:
    from mho.api.arguments import Inputs
    from mho.deploy.backends import Emitted
    from mho.deploy.vectors import LayerVectors
    from mho.program.program import Program
    from mho.simulation.device import Device
    from mho.simulation.device_run import DeviceRun


@check_arguments()
def emit(
    program: Program | str | Path,
    target: str,
    directory: str | Path,
    *,
    inputs: Inputs | None = None,
    options: Mapping[str, str] | None = None,
) -> Emitted:
    """Write a program as a backend does, into a folder that is new or empty: all of it or nothing.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        target: name of a backend: one of mho's, or of another package's entry points of the group `mho.backends`.
        directory: the folder.
        inputs: samples, where the backend takes some, as for `mho.simulate`.
        options: of the backend, texts by name.

    Returns:
        The folder, the lines that the backend has to tell and the names of the files.

    Raises:
        ConfigError: there is no such backend or option, it failed, or the folder holds files.
        DataError: inputs do not fit the program.
        InputFileError, ProgramError: the file is not a sound program, or the folder cannot be written.
        MhoError: what the backend finds not possible.
    """
    from mho.deploy.backends import emit as write

    arrays = None if inputs is None else as_inputs(inputs)
    return write(as_program(program), target, directory, inputs=arrays, options=options)


@check_arguments()
def vectors(
    program: Program | str | Path,
    inputs: Inputs,
    layer: str,
    *,
    windows: tuple[int, int] | None = None,
    sample: int = 0,
    adc_bits: int | None = None,
) -> LayerVectors:
    """Return all that happens in some windows of one layer, MVM by MVM: test vectors for hardware.

    `mho.emit(program, "vectors", directory, ...)` and `mho vectors` write them as files. The instructions of the layer
    run in their own order, each window on the first copy of its tiles.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: as for `mho.simulate`.
        layer: name of an MVM layer.
        windows: first, and first that is left out, of the layer's first tile: what adds to sums at their positions is
            recorded, of all tiles; None: all.
        sample: which sample of the inputs.
        adc_bits: of ADCs that read whole steps and clip, 1 to 16; None: those of the accelerator, or as many bits as
            all sums need, where ADCs are ideal or data calibrates them.

    Raises:
        ConfigError: there is no such layer, window or number of bits, or the layer has no MVMs.
        DataError: an input does not fit, or there is no such sample.
        InputFileError, ProgramError: the file is not a sound program.
        MemoryBudgetError: the vectors take more than the budget.
    """
    from mho.deploy.vectors import record_vectors

    check_number("sample", sample, 0, where="mho.vectors")
    arrays = as_inputs(inputs)
    return record_vectors(as_program(program), arrays, layer, windows=windows, sample=sample, adc_bits=adc_bits)


@check_arguments()
def run_on_device(
    program: Program | str | Path, inputs: Inputs, device: Device | str, *, compare: bool = False
) -> DeviceRun:
    """Run a program on a device: the interpreter drives its crossbars, instruction by instruction, sample by sample.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: as for `mho.simulate`.
        device: a `mho.simulation.device.Device`; `tcp:HOST:PORT`, one behind a socket; or `package.module:function` or
            `path/file.py:function`, a factory without arguments.
        compare: hold each count beside what drives and cells give.

    Returns:
        Outputs, computed from the counts of the device, and the comparison.

    Raises:
        ConfigError: the device cannot be reached or loaded, or lacks a function.
        DataError: an input is missing, unknown, of another shape or not finite.
        DeviceError: the device fails, or answers with something else than counts.
        InputFileError, ProgramError: the file is not a sound program, or its counts may pass 32 bits.
    """
    from mho.simulation.device_loading import check_device, load_device
    from mho.simulation.device_run import run_on_device as run

    loaded, arrays = as_program(program), as_inputs(inputs)
    chosen = load_device(device) if isinstance(device, str) else check_device(device, where="mho.run_on_device")
    return run(loaded, arrays, chosen, compare=compare)
