"""One network on several accelerators: time, energy, area, writes and accuracy of each.

Nothing is modelled here: costs come from `mho.cost_model` where a chip has one crossbar, and from the schedules of
`mho.scheduling` and their simulation where it has several; accuracies come from `mho.evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mho.cost_model.area import area_chip
from mho.cost_model.document import EnergyDocument, to_microseconds
from mho.cost_model.endurance import count_network_lifetime, count_network_writes
from mho.cost_model.energy import energy_network
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, MappingError, ScheduleError, UnsupportedOperationError
from mho.evaluation.chips import ChipEvaluation, check_integers
from mho.evaluation.compilation import compile_deployment
from mho.evaluation.deployment import ChipDeployment
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.adc_resolution import full_adc_bits, resolvable_rows
from mho.mapping.encoding import count_stored_bits, stored_range_of_width
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import MAX_BITS, MIN_BITS, Policy
from mho.program.lowering import compile_network
from mho.program.program import Program
from mho.progress import OnProgress, Progress
from mho.report.comparison_document import (
    ChipAccuracy,
    ComparedAccelerator,
    ComparedLayer,
    ComparedRun,
    ComparedWidths,
    Comparison,
)
from mho.report.schedule_document import ScheduleDocument
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.regime import Regime
from mho.simulation.chip_search import find_schedule

_CANNOT_RUN = (ConfigError, MappingError, ScheduleError, UnsupportedOperationError)
"""Errors of one accelerator that leave the others comparable: it does not run the network, or its arrays cannot."""


@dataclass(frozen=True)
class ComparisonRequest:
    """What is compared.

    Attributes:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        policy: widths of every MVM layer.
        crossbars: of every chip, instead of its own; cores keep their size. None: its own.
        model: which mapping is meant.
        batch: inputs that follow each other; where tiles are rewritten, they share the writes.
        simulate: whether chips of several crossbars are simulated with their interconnect and buffers.
        evaluation: samples and chips that accuracies are measured with; None: there are none.
    """

    network: Network
    policy: Policy
    crossbars: int | None = None
    model: MappingModel = DEFAULT_MODEL
    batch: int = 1
    simulate: bool = True
    evaluation: ChipEvaluation | None = None


def compare_accelerators(
    request: ComparisonRequest, accelerators: Sequence[Accelerator], *, name: str, on_progress: OnProgress | None = None
) -> Comparison:
    """Run one network on several accelerators.

    Where one of them cannot run it, its line says why.

    Args:
        request: what is compared.
        accelerators: in the order of the table.
        name: of the network, as the user gave it.
        on_progress: called before each accelerator.

    Raises:
        ConfigError: there is no accelerator, or the batch is below 1.
        PolicyError: the policy does not name the MVM layers of the network.
        DataError: accuracies are wanted, but the network is not quantized at the widths of the policy, or samples
            and labels do not suit it.
    """
    if not accelerators:
        raise ConfigError("there is no accelerator to compare", expected="one or more")
    if request.batch < 1:
        raise ConfigError(f"batch {request.batch}", expected="at least 1")
    request.policy.check_against(request.network.layer_names)
    policy, evaluation = request.policy, request.evaluation
    if evaluation is not None:
        check_integers(request.network, policy)
    lines, exact_accuracy = [], None
    for done, hardware in enumerate(accelerators):
        if on_progress is not None:
            share = done / len(accelerators)
            detail = f"{done} of {len(accelerators)} accelerators, {hardware.name} next"
            on_progress(Progress("accelerators", "Compare accelerators", share, detail, share, None))
        line, exact_accuracy = _compare(request, hardware, exact_accuracy)
        lines.append(line)
    return Comparison(
        network=name,
        mapping=request.model,
        batch=request.batch,
        is_simulated=request.simulate,
        layers=tuple(
            ComparedLayer(name=one, weight_bits=bits.weight_bits, act_bits=bits.act_bits, adc_bits=bits.adc_bits)
            for one, bits in ((one, policy[one]) for one in request.network.layer_names)
        ),
        accelerators=tuple(lines),
        samples=None if evaluation is None else len(evaluation.samples),
        seed=None if evaluation is None else evaluation.seed,
        chips=None if evaluation is None else evaluation.chips,
        elapsed_s=None if evaluation is None else evaluation.elapsed_s,
        calibration_samples=None if evaluation is None else evaluation.calibration_samples,
        is_recalibrated=evaluation is not None and evaluation.recalibrates,
        exact_accuracy=exact_accuracy,
    )


def _compare(
    request: ComparisonRequest, accelerator: Accelerator, exact_accuracy: float | None
) -> tuple[ComparedAccelerator, float | None]:
    """Return the line of one accelerator, and the accuracy of the integer reference: as given, or measured now."""
    run, problem = None, None
    try:
        accelerator = override(accelerator, crossbars=request.crossbars)
        run, exact_accuracy = _run(request, accelerator, exact_accuracy)
    except _CANNOT_RUN as error:
        problem = str(error)
    area = area_chip(accelerator) if accelerator.area.is_specified else None
    line = ComparedAccelerator(
        accelerator=accelerator.name,
        rows=accelerator.crossbar.rows,
        cols=accelerator.crossbar.cols,
        run=run,
        problem=problem,
        area_mm2=None if area is None else area.total_mm2,
        area_untold=() if area is None else area.unspecified,
        endurance_writes=accelerator.endurance.cell_writes,
        conversion_time=accelerator.conversion_time,
        keys_to_set=accelerator.keys_to_set,
    )
    return line, exact_accuracy


@dataclass(frozen=True)
class _Figures:
    """Costs of one input, whatever the regime."""

    regime: Regime
    mappings: tuple[LayerMapping, ...]
    tiles: int
    latency_us: float
    interval_us: float
    is_interval_settled: bool
    energy: EnergyDocument | None
    cell_writes: float
    lifetime_inputs: int | None
    compile: Callable[[], Program]
    """Makes a program that its arrays can run."""


def _run(
    request: ComparisonRequest, accelerator: Accelerator, exact_accuracy: float | None
) -> tuple[ComparedRun, float | None]:
    """Return the network on an accelerator, in the regime that its crossbars allow, and its accuracy in integers."""
    if accelerator.chip.crossbars == 1:
        found = _cost(request, accelerator)
    else:
        demand = ChipDemand.of(request.network, request.policy, accelerator, model=request.model)
        found = _schedule(request, demand)
    accuracy, aged, accuracy_problem = None, None, None
    if (evaluation := request.evaluation) is not None:
        samples = len(evaluation.samples)
        try:
            program = found.compile()
            if exact_accuracy is None:
                exact_accuracy = evaluation.measure_exactly(program)
            correct = evaluation.measure(program)
            accuracy = ChipAccuracy.of(correct, samples)
            later = evaluation.measure_later(program, correct)
            aged = None if later is None else ChipAccuracy.of(later, samples)
        except _CANNOT_RUN as error:
            accuracy_problem = str(error)
    run = ComparedRun(
        regime=found.regime,
        widths=_describe_widths(found.mappings, accelerator),
        crossbars=accelerator.chip.crossbars,
        tiles=found.tiles,
        latency_us=found.latency_us,
        interval_us=found.interval_us,
        is_interval_settled=found.is_interval_settled,
        energy_pj=None if found.energy is None else found.energy.total_pj,
        energy_untold=() if found.energy is None else found.energy.untold,
        cell_writes=found.cell_writes,
        lifetime_inputs=found.lifetime_inputs,
        accuracy=accuracy,
        aged_accuracy=aged,
        accuracy_problem=accuracy_problem,
    )
    return run, exact_accuracy


def _cost(request: ComparisonRequest, accelerator: Accelerator) -> _Figures:
    """Return costs on one crossbar, as those of `mho cost`."""
    network, batch = request.network, request.batch
    cost = cost_network(derive_layer_table(network), request.policy, accelerator, model=request.model, batch=batch)
    return _Figures(
        regime=Regime.ONE_CROSSBAR,
        mappings=cost.mapping.layers,
        tiles=sum(layer.tiles for layer in cost.mapping.layers),
        latency_us=to_microseconds(cost.latency_ps),
        interval_us=to_microseconds(cost.latency_ps) / batch,
        is_interval_settled=True,
        energy=EnergyDocument.of(energy_network(cost, accelerator)) if accelerator.energy.is_specified else None,
        cell_writes=count_network_writes(cost) / batch,
        lifetime_inputs=count_network_lifetime(cost, accelerator),
        compile=lambda: _compile(request, accelerator),
    )


def _schedule(request: ComparisonRequest, demand: ChipDemand) -> _Figures:
    """Return what a chip takes, as `mho schedule` tells it."""
    hardware = demand.accelerator
    schedule = find_schedule(demand, batch=request.batch, simulate=request.simulate)
    document = ScheduleDocument.of(request.network.name, schedule, with_energy=hardware.energy.is_specified)

    def compile_on_chip() -> Program:
        laid = demand.schedule_fewest() if demand.is_held else schedule
        return compile_deployment(request.network, ChipDeployment(hardware, request.model, laid))

    return _Figures(
        regime=schedule.regime,
        mappings=tuple(schedule.mappings.values()),
        tiles=sum(layer.tiles for layer in document.layers),
        latency_us=document.latency_us,
        interval_us=document.interval_us,
        is_interval_settled=document.simulated is None or document.simulated.is_interval_settled,
        energy=document.energy,
        cell_writes=schedule.cell_writes_per_input,
        lifetime_inputs=document.lifetime_inputs,
        compile=compile_on_chip,
    )


def _compile(request: ComparisonRequest, accelerator: Accelerator) -> Program:
    return compile_network(
        request.network, accelerator, model=request.model, batch=request.batch, adc_bits=request.policy.adc_bits
    )


def _describe_widths(mappings: Iterable[LayerMapping], accelerator: Accelerator) -> ComparedWidths:
    """Return what cells and converters take at once, and how the layers' widths are cut for them."""
    in_cells = [mapping for mapping in mappings if not mapping.is_digital]
    encodings = dict.fromkeys(mapping.encoding for mapping in in_cells) or {accelerator.mapping.encoding: None}
    slices = [part.num_weight_slices for mapping in in_cells for part in mapping.parts] or [0]
    steps = [part.num_steps for mapping in in_cells for part in mapping.parts] or [0]
    adc_bits = accelerator.converters.adc_bits
    bits = [] if isinstance(adc_bits, str) else [mapping.bits.adc_bits or adc_bits for mapping in in_cells]
    return ComparedWidths(
        cell_bits=accelerator.crossbar.cell_bits,
        one_cell_weight_bits=max(_widest_weight(one, accelerator.crossbar.cell_bits) for one in encodings),
        dac_bits=accelerator.converters.dac_bits,
        adc_bits=adc_bits,
        layer_adc_bits=(min(bits), max(bits)) if any(mapping.bits.adc_bits for mapping in in_cells) and bits else None,
        full_adc_bits=full_adc_bits(accelerator),
        adc_rows=min(resolvable_rows(accelerator, one) for one in encodings),
        weight_slices=(min(slices), max(slices)),
        input_steps=(min(steps), max(steps)),
    )


def _widest_weight(encoding: Encoding, cell_bits: int) -> int:
    """Return the bits of the widest weight that one cell of each sign part holds."""
    widths = range(MIN_BITS, MAX_BITS + 1)
    return max(bits for bits in widths if count_stored_bits(stored_range_of_width(bits), encoding) <= cell_bits)
