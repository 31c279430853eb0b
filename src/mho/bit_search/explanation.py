"""What one bit more or less of each layer would cost, exactly, and what it would bring, as far as evaluations tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, excess_losses
from mho.bit_search.objective import Objective
from mho.bit_search.operands import WITH_ADC, Operands
from mho.bit_search.sensitivity import SensitivityModel
from mho.bit_search.space import SearchSpace
from mho.errors import MhoError
from mho.policy import MAX_BITS, MIN_BITS, BitWidths, Policy, policy_schema

FloatArray = NDArray[np.float64]

DRAWS = 400
"""Samples of the posterior of the model of sensitivities."""
LOW, HIGH = 10.0, 90.0
"""Percentiles that tell how sure a loss is."""
LEAST_EVALUATIONS = 4
_FIELDS = {"weight": "weight_bits", "activation": "act_bits", "ADC": "adc_bits"}


@dataclass(frozen=True)
class Loss:
    """A loss (cross entropy, natural logarithm) as a model tells it.

    Attributes:
        likely: at the posterior mode.
        low, high: the 10th and the 90th percentile of what evaluations leave possible.
    """

    likely: float
    low: float
    high: float


@dataclass(frozen=True)
class BitStep:
    """What other bits of one operand of one layer would make of a policy.

    Attributes:
        bits: instead of those it has.
        cost: of the whole policy then less its cost now, in the objective's unit; exact.
        loss: the same of the loss on the calibration split.
    """

    bits: int
    cost: int
    loss: Loss


@dataclass(frozen=True)
class OperandExplanation:
    """One operand of one layer.

    Attributes:
        operand: "weight", "activation" or "ADC".
        bits: that it has.
        loss: that these bits cause.
        less, more: what the next fewer and the next more bits would make of it; None where there are none.
    """

    operand: str
    bits: int
    loss: Loss
    less: BitStep | None
    more: BitStep | None


@dataclass(frozen=True)
class LayerExplanation:
    """One layer; `operands` are those that have bits of their own."""

    name: str
    operands: tuple[OperandExplanation, ...]


@dataclass(frozen=True)
class Explanation:
    """What each bit of a policy is worth.

    Attributes:
        policy: the policy.
        objective: what costs are.
        cost, reference_cost: of the policy and of uniform 8/8, in its unit.
        loss: in excess of uniform 8/8's, as measured; None where the policy was not evaluated.
        evaluations: to which the model was fitted.
        layers: in execution order.
    """

    policy: Policy
    objective: Objective
    cost: int
    reference_cost: int
    loss: float | None
    evaluations: int
    layers: tuple[LayerExplanation, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text."""
        content = {key: getattr(self, key) for key in ("cost", "reference_cost", "loss", "evaluations")}
        return {
            "policy": self.policy.to_json(),
            "objective": str(self.objective),
            "unit": self.objective.unit,
            **content,
            "layers": [asdict(layer) for layer in self.layers],
        }


def explanation_schema() -> dict[str, Any]:
    """Return the JSON schema of `Explanation.to_json`."""
    from pydantic import TypeAdapter

    layers = TypeAdapter(tuple[LayerExplanation, ...]).json_schema()
    definitions = layers.pop("$defs")
    properties: dict[str, Any] = {
        "policy": policy_schema() | {"description": "The policy that is explained."},
        "objective": {"enum": [str(objective) for objective in Objective], "description": "What costs are."},
        "unit": {"enum": sorted({objective.unit for objective in Objective}), "description": "Of costs."},
        "cost": {"type": "integer", "minimum": 1, "description": "Of the policy; those of its steps are differences."},
        "reference_cost": {"type": "integer", "minimum": 1, "description": "Of uniform 8/8."},
        "loss": {
            "type": ["number", "null"],
            "description": "Cross entropy on the calibration split in excess of uniform 8/8's; null: not evaluated.",
        },
        "evaluations": {
            "type": "integer",
            "minimum": LEAST_EVALUATIONS,
            "description": "That losses were learned from.",
        },
        "layers": {
            **layers,
            "description": "In execution order; losses as the most probable one, low (10 %), high (90 %).",
        },
    }
    return {
        "title": "Explanation",
        "description": "What one bit more or less of each layer would cost and bring (mho search --explanation).",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": definitions,
    }


def explain_policy(
    space: SearchSpace,
    goal: Goal,
    records: Sequence[EvaluationRecord],
    policy: Policy,
    generator: np.random.Generator,
) -> Explanation:
    """Tell what one bit more or less of each layer of a policy would cost and bring.

    Costs are exact. Losses are those of the model of `mho.bit_search.sensitivity`, fitted to all records: a sum over
    layers, which does not see how layers act together. ADC bits go to the next ones that the space knows.

    Args:
        space: tells costs.
        goal: of the search.
        records: of the search, uniform 8/8 among them.
        policy: the one to explain.
        generator: draws posterior samples.

    Raises:
        MhoError: there are too few records to learn from.
        PolicyError: the policy does not fit the space's network.
    """
    cost = space.cost_of(policy)
    samples, unit = _draw_samples(space, goal, records, generator)
    known, layers = Operands.of(space), []
    for number, name in enumerate(space.layer_names):
        operands, places = [], known.places_of(name, policy[name])
        for place, operand in enumerate(known.names[: len(WITH_ADC)]):
            bits = getattr(policy[name], _FIELDS[operand])
            if bits is None:
                continue
            losses = unit * samples[:, number]
            less, more = (
                _step(space, policy, name, operand, other, cost, losses) for other in _next_bits(space, operand, bits)
            )
            own = losses[:, place, places[place] - 1]
            operands.append(OperandExplanation(operand, bits, _summarize(own), less, more))
        layers.append(LayerExplanation(name, tuple(operands)))
    scores = {record.policy: record.score for record in records}
    score = scores.get(policy)
    return Explanation(
        policy,
        space.objective,
        cost,
        space.reference_cost,
        None if score is None else score - goal.reference_score,
        len(records),
        tuple(layers),
    )


def _draw_samples(
    space: SearchSpace, goal: Goal, records: Sequence[EvaluationRecord], generator: np.random.Generator
) -> tuple[FloatArray, float]:
    """Return excess losses [1 + draws, layers, operands, 8], the posterior mode first, and their unit."""
    if len(records) < LEAST_EVALUATIONS:
        raise MhoError(
            f"{len(records)} evaluations tell nothing of layers",
            where="explanation of a policy",
            expected=f"{LEAST_EVALUATIONS} or more",
        )
    model = SensitivityModel(space.layer_names, operands=Operands.of(space))
    excess, unit = excess_losses(goal, records)
    model.fit([record.policy for record in records], excess, unit)
    return np.stack([model.excess(), *(model.excess(generator) for _ in range(DRAWS))]), unit


def _next_bits(space: SearchSpace, operand: str, bits: int) -> tuple[int | None, int | None]:
    options = space.adc_bits if operand == "ADC" else range(MIN_BITS, MAX_BITS + 1)
    less, more = [other for other in options if other < bits], [other for other in options if other > bits]
    return (less[-1] if less else None), (more[0] if more else None)


def _step(
    space: SearchSpace, policy: Policy, name: str, operand: str, bits: int | None, cost: int, losses: FloatArray
) -> BitStep | None:
    """Tell what `bits` would make of a policy; `losses` [samples, operands, 8] are those of the layer."""
    if bits is None:
        return None
    changed: BitWidths = replace(policy[name], **{_FIELDS[operand]: bits})
    operands, other = Operands.of(space), space.cost_of(policy.replace({name: changed}))
    then, now = (
        losses[:, np.arange(len(operands)), np.array(operands.places_of(name, widths)) - 1].sum(axis=1)
        for widths in (changed, policy[name])
    )
    return BitStep(bits, other - cost, _summarize(then - now))


def _summarize(losses: FloatArray) -> Loss:
    """Summarize losses [samples], the posterior mode first."""
    low, high = np.percentile(losses[1:], [LOW, HIGH])
    return Loss(float(losses[0]), float(low), float(high))
