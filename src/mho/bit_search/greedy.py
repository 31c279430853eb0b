"""`greedy`: the descent by sensitivity that papers on quantization compare with, many steps at once where they succeed.

From the widest policy the next ones take away the bits that promise the least loss for the cost they save, as in the
greedy allocations of HAWQ-V2 (arXiv 1911.03852) and of ZeroQ (arXiv 2001.00281), whose sensitivities are measured here:
an operand of b bits is taken to add s 4^-b to the loss, and every evaluation scales s of the operands that it changed.
A policy that the goal accepts is the next start; where one is not, half as many bits are taken at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import SMALLEST_EXCESS, Goal
from mho.bit_search.space import LayerChoices, SearchSpace
from mho.bit_search.space_policies import MAX_DRAWS, draw_new, is_within
from mho.policy import BitWidths, Policy

_MOST_SCALED = 4.0
"""By how much one evaluation scales the sensitivities of what it changed, or the inverse."""


class GreedySearch:
    """Takes bits away where they promise the least loss for the cost saved; within a cost budget, moves them.

    Args:
        space: what may be proposed.
        goal: what the search is after.
        budget: unused; the descent is the same for every budget.
        generator: draws neighbours of the best policy, once the descent has ended.
    """

    def __init__(self, space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> None:
        del budget
        self._space, self._goal, self._generator = space, goal, generator
        self._layers = {layer.name: layer for layer in space.layers if len(layer.choices) > 1}
        self._sensitivity = {name: np.ones(3) for name in self._layers}
        self._known: dict[Policy, EvaluationRecord | None] = {}
        self._stride = max(1, len(self._layers))
        self._best: EvaluationRecord | None = None
        widest = Policy({layer.name: max(layer.choices) for layer in space.layers})
        self._at = self._cheapen(widest, 0)

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the next step of the descent, or a neighbour of the best policy; None where all are known."""
        known = {*self._known, *pending}
        if self._space.is_exhausted(known):
            return None
        if self._at not in known:
            return self._at
        stride = self._stride >> len(pending)
        while stride:
            policy = self._step(stride)
            if policy not in known and is_within(self._space, self._goal, policy):
                return policy
            stride //= 2
        return self._neighbour(known)

    def tell(self, record: EvaluationRecord) -> None:
        """Scale the sensitivities of what was changed; go on from the policy where the goal accepts it."""
        before = self._known.get(self._at)
        self._known[record.policy] = record
        if before is not None and before.score is not None:
            self._learn(before, record)
        if self._accepts(record):
            self._at, self._best = record.policy, record
        elif self._best is not None:
            self._stride = max(1, self._stride // 2)

    def _accepts(self, record: EvaluationRecord) -> bool:
        """Tell whether a policy is better than the best one so far, and keeps the goal."""
        if not record.is_ok or not self._space.contains(record.policy) or not self._goal.allows(record.cost):
            return False
        assert record.accuracy is not None
        assert record.score is not None
        best = self._best
        if self._goal.cost_budget is not None:
            return best is None or best.score is None or record.score < best.score
        return record.accuracy >= self._goal.target_accuracy and (best is None or record.cost < best.cost)

    def _learn(self, before: EvaluationRecord, record: EvaluationRecord) -> None:
        """Scale the sensitivities of operands that became narrower by what was measured over what was predicted."""
        changed = {name: _levels(record.policy[name]) - _levels(before.policy[name]) for name in self._layers}
        predicted = sum(self._increase(name, before.policy[name], record.policy[name]) for name in changed)
        if predicted <= 0:
            return
        ratio = _MOST_SCALED
        if record.score is not None and before.score is not None:
            ratio = max(record.score - before.score, SMALLEST_EXCESS) / predicted
        if sum(entry is not None for entry in self._known.values()) > 2:  # the first ratio is the unit of the loss
            ratio = min(max(ratio, 1 / _MOST_SCALED), _MOST_SCALED)
        else:
            changed = {name: -np.ones(3) for name in changed}
        for name, levels in changed.items():
            self._sensitivity[name][levels < 0] *= ratio

    def _increase(self, name: str, before: BitWidths, after: BitWidths) -> float:
        """Return the loss increase that is predicted where a layer changes its bits."""
        return float(self._sensitivity[name] @ (4.0 ** -_levels(after) - 4.0 ** -_levels(before)))

    def _step(self, stride: int) -> Policy:
        """Return the current policy with the bits of `stride` moves less; within a cost budget, moved elsewhere."""
        if self._goal.cost_budget is None:
            return self._cheapen(self._at, stride)
        raised = dict(self._at.layers)
        gains = {}
        for name, layer in self._layers.items():
            for bits, cost in _moves(layer, raised[name], up=True):
                worth = self._increase(name, bits, raised[name]) / max(cost - layer.cost_of(raised[name]), 1e-30)
                gains[worth, name] = bits
        for (_, name), bits in sorted(gains.items(), key=lambda gain: gain[0], reverse=True)[:stride]:
            raised[name] = bits
        return self._cheapen(Policy(raised), 0)

    def _cheapen(self, policy: Policy, stride: int) -> Policy:
        """Make `stride` moves of least loss for the cost saved, and more until the policy lies within a cost budget."""
        layers, made = dict(policy.layers), 0
        while made < stride or not is_within(self._space, self._goal, Policy(layers)):
            best: tuple[float, str, BitWidths] | None = None
            for name, layer in self._layers.items():
                own = layer.cost_of(layers[name])
                for bits, cost in _moves(layer, layers[name], up=False):
                    price = self._increase(name, layers[name], bits) / (own - cost)
                    if best is None or price < best[0]:
                        best = price, name, bits
            if best is None:
                break
            layers[best[1]] = best[2]
            made += 1
        return Policy(layers)

    def _neighbour(self, known: Collection[Policy]) -> Policy | None:
        """Return a policy with two layers of the best one drawn anew, else any that is new."""
        for _ in range(MAX_DRAWS):
            layers = dict(self._at.layers)
            for name in self._generator.choice(sorted(self._layers), 2):
                choices = self._layers[name].choices
                layers[name] = choices[self._generator.integers(len(choices))]
            policy = Policy(layers)
            if policy not in known and self._is_promising(policy):
                return policy
        return draw_new(self._space, self._goal, self._generator, known)

    def _is_promising(self, policy: Policy) -> bool:
        """Tell whether a policy costs less than the best one; within a cost budget, no more than it allows."""
        if self._goal.cost_budget is not None:
            return is_within(self._space, self._goal, policy)
        return self._best is None or self._space.cost_of(policy) < self._best.cost


def _levels(bits: BitWidths) -> np.ndarray:
    """Return bits of weights, activations and conversions; 16 for an ADC with all of its bits."""
    return np.array([bits.weight_bits, bits.act_bits, 16 if bits.adc_bits is None else bits.adc_bits], float)


def _moves(layer: LayerChoices, bits: BitWidths, *, up: bool) -> Iterator[tuple[BitWidths, float]]:
    """Yield the nearest choices that are nowhere wider (or nowhere narrower) and cheaper (or more expensive)."""
    sign = 1 if up else -1
    own, start = layer.cost_of(bits), _levels(bits)
    found = [
        (choice, cost)
        for choice, cost in zip(layer.choices, layer.costs, strict=True)
        if sign * (cost - own) > 0 and (sign * (_levels(choice) - start) >= 0).all()
    ]
    for choice, cost in found:
        level = _levels(choice)
        if not any(other != choice and (sign * (level - _levels(other)) >= 0).all() for other, _ in found):
            yield choice, cost
