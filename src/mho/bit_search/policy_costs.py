"""What policies cost beside the latency on one crossbar: on a chip of several, or energy and writes on one.

A search needs three things of them: the cost of a policy, a table that agents see step by step (a sum over layers that
is near it), and which widths of a layer can never be better than others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.objective import Objective
from mho.cost_model.energy import energy_layer, price_leakage
from mho.cost_model.latency import LayerCost, cost_layer
from mho.cost_model.shared_writes import find_sharing_runs
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator
from mho.mapping.digital_layers import check_pins
from mho.mapping.layer_cache import LayerCache
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import MappedLayer, cache_choices, map_alone
from mho.mapping.stacks import Axis, StackSlot, StackSpace, StackTimes, choose_stacks
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import MAX_BITS, UNIFORM_REFERENCE, BitWidths, Policy
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.cost_objective import WRITE_WEIGHT, weigh_writes
from mho.scheduling.options import CopyCost, list_chip_options

Needed = Sequence[Collection[BitWidths]]
"""Widths of each layer whose costs are needed, besides those of uniform 8/8."""


class PolicyCosts(ABC):
    """Costs of the policies of one network under one objective.

    Attributes:
        objective: what they are.
        adds_up: True where the cost of a policy is the sum of its layers' in `tabulate`.
    """

    objective: Objective
    adds_up: bool = False

    @abstractmethod
    def cost_of(self, policy: Policy) -> int:
        """Return the cost of a policy in the objective's unit, above 0."""

    def is_rough(self, policy: Policy) -> bool:  # noqa: ARG002 - of most costs no policy's is
        """Tell whether the cost of a policy is rough: its model does not hold for what it asks of the hardware."""
        return False

    @abstractmethod
    def tabulate(self, adc_bits: Sequence[int], needed: Needed) -> NDArray[np.float64]:
        """Return float64 [layers, 8, 8, 1 + ADC bits]: costs that add up, about; NaN where they are not needed.

        They are indexed by weight bits 1..8, activation bits 1..8, and conversions with the accelerator's bits, then
        with each of `adc_bits`.
        """

    def covers(self, name: str, wide: BitWidths, narrow: BitWidths) -> bool:  # noqa: ARG002 - False is always right
        """Tell whether a layer can cost no more with `wide` than with `narrow`, whatever the rest of the policy."""
        return False


def make_costs(network: Network, accelerator: Accelerator, objective: Objective, model: MappingModel) -> PolicyCosts:
    """Return the costs of an objective other than the latency on one crossbar.

    Raises:
        ConfigError: the objective is about energy, and none is specified.
        MappingError: a layer cannot be mapped.
    """
    check_pins(network.layer_names, accelerator)
    if objective is Objective.CROSSBARS:
        return CrossbarCounts(network, accelerator, model)
    if accelerator.chip.crossbars > 1:
        return ChipCosts(network, accelerator, objective, model)
    return CrossbarCosts(network, accelerator, objective, model)


class ChipCosts(PolicyCosts):
    """Costs on the whole chip (`mho.scheduling.chip_cost`).

    In the table a layer's time is its crossbars times work over the crossbars of the chip: what it takes of a chip that
    is always busy.
    """

    def __init__(self, network: Network, accelerator: Accelerator, objective: Objective, model: MappingModel) -> None:
        self.objective, self._accelerator = objective, accelerator
        self.model = ChipCostModel(network, accelerator, objective.on_chip, model=model)
        self._names = network.layer_names

    def cost_of(self, policy: Policy) -> int:
        """Return the cost of a policy in the objective's unit."""
        return max(1, self.model.cost(policy).value(self.objective.on_chip))

    def is_rough(self, policy: Policy) -> bool:
        """Tell whether a policy keeps the interconnect near saturation, even on the fewest crossbars."""
        return self.model.cost(policy).is_rough

    def tabulate(self, adc_bits: Sequence[int], needed: Needed) -> NDArray[np.float64]:
        """Return costs that add up, about: ps, aJ, for energy-delay the mean of both as shares of 8/8, for the lifetime
        tiles over crossbars."""
        chip, options = self._accelerator.chip, self.model.options.options
        times = _fill(adc_bits, needed, lambda k, bits: options(self._names[k], bits).volume_ps) / chip.crossbars
        if self.objective in (Objective.LATENCY, Objective.INTERVAL):
            return np.maximum(times, 1.0)
        if self.objective is Objective.LIFETIME:  # what does not fit is written
            tiles = _fill(adc_bits, needed, lambda k, bits: options(self._names[k], bits).crossbars.min())
            return np.maximum(tiles * (WRITE_WEIGHT / chip.crossbars) + times, 1.0)
        energies = _fill(adc_bits, needed, lambda k, bits: options(self._names[k], bits).energy_aj.min())
        second = price_leakage(self._accelerator, 10**12, crossbars=chip.crossbars, cores=chip.cores).total_aj
        return _join_energy(self.objective, energies + times * (second / 1e12), times)

    def covers(self, name: str, wide: BitWidths, narrow: BitWidths) -> bool:
        """Tell whether every option at `narrow` has one at `wide` that takes no more of anything."""
        if wide.act_bits != narrow.act_bits and not self._accelerator.interconnect.is_ideal:
            return False  # more bytes are carried
        with_energy = self.objective in (Objective.ENERGY, Objective.ENERGY_DELAY)
        ours, theirs = (self.model.options.options(name, bits) for bits in (wide, narrow))
        return ours.covers(theirs, with_energy=with_energy)


@dataclass(frozen=True)
class _Share:
    """What one layer takes of a policy's costs on one crossbar: time, ps, energy, aJ, and writes."""

    latency_ps: int
    energy_aj: int
    writes: int


@dataclass(frozen=True, eq=False)
class _Alone:
    """A layer at some widths, by itself; and what it takes in a stack, where writes are shared."""

    mapped: MappedLayer
    share: _Share
    stack_times: StackTimes
    may_share: bool


class CrossbarCosts(PolicyCosts):
    """Costs on one crossbar that is used again for every tile; exact.

    They are sums over layers: what a layer takes by itself is found once for each of its widths, and what it takes in a
    write that it shares once for each place. Which layers share depends on the policy.
    """

    def __init__(self, network: Network, accelerator: Accelerator, objective: Objective, model: MappingModel) -> None:
        if objective.on_chip.needs_energy and not accelerator.energy.is_specified:
            raise ConfigError(
                f"the objective is {objective}, and the accelerator tells no energies",
                where=accelerator.name,
                expected="figures in its table [energy]",
                hint="mho inspect shows what an accelerator tells; the presets isaac and puma tell most",
            )
        self.objective, self._accelerator, self._model = objective, accelerator, model
        self._layers = derive_layer_table(network)
        self._names = tuple(layer.name for layer in self._layers)
        self._space = StackSpace(accelerator.crossbar)
        self._shares_writes = accelerator.mapping.allowed.shared_writes and model is not MappingModel.PAPER
        self._alone: dict[tuple[int, BitWidths], _Alone] = {}
        self._stacked: dict[tuple[int, BitWidths, Axis, int, bool], _Share] = {}
        self._choices = cache_choices(accelerator)

    def cost_of(self, policy: Policy) -> int:
        """Return the cost of a policy in the objective's unit."""
        policy.check_against(self._names)
        own = [self._map(number, policy[name]) for number, name in enumerate(self._names)]
        return max(1, self._evaluate(self._share_writes(own)))

    def tabulate(self, adc_bits: Sequence[int], needed: Needed) -> NDArray[np.float64]:
        """Return costs that add up: of each layer by itself; for energy-delay the mean of shares of 8/8."""
        if self.objective is Objective.ENERGY_DELAY:
            times = _fill(adc_bits, needed, lambda k, bits: self._map(k, bits).share.latency_ps)
            energies = _fill(adc_bits, needed, lambda k, bits: self._map(k, bits).share.energy_aj)
            return _join_energy(self.objective, energies, times)
        return np.maximum(_fill(adc_bits, needed, lambda k, bits: self._evaluate([self._map(k, bits).share])), 1.0)

    def _evaluate(self, shares: Sequence[_Share]) -> int:
        """Return the objective of layers that follow each other."""
        latency_ps = sum(share.latency_ps for share in shares)
        if self.objective is Objective.LIFETIME:
            return weigh_writes(sum(share.writes for share in shares), latency_ps)
        if self.objective in (Objective.LATENCY, Objective.INTERVAL):
            return latency_ps
        energy = sum(share.energy_aj for share in shares)
        return energy * latency_ps if self.objective is Objective.ENERGY_DELAY else energy

    def _share_writes(self, own: Sequence[_Alone]) -> list[_Share]:
        """Return what layers take with the writes that they share best, in execution order."""
        shares = [one.share for one in own]
        if not self._shares_writes:
            return shares
        if sum(one.may_share for one in own) < 2:
            return shares
        for run in find_sharing_runs([one.stack_times for one in own]):
            slots = choose_stacks(
                [own[number].stack_times for number in run], self._accelerator.write_latency_ps, self._space
            )
            for place, (number, slot) in enumerate(zip(run, slots, strict=True)):
                if slot is not None:
                    shares[number] = self._stack(number, own[number].mapped, slot, joins=slot.writer != place)
        return shares

    def _map(self, number: int, bits: BitWidths) -> _Alone:
        """Return a layer by itself."""
        known = self._alone.get((number, bits))
        if known is None:
            mapped = map_alone(self._layers[number], bits, self._accelerator, self._model, self._choices)
            share = self._price(cost_layer(mapped.mapping, self._accelerator))
            times = mapped.stack_times
            known = self._alone[number, bits] = _Alone(mapped, share, times, times.can_share)
        return known

    def _stack(self, number: int, mapped: MappedLayer, slot: StackSlot, *, joins: bool) -> _Share:
        """Return what a layer takes in a stack, whose write it joins or executes."""
        key = number, mapped.mapping.bits, slot.axis, slot.units, joins
        if key not in self._stacked:
            mapping = mapped.within(slot, self._space)
            self._stacked[key] = self._price(cost_layer(mapping, self._accelerator, joins_write=joins))
        return self._stacked[key]

    def _price(self, cost: LayerCost) -> _Share:
        energy = 0
        if self.objective.on_chip.needs_energy:
            energy = energy_layer(cost, self._accelerator).energy.total_aj
        return _Share(cost.latency_ps, energy, cost.writes)


class CrossbarCounts(PolicyCosts):
    """Crossbars that hold all tiles at once, whatever the chip has: what a chip needs so that weights can stay; exact.

    Each layer lies on the fewest crossbars that its mapping allows (`mho.scheduling.options`), so counts add up; one
    that the digital unit may compute takes none.
    """

    objective = Objective.CROSSBARS
    adds_up = True

    def __init__(self, network: Network, accelerator: Accelerator, model: MappingModel) -> None:
        self._accelerator, self._model = accelerator, model
        self._layers = {layer.name: layer for layer in derive_layer_table(network)}
        self._known = LayerCache(accelerator, self._count_alike)

    def cost_of(self, policy: Policy) -> int:
        """Return the crossbars of all layers."""
        return sum(self._count(name, policy[name]) for name in self._layers)

    def tabulate(self, adc_bits: Sequence[int], needed: Needed) -> NDArray[np.float64]:
        """Return the crossbars of each layer."""
        names = list(self._layers)
        return _fill(adc_bits, needed, lambda k, bits: self._count(names[k], bits))

    def covers(self, name: str, wide: BitWidths, narrow: BitWidths) -> bool:
        """Tell whether a layer takes no more crossbars with `wide`."""
        return self._count(name, wide) <= self._count(name, narrow)

    def _count(self, name: str, bits: BitWidths) -> int:
        return self._known.get(self._layers[name], bits)

    def _count_alike(self, layer: MvmLayer, hardware: Accelerator, bits: BitWidths) -> int:
        fewest = list_chip_options(layer, bits, hardware, self._model)[0]
        return CopyCost.of(fewest, self._accelerator).crossbars


def _join_energy(
    objective: Objective, energies: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    if objective is Objective.ENERGY:
        return np.maximum(energies, 1.0)
    place = UNIFORM_REFERENCE.weight_bits - 1, UNIFORM_REFERENCE.act_bits - 1
    shares = [values / max(1.0, float(values[:, place[0], place[1], 0].sum())) for values in (energies, times)]
    mean: NDArray[np.float64] = np.maximum((shares[0] + shares[1]) / 2.0, 1e-12)
    return mean


def _fill(adc_bits: Sequence[int], needed: Needed, price: Callable[[int, BitWidths], float]) -> NDArray[np.float64]:
    """Return a table as of `PolicyCosts.tabulate` of what `price` tells of a layer, by its number, and widths."""
    places = (None, *adc_bits)
    table = np.full((len(needed), MAX_BITS, MAX_BITS, len(places)), np.nan)
    for number, widths in enumerate(needed):
        for bits in {*widths, UNIFORM_REFERENCE}:
            place = bits.weight_bits - 1, bits.act_bits - 1, places.index(bits.adc_bits)
            table[(number, *place)] = price(number, bits)
    return table
