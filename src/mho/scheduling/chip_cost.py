"""What a policy costs on a chip of many crossbars: fast enough for a search that evaluates thousands of them.

`mho.scheduling.option_search` searches options and copies for seconds. Here a dozen plans are made without a search
(`quick_plan`) and timed from tables that are worked out once (`option_table`, `dependency_table`); the best are
improved along their critical paths, and what the best of them costs is the policy's cost: that of a plan that exists.

- Where the interconnect is ideal, times are exact.
- Otherwise plans on more and more crossbars are timed with transfers (`transfer_timing`), until these wait for each
  other: more copies mean more cores that wait for the same bytes.
- A chip that does not hold each layer once is costed with reloads, by quick plans too (`reload_cost`).

docs/schedules.md shows how far all of this is from the simulation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import reduce

import numpy as np

from mho.cost_model.energy import price_activity, price_leakage
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import Policy
from mho.scheduling.asap import AsapTiming, time_asap
from mho.scheduling.critical_path import find_critical_path
from mho.scheduling.dependencies import DependencyTable
from mho.scheduling.digital_units import bound_units, divide_units, list_divisions
from mho.scheduling.option_table import LayerOptions, OptionTable
from mho.scheduling.placement import ChipPlan, place_copies
from mho.scheduling.quick_plan import Choice, Chooser
from mho.scheduling.regime import Regime
from mho.scheduling.reload_cost import ReloadCosts
from mho.scheduling.transfer_timing import time_with_transfers
from mho.scheduling.work_graph import WorkGraph

WRITE_WEIGHT = 10**18
"""ps that a write of a cell an input weighs under `LIFETIME`: a million seconds, so that latencies only break ties."""
_WINDOW_LIMITS = 6
_ENERGY_SHARES = (0.0, 0.05, 0.25)
_RELAXED = (1.0, 1.05)
"""Multiples of the least interval: what they leave shortens the filling."""
_HALVINGS = 9
"""Plans on twice as many crossbars beyond the fewest each, where the interconnect is real."""
_BISECTIONS = 2
"""Plans between the most crossbars whose transfers wait little and the fewest whose do not."""
_IMPROVED = 3
"""Plans, the best, that are improved where the interconnect is ideal."""
_MOST_TIMINGS = 24
"""Changes that are timed to improve one plan."""
_TRIED = 3
"""Changes that are timed before the critical path is taken as settled."""


class CostObjective(StrEnum):
    """What a policy's cost is.

    Attributes:
        LATENCY: time of one input that has the chip to itself.
        INTERVAL: time between inputs of a full pipeline; its inverse is the throughput.
        ENERGY: of one input that has the chip to itself, leakage of the whole chip included.
        ENERGY_DELAY: that energy times that time.
        LIFETIME: writes of the cell that an input writes most often; of equals the latency.
    """

    LATENCY = "latency"
    INTERVAL = "interval"
    ENERGY = "energy"
    ENERGY_DELAY = "energy-delay"
    LIFETIME = "lifetime"

    @property
    def needs_energy(self) -> bool:
        """True where the accelerator must specify energies."""
        return self in (CostObjective.ENERGY, CostObjective.ENERGY_DELAY)


@dataclass(frozen=True)
class ChipCost:
    """What one policy takes on a chip.

    Attributes:
        latency_ps: of one input.
        interval_ps: between inputs.
        energy_aj: of one input, aJ; components without a figure are not counted.
        crossbars: that hold something.
        cell_writes: how often an input writes a cell of the crossbars that are written.
        regime: whether tiles are rewritten for every input, as the chip does not hold all.
        is_rough: True where the interconnect is near saturation even on the fewest crossbars: times are rough.
    """

    latency_ps: int
    interval_ps: int
    energy_aj: int
    crossbars: int
    cell_writes: Fraction = Fraction(0)
    regime: Regime = Regime.WEIGHT_STATIONARY
    is_rough: bool = False

    def value(self, objective: CostObjective) -> int:
        """Return the cost in ps, aJ, aJ ps, or as of `weigh_writes`."""
        return {
            CostObjective.LATENCY: self.latency_ps,
            CostObjective.INTERVAL: self.interval_ps,
            CostObjective.ENERGY: self.energy_aj,
            CostObjective.ENERGY_DELAY: self.energy_aj * self.latency_ps,
            CostObjective.LIFETIME: weigh_writes(self.cell_writes, self.latency_ps),
        }[objective]


def weigh_writes(cell_writes: Fraction | int, latency_ps: int) -> int:
    """Return writes of a cell an input as a cost, with the latency to break ties: a write weighs `WRITE_WEIGHT` ps."""
    return int(cell_writes * WRITE_WEIGHT) + latency_ps


@dataclass(frozen=True, eq=False)
class QuickPlan:
    """The plan behind a cost.

    Attributes:
        graph: the layers, with the option of each.
        plan: where their copies lie.
        cost: what it takes.
    """

    graph: WorkGraph
    plan: ChipPlan
    cost: ChipCost


_Found = tuple[ChipCost, tuple[LayerMapping, ...]]
"""What a policy takes, and how its layers lie."""


@dataclass(frozen=True, eq=False)
class _Point:
    """A choice, its graph and its times with an ideal interconnect."""

    choice: Choice
    graph: WorkGraph
    timing: AsapTiming


class ChipCostModel:
    """Costs policies of one network on one chip. Deterministic; caches costs.

    Args:
        network: float or quantized: only shapes count.
        accelerator: the chip; its crossbars are those that may be taken.
        objective: what plans are chosen for.
        model: `PAPER` for im2col alone.

    Raises:
        ConfigError: the objective is an energy, and the accelerator specifies none.
        MappingError: a layer cannot be mapped.
    """

    def __init__(
        self,
        network: Network,
        accelerator: Accelerator,
        objective: CostObjective,
        *,
        model: MappingModel = DEFAULT_MODEL,
    ) -> None:
        if objective.needs_energy and not accelerator.energy.is_specified:
            raise ConfigError(
                f"the objective is {objective}, and the accelerator specifies no energies",
                where=accelerator.name,
                expected="figures in its table [energy]",
                hint="the presets isaac and puma specify most; mho inspect shows what an accelerator specifies",
            )
        self.objective, self.accelerator = objective, accelerator
        self._model, self._names = model, network.layer_names
        self._layers = derive_layer_table(network)
        self.options = OptionTable(self._layers, accelerator, model, with_energy=objective.needs_energy)
        self._needs = DependencyTable(network, self._names)
        self._reloads = ReloadCosts(self._layers, self.options, accelerator, model, with_energy=objective.needs_energy)
        self._known: dict[Policy, _Found] = {}

    def cost(self, policy: Policy) -> ChipCost:
        """Return what a policy takes. Raises `PolicyError` where it does not name the layers."""
        return self._find(policy)[0]

    def map_layers(self, policy: Policy) -> dict[str, LayerMapping]:
        """Return how the layers lie in the plan that a policy is costed by, by name. Raises as `cost`."""
        return dict(zip(self._names, self._find(policy)[1], strict=True))

    def _find(self, policy: Policy) -> _Found:
        if policy not in self._known:
            plan, found = self.plan(policy), list[_Found]()
            if plan is not None:
                found.append((plan.cost, tuple(layer.mapping for layer in plan.graph.layers)))
            if plan is None or self._needs_units(policy):
                found.append(self._cost_reload(policy))
            self._known[policy] = min(found, key=lambda one: one[0].value(self.objective))
        return self._known[policy]

    def _needs_units(self, policy: Policy) -> bool:
        """Return whether weights can stay only if digital units compute layers that crossbars might hold."""
        least = (listed.least_in_crossbars for listed in self._list_options(policy))
        return sum(least) > self.accelerator.chip.crossbars

    def _list_options(self, policy: Policy) -> list[LayerOptions]:
        return [self.options.options(name, policy[name]) for name in self._names]

    def plan(self, policy: Policy) -> QuickPlan | None:
        """Return the plan that a policy is costed by; None where the chip does not hold each layer once."""
        policy.check_against(self._names)
        plans = map(self._plan, self._divide(self._list_options(policy)))
        found = [plan for plan in plans if plan is not None]
        return reduce(self._choose, found) if found else None

    def _divide(self, layers: list[LayerOptions]) -> Iterator[list[LayerOptions]]:
        """Yield the layers divided between crossbars and digital units, see `list_divisions`."""
        if not any(listed.may_be_digital for listed in layers):
            yield layers
            return
        for division in list_divisions([listed.works for listed in layers]):
            yield [listed.divide(is_digital) for listed, is_digital in zip(layers, division, strict=True)]

    def _plan(self, layers: list[LayerOptions]) -> QuickPlan | None:
        chooser = Chooser(layers)
        if chooser.least_crossbars > self.accelerator.chip.crossbars:
            return None
        if self.accelerator.interconnect.is_ideal:
            return self._plan_ideal(chooser, layers)
        return self._plan_carried(chooser, layers)

    def _plan_ideal(self, chooser: Chooser, layers: list[LayerOptions]) -> QuickPlan:
        points = list(self._list_points(chooser, layers, self.accelerator.chip.crossbars))
        points.sort(key=lambda point: self._evaluate(point, layers))
        if self.objective is not CostObjective.INTERVAL:
            points = [self._improve(point, chooser, layers) for point in points[:_IMPROVED]]
        best = min(points, key=lambda point: self._evaluate(point, layers))
        return self._finish(best, layers)

    def _plan_carried(self, chooser: Chooser, layers: list[LayerOptions]) -> QuickPlan:
        """Return the best plan whose transfers wait little; on the fewest crossbars they may wait.

        Plans take more and more crossbars until transfers wait; then the most that do not are bracketed.
        """
        least, best = chooser.least_crossbars, None
        spare = self.accelerator.chip.crossbars - least
        free, limit = 0, spare + 1
        steps = [spare >> times for times in reversed(range(_HALVINGS)) if 4 * (spare >> times) >= least]
        for extra in dict.fromkeys([0, *steps, spare]):
            found = self._plan_within(least + extra, chooser, layers)
            best = found if best is None else self._choose(best, found)
            if found.cost.is_rough and extra:
                limit = extra
                break
            free = extra
        for _ in range(_BISECTIONS if limit <= spare else 0):
            extra = (free + limit) // 2
            found = self._plan_within(least + extra, chooser, layers)
            best = found if best is None else self._choose(best, found)
            free, limit = (free, extra) if found.cost.is_rough else (extra, limit)
        assert best is not None, "the fewest crossbars were tried"
        return best

    def _plan_within(self, crossbars: int, chooser: Chooser, layers: list[LayerOptions]) -> QuickPlan:
        points = self._list_points(chooser, layers, crossbars)
        return self._finish(min(points, key=lambda point: self._evaluate(point, layers)), layers)

    def _choose(self, one: QuickPlan, other: QuickPlan) -> QuickPlan:
        """Return the better of two plans; one that is rough only where both are."""
        return min(one, other, key=lambda plan: (plan.cost.is_rough, self._value(plan)))

    def _value(self, plan: QuickPlan) -> int:
        return plan.cost.value(self.objective)

    def _list_points(self, chooser: Chooser, layers: list[LayerOptions], crossbars: int) -> Iterator[_Point]:
        """Yield the choices on so many crossbars; the fewest of each layer always fit."""
        is_ideal = self.accelerator.interconnect.is_ideal
        times = _WINDOW_LIMITS if is_ideal else _WINDOW_LIMITS // 2
        limits = chooser.list_limits(times, _ENERGY_SHARES if self.objective.needs_energy else ())
        budgets = np.full(len(limits), crossbars, np.int64)
        for choice in chooser.choose(limits, budgets, _RELAXED if is_ideal else _RELAXED[:1]):
            if choice.crossbars <= crossbars:
                yield self._time(choice, layers)

    def _time(self, choice: Choice, layers: list[LayerOptions]) -> _Point:
        own = {
            name: listed.layers[number]
            for name, listed, number in zip(self._names, layers, choice.options, strict=True)
        }
        graph = divide_units(self._needs.graph(own, in_execution_order=True), self.accelerator.chip.cores)
        return _Point(choice, graph, time_asap(graph, dict(zip(self._names, map(int, choice.copies), strict=True))))

    def _evaluate(self, point: _Point, layers: list[LayerOptions]) -> int:
        """Return the objective with an ideal interconnect."""
        return self._price(point, layers, point.timing.makespan_ps, point.timing.interval_ps, 0).value(self.objective)

    def _price(
        self,
        point: _Point,
        layers: list[LayerOptions],
        latency_ps: int,
        interval_ps: int,
        byte_hops: int,
        *,
        is_rough: bool = False,
    ) -> ChipCost:
        energy, units_ps = 0, bound_units(point.graph, self.accelerator.chip.cores)
        latency_ps, interval_ps = max(latency_ps, units_ps), max(interval_ps, units_ps)
        if self.objective.needs_energy:
            for listed, number, copies in zip(layers, point.choice.options, point.choice.copies, strict=True):
                further = min(int(copies), int(listed.windows[number])) - 1
                energy += int(listed.energy_aj[number]) + further * int(listed.copy_aj[number])
            hardware, chip = self.accelerator, self.accelerator.chip
            carried = Activity(hop_bits=8 * byte_hops)
            energy += price_activity(carried, hardware, hardware.mapping.encoding).total_aj
            energy += price_leakage(hardware, latency_ps, crossbars=chip.crossbars, cores=chip.cores).total_aj
        in_crossbars = (layer.mapping.layer for layer in point.graph.layers if layer.crossbars)
        writes = Fraction(any(layer.is_stored_dynamically for layer in in_crossbars))
        return ChipCost(latency_ps, interval_ps, energy, point.choice.crossbars, writes, is_rough=is_rough)

    def _finish(self, point: _Point, layers: list[LayerOptions]) -> QuickPlan:
        """Place a choice, and time it with what is carried."""
        copies = dict(zip(self._names, map(int, point.choice.copies), strict=True))
        plan = place_copies(point.graph, copies, self.accelerator.chip)
        if self.accelerator.interconnect.is_ideal:
            cost = self._price(point, layers, point.timing.makespan_ps, point.timing.interval_ps, 0)
        else:
            timing = time_with_transfers(point.graph, plan, self.accelerator)
            cost = self._price(
                point,
                layers,
                timing.latency_ps,
                timing.interval_ps,
                timing.byte_hops,
                is_rough=not timing.is_free,
            )
        return QuickPlan(point.graph, plan, cost)

    def _improve(self, point: _Point, chooser: Chooser, layers: list[LayerOptions]) -> _Point:
        """Change the option and the copies of one layer of the critical path at a time, as long as that helps."""
        value, left = self._evaluate(point, layers), _MOST_TIMINGS
        while left > 0:
            changes = self._list_changes(point, chooser, layers)[: min(_TRIED, left)]
            left -= len(changes)
            for change in changes:
                other = self._time(change, layers)
                if (other_value := self._evaluate(other, layers)) < value:
                    point, value = other, other_value
                    break
            else:
                break
        return point

    def _list_changes(self, point: _Point, chooser: Chooser, layers: list[LayerOptions]) -> list[Choice]:
        """List changes of one layer on the crossbars of its copies and free ones, what shortens the path most first."""
        choice, crossbars = point.choice, self.accelerator.chip.crossbars
        place = {name: number for number, name in enumerate(self._names)}
        found: list[tuple[float, int, int, Choice]] = []
        for name, windows in find_critical_path(point.graph, point.timing).windows:
            layer, listed = place[name], layers[place[name]]
            number, copies = choice.options[layer], int(choice.copies[layer])
            room = crossbars - choice.crossbars + copies * int(listed.crossbars[number])
            own_ps = -(-windows // copies) * int(listed.window_ps[number])
            for other in map(int, np.flatnonzero(listed.promising & (listed.crossbars <= room))):
                most = room // int(listed.crossbars[other]) if listed.crossbars[other] else 1
                taken = min(int(listed.windows[other]), most)
                share = -(-windows * int(listed.windows[other]) // int(listed.windows[number]))
                saved = own_ps - -(-share // taken) * int(listed.window_ps[other])
                if saved > 0 and (other, taken) != (number, copies):
                    found.append((-saved, layer, other, chooser.change(choice, layer, other, taken)))
        return [change for *_, change in sorted(found, key=lambda one: one[:3])]

    def _cost_reload(self, policy: Policy) -> _Found:
        """Cost a policy whose tiles the chip cannot hold: some are rewritten for every input."""
        found = self._reloads.cost(policy)
        cost = ChipCost(
            found.latency_ps,
            found.latency_ps,
            found.energy_aj,
            self.accelerator.chip.crossbars,
            found.cell_writes,
            regime=Regime.TIME_MULTIPLEXED if found.writes else Regime.WEIGHT_STATIONARY,
        )
        return cost, found.mappings
