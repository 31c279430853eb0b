"""``mho quantize``: a float ONNX model becomes a quantized one by calibration, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.outputs import check_outputs
from mho.errors import ConfigError, DataError
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy
from mho.terminal import echo


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A float model.")],
    calibration: Annotated[
        Path,
        typer.Option(metavar="X.npz", help="One array [N, ...] of a few hundred real inputs."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="Q.onnx", help="The QCDQ model to write.")],
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Bit widths of every MVM layer (JSON).")] = None,
    bits: Annotated[str | None, typer.Option(metavar="W/A", help="The same widths for every layer (8/8).")] = None,
) -> None:
    """Quantize a float ONNX model by calibration alone, ready for `mho compile`.

    Ranges are those with the least squared error on the calibration inputs, and biases take off what rounding the
    weights adds to the mean of each output. Low widths need training: see `mho run`.
    """
    if policy is not None and bits is not None:
        raise ConfigError("--policy and --bits were given together", expected="one of them")
    check_outputs({"--output": output}, (model, calibration, policy))
    from mho.array_files import read_arrays
    from mho.network.loading import load_file

    widths = BitWidths.parse(bits) if bits is not None else UNIFORM_REFERENCE
    given = Policy.load(policy) if policy is not None else None
    arrays = read_arrays(calibration)
    if len(arrays) != 1:
        raise DataError(f"{len(arrays)} arrays: {', '.join(arrays)}", where=str(calibration), expected="one array")
    network = load_file(model)
    if any(node.quantization is not None for node in network.mvm_nodes):
        raise ConfigError("the model is quantized already", where=str(model), hint="`mho compile` takes it as it is")
    chosen = given or Policy.uniform(network.layer_names, widths)
    chosen.check_against(network.layer_names, where=str(policy))
    (inputs,) = arrays.values()
    mho.save(mho.quantize(network, chosen, inputs), output)
    echo(f"{output}: {len(network.layer_names)} layers quantized on {len(inputs):,} inputs")
