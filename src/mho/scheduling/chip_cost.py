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
from fractions import Fraction
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mho.cost_model.energy import price_activity, price_leakage
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import Policy
from mho.scheduling.asap import AsapTiming, time_asap
from mho.scheduling.cost_objective import ChipCost, CostObjective
from mho.scheduling.critical_path import find_critical_path
from mho.scheduling.dependencies import DependencyTable
from mho.scheduling.digital_units import bound_units, divide_units, list_divisions
from mho.scheduling.option_table import LayerOptions, OptionTable
from mho.scheduling.placement import ChipPlan, place_copies
from mho.scheduling.quick_plan import Choice, Chooser
from mho.scheduling.regime import Regime
from mho.scheduling.reload_cost import ReloadCosts
from mho.scheduling.routes import Routes
from mho.scheduling.transfer_timing import time_with_transfers
from mho.scheduling.work_graph import WorkGraph

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
        self._routes = Routes(accelerator.interconnect, accelerator.chip)
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
        choices = self._list_choices(chooser, self._list_limits(chooser), self.accelerator.chip.crossbars)
        points = [self._time(choice, layers) for choice in choices]
        points.sort(key=lambda point: self._evaluate(point, layers))
        if self.objective is not CostObjective.INTERVAL:
            points = [self._improve(point, chooser, layers) for point in points[:_IMPROVED]]
        best = min(points, key=lambda point: self._evaluate(point, layers))
        return self._finish(best, layers)

    def _plan_carried(self, chooser: Chooser, layers: list[LayerOptions]) -> QuickPlan:
        """Return the best plan whose transfers wait little; on the fewest crossbars they may wait.

        Plans take more and more crossbars until transfers wait; then the most that do not are bracketed.
        """
        least, found, limits = chooser.least_crossbars, list[QuickPlan](), self._list_limits(chooser)
        spare = self.accelerator.chip.crossbars - least
        free, limit = 0, spare + 1
        steps = [spare >> times for times in reversed(range(_HALVINGS)) if 4 * (spare >> times) >= least]
        for extra in filter(None, dict.fromkeys([*steps, spare])):
            found.append(self._plan_within(least + extra, limits, chooser, layers))
            if found[-1].cost.is_rough:
                limit = extra
                break
            free = extra
        for _ in range(_BISECTIONS if limit <= spare else 0):
            extra = (free + limit) // 2
            found.append(self._plan_within(least + extra, limits, chooser, layers))
            free, limit = (free, extra) if found[-1].cost.is_rough else (extra, limit)
        best = reduce(self._choose, found) if found else None
        if best is not None and not best.cost.is_rough:
            bounds = (self._bound(choice, layers) for choice in self._list_choices(chooser, limits, least))
            if min(bounds) > self._value(best):
                return best
        fewest = self._plan_within(least, limits, chooser, layers)
        return fewest if best is None else self._choose(fewest, best)

    def _plan_within(
        self, crossbars: int, limits: NDArray[np.bool_], chooser: Chooser, layers: list[LayerOptions]
    ) -> QuickPlan:
        """Return the plan on so many crossbars that is best with an ideal interconnect."""
        best, least = None, 0
        for choice in self._list_choices(chooser, limits, crossbars):
            if best is None or self._bound(choice, layers) < least:
                point = self._time(choice, layers)
                value = self._evaluate(point, layers)
                if best is None or value < least:
                    best, least = point, value
        assert best is not None, "the fewest crossbars of each layer always fit"
        return self._finish(best, layers)

    def _choose(self, one: QuickPlan, other: QuickPlan) -> QuickPlan:
        """Return the better of two plans; one that is rough only where both are."""
        return min(one, other, key=lambda plan: (plan.cost.is_rough, self._value(plan)))

    def _value(self, plan: QuickPlan) -> int:
        return plan.cost.value(self.objective)

    def _list_limits(self, chooser: Chooser) -> NDArray[np.bool_]:
        """Return what options choices may take, see `Chooser.list_limits`."""
        times = _WINDOW_LIMITS if self.accelerator.interconnect.is_ideal else _WINDOW_LIMITS // 2
        return chooser.list_limits(times, _ENERGY_SHARES if self.objective.needs_energy else ())

    def _list_choices(self, chooser: Chooser, limits: NDArray[np.bool_], crossbars: int) -> list[Choice]:
        """Return the choices on so many crossbars; the fewest of each layer always fit."""
        relaxed = _RELAXED if self.accelerator.interconnect.is_ideal else _RELAXED[:1]
        found = chooser.choose(limits, np.full(len(limits), crossbars, np.int64), relaxed)
        return [choice for choice in found if choice.crossbars <= crossbars]

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
        units_ps = bound_units(point.graph, self.accelerator.chip.cores)
        latency_ps, interval_ps = max(latency_ps, units_ps), max(interval_ps, units_ps)
        energy = self._price_energy(point.choice, layers, latency_ps, byte_hops)
        in_crossbars = (layer.mapping.layer for layer in point.graph.layers if layer.crossbars)
        writes = Fraction(any(layer.is_stored_dynamically for layer in in_crossbars))
        return ChipCost(latency_ps, interval_ps, energy, point.choice.crossbars, writes, is_rough=is_rough)

    def _price_energy(self, choice: Choice, layers: list[LayerOptions], latency_ps: int, byte_hops: int) -> int:
        """Return the energy of one input, aJ; 0 where the objective needs none."""
        if not self.objective.needs_energy:
            return 0
        energy, hardware, chip = 0, self.accelerator, self.accelerator.chip
        for listed, number, copies in zip(layers, choice.options, choice.copies, strict=True):
            further = min(int(copies), int(listed.windows[number])) - 1
            energy += int(listed.energy_aj[number]) + further * int(listed.copy_aj[number])
        carried = Activity(hop_bits=8 * byte_hops)
        energy += price_activity(carried, hardware, hardware.mapping.encoding).total_aj
        return energy + price_leakage(hardware, latency_ps, crossbars=chip.crossbars, cores=chip.cores).total_aj

    def _bound(self, choice: Choice, layers: list[LayerOptions]) -> int:
        """Return what no plan of a choice falls below: copies work for an input as long as it takes, at least."""
        busy_ps = choice.interval_ps
        energy = self._price_energy(choice, layers, busy_ps, 0)
        return ChipCost(busy_ps, busy_ps, energy, choice.crossbars).value(self.objective)

    def _finish(self, point: _Point, layers: list[LayerOptions]) -> QuickPlan:
        """Place a choice, and time it with what is carried."""
        copies = dict(zip(self._names, map(int, point.choice.copies), strict=True))
        plan = place_copies(point.graph, copies, self.accelerator.chip)
        if self.accelerator.interconnect.is_ideal:
            cost = self._price(point, layers, point.timing.makespan_ps, point.timing.interval_ps, 0)
        else:
            timing = time_with_transfers(point.graph, plan, self._routes, self.accelerator.buffers.input_limit)
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
