"""The public functions: what `import mho` offers, each a few lines over the stage that does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from mho.cost_model.latency import NetworkCost, cost_network
from mho.cost_model.network_map import NetworkMap
from mho.errors import ConfigError, MhoError, PolicyError, file_errors
from mho.hardware.loading import as_accelerator, load_accelerator, load_distinct
from mho.hardware.spec import Accelerator
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.report.comparison_document import Comparison
    from mho.scheduling.chip_schedule import ChipSchedule
    from mho.scheduling.reload_schedule import ReloadSchedule
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.chip_search import SimulatedSchedule
    from mho.simulation.corrections import ChannelCorrections

Bits = Policy | BitWidths | str
MappingName = MappingModel | Literal["best", "paper"]
ObjectiveName = Literal["latency", "interval", "layer-by-layer"]


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


def accelerator(name_or_path: str | Path) -> Accelerator:
    """Return an accelerator by the name of a preset or from a TOML file. Raises `ConfigError`, `InputFileError`."""
    return load_accelerator(name_or_path)


def cost(
    network: Network,
    accelerator: Accelerator | str | Path,
    policy: Bits = "8/8",
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
) -> NetworkCost:
    """Predict the latency of a batch of inputs, layer by layer, in exact picoseconds.

    Args:
        network: float, where only its layers' shapes count, or quantized, whose integers count at its own widths.
        accelerator: the hardware, or a preset's name or TOML file.
        policy: widths of every layer, or one pair for all, such as "8/8" (weight/activation).
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights, at least 1.

    Raises:
        MhoError: the policy does not name the network's MVM layers, or there is no such mapping.
    """
    layers, chosen = derive_layer_table(network), _policy(network, policy)
    return cost_network(layers, chosen, as_accelerator(accelerator), model=_model(mapping), batch=batch)


def map(
    network: Network,
    accelerator: Accelerator | str | Path,
    policy: Bits = "8/8",
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
) -> NetworkMap:
    """Map every layer onto crossbars: tiles, what their cells hold, times, bounds, and why each mapping was chosen.

    Args:
        network: float, where only its layers' shapes count, or quantized, whose integers count at its own widths.
        accelerator: the hardware, or a preset's name or TOML file.
        policy: widths of every layer, or one pair for all, such as "8/8" (weight/activation).
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights, at least 1.

    Raises:
        MhoError: the policy does not name the network's MVM layers, there is no such mapping, or a layer cannot be
            mapped; says what would mend it.
    """
    layers, chosen = derive_layer_table(network), _policy(network, policy)
    return NetworkMap.of(layers, chosen, as_accelerator(accelerator), model=_model(mapping), batch=batch)


def schedule(
    network: Network,
    accelerator: Accelerator | str | Path,
    policy: Bits = "8/8",
    *,
    crossbars: int | None = None,
    objective: ObjectiveName = "latency",
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
    layers: Sequence[str] | None = None,
    simulate: bool = True,
) -> SimulatedSchedule | ChipSchedule | ReloadSchedule:
    """Schedule a network on a chip of any number of crossbars.

    Where the chip holds each layer once, weights stay in crossbars of their own and layers overlap. Where it does not,
    tiles are rewritten for every input, layers follow each other, and so do inputs.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        accelerator: the hardware, or a preset's name or TOML file.
        policy: widths of every MVM layer, or one pair for all, such as "8/8" (weight/activation).
        crossbars: instead of the accelerator's; cores keep their size.
        objective: what options and copies are chosen for: the latency of one input, the interval between inputs, or the
            latency layer by layer. Where tiles are rewritten, latency and interval are one, and it changes nothing.
        mapping: "best", any exact mapping that suits a chip, or "paper", im2col alone.
        batch: inputs that follow each other, at least 1; where tiles are rewritten, they share the writes of weights.
        layers: names of the MVM layers on the chip; the others run elsewhere, in no time. All without it.
        simulate: whether plans whose weights stay are simulated with interconnect and buffers, and the best is
            returned; else the plan that is best with an ideal interconnect and unlimited buffers.

    Returns:
        Where weights stay a `SimulatedSchedule`: options and copies of layers, places, proven bounds; `timing` with
        interconnect and buffers: `latency_ps` of one input, `interval_ps` of a full pipeline, `total_ps` of the batch;
        `ideal` with an ideal interconnect and unlimited buffers. Without simulation a `ChipSchedule`, which has no
        `timing`. A `ReloadSchedule` where tiles are rewritten: which stay, times of writes and reads, a proven bound,
        how many inputs the cells last.

    Raises:
        ScheduleError: buffers are too small for each plan.
        MhoError: the policy does not name the network's MVM layers, the crossbars do not fill whole cores, the chip
            holds no crossbar or the batch no input, or there is no such mapping, objective or layer.
    """
    from mho.scheduling.chip_schedule import ChipDemand
    from mho.scheduling.duplication import Objective
    from mho.simulation.chip_search import simulate_best

    if objective not in tuple(Objective):
        raise MhoError(f"unknown objective {objective!r}", expected=", ".join(f'"{one}"' for one in Objective))
    demand = ChipDemand.of(
        network,
        _policy(network, policy),
        as_accelerator(accelerator),
        crossbars=crossbars,
        model=_model(mapping),
        layers=layers,
    )
    if not demand.is_held:
        return demand.schedule_reload(batch)
    schedules = demand.list_schedules(Objective(objective), batch)
    return simulate_best(schedules) if simulate else next(schedules)


def compare(
    network: Network,
    accelerators: Sequence[Accelerator | str | Path],
    policy: Bits | None = None,
    *,
    crossbars: int | None = None,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
    simulate: bool = True,
    samples: tuple[Mapping[str, NDArray[Any]] | NDArray[Any], NDArray[Any]] | None = None,
    seed: int = 0,
    chips: int = 1,
    elapsed_s: float | None = None,
    calibration: Mapping[str, NDArray[Any]] | NDArray[Any] | None = None,
    recalibrate: bool = False,
) -> Comparison:
    """Run one network on several accelerators: widths, crossbars, time, energy, area, endurance, accuracy of each.

    A chip of several crossbars is scheduled, with weights that stay where it holds the network; one crossbar is used
    again for every tile. What an accelerator does not tell is named; what cannot run on it is told in its line.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        accelerators: each the hardware, or a preset's name or TOML file; of several with one name, those of files have
            their file in it.
        policy: widths of every layer, or one pair for all, such as "8/8" (weight/activation); by default those of a
            quantized network, else 8/8.
        crossbars: of every chip, instead of its own; cores keep their size.
        mapping: "best", any exact mapping, or "paper", that of arXiv 2601.21737.
        batch: inputs that follow each other, at least 1; where tiles are rewritten, they share the writes of weights.
        simulate: whether chips of several crossbars are simulated with their interconnect and buffers.
        samples: inputs, as for `simulate`, and their labels, integers [N]: tells how right the arrays of each
            accelerator answer. The network must be quantized then.
        seed: of the first chip of each accelerator whose accuracy is told.
        chips: of each accelerator, with the seeds that follow: their mean accuracy is told, and that of the worst.
        elapsed_s: s, above 0: chips are asked again so long after the write.
        calibration: other inputs, on which calibrated ADCs find their ranges whenever a chip is asked.
        recalibrate: whether scales and biases of channels are corrected on them too, as by `recalibrate`.

    Raises:
        MhoError: the policy does not name the network's MVM layers, there is no accelerator, the batch has no input, or
            the samples do not suit the network, or there are none for what is asked of chips.
    """
    from mho.cost_model.layer_tables import network_policy
    from mho.report.comparison import Question, compare_accelerators
    from mho.report.comparison_accuracy import Asking, LabelledSamples

    if policy is None:
        policy = network_policy(network) or UNIFORM_REFERENCE
    asking = None
    if samples is not None:
        asking = Asking(LabelledSamples(*samples), seed, chips, elapsed_s, calibration, recalibrate)
    elif (seed, chips, elapsed_s, recalibrate) != (0, 1, None, False) or calibration is not None:
        raise ConfigError("chips are asked about samples", expected="samples=(inputs, labels)")
    question = Question(
        network,
        _policy(network, policy),
        crossbars=crossbars,
        model=_model(mapping),
        batch=batch,
        simulate=simulate,
        asking=asking,
    )
    return compare_accelerators(question, load_distinct(accelerators), name=network.name)


def quantize(network: Network, policy: Bits, calibration_inputs: Any, *, batch_size: int | None = None) -> Network:
    """Quantize a float network without training: see `mho.quantization.ptq.quantize`.

    Args:
        network: float, with trained weights.
        policy: widths of every MVM layer, or one pair for all, such as "4/8".
        calibration_inputs: a few hundred real samples, [N, *S] or [N, *S[1:]].
        batch_size: samples at a time; by default 256, fewer where the network's tensors are large.
    """
    from mho.quantization.ptq import quantize as quantize_by_calibration

    return quantize_by_calibration(network, _policy(network, policy), calibration_inputs, batch_size=batch_size)


def save(value: Network | Program | AdcRanges | ChannelCorrections, path: str | Path) -> None:
    """Write a network as ONNX (a quantized one as QCDQ), a program as a .mho file, ranges or corrections as .npz.

    Each file is written atomically.

    Raises:
        InputFileError: the file cannot be written.
    """
    from mho.program.container import write_program
    from mho.program.program import Program
    from mho.quantization.export import write_float_onnx, write_qcdq_onnx
    from mho.simulation.corrections import ChannelCorrections, write_corrections

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


def compile(
    quantized: Network,
    accelerator: Accelerator | str | Path,
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
    adc_bits: Mapping[str, int] | int | None = None,
) -> Program:
    """Compile a quantized network into a verified program.

    Args:
        quantized: its integers do not depend on the mapping, nor do the program's answers.
        accelerator: the hardware, or a preset's name or TOML file.
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights, for the choice of mappings.
        adc_bits: with how many bits calibrated ADCs convert the sums of layers, by name (`Policy.adc_bits` tells those
            of a policy), or of all; layers that are not named: with `converters.adc_bits` of the accelerator.

    Raises:
        MhoError: the network is not quantized, or does not fit the accelerator; says what would mend it.
    """
    from mho.program.lowering import compile_network

    own_bits = dict.fromkeys(quantized.layer_names, adc_bits) if isinstance(adc_bits, int) else adc_bits
    return compile_network(
        quantized, as_accelerator(accelerator), model=_model(mapping), batch=batch, adc_bits=own_bits
    )


def compile_schedule(quantized: Network, schedule: ChipSchedule) -> Program:
    """Compile a quantized network for the chip that it was scheduled on; the program carries the schedule.

    Args:
        quantized: its integers do not depend on the schedule, nor do the program's answers.
        schedule: what `mho.schedule` made of the same network, with all of its layers.

    Raises:
        MhoError: the network is not quantized, or the schedule is that of another.
    """
    from mho.program.chip_lowering import compile_schedule

    return compile_schedule(quantized, schedule)


def _model(mapping: MappingName) -> MappingModel:
    try:
        return MappingModel(mapping)
    except ValueError:
        names = " or ".join(f'"{model}"' for model in MappingModel)
        raise MhoError(f"unknown mapping {mapping!r}", expected=names) from None


def _policy(network: Network, policy: Bits) -> Policy:
    if isinstance(policy, str):
        policy = BitWidths.parse(policy)
    if isinstance(policy, BitWidths):
        return Policy.uniform(network.layer_names, policy)
    if not isinstance(policy, Policy):
        raise PolicyError(f"{policy!r} is not a policy", expected='a Policy, a BitWidths, or a text such as "4/8"')
    return policy
