"""Networks: read, quantized, written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mho.api.arguments import Bits, as_policy
from mho.argument_checks import check_arguments
from mho.cache_folder import cache_folder
from mho.cost_model.layer_tables import LayerTable, load_layer_table
from mho.errors import DataError, MhoError, file_errors
from mho.network.graph import Network
from mho.quantization.effort import DEFAULT_EFFORT, Effort

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from mho.api.arguments import Inputs
    from mho.program.program import Program
    from mho.progress import OnProgress
    from mho.quantization.qat import TrainableNetwork
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.channel_corrections import ChannelCorrections


@check_arguments("model", "example_input")
def load(
    model: str | Path | Module,
    example_input: Tensor | Sequence[int] | Sequence[Tensor] | Mapping[str, Tensor] | None = None,
    *,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
) -> Network:
    """Read a network.

    Args:
        model: path of an ONNX file; a name (`torchvision:resnet18`, `resnet8`, ...: random weights); or a
            `torch.nn.Module`, which is exported with `example_input`.
        example_input: for a module: a tensor of one sample, batch axis included, such as ``torch.zeros(1, 3, 32, 32)``,
            or its shape; of several inputs a tuple of tensors, or tensors by the names of the module's arguments. Of a
            batch, the network is that of one sample.
        input_shape: for a name, or a file with symbolic shapes: one sample without the batch axis; of a file with
            several inputs one shape for all, or one by name for each.

    Raises:
        InputFileError, UnsupportedOperationError, ConfigError: what cannot be read, and why.
    """
    if isinstance(model, (str, Path)):
        if example_input is not None:
            raise MhoError("an example input is for a torch module", where="mho.load", hint="give input_shape instead")
        from mho.network.loading import load_network

        return load_network(model, input_shape=input_shape)
    if example_input is None or input_shape is not None:
        raise MhoError("a module needs an example of its input", where="mho.load", expected="mho.load(module, tensor)")
    from mho.network.one_sample import take_one_sample
    from mho.network.torch_reader import read_torch

    return take_one_sample(read_torch(model, example_input))


@check_arguments()
def load_layers(model: str | Path, *, input_shape: Sequence[int] | None = None) -> LayerTable:
    """Read the MVM layers of a network alone: all that `mho.cost` and `mho.map` need.

    Layers are kept in the user's cache, so that those of a network that was read before load without a framework.

    Args:
        model: an ONNX file, or a name, as for `load`.
        input_shape: as for `load`.

    Raises:
        MhoError: as `load`.
    """
    shape = None if input_shape is None else tuple(input_shape)
    return load_layer_table(str(model), input_shape=shape, cache=cache_folder())


@check_arguments("policy")
def quantize(
    network: Network,
    policy: Bits,
    calibration_inputs: Inputs,
    *,
    batch_size: int | None = None,
    effort: Effort = DEFAULT_EFFORT,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Network:
    """Quantize a float network without training: see `mho.quantization.ptq.quantize`.

    Args:
        network: float, with trained weights.
        policy: a `Policy`, its file, {layer: "4/8"}, or one pair for all layers, such as "4/8" or (4, 8) (weight,
            activation).
        calibration_inputs: a few hundred real samples, an array or tensor [N, *S] or [N, *S[1:]]; or a torch DataLoader
            or Dataset of them, whose labels are left out; of several inputs, these by name.
        batch_size: samples at a time of the calibration; by default 256, fewer where the network's tensors are large.
        effort: "fast": steps of least squared error and corrected biases. "good": large channels of activations are
            scaled down, which the weights make up for, and weights are rounded to what the float network's layers
            give, one after the other, on the same samples; below 8 bits and for transformers worth its seconds to
            minutes. "best": then blocks of layers are fitted to the float network's outputs by gradient descent, ten
            times as long.
        seed: of what "best" draws.
        on_progress: called with a `Progress` after every layer of efforts beyond "fast".
    """
    from mho.data.in_memory import read_inputs
    from mho.quantization.ptq import quantize as quantize_by_calibration

    inputs = read_inputs(calibration_inputs, where="calibration inputs")
    return quantize_by_calibration(
        network,
        as_policy(network, policy),
        inputs,
        batch_size=batch_size,
        effort=effort,
        seed=seed,
        on_progress=on_progress,
    )


@check_arguments()
def quantize_digital(quantized: Network, calibration_inputs: Inputs, *, bits: int = 16) -> Network:
    """Give the tensors between the layers of a quantized network integers too, for integer-only digital units.

    Compile what is returned for an accelerator whose `digital.arithmetic` is "integer". On one of "float32" it runs,
    too, and rounds at the same places.

    Args:
        quantized: by `quantize`, or trained; every layer carries integers.
        calibration_inputs: as for `quantize`: ranges are those of tensors on these samples.
        bits: of a tensor that not only layers on one grid read, 8 to 16.

    Raises:
        MhoError: a layer carries no integers, or the bits are others.
        DataError: inputs do not fit, or a tensor is not finite.
    """
    from mho.data.in_memory import read_inputs
    from mho.quantization.digital_grids import assign_digital_grids

    return assign_digital_grids(quantized, read_inputs(calibration_inputs, where="calibration inputs"), bits=bits)


@check_arguments("policy", "calibration_inputs")
def trainable(
    network: Network, policy: Bits | None = None, calibration_inputs: Inputs | None = None
) -> TrainableNetwork:
    """Return a torch module that computes a network, to train in a loop of your own.

    It takes float32 tensors [N, *S] or [N, *S[1:]] and returns the output, or a tuple of several. Its parameters have
    the names of the network's constants. ``to_quantized_network()`` returns the trained network in integers,
    ``to_network()`` in float; both are for the other functions, and `save` writes them.

    Args:
        network: float, with trained weights, or quantized.
        policy: as for `quantize`: every MVM layer computes on its integer grids, forwards exactly as the quantized
            network does, and gradients pass the rounding; None: a float network computes in float.
        calibration_inputs: as for `quantize`; the first steps of the grids follow from them.

    Raises:
        DataError: inputs without a policy, or a policy without them; inputs that do not fit.
        PolicyError: the policy does not name the network's MVM layers.
        UnsupportedOperationError: an operation that cannot be trained.
    """

    from mho.data.in_memory import read_inputs
    from mho.quantization.calibration import calibrate
    from mho.quantization.joint_inputs import as_inputs
    from mho.quantization.qat import TrainableNetwork

    if (policy is None) != (calibration_inputs is None):
        raise DataError("a policy and inputs go together", where="mho.trainable", expected="both, or neither")
    widths = None if policy is None else as_policy(network, policy)
    module = TrainableNetwork(network, widths)
    if calibration_inputs is not None:
        calibrate(module, as_inputs(network, read_inputs(calibration_inputs, where="calibration inputs")))
    return module


@check_arguments()
def save(value: Network | Program | AdcRanges | ChannelCorrections, path: str | Path) -> None:
    """Write a network as ONNX (a quantized one as QCDQ), a program as a .mho file, ranges or corrections as .npz.

    Each file is written atomically; its folder is made where there is none.

    Args:
        value: a network, what `compile` made, or what `calibrate` or `recalibrate` found.
        path: of the file; one that exists is replaced.

    Raises:
        InputFileError: the file cannot be written.
    """
    from mho.program.container import write_program
    from mho.program.program import Program
    from mho.quantization.export import write_float_onnx, write_qcdq_onnx
    from mho.simulation.channel_corrections import ChannelCorrections, write_corrections

    with file_errors(path, "cannot be written"):
        if isinstance(value, Network):
            (write_qcdq_onnx if value.is_quantized else write_float_onnx)(value, path)
        elif isinstance(value, Program):
            write_program(value, Path(path))
        elif isinstance(value, ChannelCorrections):
            write_corrections(value, path)
        else:
            from mho.simulation.adc_ranges import AdcRanges, write_ranges

            if not isinstance(value, AdcRanges):
                kinds = "a network, a program, ranges of ADCs or corrections of channels"
                raise MhoError(f"a {type(value).__name__} cannot be saved", where="mho.save", expected=kinds)
            write_ranges(value, path)
