"""The space that a search walks: which bit widths each layer may take, and what each choice costs.

The space knows latencies and constraints, nothing of accuracy. A choice is *dominated* where another choice of the same
layer has at least as many bits in both widths and is no slower: it can only lose accuracy and gain nothing, so it is
dropped before the search. This is exact: latencies of layers add up but for the writes that they share, and where a
layer may share one, the other choice must be no slower in every share of the crossbar. The mode that follows the paper
to the letter keeps every choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mho.cost.shared_writes import SharedWrites
from mho.errors import ConfigError, PolicyError, suggest
from mho.quantization.policy import MAX_BITS, MIN_BITS, UNIFORM_REFERENCE, BitWidths, Policy


@dataclass(frozen=True)
class SearchConstraints:
    """What a policy may be.

    Attributes:
        min_weight_bits, max_weight_bits, min_act_bits, max_act_bits: allowed range, 1..8 each, inclusive.
        hold_first_last: widths at which the first and the last layer are held; None searches them too.
        weight_bits_multiple: weight bits are multiples of it; the cell's bits where partly filled cells are to be
            avoided,
            1 for no such limit.
        pins: widths of single layers, by name; they go before everything else.
    """

    min_weight_bits: int = 2
    max_weight_bits: int = 8
    min_act_bits: int = 2
    max_act_bits: int = 8
    hold_first_last: BitWidths | None = UNIFORM_REFERENCE
    weight_bits_multiple: int = 1
    pins: Mapping[str, BitWidths] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))
        for kind in ("weight", "act"):
            low, high = getattr(self, f"min_{kind}_bits"), getattr(self, f"max_{kind}_bits")
            if not MIN_BITS <= low <= high <= MAX_BITS:
                raise ConfigError(
                    f"min_{kind}_bits is {low} and max_{kind}_bits is {high}",
                    where="search constraints",
                    expected=f"{MIN_BITS} <= min_{kind}_bits <= max_{kind}_bits <= {MAX_BITS}",
                )
        if self.weight_bits_multiple < 1 or not self.weight_options():
            raise ConfigError(
                f"no weight bits in {self.min_weight_bits}..{self.max_weight_bits} are multiples of"
                f" {self.weight_bits_multiple}",
                where="search constraints: weight_bits_multiple",
                hint="widen the range of weight bits, or set it to 1",
            )

    def weight_options(self) -> tuple[int, ...]:
        """Return the allowed weight bits, ascending."""
        every = range(self.min_weight_bits, self.max_weight_bits + 1)
        return tuple(bits for bits in every if bits % self.weight_bits_multiple == 0)

    def act_options(self) -> tuple[int, ...]:
        """Return the allowed activation bits, ascending."""
        return tuple(range(self.min_act_bits, self.max_act_bits + 1))

    def choices_for(self, name: str, *, is_end: bool) -> tuple[BitWidths, ...]:
        """Return what a layer may take, by weight bits, then activation bits; `is_end`: the first or the last layer."""
        if name in self.pins:
            return (self.pins[name],)
        if is_end and self.hold_first_last is not None:
            return (self.hold_first_last,)
        return tuple(BitWidths(w, a) for w in self.weight_options() for a in self.act_options())


@dataclass(frozen=True)
class LayerChoices:
    """What one layer may take: `choices` ordered by weight bits, then activation bits.

    Attributes:
        latencies_ps: of the layer by itself, for each choice.
    """

    name: str
    choices: tuple[BitWidths, ...]
    latencies_ps: tuple[int, ...]

    @cached_property
    def weight_options(self) -> tuple[int, ...]:
        """Weight bits that some choice has, ascending."""
        return tuple(sorted({bits.weight_bits for bits in self.choices}))

    @cached_property
    def _act_options(self) -> dict[int, tuple[int, ...]]:
        return {
            weight: tuple(sorted(bits.act_bits for bits in self.choices if bits.weight_bits == weight))
            for weight in self.weight_options
        }

    def act_options(self, weight_bits: int) -> tuple[int, ...]:
        """Return the activation bits that may go with `weight_bits`, ascending."""
        return self._act_options[weight_bits]


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """All policies that a search may propose.

    Attributes:
        layers: what each layer may take, in execution order.
        latency_ps: int64 [layers, 8, 8]: latency of a layer by itself at weight bits 1..8 (axis 1) and activation bits
            1..8.
        features: float32 [layers, 8]: what an agent sees of each layer (`mho.search.features`), 0..1.
        pruned: True where dominated choices were dropped.
        shared: what layers save that are written at once; None where latencies add up.
    """

    layers: tuple[LayerChoices, ...]
    latency_ps: NDArray[np.int64]
    features: NDArray[np.float32]
    pruned: bool
    shared: SharedWrites | None = None

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
    ) -> SearchSpace:
        """Build the space of a network from its latencies and constraints.

        Args:
            layer_names: MVM layers in execution order.
            latency_ps: int64 [layers, 8, 8], see the class.
            features: float32 [layers, 8], see `mho.search.features.layer_features`.
            constraints: what a policy may be.
            prune: drop dominated choices.
            shared: what layers save that are written at once, see `mho.cost.table.LatencyTable`.

        Raises:
            ConfigError: the table has another shape, or holds a latency that is not positive.
            PolicyError: a pin names an unknown layer or widths above 8.
        """
        names = list(layer_names)
        table = np.array(latency_ps, dtype=np.int64)
        if not names or table.shape != (len(names), MAX_BITS, MAX_BITS) or len(features) != len(names):
            raise ConfigError(
                f"latencies have shape {table.shape} and features {np.shape(features)} for {len(names)} layers",
                where="search space",
                expected=f"[layers, {MAX_BITS}, {MAX_BITS}] and [layers, features], one layer or more",
            )
        if (table <= 0).any():
            raise ConfigError("a latency is not positive", where="search space")
        _check_pins(constraints, names)
        layers = []
        for index, name in enumerate(names):
            choices = constraints.choices_for(name, is_end=index in (0, len(names) - 1))
            costs = [int(table[index, bits.weight_bits - 1, bits.act_bits - 1]) for bits in choices]
            kept = _non_dominated(choices, _demands(index, choices, costs, shared)) if prune else range(len(choices))
            layers.append(LayerChoices(name, tuple(choices[k] for k in kept), tuple(costs[k] for k in kept)))
        table.setflags(write=False)
        return cls(tuple(layers), table, np.asarray(features, dtype=np.float32), prune, shared)

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
    def reference_latency_ps(self) -> int:
        """Latency of uniform 8/8."""
        return self.latency_of(self.reference_policy)

    def latency_of(self, policy: Policy) -> int:
        """Return the latency of a policy in picoseconds. Raises `PolicyError` where it does not fit the network."""
        policy.check_against(self.layer_names)
        for name, bits in policy.layers.items():
            if max(bits.weight_bits, bits.act_bits) > MAX_BITS:
                raise PolicyError(f"{bits} is above {MAX_BITS} bits", where=name)
        widths = np.array([(policy[name].weight_bits, policy[name].act_bits) for name in self.layer_names])
        return int(self.latencies_of(widths[:, 0], widths[:, 1]))

    def latencies_of(self, weight_bits: NDArray[np.int64], act_bits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the latencies of many policies at once, int64 [...], ps.

        Args:
            weight_bits, act_bits: int64 [..., layers], 1..8 each.
        """
        alone = self.latency_ps[np.arange(len(self.layers)), weight_bits - 1, act_bits - 1].sum(axis=-1)
        saved = 0 if self.shared is None else self.shared.saved_ps(weight_bits - 1, act_bits - 1)
        return np.asarray(alone - saved)

    def contains(self, policy: Policy) -> bool:
        """Tell whether the space holds the policy."""
        return set(policy.layers) == set(self.layer_names) and all(
            policy[layer.name] in layer.choices for layer in self.layers
        )


def _check_pins(constraints: SearchConstraints, names: list[str]) -> None:
    for name, bits in constraints.pins.items():
        if name not in names:
            raise PolicyError("unknown layer", where=f"search constraints: pins: {name}", hint=suggest(name, names))
        if max(bits.weight_bits, bits.act_bits) > MAX_BITS:
            raise PolicyError(f"{bits} is above {MAX_BITS} bits", where=f"search constraints: pins: {name}")


def _demands(
    layer: int, choices: Sequence[BitWidths], costs: Sequence[int], shared: SharedWrites | None
) -> NDArray[np.int64]:
    """Return what must be no more for a choice to be as fast as another in any policy, [choices, demands]."""
    alone = np.array(costs, dtype=np.int64)[:, None]
    if shared is None or not shared.holds(layer):
        return alone
    index = np.array([(bits.weight_bits - 1, bits.act_bits - 1) for bits in choices]).T
    return np.concatenate([alone, shared.demands(layer, index[0], index[1], alone)], axis=1)


def _non_dominated(choices: Sequence[BitWidths], demands: NDArray[np.int64]) -> list[int]:
    """Return the indices of the choices that no other choice beats in bits without demanding more."""

    def beats(a: int, b: int) -> bool:
        wider = choices[a].weight_bits >= choices[b].weight_bits and choices[a].act_bits >= choices[b].act_bits
        return a != b and wider and bool((demands[a] <= demands[b]).all())

    return [k for k in range(len(choices)) if not any(beats(other, k) for other in range(len(choices)))]
