"""``mho quantize``: a float ONNX model becomes a quantized one by calibration, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import mho
from mho.cli.arguments import JsonOption
from mho.cli.outputs import check_outputs, print_done
from mho.cli.progress_lines import chip_progress
from mho.errors import ConfigError, DataError
from mho.hardware.chip import DigitalArithmetic
from mho.network.loading import check_file_is_there, load_file
from mho.policy import UNIFORM_REFERENCE, BitWidths
from mho.quantization.effort import DEFAULT_EFFORT, EFFORTS, Effort, parse_effort


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A float model.")],
    activation_samples: Annotated[
        Path,
        typer.Option(
            metavar="X.npz",
            help="A few hundred real samples [N, ...] (an array by name for each of several inputs): set ranges.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="Q.onnx", help="The QCDQ model to write.")],
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Bit widths of every MVM layer (JSON).")] = None,
    bits: Annotated[
        str | None, typer.Option(metavar="W/A", help="The same widths for every layer; by default 8/8.")
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(
            metavar="EFFORT",
            help=f"{' or '.join(EFFORTS)}: how much work rounding is worth; by default {DEFAULT_EFFORT}.",
        ),
    ] = None,
    arithmetic: Annotated[
        DigitalArithmetic,
        typer.Option(metavar="|".join(DigitalArithmetic), help="What digital units compute with between layers."),
    ] = DigitalArithmetic.FLOAT32,
    digital_bits: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Of integer arithmetic: bits of tensors between layers, 8 to 16; by default 16."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize a float ONNX model by calibration alone, ready for `mho compile`.

    Ranges are those with the least squared error on the activation samples, and biases take off what rounding the
    weights adds to the mean of each output. Below 8 bits, the effort `good` also learns, layer by layer, which way to
    round each weight, in seconds to minutes; `best` then fits blocks of layers by gradient descent, in minutes. Where
    that is not enough, train: see `mho run`.

    With --arithmetic integer tensors between layers get integers too, for digital units that compute with these alone
    (digital.arithmetic of an accelerator). Then a model that is quantized already, by a run for instance, keeps the
    integers of its layers.
    """
    is_integer = arithmetic is DigitalArithmetic.INTEGER
    if digital_bits is not None and not is_integer:
        raise ConfigError("--digital-bits was given", expected="--arithmetic integer beside it")
    widths = _parse_widths(policy, bits)
    how = None if effort is None else parse_effort(effort)
    check_file_is_there(model, "torch.onnx.export(dynamo=True) writes a float model, with trained weights, as ONNX")
    check_outputs({"--output": output}, (model, activation_samples, policy))
    network = load_file(model)
    inputs, samples = read_samples(activation_samples, network)
    quantized = _quantize_layers(network, model, inputs, widths, how, keeps_integers=is_integer)
    if is_integer:
        quantized = mho.quantize_digital(quantized, inputs, bits=digital_bits or 16)
    mho.save(quantized, output)
    layers, effort = len(network.layer_names), how or DEFAULT_EFFORT
    document = {"output": str(output), "layers": layers, "samples": samples, "effort": effort}
    print_done(f"{output}: {layers} layers quantized on {samples:,} samples", document, as_json=as_json)


def _parse_widths(policy: Path | None, bits: str | None) -> Path | BitWidths | None:
    """Return what one of the two options says, None without either. Raises `ConfigError`."""
    if policy is not None and bits is not None:
        raise ConfigError("--policy and --bits were given together", expected="one of them")
    return policy if bits is None else BitWidths.parse(bits)


def _quantize_layers(
    network: mho.Network,
    model: Path,
    inputs: Any,
    widths: Path | BitWidths | None,
    effort: Effort | None,
    *,
    keeps_integers: bool,
) -> mho.Network:
    """Return the network with new integers in its layers, or as it is if it has some that are to be kept.

    Raises `MhoError`: among others of a model that has integers, unless these are to be kept and nothing else is given.
    """
    if not any(node.quantization is not None for node in network.mvm_nodes):
        return mho.quantize(
            network, widths or UNIFORM_REFERENCE, inputs,
            effort=effort or DEFAULT_EFFORT, on_progress=chip_progress(),
        )  # fmt: skip
    if not keeps_integers or widths is not None or effort is not None:
        raise ConfigError(
            "the model is quantized already", where=str(model),
            hint="`mho compile` takes it as it is; --arithmetic integer alone gives its other tensors integers",
        )  # fmt: skip
    return network


def read_samples(file: Path, network: mho.Network) -> tuple[Any, int]:
    """Return samples as a network of one input or of several takes them, and how many there are. Raises `MhoError`."""
    from mho.array_files import read_arrays

    arrays = read_arrays(file)
    if len(arrays) != 1 and len(network.inputs) == 1:
        raise DataError(f"{len(arrays)} arrays: {', '.join(arrays)}", where=str(file), expected="one array")
    first = next(iter(arrays.values()))
    return (arrays if len(network.inputs) > 1 else first), len(first)
