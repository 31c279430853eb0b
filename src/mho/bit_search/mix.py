"""Several networks that share one accelerator, searched together: one space, one evaluation, one budget.

Policies of a mix name layers NETWORK/LAYER. Costs are those of the networks added up: the crossbars that hold all of
them, or the time or energy of some inputs of each, one after the other. What a policy loses is measured by each network
alone, so a part that was evaluated before, in whatever mix or alone, is not evaluated again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.evaluation import FULL, ChipAwareEvaluator, EvaluationRecord, Evaluator, Measurement, Variant
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer, Measurer, Timed, make_record, timed, variant_of
from mho.bit_search.objective import Objective
from mho.bit_search.policy_costs import Needed, PolicyCosts
from mho.bit_search.screening import relative_cost
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError
from mho.policy import Policy

SEPARATOR = "/"
OBJECTIVES = (Objective.LATENCY, Objective.ENERGY, Objective.CROSSBARS)
"""What adds up over networks that share an accelerator."""


def part_of(policy: Policy, name: str) -> Policy:
    """Return what a policy of a mix tells of one of its networks."""
    start = name + SEPARATOR
    return Policy({key[len(start) :]: bits for key, bits in policy.layers.items() if key.startswith(start)})


def join_spaces(spaces: Mapping[str, SearchSpace], inputs: Mapping[str, int]) -> SearchSpace:
    """Return the space of several networks together.

    Args:
        spaces: of each network, by its name; all under one objective of `OBJECTIVES`, on one accelerator.
        inputs: how many inputs of each network count in times and energies, 1 or more; crossbars are counted once.

    Raises:
        ConfigError: fewer than two networks, a name with a slash, or an objective that does not add up.
    """
    first = next(iter(spaces.values()), None)
    if first is None or len(spaces) < 2 or any(not name or SEPARATOR in name for name in spaces):
        raise ConfigError(
            f"a mix of {', '.join(map(repr, spaces)) or 'nothing'}",
            where="mix",
            expected=f"two networks or more, with names without {SEPARATOR!r}",
        )
    objective = first.objective
    if objective not in OBJECTIVES or any(space.objective is not objective for space in spaces.values()):
        raise ConfigError(
            f"the objective is {objective}", where="mix", expected=f"one of {', '.join(OBJECTIVES)}, for all networks"
        )
    if any(space.adc_bits for space in spaces.values()):
        raise ConfigError("ADC bits are to be searched", where="mix", expected="bits of weights and activations")
    factors = {name: 1 if objective is Objective.CROSSBARS else inputs[name] for name in spaces}
    costs = _JoinedCosts(dict(spaces), factors)
    layers = tuple(
        replace(layer, name=name + SEPARATOR + layer.name, costs=tuple(cost * factors[name] for cost in layer.costs))
        for name, space in spaces.items()
        for layer in space.layers
    )
    features = np.concatenate([space.features for space in spaces.values()])
    is_pruned = all(space.pruned for space in spaces.values())
    return SearchSpace(layers, costs.tabulate((), ()), features, is_pruned, None, costs)


class _JoinedCosts(PolicyCosts):
    """Costs of several networks, whose spaces are pruned already."""

    def __init__(self, spaces: dict[str, SearchSpace], factors: dict[str, int]) -> None:
        self._spaces, self._factors = spaces, factors
        self.objective = next(iter(spaces.values())).objective
        self.adds_up = all(space.adds_up for space in spaces.values())

    def cost_of(self, policy: Policy) -> int:
        """Return the sum of the networks' costs, in the objective's unit."""
        return sum(self._factors[name] * space.cost_of(part_of(policy, name)) for name, space in self._spaces.items())

    def is_rough(self, policy: Policy) -> bool:
        """Tell whether the cost of some network is rough."""
        return any(space.is_rough(part_of(policy, name)) for name, space in self._spaces.items())

    def tabulate(self, adc_bits: Sequence[int], needed: Needed) -> NDArray[np.float64]:
        """Return the tables of all networks, one after the other; what is needed is known to them."""
        del adc_bits, needed
        return np.concatenate(
            [np.asarray(space.table, np.float64) * self._factors[name] for name, space in self._spaces.items()]
        )


@dataclass(frozen=True)
class MixedNetwork:
    """One network of a mix.

    Attributes:
        evaluator: measures its policies.
        log: what was measured of it before; what is measured now is added.
        space: prices its records.
        share: how much its loss and its accuracy count, above 0.
    """

    evaluator: Evaluator
    log: EvaluationLog
    space: SearchSpace
    share: float = 1.0

    def at(self, variant: Variant) -> MixedNetwork:
        """Return the same network, evaluated otherwise. Raises `ConfigError` where its evaluator has no variants."""
        return replace(self, evaluator=variant_of(self.evaluator, variant))

    def accuracy_of(self, policy: Policy) -> float:
        """Return the accuracy that a policy was measured to have; 0 where its training failed."""
        record = self.find(policy)
        return 0.0 if record is None or record.accuracy is None else record.accuracy

    def find(self, part: Policy) -> EvaluationRecord | None:
        """Return what was measured of its part of a policy; None: nothing yet."""
        return self.log.find(part, self.evaluator.fidelity)

    def keep(self, part: Policy, measured: Timed, method: str) -> EvaluationRecord:
        """Add a measurement of its part of a policy to the log."""
        return self.log.append(make_record(part, measured, self.evaluator, self.space, method))


@dataclass(frozen=True)
class MixPart:
    """What a policy of a mix means for one network.

    Attributes:
        policy: of its layers.
        cost, reference_cost: of one input, with that policy and at uniform 8/8, in the objective's unit.
        accuracy, reference_accuracy: on validation data, 0..1, with the run's own seed.
    """

    policy: Policy
    cost: int
    reference_cost: int
    accuracy: float
    reference_accuracy: float

    @classmethod
    def of(cls, policy: Policy, name: str, network: MixedNetwork) -> MixPart:
        """Tell it of a policy of the mix that was evaluated."""
        part, space = part_of(policy, name), network.space
        accuracies = (network.accuracy_of(one) for one in (part, space.reference_policy))
        return cls(part, space.cost_of(part), space.reference_cost, *accuracies)


class MixedEvaluator:
    """Evaluates policies of a mix, each network by its own evaluator (an `mho.bit_search.evaluation.Evaluator`).

    Score and accuracy are the means of the networks' losses and accuracies, weighted by their shares: loss increases of
    layers add up over networks, as methods take for granted. A mix of which one network fails has failed.

    Args:
        networks: by name.
        method: what the logs note as the proposer.
    """

    def __init__(self, networks: Mapping[str, MixedNetwork], method: str) -> None:
        self._networks, self._method = dict(networks), method

    @property
    def fidelity(self) -> str:
        """How thoroughly each network is measured."""
        return "; ".join(f"{name}: {one.evaluator.fidelity}" for name, one in self._networks.items())

    @property
    def problem(self) -> Mapping[str, Any]:
        """The problems of all networks, and how much each counts."""
        parts = self._networks.items()
        return {"mix": {name: {"problem": dict(one.evaluator.problem), "share": one.share} for name, one in parts}}

    @property
    def is_on_chips(self) -> bool:
        """True where the accuracy of some network is that of chips."""
        return any(
            isinstance(one.evaluator, ChipAwareEvaluator) and one.evaluator.is_on_chips
            for one in self._networks.values()
        )

    def at(self, variant: Variant) -> MixedEvaluator:
        """Return what evaluates every network so. Raises `ConfigError` where one of them cannot be."""
        return MixedEvaluator({name: one.at(variant) for name, one in self._networks.items()}, self._method)

    def relative_cost(self, variant: Variant) -> float:
        """Return the mean of what it takes of the networks' evaluations."""
        costs = [relative_cost(one.evaluator, variant) for one in self._networks.values()]
        return sum(costs) / len(costs)

    def seed_for(self, policy: Policy) -> int:
        """Return the seed of the first network's evaluation."""
        name, one = next(iter(self._networks.items()))
        return one.evaluator.seed_for(part_of(policy, name))

    def evaluate(self, policy: Policy) -> Measurement:
        """Measure every network that was not measured with its part of the policy before."""
        score = accuracy = 0.0
        for name, one in self._networks.items():
            record = self._find(one, part_of(policy, name))
            if record.score is None or record.accuracy is None:
                return Measurement(None, None, f"{name}: {record.note}")
            score, accuracy = score + one.share * record.score, accuracy + one.share * record.accuracy
        shares = sum(one.share for one in self._networks.values())
        return Measurement.of(score / shares, accuracy / shares)

    def _find(self, one: MixedNetwork, policy: Policy) -> EvaluationRecord:
        return one.find(policy) or one.keep(policy, timed(one.evaluator, policy), self._method)


class MixedMeasurer(Measurer):
    """Measures policies of a mix several at a time, each network's parts by what measures that network.

    What is measured is in the logs of the networks.

    Args:
        networks: by name.
        measurers: of each network, by its name.
        method: what the logs note as the proposer.
    """

    def __init__(self, networks: Mapping[str, MixedNetwork], measurers: Mapping[str, Measurer], method: str) -> None:
        self._networks, self._measurers, self._method = dict(networks), dict(measurers), method

    def measure(self, policies: Sequence[Policy], variant: Variant = FULL) -> Iterator[tuple[int, Timed]]:
        """Yield number and measurement of each, in order, once all their parts are measured.

        Raises:
            ConfigError: a network has no such variant.
        """
        networks = {name: one.at(variant) for name, one in self._networks.items()}
        whole = LocalMeasurer(MixedEvaluator(networks, self._method))
        lost = {name: self._measure_parts(name, one, policies, variant) for name, one in networks.items()}
        for number, policy in enumerate(policies):
            notes = [f"{name}: {why[part]}" for name, why in lost.items() if (part := part_of(policy, name)) in why]
            if notes:
                yield number, Timed(Measurement(None, None, "; ".join(notes)), 0.0, is_lost=True)
            else:
                ((_, found),) = whole.measure([policy])
                yield number, found

    def _measure_parts(
        self, name: str, one: MixedNetwork, policies: Sequence[Policy], variant: Variant
    ) -> dict[Policy, str]:
        """Measure what is not known of a network's parts into its log; return why parts that workers died of have none.

        These are in no log: the next search tries them again.
        """
        parts = [part for part in dict.fromkeys(part_of(policy, name) for policy in policies) if one.find(part) is None]
        lost = {}
        for number, measured in self._measurers[name].measure(parts, variant):
            if measured.is_lost:
                lost[parts[number]] = measured.measurement.note
            else:
                one.keep(parts[number], measured, self._method)
        return lost
