"""One network on several accelerators: what each takes of time, energy, area and writes, and how right it answers.

Nothing is modelled here: figures come from `mho.cost` where a chip has one crossbar, and from the schedules of
`mho.scheduling` and their simulation where it has several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mho.cost_model.area import area_chip
from mho.cost_model.document import to_microseconds
from mho.cost_model.endurance import count_network_lifetime, count_network_writes
from mho.cost_model.energy import energy_network
from mho.cost_model.energy_document import EnergyDocument
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, MappingError, ScheduleError, UnsupportedOperationError
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.converters import full_adc_bits, resolvable_rows
from mho.mapping.digits import count_stored_bits, stored_range_of_width
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.mapping.parts import LayerMapping
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import MAX_BITS, MIN_BITS, Policy
from mho.program.lowering import compile_network, compile_schedule
from mho.program.program import Program
from mho.report.comparison_accuracy import Asking, Examination
from mho.report.comparison_document import (
    ComparedAccelerator,
    ComparedLayer,
    ComparedRun,
    ComparedWidths,
    Comparison,
    Regime,
)
from mho.report.reload_document import ReloadDocument
from mho.report.schedule_document import ScheduleDocument
from mho.scheduling.chip_schedule import ChipDemand
from mho.simulation.chip_search import simulate_best

_CANNOT_RUN = (ConfigError, MappingError, ScheduleError, UnsupportedOperationError)
"""What tells that a network does not run on one accelerator, or its arrays are not simulated, while others may be."""


@dataclass(frozen=True)
class Question:
    """What is compared.

    Attributes:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        policy: widths of every MVM layer.
        crossbars: of every chip, instead of its own; cores keep their size. None: its own.
        model: which mapping is meant.
        batch: inputs that follow each other; where tiles are rewritten, they share the writes.
        simulate: whether chips of several crossbars are simulated with their interconnect and buffers.
        asking: which chips are asked what, for accuracies; None: none is.
    """

    network: Network
    policy: Policy
    crossbars: int | None = None
    model: MappingModel = DEFAULT_MODEL
    batch: int = 1
    simulate: bool = True
    asking: Asking | None = None


def compare_accelerators(question: Question, accelerators: Sequence[Accelerator], *, name: str) -> Comparison:
    """Run one network on several accelerators.

    What does not run on one of them is told in its line; the others are told all the same.

    Args:
        question: what is compared.
        accelerators: in the order of the table.
        name: of the network, as it was asked for.

    Raises:
        ConfigError: there is no accelerator, or the batch is below 1.
        PolicyError: the policy does not name the MVM layers of the network.
        DataError: accuracies are asked for, but the network is not quantized at the widths of the policy, or samples
            and labels do not suit it.
    """
    if not accelerators:
        raise ConfigError("there is no accelerator to compare", expected="one or more")
    if question.batch < 1:
        raise ConfigError(f"batch {question.batch}", expected="at least 1")
    question.policy.check_against(question.network.layer_names)
    examination = None
    asking = question.asking
    if asking is not None:
        examination = Examination(question.network, question.policy, asking)
    lines = tuple(_compare(question, hardware, examination) for hardware in accelerators)
    policy = question.policy
    return Comparison(
        network=name,
        mapping=question.model,
        batch=question.batch,
        is_simulated=question.simulate,
        layers=tuple(
            ComparedLayer(name=one, weight_bits=bits.weight_bits, act_bits=bits.act_bits, adc_bits=bits.adc_bits)
            for one, bits in ((one, policy[one]) for one in question.network.layer_names)
        ),
        accelerators=lines,
        samples=None if asking is None else len(asking.samples),
        seed=None if asking is None else asking.seed,
        chips=None if asking is None else asking.chips,
        elapsed_s=None if asking is None else asking.elapsed_s,
        calibration_samples=None if asking is None else asking.calibration_samples,
        is_recalibrated=asking is not None and asking.recalibrates,
        exact_accuracy=None if examination is None else examination.exact_accuracy,
    )


def _compare(question: Question, accelerator: Accelerator, examination: Examination | None) -> ComparedAccelerator:
    """Return the line of one accelerator."""
    run, problem = None, None
    try:
        accelerator = override(accelerator, crossbars=question.crossbars)
        run = _run(question, accelerator, examination)
    except _CANNOT_RUN as error:
        problem = str(error)
    area = area_chip(accelerator) if accelerator.area.is_told else None
    return ComparedAccelerator(
        accelerator=accelerator.name,
        rows=accelerator.crossbar.rows,
        cols=accelerator.crossbar.cols,
        run=run,
        problem=problem,
        area_mm2=None if area is None else area.total_mm2,
        area_untold=() if area is None else area.untold,
        endurance_writes=accelerator.endurance.cell_writes,
        conversion_time=accelerator.conversion_time,
        keys_to_set=accelerator.keys_to_set,
    )


@dataclass(frozen=True)
class _Figures:
    """What an accelerator takes for one input, whatever its regime."""

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


def _run(question: Question, accelerator: Accelerator, examination: Examination | None) -> ComparedRun:
    """Return the network on an accelerator, in the regime that its crossbars allow."""
    if accelerator.chip.crossbars == 1:
        found = _cost(question, accelerator)
    else:
        demand = ChipDemand.of(question.network, question.policy, accelerator, model=question.model)
        found = _schedule(question, demand) if demand.is_held else _reload(question, demand)
    accuracy, aged, accuracy_problem = None, None, None
    if examination is not None:
        try:
            program = found.compile()
            accuracy = examination.measure(program)
            aged = examination.measure_later(program, accuracy)
        except _CANNOT_RUN as error:
            accuracy_problem = str(error)
    return ComparedRun(
        regime=found.regime,
        widths=_tell_widths(found.mappings, accelerator),
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


def _cost(question: Question, accelerator: Accelerator) -> _Figures:
    """Return what one crossbar takes, as `mho cost` tells it."""
    network, batch = question.network, question.batch
    cost = cost_network(derive_layer_table(network), question.policy, accelerator, model=question.model, batch=batch)
    return _Figures(
        regime=Regime.ONE_CROSSBAR,
        mappings=cost.mapping.layers,
        tiles=sum(layer.tiles for layer in cost.mapping.layers),
        latency_us=to_microseconds(cost.latency_ps),
        interval_us=to_microseconds(cost.latency_ps) / batch,
        is_interval_settled=True,
        energy=EnergyDocument.of(energy_network(cost, accelerator)) if accelerator.energy.is_told else None,
        cell_writes=count_network_writes(cost) / batch,
        lifetime_inputs=count_network_lifetime(cost, accelerator),
        compile=lambda: _compile(question, accelerator),
    )


def _schedule(question: Question, demand: ChipDemand) -> _Figures:
    """Return what a chip takes whose weights stay, as `mho schedule` tells it."""
    hardware = demand.accelerator
    schedules = demand.list_schedules(batch=question.batch)
    schedule = simulate_best(schedules) if question.simulate else next(schedules)
    document = ScheduleDocument.of(question.network.name, schedule, with_energy=hardware.energy.is_told)
    is_written = any(mapping.layer.is_stored_dynamically for mapping in schedule.mappings.values())

    def compile_without_copies() -> Program:
        *_, single = demand.list_schedules()
        return compile_schedule(question.network, single)

    return _Figures(
        regime=Regime.WEIGHT_STATIONARY,
        mappings=tuple(schedule.mappings.values()),
        tiles=sum(work.crossbars for work in schedule.graph.layers),
        latency_us=document.latency_us,
        interval_us=document.interval_us,
        is_interval_settled=document.simulated is None or document.simulated.is_interval_settled,
        energy=document.energy,
        cell_writes=1 if is_written else 0,
        lifetime_inputs=document.lifetime_inputs,
        compile=compile_without_copies,
    )


def _reload(question: Question, demand: ChipDemand) -> _Figures:
    """Return what a chip takes that rewrites tiles, as `mho schedule` tells it."""
    hardware, schedule = demand.accelerator, demand.schedule_reload(question.batch)
    told = ReloadDocument.of(
        question.network.name,
        schedule,
        minimal_crossbars=demand.minimal_crossbars,
        with_energy=hardware.energy.is_told,
    )
    return _Figures(
        regime=Regime.TIME_MULTIPLEXED,
        mappings=tuple(schedule.mappings),
        tiles=told.tiles,
        latency_us=told.batch_us,
        interval_us=told.input_us,
        is_interval_settled=True,
        energy=told.energy,
        cell_writes=told.cell_writes_per_input,
        lifetime_inputs=told.lifetime_inputs,
        compile=lambda: _compile(question, hardware),
    )


def _compile(question: Question, accelerator: Accelerator) -> Program:
    return compile_network(
        question.network, accelerator, model=question.model, batch=question.batch, adc_bits=question.policy.adc_bits
    )


def _tell_widths(mappings: Iterable[LayerMapping], accelerator: Accelerator) -> ComparedWidths:
    """Return what cells and converters take at once, and how the layers' widths are cut for them."""
    in_cells = [mapping for mapping in mappings if not mapping.is_digital]
    encodings = dict.fromkeys(mapping.encoding for mapping in in_cells) or {accelerator.mapping.encoding: None}
    slices = [part.num_weight_slices for mapping in in_cells for part in mapping.parts] or [0]
    steps = [part.num_steps for mapping in in_cells for part in mapping.parts] or [0]
    adc_bits = accelerator.converters.adc_bits
    told = [] if isinstance(adc_bits, str) else [mapping.bits.adc_bits or adc_bits for mapping in in_cells]
    return ComparedWidths(
        cell_bits=accelerator.crossbar.cell_bits,
        one_cell_weight_bits=max(_widest_weight(one, accelerator.crossbar.cell_bits) for one in encodings),
        dac_bits=accelerator.converters.dac_bits,
        adc_bits=adc_bits,
        layer_adc_bits=(min(told), max(told)) if any(mapping.bits.adc_bits for mapping in in_cells) and told else None,
        full_adc_bits=full_adc_bits(accelerator),
        adc_rows=min(resolvable_rows(accelerator, one) for one in encodings),
        weight_slices=(min(slices), max(slices)),
        input_steps=(min(steps), max(steps)),
    )


def _widest_weight(encoding: Encoding, cell_bits: int) -> int:
    """Return the bits of the widest weight that one cell of each sign part holds."""
    widths = range(MIN_BITS, MAX_BITS + 1)
    return max(bits for bits in widths if count_stored_bits(stored_range_of_width(bits), encoding) <= cell_bits)
