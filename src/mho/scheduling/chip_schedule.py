"""A network on a chip of many crossbars: which option and how many copies of each layer, where, and when they work.

Times here are those of an ideal interconnect and unlimited buffers. `mho.simulation.chip_search` simulates the same
plans with those of the accelerator, and finds the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isqrt

from mho.cost_model.endurance import count_lifetime_inputs
from mho.errors import ScheduleError, suggest
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity, count_activity, count_writing
from mho.mapping.digital_layers import check_pins
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import Policy
from mho.scheduling.asap import AsapTiming, time_asap, time_layer_by_layer
from mho.scheduling.bounds import MakespanBounds, bound_interval, bound_makespan
from mho.scheduling.core_order import list_plans
from mho.scheduling.digital_units import bound_units, run_alone
from mho.scheduling.duplication import Duplication, Objective
from mho.scheduling.option_search import ChosenOptions, OptionSearch
from mho.scheduling.options import CopyCost, find_fewest_in_crossbars, list_network_options
from mho.scheduling.placement import ChipPlan, place_copies
from mho.scheduling.regime import Regime
from mho.scheduling.reload_schedule import ReloadSchedule, schedule_network_reload
from mho.scheduling.schedule import Schedule
from mho.scheduling.work_graph import WorkGraph


@dataclass(frozen=True, eq=False, repr=False)
class ChipSchedule(Schedule):
    """A network whose weights stay in crossbars of their own.

    Attributes:
        policy: widths of the layers on the chip.
        graph: the layers, with the option of each that was chosen.
        duplication: how many copies each has, and for what they were chosen.
        plan: which crossbars hold them.
        ideal: the cross-layer schedule with an ideal interconnect and unlimited buffers, for all inputs of the batch.
        layer_by_layer: the same copies, one layer after the other.
        minimal_ps: latency of one input with one copy of each layer on the fewest crossbars, one layer after the other,
            ps.
    """

    policy: Policy
    graph: WorkGraph
    duplication: Duplication
    plan: ChipPlan
    ideal: AsapTiming
    layer_by_layer: AsapTiming
    minimal_ps: int

    @property
    def regime(self) -> Regime:
        """Weight-stationary."""
        return Regime.WEIGHT_STATIONARY

    @property
    def batch(self) -> int:
        """Inputs that follow each other."""
        return self.ideal.inputs

    @property
    def objective(self) -> Objective:
        """What options and copies were chosen for."""
        return self.duplication.objective

    @property
    def mappings(self) -> Mapping[str, LayerMapping]:
        """How one copy of each layer lies in crossbars, by name, in execution order."""
        return {layer.name: layer.mapping for layer in self.graph.layers}

    @property
    def copies(self) -> Mapping[str, int]:
        """How many copies each layer has."""
        return self.duplication.copies

    def count_copies(self, layer: str) -> int:
        """Return how many copies a layer has."""
        return self.copies[layer]

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold something."""
        return self.plan.used_crossbars

    @property
    def latency_ps(self) -> int:
        """Time of one input, with an ideal interconnect and unlimited buffers, ps."""
        return self.ideal.makespan_ps

    @property
    def interval_ps(self) -> float:
        """Time between inputs of a full pipeline, alike, ps."""
        return float(self.ideal.interval_ps)

    @property
    def total_ps(self) -> int:
        """Time until the last input of the batch is finished, alike, ps."""
        return self.ideal.total_ps

    @cached_property
    def bounds(self) -> MakespanBounds:
        """Lower bounds on the latency on this chip with these options, whatever the copies."""
        return bound_makespan(run_alone(self.graph), self.crossbars, known=[self.copies])

    @property
    def bound_ps(self) -> int:
        """The largest of them, ps; no less than what digital units have to do."""
        return max(self.bounds.bound_ps, bound_units(self.graph, self.accelerator.chip.cores))

    @cached_property
    def interval_bound_ps(self) -> int:
        """A lower bound on the time between inputs, alike, ps."""
        return max(
            bound_interval(run_alone(self.graph), self.crossbars), bound_units(self.graph, self.accelerator.chip.cores)
        )

    @property
    def lifetime_inputs(self) -> int | None:
        """Inputs until a cell may fail: operands are written for each of them, into every copy that reads them.

        None where the accelerator has no endurance figure, or all weights stay.
        """
        return count_lifetime_inputs(self.accelerator, self.cell_writes_per_input)

    @property
    def cell_writes_per_input(self) -> int:
        """1 where some layer stores an operand in crossbars, else 0."""
        return int(any(self.count_written_copies(name) for name in self.mappings))

    @property
    def lacks_transfers(self) -> bool:
        """True where cores exchange something: only a simulation counts it."""
        return not self.accelerator.interconnect.is_ideal

    def count_written_copies(self, name: str) -> int:
        """Return how many copies of a layer are written for each input: those that have a window of it."""
        work = self.graph[name]
        is_written = work.crossbars and work.mapping.layer.is_stored_dynamically
        return min(self.copies[name], work.windows) if is_written else 0

    def count_activities(self) -> Mapping[str, Activity]:
        """Return what each layer does for the whole batch; copies do not change how often crossbars are read."""
        activities = {}
        for name, mapping in self.mappings.items():
            activity = count_activity(mapping, self.accelerator, batch=self.batch, weights_stay=True)
            if further := max(self.count_written_copies(name) - 1, 0):
                activity += count_writing(mapping, self.accelerator).times(further * self.batch)
            activities[name] = activity
        return activities


def schedule_network(
    network: Network,
    policy: Policy,
    accelerator: Accelerator,
    *,
    crossbars: int | None = None,
    objective: Objective = Objective.LATENCY,
    model: MappingModel = DEFAULT_MODEL,
    batch: int = 1,
    layers: Iterable[str] | None = None,
) -> ChipSchedule:
    """Choose options and copies of all layers, place them on a chip, and time the schedule. Deterministic.

    Args:
        network: float, where only shapes count, or quantized, whose integers count at its own widths.
        policy: bit widths of every MVM layer.
        accelerator: crossbars, cores and what connects them.
        crossbars: instead of the accelerator's; cores keep their size.
        objective: what options and copies are chosen for. What runs is always the cross-layer schedule.
        model: `PAPER` takes im2col alone, as in arXiv 2601.21737.
        batch: inputs that follow each other, at least 1.
        layers: MVM layers on the chip; the others run elsewhere, in no time, and pass on what they depend on. All
            without it.

    Raises:
        ScheduleError: there is no layer, one is unknown, the crossbars do not hold each once, the batch is below 1.
        ConfigError: the crossbars do not fill whole cores.
        PolicyError: the policy does not name the MVM layers of the network.
        MappingError: a layer cannot be mapped.
    """
    demand = ChipDemand.of(network, policy, accelerator, crossbars=crossbars, model=model, layers=layers)
    return demand.schedule(objective, batch)


@dataclass(frozen=True, eq=False)
class ChipDemand:
    """What a network needs of a chip, before anything is chosen: whether it holds all layers decides how it is run.

    Attributes:
        network: float or quantized.
        layers: the MVM layers that lie on the chip, in execution order.
        policy: their widths.
        accelerator: the hardware, overrides included.
        model: how layers are mapped.
        options: ways to map each layer on a chip, by name, from the fewest crossbars on.
    """

    network: Network
    layers: tuple[MvmLayer, ...]
    policy: Policy
    accelerator: Accelerator
    model: MappingModel
    options: Mapping[str, tuple[LayerMapping, ...]]

    @classmethod
    def of(
        cls,
        network: Network,
        policy: Policy,
        accelerator: Accelerator,
        *,
        crossbars: int | None = None,
        model: MappingModel = DEFAULT_MODEL,
        layers: Iterable[str] | None = None,
    ) -> ChipDemand:
        """List what the layers may take. Arguments and errors are those of `schedule_network`."""
        hardware = override(accelerator, crossbars=crossbars)
        policy.check_against(network.layer_names)
        check_pins(network.layer_names, hardware)
        named = _list_names(network, layers)
        own = Policy({name: policy[name] for name in network.layer_names if name in named})
        table = tuple(layer for layer in derive_layer_table(network) if layer.name in named)
        return cls(network, table, own, hardware, model, list_network_options(table, own, hardware, model))

    @cached_property
    def fewest(self) -> tuple[CopyCost, ...]:
        """What one copy of each layer takes on the fewest crossbars."""
        return tuple(CopyCost.of(listed[0], self.accelerator) for listed in self.options.values())

    @property
    def minimal_crossbars(self) -> int:
        """The fewest crossbars that hold each layer once, those aside that digital units may compute."""
        return sum(cost.crossbars for cost in self.fewest)

    @property
    def is_held(self) -> bool:
        """True where the chip holds each layer once, so that weights can stay; else tiles must be rewritten."""
        return self.minimal_crossbars <= self.accelerator.chip.crossbars

    @property
    def needs_units(self) -> bool:
        """True where weights can stay only if digital units compute layers that crossbars might hold."""
        least = (find_fewest_in_crossbars(listed).tiles for listed in self.options.values())
        return self.is_held and sum(least) > self.accelerator.chip.crossbars

    @cached_property
    def search(self) -> OptionSearch:
        """What chooses options and copies."""
        return OptionSearch(self.network, self.options, self.accelerator)

    def list_sizes(self) -> tuple[int, ...]:
        """Return how many crossbars plans may take: all, and less and less by a factor of 1.41 down to the fewest.

        All but the first are multiples of the fewest by powers of the root of 2, the same on every chip.
        """
        fewest, most = max(self.minimal_crossbars, 1), self.accelerator.chip.crossbars
        doublings = range(2 * (most // fewest).bit_length() + 1)
        ladder = [isqrt(fewest * fewest << doubled) for doubled in reversed(doublings)]
        return tuple(dict.fromkeys([most, *(size for size in ladder if size < most)]))

    def schedule(self, objective: Objective = Objective.LATENCY, batch: int = 1) -> ChipSchedule:
        """Return the schedule that is best with an ideal interconnect and unlimited buffers, on the whole chip.

        Raises `ScheduleError` where nothing fits, or the batch is below 1.
        """
        hardware = self.accelerator
        chosen = self.search.choose(hardware.chip.crossbars, objective)
        plan = place_copies(
            chosen.graph, chosen.duplication.copies, hardware.chip, input_bytes=hardware.buffers.input_limit
        )
        return next(self._describe(chosen, [plan], batch))

    def schedule_fewest(self) -> ChipSchedule:
        """Return the schedule with one copy of each layer on the fewest crossbars."""
        return self.list_schedules(self.minimal_crossbars, Objective.LATENCY)[0]

    def list_schedules(
        self, size: int, objective: Objective, batch: int = 1, *, is_quick: bool = False
    ) -> tuple[ChipSchedule, ...]:
        """Return schedules with weights that stay, on the first so many crossbars: a plan for each order of cores.

        Options and copies are chosen for an ideal interconnect and unlimited buffers. `mho.simulation.chip_search`
        finds the best of them, over all sizes, with those of the chip.

        Args:
            size: crossbars that may be taken, at least the fewest.
            objective: what options and copies are chosen for.
            batch: inputs that follow each other, 1 or more.
            is_quick: see `OptionSearch.choose`.
        """
        hardware = self.accelerator
        chosen = self.search.choose(size, objective, is_quick=is_quick)
        plans = list_plans(
            chosen.graph,
            chosen.duplication.copies,
            hardware.chip,
            hardware.interconnect,
            input_bytes=hardware.buffers.input_limit,
        )
        return tuple(self._describe(chosen, plans, batch))

    def _describe(self, chosen: ChosenOptions, plans: Iterable[ChipPlan], batch: int) -> Iterator[ChipSchedule]:
        """Yield the schedules of plans of the same options and copies."""
        graph, copies = chosen.graph, chosen.duplication.copies
        ideal = time_asap(graph, copies, batch=batch)
        stepwise = time_layer_by_layer(run_alone(graph), copies, batch=batch)
        for plan in plans:
            yield ChipSchedule(
                accelerator=self.accelerator,
                policy=self.policy,
                model=self.model,
                graph=graph,
                duplication=chosen.duplication,
                plan=plan,
                ideal=ideal,
                layer_by_layer=stepwise,
                minimal_crossbars=self.minimal_crossbars,
                minimal_ps=sum(cost.work_ps + cost.write_ps for cost in self.fewest),
            )

    def schedule_reload(self, batch: int = 1) -> ReloadSchedule:
        """Schedule with tiles that are rewritten for every input, see `schedule_network_reload`."""
        return schedule_network_reload(
            self.layers, self.policy, self.accelerator, model=self.model, batch=batch, options=self.options
        )


def _list_names(network: Network, layers: Iterable[str] | None) -> frozenset[str]:
    known = network.layer_names
    names = frozenset(known if layers is None else layers)
    unknown = sorted(names - set(known))
    if unknown:
        raise ScheduleError("no such MVM layer", where=f"{network.name}: {unknown[0]}", hint=suggest(unknown[0], known))
    if not names:
        raise ScheduleError(
            "no layer is to lie on the chip", where=network.name, expected="at least one Conv, Gemm or MatMul"
        )
    return names
