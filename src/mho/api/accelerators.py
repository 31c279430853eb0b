"""Networks on accelerators, without running them: cost, mapping, schedule, comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mho.api.arguments import (
    Bits,
    Hardware,
    MappingName,
    ObjectiveName,
    as_inputs,
    as_labelled,
    as_policy,
)
from mho.argument_checks import check_arguments
from mho.cost_model.cost import Cost
from mho.cost_model.latency import cost_network
from mho.cost_model.layer_tables import LayerTable
from mho.cost_model.network_map import NetworkMap
from mho.errors import ConfigError
from mho.hardware.loading import as_accelerator, load_accelerator, load_distinct, override
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.progress import OnProgress

if TYPE_CHECKING:
    from mho.api.arguments import Arrays, Inputs, Samples
    from mho.evaluation.chips import ChipEvaluation
    from mho.report.comparison_document import Comparison
    from mho.scheduling.schedule import Schedule


@check_arguments()
def accelerator(
    name_or_path: str | Path,
    *,
    cell_bits: int | None = None,
    encoding: Encoding | str | None = None,
    crossbars: int | None = None,
    max_error: float | str | None = None,
    mapping_objective: str | None = None,
    always_digital: Sequence[str] | None = None,
    never_digital: Sequence[str] | None = None,
    arithmetic: str | None = None,
) -> Accelerator:
    """Return an accelerator by the name of a preset or from a TOML file, with some of its values replaced.

    Args:
        name_or_path: what ends in ``.toml``, holds a path separator or is a `Path` is a file.
        cell_bits: of every cell.
        encoding: becomes the only one that is allowed.
        crossbars: of the chip; cores keep their size, so that their number follows.
        max_error: that cells and converters may cause at a layer's output under the best mapping, RMS over the standard
            deviation of the exact output; or "auto", "none" or "least".
        mapping_objective: which mapping of a layer is the best: "latency", "energy" or "energy-delay".
        always_digital, never_digital: names of layers that the digital unit computes, and that lie in crossbars.
        arithmetic: of digital units between layers: "float32", or "integer", for networks quantized for it.

    Raises:
        InputFileError, ConfigError: there is no such accelerator, or a value does not fit it.
    """
    hardware = load_accelerator(name_or_path)
    return override(
        hardware,
        cell_bits=cell_bits,
        encoding=encoding,
        crossbars=crossbars,
        max_error=max_error,
        mapping_objective=mapping_objective,
        always_digital=always_digital,
        never_digital=never_digital,
        arithmetic=arithmetic,
    )


@check_arguments("policy")
def cost(
    network: Network | LayerTable,
    accelerator: Hardware,
    policy: Bits | None = None,
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
) -> Cost:
    """Predict the latency of a batch of inputs, layer by layer, in exact picoseconds, and its energy.

    Args:
        network: float, where only its layers' shapes count, or quantized, whose integers count at its own widths; or
            its layers alone, as `mho.load_layers` reads them.
        accelerator: the hardware, or a preset's name or TOML file.
        policy: a `Policy`, its file, {layer: "4/8"}, or one pair for all layers, such as "4/8" or (4, 8) (weight,
            activation); by default those of a quantized network, else 8/8.
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights, at least 1.

    Raises:
        MhoError: the policy does not name the network's MVM layers, or there is no such mapping.
    """
    hardware = as_accelerator(accelerator)
    widths, model = as_policy(network, policy), MappingModel(mapping)
    return Cost.of(cost_network(_layers(network), widths, hardware, model=model, batch=batch), hardware)


@check_arguments("policy")
def map(
    network: Network | LayerTable,
    accelerator: Hardware,
    policy: Bits | None = None,
    *,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
) -> NetworkMap:
    """Map every layer onto crossbars: tiles, what their cells hold, times, bounds, and why each mapping was chosen.

    Args:
        network: float, where only its layers' shapes count, or quantized, whose integers count at its own widths; or
            its layers alone, as `mho.load_layers` reads them.
        accelerator: the hardware, or a preset's name or TOML file.
        policy: a `Policy`, its file, {layer: "4/8"}, or one pair for all layers, such as "4/8" or (4, 8) (weight,
            activation); by default those of a quantized network, else 8/8.
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        batch: inputs that share the writes of weights, at least 1.

    Raises:
        MhoError: the policy does not name the network's MVM layers, there is no such mapping, or a layer cannot be
            mapped; says what would help.
    """
    return NetworkMap.of(
        _layers(network),
        as_policy(network, policy),
        as_accelerator(accelerator),
        model=MappingModel(mapping),
        batch=batch,
    )


@check_arguments("policy")
def schedule(
    network: Network,
    accelerator: Hardware,
    policy: Bits | None = None,
    *,
    crossbars: int | None = None,
    objective: ObjectiveName = "latency",
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
    layers: Sequence[str] | None = None,
    simulate: bool = True,
    with_spans: bool = False,
) -> Schedule:
    """Schedule a network on a chip of any number of crossbars.

    Where the chip holds each layer once, weights stay in crossbars of their own and layers overlap. Where it does not,
    tiles are rewritten for every input, layers follow each other, and so do inputs.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        accelerator: the hardware, or a preset's name or TOML file.
        policy: a `Policy`, its file, {layer: "4/8"}, or one pair for all layers, such as "4/8" or (4, 8) (weight,
            activation); by default those of a quantized network, else 8/8.
        crossbars: instead of the accelerator's; cores keep their size.
        objective: what options and copies are chosen for: the latency of one input, the interval between inputs, or the
            latency layer by layer. Where tiles are rewritten, latency and interval are one, and it changes nothing.
        mapping: "best", any exact mapping that suits a chip, or "paper", im2col alone.
        batch: inputs that follow each other, at least 1; where tiles are rewritten, they share the writes of weights.
        layers: names of the MVM layers on the chip; the others run elsewhere, in no time. All without it.
        simulate: whether plans whose weights stay are simulated with interconnect and buffers, and the best is
            returned; else the plan that is best with an ideal interconnect and unlimited buffers.
        with_spans: record when every copy works, which `draw_gantt` needs where weights stay.

    Returns:
        When layers work: `latency_ps` of one input (of a batch where tiles are rewritten), `interval_ps` between
        inputs, `total_ps` of the batch, `bound_ps`, `mappings`, `price()` for energy, `draw_gantt()`. Where weights
        stay a `SimulatedSchedule` (options, copies and places of layers; `timing`, the simulation; `ideal`, with an
        ideal interconnect and unlimited buffers), without simulation a `ChipSchedule`. Where tiles are rewritten a
        `ReloadSchedule`: which stay, times of writes and reads, how many inputs the cells last.

    Raises:
        ScheduleError: buffers are too small for each plan.
        MhoError: the policy does not name the network's MVM layers, the crossbars do not fill whole cores, the chip
            holds no crossbar or the batch no input, or there is no such mapping, objective or layer.
    """
    from mho.scheduling.chip_schedule import ChipDemand
    from mho.scheduling.duplication import Objective
    from mho.simulation.chip_search import find_schedule

    aim = Objective(objective)
    demand = ChipDemand.of(
        network,
        as_policy(network, policy),
        as_accelerator(accelerator),
        crossbars=crossbars,
        model=MappingModel(mapping),
        layers=layers,
    )
    return find_schedule(demand, aim, batch=batch, simulate=simulate, with_spans=with_spans)


@check_arguments("policy")
def compare(
    network: Network,
    accelerators: Sequence[Hardware],
    policy: Bits | None = None,
    *,
    crossbars: int | None = None,
    mapping: MappingName = DEFAULT_MODEL,
    batch: int = 1,
    simulate: bool = True,
    samples: Samples | None = None,
    seed: int = 0,
    chips: int = 1,
    elapsed_s: float | None = None,
    calibration: Inputs | str | Path | None = None,
    recalibrate: bool = False,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Run one network on several accelerators: widths, crossbars, time, energy, area, endurance, accuracy of each.

    A chip of several crossbars is scheduled, with weights that stay where it holds the network; one crossbar is used
    again for every tile. Values that an accelerator leaves unspecified are named; what cannot run on
    it has its reason in its line.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        accelerators: each the hardware, or a preset's name or TOML file; of several with one name, those of files have
            their file in it.
        policy: a `Policy`, its file, {layer: "4/8"}, or one pair for all layers, such as "4/8" or (4, 8) (weight,
            activation); by default those of a quantized network, else 8/8.
        crossbars: of every chip, instead of its own; cores keep their size.
        mapping: "best", any exact mapping, or "paper", that of arXiv 2601.21737.
        batch: inputs that follow each other, at least 1; where tiles are rewritten, they share the writes of weights.
        simulate: whether chips of several crossbars are simulated with their interconnect and buffers.
        samples: inputs, as for `simulate`, and their labels, integers [N], a DataLoader of both, or an .npz file,
            the labels by the name "labels": the accuracy of the arrays of each accelerator is simulated. The network
            must be quantized.
        seed: of the first chip of each accelerator.
        chips: of each accelerator, with the seeds that follow: mean accuracy, and that of the worst chip.
        elapsed_s: s, above 0: chips are simulated again so long after the write.
        calibration: other inputs, alike without labels, on which calibrated ADCs find their ranges on each chip.
        recalibrate: whether scales and biases of channels are corrected on them too, as by `recalibrate`.
        on_progress: called with a `Progress` before each accelerator.

    Raises:
        MhoError: the policy does not name the network's MVM layers, there is no accelerator, the batch has no input, or
            the samples do not suit the network, or there are none for chips to run.
    """
    from mho.workflow.comparison import ComparisonRequest, compare_accelerators

    evaluation = None
    if samples is not None:
        evaluation = _make_evaluation(samples, seed, chips, elapsed_s, calibration, recalibrate)
    elif (seed, chips, elapsed_s, recalibrate) != (0, 1, None, False) or calibration is not None:
        raise ConfigError("chips are simulated on samples", expected="samples=(inputs, labels)")
    request = ComparisonRequest(
        network,
        as_policy(network, policy),
        crossbars=crossbars,
        model=MappingModel(mapping),
        batch=batch,
        simulate=simulate,
        evaluation=evaluation,
    )
    return compare_accelerators(request, load_distinct(accelerators), name=network.name, on_progress=on_progress)


def _make_evaluation(
    samples: Samples,
    seed: int,
    chips: int,
    elapsed_s: float | None,
    calibration: Inputs | str | Path | None,
    recalibrate: bool,
) -> ChipEvaluation:
    """Return how chips of each accelerator are evaluated. Raises `MhoError`."""
    from mho.evaluation.chips import ChipEvaluation
    from mho.evaluation.samples import read_inputs

    inputs: Arrays | None = None
    if isinstance(calibration, (str, Path)):
        inputs = read_inputs(calibration)
    elif calibration is not None:
        inputs = as_inputs(calibration, where="calibration")
    return ChipEvaluation(as_labelled(samples), seed, chips, elapsed_s, inputs, recalibrate)


def _layers(network: Network | LayerTable) -> tuple[MvmLayer, ...]:
    return derive_layer_table(network) if isinstance(network, Network) else network.layers
