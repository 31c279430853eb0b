"""Networks: read, quantized, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.api.arguments import Bits, as_policy
from mho.cache_folder import cache_folder
from mho.cost_model.layer_tables import LayerTable, load_layer_table
from mho.errors import MhoError, file_errors
from mho.network.graph import Network

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.channel_corrections import ChannelCorrections


def load(model: Any, example_input: Any = None, *, input_shape: Sequence[int] | None = None) -> Network:
    """Read a network.

    Args:
        model: path of an ONNX file; a name (`torchvision:resnet18`, `resnet8`, ...: random weights); or a
            `torch.nn.Module`, which is exported with `example_input`.
        example_input: for a module: a tensor of one sample, batch axis included, such as ``torch.zeros(1, 3, 32, 32)``.
            Of a batch, the network is that of one sample.
        input_shape: for a name, or a file with symbolic shapes: one sample without the batch axis.

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


def quantize(network: Network, policy: Bits, calibration_inputs: Any, *, batch_size: int | None = None) -> Network:
    """Quantize a float network without training: see `mho.quantization.ptq.quantize`.

    Args:
        network: float, with trained weights.
        policy: widths of every MVM layer, or one pair for all, such as "4/8".
        calibration_inputs: a few hundred real samples, [N, *S] or [N, *S[1:]].
        batch_size: samples at a time; by default 256, fewer where the network's tensors are large.
    """
    from mho.quantization.ptq import quantize as quantize_by_calibration

    return quantize_by_calibration(network, as_policy(network, policy), calibration_inputs, batch_size=batch_size)


def save(value: Network | Program | AdcRanges | ChannelCorrections, path: str | Path) -> None:
    """Write a network as ONNX (a quantized one as QCDQ), a program as a .mho file, ranges or corrections as .npz.

    Each file is written atomically.

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
            from mho.simulation.adc_ranges import write_ranges

            write_ranges(value, path)
