"""The space that a search walks: which bit widths each layer may take, and what each choice costs.

The space knows costs and constraints, nothing of accuracy. A choice is *dominated* where another choice of the same
layer has at least as many bits in all widths and is no slower: it can only lose accuracy and gain nothing, so it is
dropped before the search. Widths are those of weights, activations and, where they are searched too, of conversions.
Where policies are judged on arrays that are not ideal, it must also be predicted to err no more there.
This is exact: latencies of layers add up but for the writes that they share, and where a
layer may share one, the other choice must be no slower in every share of the crossbar. The mode that follows the paper
to the letter keeps every choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.array_errors import ArrayErrors
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.objective import Objective
from mho.bit_search.policy_costs import PolicyCosts
from mho.cost_model.shared_writes import SharedWrites
from mho.errors import ConfigError, PolicyError
from mho.policy import MAX_BITS, UNIFORM_REFERENCE, BitWidths, Policy


@dataclass(frozen=True)
class LayerChoices:
    """What one layer may take.

    Attributes:
        name: of the layer.
        choices: its widths, ordered by weight, activation and ADC bits.
        costs: of the layer by itself, for each choice, as in `SearchSpace.table`.
    """

    name: str
    choices: tuple[BitWidths, ...]
    costs: tuple[float, ...]

    @cached_property
    def weight_options(self) -> tuple[int, ...]:
        """Weight bits that some choice has, ascending."""
        return tuple(sorted({bits.weight_bits for bits in self.choices}))

    @cached_property
    def _act_options(self) -> dict[int, tuple[int, ...]]:
        return {
            weight: tuple(sorted({bits.act_bits for bits in self.choices if bits.weight_bits == weight}))
            for weight in self.weight_options
        }

    def act_options(self, weight_bits: int) -> tuple[int, ...]:
        """Return the activation bits that may go with `weight_bits`, ascending."""
        return self._act_options[weight_bits]

    def adc_options(self, weight_bits: int, act_bits: int) -> tuple[int | None, ...]:
        """Return the ADC bits that may go with both, ascending; None: those of the accelerator."""
        pair = weight_bits, act_bits
        return tuple(bits.adc_bits for bits in sorted(self.choices) if (bits.weight_bits, bits.act_bits) == pair)

    def cost_of(self, bits: BitWidths) -> float:
        """Return the cost of one of the choices."""
        return self.costs[self.choices.index(bits)]


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """All policies that a search may propose.

    Attributes:
        layers: what each layer may take, in execution order.
        table: [layers, 8, 8, 1 + ADC bits]: cost of a layer by itself at weight bits 1..8 (axis 1), activation bits
            1..8, and conversions with the accelerator's bits, then with each of `adc_bits`. For the latency on one
            crossbar int64, ps; else float64 of any unit, whose sums over layers, to the power of
            `objective.exponent`, are about in proportion to costs; NaN at widths other than 8/8 that no layer may have.
        features: float32 [layers, 8]: what an agent sees of each layer (`mho.bit_search.layer_features`), 0..1.
        pruned: True where dominated choices were dropped.
        shared: what layers save that are written at once; None where costs add up.
        costs: of policies; None for the latency on one crossbar, which is the sum of the layers' less what they share.
        adc_bits: with how many bits some layer's sums may be converted, ascending; empty where none has its own.
        errors: that layers are predicted to have on arrays; None where policies are judged by exact integers.
    """

    layers: tuple[LayerChoices, ...]
    table: NDArray[np.int64] | NDArray[np.float64]
    features: NDArray[np.float32]
    pruned: bool
    shared: SharedWrites | None = None
    costs: PolicyCosts | None = None
    adc_bits: tuple[int, ...] = ()
    errors: ArrayErrors | None = None

    @classmethod
    def build(
        cls,
        layer_names: Sequence[str],
        latency_ps: NDArray[np.int64],
        features: NDArray[np.float32],
        constraints: SearchConstraints,
        *,
        prune: bool = True,
        shared: SharedWrites | None = None,
        errors: ArrayErrors | None = None,
    ) -> SearchSpace:
        """Build the space of a network from its latencies on one crossbar, and constraints.

        Args:
            layer_names: MVM layers in execution order.
            latency_ps: int64 [layers, 8, 8]; where layers may have ADC bits of their own, [layers, 8, 8, 1 + ADC bits],
                see `table` and `SearchConstraints.specified_adc_bits`.
            features: float32 [layers, 8], see `mho.bit_search.layer_features.layer_features`.
            constraints: what a policy may be.
            prune: drop dominated choices.
            shared: what layers save that are written at once, see `cost_model.table`; its activation widths
                are those of `latency_ps` times the ADC bits, see `share_index`.
            errors: that layers are predicted to have on arrays; None where policies are judged by exact integers.

        Raises:
            ConfigError: the table has another shape, or holds a latency that is not positive.
            PolicyError: a pin names an unknown layer or widths above 8.
        """
        table, adc_bits = np.array(latency_ps, dtype=np.int64), constraints.specified_adc_bits()
        table = table[..., None] if table.ndim == 3 and not adc_bits else table

        def keep(index: int, choices: Sequence[BitWidths]) -> list[int]:
            demands = _demands(index, [_index(bits, adc_bits) for bits in choices], table, shared)
            own = list(layer_names)[index]
            return _non_dominated(own, choices, lambda a, b: bool((demands[a] <= demands[b]).all()), errors)

        choices = _list_choices(layer_names, constraints, errors)
        layers = _list_layers(layer_names, table, features, choices, adc_bits, keep if prune else None)
        return cls(layers, table, np.asarray(features, dtype=np.float32), prune, shared, None, adc_bits, errors)

    @classmethod
    def of_costs(
        cls,
        layer_names: Sequence[str],
        costs: PolicyCosts,
        features: NDArray[np.float32],
        constraints: SearchConstraints,
        *,
        prune: bool = True,
        errors: ArrayErrors | None = None,
    ) -> SearchSpace:
        """Build the space of a network under another objective than the latency on one crossbar.

        Args:
            layer_names: MVM layers in execution order.
            costs: of policies.
            features, constraints, prune, errors: as of `build`.

        Raises:
            ConfigError, PolicyError: as `build`.
        """
        names, adc_bits = list(layer_names), constraints.specified_adc_bits()
        choices = _list_choices(names, constraints, errors)
        table = costs.tabulate(adc_bits, choices)

        def keep(index: int, choices: Sequence[BitWidths]) -> list[int]:
            own = names[index]
            return _non_dominated(own, choices, lambda a, b: costs.covers(own, choices[a], choices[b]), errors)

        layers = _list_layers(names, table, features, choices, adc_bits, keep if prune else None)
        return cls(layers, table, np.asarray(features, dtype=np.float32), prune, None, costs, adc_bits, errors)

    @property
    def objective(self) -> Objective:
        """What costs are."""
        return Objective.LATENCY if self.costs is None else self.costs.objective

    @property
    def adds_up(self) -> bool:
        """True where the cost of every policy is the sum of its layers' costs."""
        return self.shared is None if self.costs is None else self.costs.adds_up

    @property
    def layer_costs(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """`table` where sums are converted with the accelerator's bits, [layers, 8, 8]."""
        return self.table[..., 0]

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers in execution order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def size(self) -> int:
        """Number of policies (exact)."""
        return math.prod(len(layer.choices) for layer in self.layers)

    @cached_property
    def reference_policy(self) -> Policy:
        """Uniform 8/8, against which policies are measured. It need not lie in the space."""
        return Policy.uniform(self.layer_names, UNIFORM_REFERENCE)

    @cached_property
    def cheapest_policy(self) -> Policy:
        """The policy whose layers each have the choice that costs least by itself; of equals the widest."""
        pairs = ((layer, min(range(len(layer.costs)), key=lambda k: (layer.costs[k], -k))) for layer in self.layers)
        return Policy({layer.name: layer.choices[number] for layer, number in pairs})

    @cached_property
    def reference_cost(self) -> int:
        """Cost of uniform 8/8."""
        return self.cost_of(self.reference_policy)

    @cached_property
    def reference_sum(self) -> float:
        """What the table of layers tells of uniform 8/8: its cost for the latency on one crossbar."""
        place = UNIFORM_REFERENCE.weight_bits - 1, UNIFORM_REFERENCE.act_bits - 1
        return self.reference_cost if self.costs is None else float(self.layer_costs[:, place[0], place[1]].sum())

    def cost_of(self, policy: Policy) -> int:
        """Return the cost of a policy in the objective's unit.

        Raises:
            PolicyError: it does not fit the network.
        """
        policy.check_against(self.layer_names)
        for name, bits in policy.layers.items():
            if max(bits.weight_bits, bits.act_bits) > MAX_BITS:
                raise PolicyError(f"{bits} is above {MAX_BITS} bits", where=name)
        if self.costs is not None:
            return self.costs.cost_of(policy)
        index = np.array([self.index_of(policy[name]) for name in self.layer_names]).T
        alone = self.table[np.arange(len(self.layers)), index[0], index[1], index[2]].sum()
        return int(alone - self.saved_ps(index))

    def is_rough(self, policy: Policy) -> bool:
        """Tell whether the cost of a policy is rough, see `PolicyCosts`."""
        return self.costs is not None and self.costs.is_rough(policy)

    def index_of(self, bits: BitWidths) -> tuple[int, int, int]:
        """Return where `table` has widths. Raises `PolicyError` for ADC bits that no layer may have."""
        return _index(bits, self.adc_bits)

    def saved_ps(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what policies save of the sum of their layers' latencies by writes that layers share, int64 [...], ps.

        Args:
            index: int64 [3, ..., layers], numbers along the last three axes of `table`.
        """
        if self.shared is None:
            return np.zeros(index.shape[1:-1], dtype=np.int64)
        return self.shared.saved_ps(index[0], share_index(index[1], index[2], self.table.shape[3]))

    def is_exhausted(self, known: Collection[Policy]) -> bool:
        """Tell whether distinct policies, which need not all lie in the space, hold all of its policies."""
        return len(known) >= self.size and sum(self.contains(policy) for policy in known) == self.size

    def contains(self, policy: Policy) -> bool:
        """Tell whether the space holds the policy."""
        return set(policy.layers) == set(self.layer_names) and all(
            policy[layer.name] in layer.choices for layer in self.layers
        )


def _list_layers(
    layer_names: Sequence[str],
    table: NDArray[np.int64] | NDArray[np.float64],
    features: NDArray[np.float32],
    choices: Sequence[Sequence[BitWidths]],
    adc_bits: tuple[int, ...],
    keep: Callable[[int, Sequence[BitWidths]], list[int]] | None,
) -> tuple[LayerChoices, ...]:
    """Return what each layer may take; `keep` says which of the choices of a layer, by its number."""
    names = list(layer_names)
    shape = len(names), MAX_BITS, MAX_BITS, 1 + len(adc_bits)
    if not names or table.shape != shape or len(features) != len(names):
        raise ConfigError(
            f"costs have shape {table.shape} and features {np.shape(features)} for {len(names)} layers",
            where="search space",
            expected=f"[layers, {MAX_BITS}, {MAX_BITS}{f', {shape[3]}' if adc_bits else ''}] and [layers, features], "
            "one layer or more",
        )
    if (table <= 0).any():
        raise ConfigError("a cost is not positive", where="search space")
    table.setflags(write=False)
    layers = []
    for index, (name, own) in enumerate(zip(names, choices, strict=True)):
        kept = range(len(own)) if keep is None else keep(index, own)
        costs = tuple(table[(index, *_index(bits, adc_bits))].item() for bits in own)
        layers.append(LayerChoices(name, tuple(own[k] for k in kept), tuple(costs[k] for k in kept)))
    return tuple(layers)


def _list_choices(
    names: Sequence[str], constraints: SearchConstraints, errors: ArrayErrors | None
) -> list[tuple[BitWidths, ...]]:
    """Return what each layer may take, before any choice is dropped. Raises `PolicyError`, see `SearchSpace.build`."""
    constraints.check_against(names)
    ends = (0, len(names) - 1)
    return [constraints.choices_for(name, is_end=number in ends, errors=errors) for number, name in enumerate(names)]


def share_index(act_index: NDArray[np.int64], adc_index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return where shares have activation and ADC bits: both are one axis there, of `count` ADC bits each."""
    return act_index * count + adc_index


def _index(bits: BitWidths, adc_bits: tuple[int, ...]) -> tuple[int, int, int]:
    if bits.adc_bits is not None and bits.adc_bits not in adc_bits:
        raise PolicyError(
            f"{bits} converts with bits that the space does not have",
            expected=", ".join(map(str, adc_bits)) or "no ADC bits of a layer's own",
        )
    adc_index = 0 if bits.adc_bits is None else 1 + adc_bits.index(bits.adc_bits)
    return bits.weight_bits - 1, bits.act_bits - 1, adc_index


def _demands(
    layer: int,
    index: Sequence[tuple[int, int, int]],
    table: NDArray[np.int64],
    shared: SharedWrites | None,
) -> NDArray[np.int64]:
    """Return what must be no more for a choice to be as fast as another in any policy, [choices, demands]."""
    weights, acts, adcs = np.array(index).T
    alone = table[layer, weights, acts, adcs][:, None]
    if shared is None or not shared.holds(layer):
        return alone
    return np.concatenate(
        [alone, shared.demands(layer, weights, share_index(acts, adcs, table.shape[3]), alone)], axis=1
    )


def _non_dominated(
    name: str, choices: Sequence[BitWidths], costs_no_more: Callable[[int, int], bool], errors: ArrayErrors | None
) -> list[int]:
    """Return the indices of a layer's choices that no other beats in bits without demanding more or erring more."""

    def beats(a: int, b: int) -> bool:
        wide, narrow = choices[a], choices[b]
        wider = wide.weight_bits >= narrow.weight_bits and wide.act_bits >= narrow.act_bits
        if not (a != b and wider and wide.converts_as_finely(narrow) and costs_no_more(a, b)):
            return False
        return errors is None or errors.errs_no_more(name, wide, narrow)

    return [k for k in range(len(choices)) if not any(beats(other, k) for other in range(len(choices)))]
