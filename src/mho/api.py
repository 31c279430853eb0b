"""The public functions: what `import mho` offers, each a few lines over the stage that does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.loading import load_accelerator
from mho.accelerator.spec import Accelerator
from mho.cost.latency import NetworkCost, cost_network
from mho.cost.network_map import NetworkMap
from mho.errors import ConfigError, InputFileError, MhoError, PolicyError, ProgramError
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.quantization.policy import UNIFORM_REFERENCE, BitWidths, Policy

if TYPE_CHECKING:
    from mho.array.conductances import Conditions
    from mho.program.program import Program
    from mho.report.comparison_document import Comparison
    from mho.report.study_document import StudyResult
    from mho.scheduling.chip_schedule import ChipSchedule
    from mho.scheduling.reload import ReloadSchedule
    from mho.search.api import search as search
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.chip_timing import ChipTiming
    from mho.simulation.timing import ProgramTiming
    from mho.simulation.zero_slices import ZeroSlices

Bits = Policy | BitWidths | str
MappingName = MappingModel | Literal["best", "paper"]
Engine = Literal["executor", "interpreter"]
RangeMethodName = Literal["extremes", "percentile", "mse"]
ObjectiveName = Literal["latency", "interval", "layer-by-layer"]


def load(model: Any, example_input: Any = None, *, input_shape: Sequence[int] | None = None) -> Network:
    """Read a network.

    Args:
        model: path of an ONNX file; a name (`torchvision:resnet18`, `resnet8`, ...: random weights); or a
            `torch.nn.Module`, which is exported with `example_input`.
        example_input: for a module: a tensor of one sample, batch axis included, such as ``torch.zeros(1, 3, 32, 32)``.
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
    from mho.network.torch_reader import read_torch

    return read_torch(model, example_input)


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
    return cost_network(layers, chosen, _hardware(accelerator), model=_model(mapping), batch=batch)


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
    return NetworkMap.of(layers, chosen, _hardware(accelerator), model=_model(mapping), batch=batch)


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
) -> ChipSchedule | ReloadSchedule:
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

    Returns:
        A `ChipSchedule` where weights stay: options and copies of layers, places, times, proven bounds;
        `mho.simulation.chip_timing.simulate_chip` adds the interconnect and the buffers. A `ReloadSchedule` where tiles
        are rewritten: which stay, times of writes and reads, a proven bound, how many inputs the cells last.

    Raises:
        MhoError: the policy does not name the network's MVM layers, the crossbars do not fill whole cores, the chip
            holds no crossbar or the batch no input, or there is no such mapping, objective or layer.
    """
    from mho.scheduling.chip_schedule import schedule_on_chip
    from mho.scheduling.duplication import Objective

    if objective not in tuple(Objective):
        raise MhoError(f"unknown objective {objective!r}", expected=", ".join(f'"{one}"' for one in Objective))
    return schedule_on_chip(
        network,
        _policy(network, policy),
        _hardware(accelerator),
        crossbars=crossbars,
        objective=Objective(objective),
        model=_model(mapping),
        batch=batch,
        layers=layers,
    )


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
) -> Comparison:
    """Run one network on several accelerators: widths, crossbars, time, energy, area, endurance, accuracy of each.

    A chip of several crossbars is scheduled, with weights that stay where it holds the network; one crossbar is used
    again for every tile. What an accelerator does not tell is named; what cannot run on it is told in its line.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        accelerators: each the hardware, or a preset's name or TOML file.
        policy: widths of every layer, or one pair for all, such as "8/8" (weight/activation); by default those of a
            quantized network, else 8/8.
        crossbars: of every chip, instead of its own; cores keep their size.
        mapping: "best", any exact mapping, or "paper", that of arXiv 2601.21737.
        batch: inputs that follow each other, at least 1; where tiles are rewritten, they share the writes of weights.
        simulate: whether chips of several crossbars are simulated with their interconnect and buffers.
        samples: inputs, as for `simulate`, and their labels, integers [N]: tells how right the arrays of each
            accelerator answer. The network must be quantized then.
        seed: of the chips whose accuracy is told.

    Raises:
        MhoError: the policy does not name the network's MVM layers, there is no accelerator, the batch has no input, or
            the samples do not suit the network.
    """
    from mho.cost.layer_tables import network_policy
    from mho.report.comparison import Question, compare_accelerators
    from mho.report.comparison_accuracy import LabelledSamples

    if policy is None:
        policy = network_policy(network) or UNIFORM_REFERENCE
    question = Question(
        network,
        _policy(network, policy),
        crossbars=crossbars,
        model=_model(mapping),
        batch=batch,
        simulate=simulate,
        samples=None if samples is None else LabelledSamples(*samples),
        seed=seed,
    )
    return compare_accelerators(question, [_hardware(one) for one in accelerators], name=network.name)


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


def save(value: Network | Program | AdcRanges, path: str | Path) -> None:
    """Write a network as ONNX (a quantized one as QCDQ), a program as a .mho file, or ranges as .npz, atomically.

    Raises:
        InputFileError: the file cannot be written.
    """
    from mho.program.container import write_program
    from mho.program.program import Program
    from mho.quantization.export import write_float_onnx, write_qcdq_onnx

    try:
        if isinstance(value, Network):
            (write_qcdq_onnx if value.is_quantized else write_float_onnx)(value, path)
        elif isinstance(value, Program):
            write_program(value, Path(path))
        else:
            from mho.simulation.adc_ranges import write_ranges

            write_ranges(value, path)
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be written", where=str(path)) from error


def compile(
    quantized: Network,
    accelerator: Accelerator | str | Path,
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
) -> Program:
    """Compile a quantized network into a verified program.

    Args:
        quantized: its integers do not depend on the mapping, nor do the program's answers.
        accelerator: the hardware, or a preset's name or TOML file.
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights, for the choice of mappings.

    Raises:
        MhoError: the network is not quantized, or does not fit the accelerator; says what would mend it.
    """
    from mho.program.lowering import compile_network

    return compile_network(quantized, _hardware(accelerator), model=_model(mapping), batch=batch)


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


def timing(program: Program | str | Path, *, batch: int = 1) -> ProgramTiming | ChipTiming:
    """Tell how long a program takes, from its own instructions; it is not run.

    Args:
        program: what `mho.compile` or `mho.compile_schedule` made, or the path of a .mho file.
        batch: inputs that follow each other, for a program that carries a schedule.

    Returns:
        For a program with a schedule a `mho.simulation.chip_timing.ChipTiming`, simulated with interconnect and
        buffers; for a program of one crossbar a `mho.simulation.timing.ProgramTiming`. Both have `latency_ps`.

    Raises:
        InputFileError, ProgramError: the file is not a sound program; a batch for a program of one crossbar.
        ScheduleError: buffers are too small for the schedule.
    """
    from mho.simulation.program_timing import time_on_chip
    from mho.simulation.timing import time_program

    program = _program(program)
    if program.schedule is not None:
        return time_on_chip(program, batch=batch)
    if batch != 1:
        raise ProgramError(f"a batch of {batch}", where=program.name, expected="a program that carries a schedule")
    return time_program(program)


def simulate(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    engine: Engine = "executor",
    batch_size: int | None = None,
    seed: int | None = None,
    hardware: Accelerator | str | Path | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | str | Path | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Run a program, or a program file, on samples; return its outputs by name, float32 [N, ...].

    Without a seed every sum is read exactly: the integers of the quantized network. With one, the program runs on the
    chip that the seed gives, whose cells, wires and converters are what the hardware says.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: arrays [N, ...] by input name, or the only input.
        engine: "executor" (fast) or "interpreter" (instruction by instruction); both give the same bits.
        batch_size: samples at once; never changes results but for noise of reads.
        seed: of a chip, at least 0; None: exact integers. The other arguments need it.
        hardware: of the chip; None: what the program was compiled for. A preset's name, a TOML file or a value.
        conditions: when and how warm its cells are read, and how often they were; None: at once.
        ranges: of calibrated ADCs, as `mho.calibrate` finds them, or their file.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        InputFileError, ProgramError: a file is not a sound program, or no ranges.
        ConfigError: hardware, conditions or ranges do not fit the program, or there is no seed for them.
        UnsupportedOperationError: the program does what chips do not.
    """
    program = _program(program)
    if seed is not None:
        from mho.simulation.adc_ranges import read_ranges
        from mho.simulation.chip_answers import run_on_chip

        if engine != "executor":
            raise ConfigError(
                "a chip is simulated by an engine of its own", where="mho.simulate", hint="leave out engine"
            )
        return run_on_chip(
            program,
            seed,
            inputs,
            hardware=None if hardware is None else _hardware(hardware),
            conditions=conditions,
            ranges=read_ranges(ranges) if isinstance(ranges, (str, Path)) else ranges,
            batch_size=batch_size,
        )
    if any(given is not None for given in (hardware, conditions, ranges)):
        raise ConfigError(
            "hardware, conditions and ranges are those of a chip", where="mho.simulate", expected="a seed"
        )
    if engine == "interpreter":
        from mho.simulation.interpreter import interpret

        return interpret(program, inputs).outputs
    if engine != "executor":
        raise MhoError(f"unknown engine {engine!r}", where="mho.simulate", expected="'executor' or 'interpreter'")
    from mho.simulation.executor import Executor

    return Executor(program).run(inputs, batch_size)


def calibrate(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    seed: int,
    hardware: Accelerator | str | Path | None = None,
    method: RangeMethodName = "mse",
    share: float = 0.9999,
    per: Literal["layer", "adc"] | None = None,
    conditions: Conditions | None = None,
) -> AdcRanges:
    """Find the ranges of a chip's ADCs from the column sums that occur in data; `mho.save` writes them.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: calibration data, as for `simulate`; a few hundred real samples.
        seed: of the chip.
        hardware: of the chip, with `converters.adc_bits` as a number; None: what the program was compiled for.
        method: "extremes" (all that occurs), "percentile" (`share` of it) or "mse" (the part of the extremes with the
            least mean squared error).
        share: of the sums that is kept, for "percentile".
        per: what shares a range: "layer", all columns of a layer, or "adc", the columns of each ADC; None: what the
            hardware says.
        conditions: when and how warm its cells are read.

    Raises:
        ConfigError: ADCs are ideal, nothing says what shares a range, or the hardware does not fit the program.
        DataError: inputs do not fit, or there are none.
    """
    from mho.accelerator.converters import AdcRange
    from mho.array.calibration import RangeMethod, RangeRule
    from mho.simulation.adc_ranges import calibrate_adcs

    kinds = {None: None, "layer": AdcRange.CALIBRATED_LAYER, "adc": AdcRange.CALIBRATED_COLUMNS}
    if method not in tuple(RangeMethod) or per not in kinds:
        raise MhoError(
            f"method {method!r}, per {per!r}",
            where="mho.calibrate",
            expected="'extremes', 'percentile' or 'mse'; 'layer' or 'adc'",
        )
    program = _program(program)
    return calibrate_adcs(
        program,
        seed,
        inputs,
        hardware=program.accelerator if hardware is None else _hardware(hardware),
        adc_range=kinds[per],
        rule=RangeRule(RangeMethod(method), share),
        conditions=conditions,
    )


def count_zero_slices(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
    *,
    batch_size: int | None = None,
) -> ZeroSlices:
    """Count the MVMs that hardware may skip because all rows that they drive carry a zero input slice.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        inputs: arrays [N, ...] by input name, or the only input: real ones, as this depends on them.
        batch_size: samples at once; never changes results.

    Returns:
        By layer and sample, skipped MVMs and the time that they and what follows them would take, ps.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        InputFileError, ProgramError: the file is not a sound program.
    """
    from mho.simulation.zero_slices import count_zero_slices as count

    return count(_program(program), inputs, batch_size)


def study(
    study: Mapping[str, Any] | str | Path,
    *,
    program: Program | None = None,
    samples: tuple[Mapping[str, NDArray[Any]] | NDArray[Any], NDArray[Any]] | None = None,
    directory: str | Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
) -> StudyResult:
    """Sweep parameters of arrays and converters over chips of many seeds, as `mho study` does.

    Answers are kept in the study's directory: called again, also with more points or seeds, it goes on where it was.

    Args:
        study: a study's TOML file, or the same tables as dictionaries; keys of sweeps and base may be dotted.
        program: what `mho.compile` made, instead of the table program.
        samples: inputs, as for `simulate`, and their labels, integers [N], instead of the tables data and samples.file.
        directory: where results go, instead of the study's own; studies/NAME where it tells none.
        processes: that ask chips, at least 1; changes no figure. None: this one, or all processors of a Ray cluster.
            More than 1 import the calling script anew: keep what it does under ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that asks them: "host:port", "auto", or "local" for one on this machine.
        fresh: forget what earlier studies left in the directory.

    Raises:
        MhoError: anything wrong with what was given, told before any chip is asked; another study uses the directory.
    """
    from mho.report.comparison_accuracy import LabelledSamples
    from mho.workflow.study import run_study
    from mho.workflow.study_config import load_study, study_from_json

    if isinstance(study, (str, Path)):
        where, config = str(study), load_study(study)
    else:
        where, config = "study", study_from_json(study, where="study")
    if processes is not None and processes < 1:
        raise MhoError(f"processes is {processes}", where="mho.study", expected="at least 1")
    return run_study(
        config,
        where=where,
        directory=None if directory is None else Path(directory),
        processes=processes,
        ray=ray,
        fresh=fresh,
        program=program,
        samples=None if samples is None else LabelledSamples(*samples),
    ).result


def __getattr__(name: str) -> Any:
    if name == "search":  # torch is imported only by who searches
        from mho.search.api import search

        return search
    raise AttributeError(f"module 'mho.api' has no attribute {name!r}")


def _program(program: Program | str | Path) -> Program:
    if isinstance(program, (str, Path)):
        from mho.program.container import read_program

        return read_program(Path(program))
    return program


def _hardware(accelerator: Accelerator | str | Path) -> Accelerator:
    return accelerator if isinstance(accelerator, Accelerator) else load_accelerator(accelerator)


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
