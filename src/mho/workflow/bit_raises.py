"""Spends a last budget: more bits for the operands of a trained network where they win most for what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mho.bit_search.space import LayerChoices, SearchSpace
from mho.policy import BitWidths, Policy
from mho.report.result_networks import OperandSensitivity, Sensitivities
from mho.workflow.search_results import price_sensitivities


@dataclass(frozen=True)
class LastBudget:
    """What bits may be raised by, after a policy was trained.

    Attributes:
        share: of the policy's cost, above 0: 0.02 is 2 % more.
        space: what policies may be, and what they cost.
    """

    share: float
    space: SearchSpace

    def spend(self, policy: Policy, sensitivities: Mapping[str, Any]) -> Policy | None:
        """Return the policy with more bits, at a cost within the budget; None where none are won by it.

        Args:
            policy: of the space.
            sensitivities: of its network, as `mho.quantization.layer_sensitivity.LayerSensitivities.to_json` has them.
        """
        measured = price_sensitivities(Sensitivities.model_validate(sensitivities), policy, self.space)
        limit, raised = (1 + self.share) * self.space.cost_of(policy), policy
        layers = {layer.name: layer for layer in self.space.layers}
        for operand in measured.best_raises(len(measured.operands)):
            widths = _raise(raised[operand.layer], operand, layers[operand.layer])
            if widths is None:
                continue
            changed = Policy({**raised.layers, operand.layer: widths})
            if self.space.cost_of(changed) <= limit:
                raised = changed
        return None if raised == policy else raised


def _raise(bits: BitWidths, operand: OperandSensitivity, layer: LayerChoices) -> BitWidths | None:
    """Return the cheapest widths of a layer with a bit more of an operand and as many of the rest, or None.

    Of those that cost the same it is the widest: a choice that another one dominates is in no space.
    """
    assert operand.more is not None, "it wins by a bit more"
    weight, act = bits.weight_bits, bits.act_bits
    if operand.operand == "weight":
        weight = max(weight, operand.more.bits)
    else:
        act = max(act, operand.more.bits)
    fitting = [
        (cost, -one.weight_bits - one.act_bits, one)
        for one, cost in zip(layer.choices, layer.costs, strict=True)
        if one.weight_bits >= weight and one.act_bits >= act and one.adc_bits == bits.adc_bits
    ]
    return min(fitting)[2] if fitting else None
