"""Everything about how a network lies in crossbars: each layer's mapping with its time, its bound and its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mho.argument_checks import check_arguments
from mho.cost_model.bounds import LayerBound, bound_network
from mho.cost_model.energy import add_energies, energy_layer
from mho.cost_model.latency import LayerCost, NetworkCost, cost_layer, cost_network
from mho.display import Drawable, Table
from mho.errors import MappingError, suggest
from mho.formats import PS_PER_MS, format_time, plural
from mho.hardware.spec import Accelerator
from mho.mapping.explain import Baselines, Explanation, describe_given, explain_mapping, find_baselines
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel, describe_mapping
from mho.mapping.network_mapping import NetworkMapping, Placement
from mho.mapping.occupancy import CellCount, count_cells
from mho.network.graph import Network
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy


@dataclass(frozen=True)
class LayerMap:
    """One layer on crossbars.

    Attributes:
        cost: its mapping, and the time of a batch.
        bound: what no exact mapping of this kind can beat; reads alone where another layer may write the tile.
        cells: what the cells of its tiles hold.
        explanation: what it was chosen over; alternatives may have the name of an equal layer.
        baselines: im2col with differential columns, counted in two ways; the same holds for names.
        written_with: name of the earlier layer whose write holds its tile too; None where it is written by itself.
        placement: where its tiles lie in their crossbar.
        role: what of it a schedule makes, in words: copies, crossbars; nothing on one crossbar.
    """

    cost: LayerCost
    bound: LayerBound
    cells: CellCount
    explanation: Explanation
    baselines: Baselines
    written_with: str | None
    placement: Placement
    role: str = ""

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.mapping.layer.name

    @property
    def mapping(self) -> LayerMapping:
        """How the layer is mapped."""
        return self.cost.mapping

    @property
    def over_bound(self) -> float:
        """Time / bound, at least 1."""
        return self.cost.latency_ps / self.bound.latency_ps if self.bound.latency_ps else 1.0


@dataclass(frozen=True)
class NetworkMap(Drawable):
    """All MVM layers of a network on an accelerator, in execution order.

    Attributes:
        layers: each layer.
        accelerator: what they are mapped onto.
        model: which mapping is meant.
        batch: samples that share the writes of weights; times are for all of them.
        shared_bound_ps: the least time of the writes that layers need together whose own bounds hold none, ps.
    """

    layers: tuple[LayerMap, ...]
    accelerator: Accelerator
    model: MappingModel
    batch: int
    shared_bound_ps: int

    @classmethod
    def of(
        cls,
        network: Network | Iterable[MvmLayer],
        policy: Policy,
        accelerator: Accelerator,
        *,
        model: MappingModel = DEFAULT_MODEL,
        batch: int = 1,
    ) -> NetworkMap:
        """Map a network and explain every choice.

        Args:
            network: a network, or its MVM layers in execution order.
            policy: bit widths of every MVM layer.
            accelerator: one crossbar, used again for every tile.
            model: how layers are mapped.
            batch: samples that share the writes of weights, at least 1.

        Raises:
            PolicyError: the policy names an unknown layer or lacks one.
            MappingError: there is no MVM layer, `batch` is below 1, or a layer cannot be mapped.
        """
        cost = cost_network(network, policy, accelerator, model=model, batch=batch)
        explain = _Explainer(cost, accelerator)
        return cls._of_cost(cost, accelerator, explain, explain.choice)

    @classmethod
    def of_schedule(
        cls, mapping: NetworkMapping, accelerator: Accelerator, roles: Mapping[str, str], *, model: MappingModel
    ) -> NetworkMap:
        """Return the map of layers as a schedule of several crossbars chose them: beside no alternatives.

        Times and energies are those of one copy of each layer on one crossbar.

        Args:
            mapping: of all layers, in execution order.
            accelerator: the machine.
            roles: what the schedule makes of each layer, in words, by name.
            model: how layers are mapped.
        """
        costs = tuple(
            cost_layer(one, accelerator, joins_write=mapping.joins(number)) for number, one in enumerate(mapping.layers)
        )
        cost = NetworkCost(costs, mapping, model, 1)
        found = cls._of_cost(cost, accelerator, _Explainer(cost, accelerator), partial(_describe, cost, accelerator))
        return replace(found, layers=tuple(replace(one, role=roles[one.name]) for one in found.layers))

    @classmethod
    def _of_cost(
        cls, cost: NetworkCost, accelerator: Accelerator, explain: _Explainer, choice: Callable[[int], Explanation]
    ) -> NetworkMap:
        bound = bound_network(cost.mapping, accelerator, batch=cost.batch)
        layers = tuple(
            LayerMap(
                cost=layer,
                bound=own,
                cells=explain.count(layer.mapping),
                explanation=choice(number),
                baselines=explain.baselines(layer.mapping),
                written_with=cost.mapping.written_with(number),
                placement=cost.mapping.placements[number],
            )
            for number, (layer, own) in enumerate(zip(cost.layers, bound.layers, strict=True))
        )
        shared = bound.shared_writes * accelerator.write_latency_ps
        return cls(layers, accelerator, cost.model, cost.batch, shared)

    @check_arguments()
    def layer(self, name: str) -> LayerMap:
        """Return a layer by its name. Raises `MappingError` for an unknown one."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise MappingError(
            f"the network has no MVM layer {name!r}",
            expected=f"one of {', '.join(names[:_LISTED])}{', ...' if len(names) > _LISTED else ''}",
            hint=suggest(name, names),
        )

    def neighbours(self, name: str) -> tuple[LayerMap, ...]:
        """Return the other layers that lie in the crossbar of a layer. Raises `MappingError` for an unknown one."""
        layer = self.layer(name)
        writer = layer.placement.writer
        return tuple(other for other in self.layers if other.placement.writer == writer and other is not layer)

    def only(self, name: str) -> NetworkMap:
        """Return the map of one layer alone. Raises `MappingError` for an unknown one."""
        return replace(self, layers=(self.layer(name),), shared_bound_ps=0)

    @property
    def latency_ps(self) -> int:
        """Time of all layers for the whole batch, one after the other, ps."""
        return sum(layer.cost.latency_ps for layer in self.layers)

    @property
    def latency_ms(self) -> float:
        """Time of all layers for the whole batch, one after the other, ms."""
        return self.latency_ps / PS_PER_MS

    @property
    def bound_ps(self) -> int:
        """What no exact mapping of this kind can beat for the whole batch, ps; writes that may be shared included."""
        return sum(layer.bound.latency_ps for layer in self.layers) + self.shared_bound_ps

    @property
    def bound_ms(self) -> float:
        """What no exact mapping of this kind can beat for the whole batch, ms."""
        return self.bound_ps / PS_PER_MS

    @property
    def energy_uj(self) -> float | None:
        """All energy for the whole batch that the accelerator specifies, uJ; None where it specifies none."""
        spent = (energy_layer(layer.cost, self.accelerator, batch=self.batch).energy for layer in self.layers)
        found = add_energies(spent)
        return found.total_uj if found.component_aj else None

    def __repr__(self) -> str:
        return f"NetworkMap({self._summary})"

    @property
    def _summary(self) -> str:
        time, bound = (format_time(value / 1e6) for value in (self.latency_ps, self.bound_ps))
        return f"{plural(len(self.layers), 'layer')} on {self.accelerator.name}, {time}, bound {bound}"

    def table(self) -> Table:
        """Return one row a layer; times are those of the whole batch."""
        return Table(
            self._summary,
            (
                "layer", "weight_bits", "act_bits", "adc_bits", "mapping", "tiles", "mvms", "utilization",
                "latency_ms", "bound_ms", "over_bound", "written_with",
            ),
            tuple(
                (
                    own.name, own.mapping.bits.weight_bits, own.mapping.bits.act_bits, own.mapping.bits.adc_bits,
                    describe_mapping(own.mapping), own.mapping.tiles, own.mapping.mvms, own.cells.utilization,
                    own.cost.latency_ms, own.bound.latency_ps / PS_PER_MS, own.over_bound, own.written_with,
                )
                for own in self.layers
            ),
        )  # fmt: skip

    @property
    def cells(self) -> CellCount:
        """What the cells of all tiles hold; those of a crossbar that layers share are counted once."""
        total, names = CellCount(0, 0, 0), {layer.name for layer in self.layers}
        for layer in self.layers:
            total += layer.cells
        again = sum(layer.written_with in names for layer in self.layers)
        crossbar = self.accelerator.crossbar
        return replace(total, all=total.all - again * crossbar.rows * crossbar.cols)


_LISTED = 12
"""Names of layers that an error lists."""


class _Explainer:
    """Counts and explains the mappings of a network; equal ones once."""

    def __init__(self, cost: NetworkCost, accelerator: Accelerator) -> None:
        self._cost, self._accelerator = cost, accelerator
        self._cells: dict[LayerMapping, CellCount] = {}
        self._choices: dict[tuple[LayerMapping, int | None], Explanation] = {}
        self._baselines: dict[tuple[MvmLayer, BitWidths], Baselines] = {}

    def choice(self, number: int) -> Explanation:
        """Explain the mapping of a layer, with what it saves where it is written at once with others."""
        explanation, placements = self._by_itself(number), self._cost.mapping.placements
        writer = placements[number].writer
        together = [other for other, placement in enumerate(placements) if placement.writer == writer]
        saved = 0
        for other in together if len(together) > 1 else ():
            alone = self._by_itself(other).by_itself
            assert alone is not None, "a layer that lies in one crossbar with others may lie in its own"
            saved += alone.time_ps - self._cost.layers[other].latency_ps
        mapping, stack = self._cost.layers[number].mapping, self._cost.mapping.stack(number)
        return replace(explanation, mapping=mapping, stack=stack, saved_ps=saved)

    def count(self, mapping: LayerMapping) -> CellCount:
        """Count what the cells of a layer's tiles hold."""
        key = _without_name(mapping)
        if key not in self._cells:
            self._cells[key] = count_cells(mapping, self._accelerator)
        return self._cells[key]

    def baselines(self, mapping: LayerMapping) -> Baselines:
        """Map a layer as it is usually done."""
        key = mapping.layer.without_name(), mapping.bits
        if key not in self._baselines:
            batch = self._cost.batch
            self._baselines[key] = find_baselines(mapping.layer, mapping.bits, self._accelerator, batch=batch)
        return self._baselines[key]

    def _by_itself(self, number: int) -> Explanation:
        cost, is_shared = self._cost.layers[number], bool(self._cost.mapping.stack(number))
        shared_time = cost.latency_ps if is_shared else None
        key = _without_name(cost.mapping), shared_time
        if key not in self._choices:
            self._choices[key] = explain_mapping(
                cost.mapping, self._accelerator, self._cost.model, batch=self._cost.batch, shared_time_ps=shared_time
            )
        return self._choices[key]


def _describe(cost: NetworkCost, accelerator: Accelerator, number: int) -> Explanation:
    layer, stack = cost.layers[number], cost.mapping.stack(number)
    return describe_given(layer.mapping, accelerator, batch=cost.batch, time_ps=layer.latency_ps, stack=stack)


def _without_name(mapping: LayerMapping) -> LayerMapping:
    return replace(mapping, layer=mapping.layer.without_name())
