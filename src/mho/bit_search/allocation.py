"""Bit widths of every layer without labels, training or evaluations of policies: the least divergence within a cost.

To second order the divergences of single layers (`mho.bit_search.layer_divergences`) add up over layers whose errors
are independent, so the policy of the least sum within a cost is a multiple-choice knapsack, solved to its optimum
(`mho.bit_search.knapsack`; sensitivities that add up: HAWQ-V3, Yao et al. 2021, arXiv 2011.10680; divergences: ZeroQ,
Cai et al. 2020, arXiv 2001.00281). A search corrects such a model by evaluating policies; here it is trusted as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.argument_checks import check_arguments
from mho.bit_search.budget import CostBudget
from mho.bit_search.knapsack import BUDGET_TRIES, FloatArray, add_up, solve_within_cost
from mho.bit_search.layer_divergences import LayerDivergences, check_widths
from mho.bit_search.objective import Objective, ObjectiveName, parse_objective
from mho.bit_search.policy_costs import PolicyCosts, make_costs
from mho.errors import ConfigError
from mho.hardware.loading import as_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.network.graph import Network
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy, Widths, as_widths


@dataclass(frozen=True)
class Allocation:
    """A policy that was allocated.

    Attributes:
        policy: of all layers.
        divergence: sum of the layers' divergences, an estimate of the policy's from float, >= 0, without layers that
            have a pin; in nats a sample or position where the task has classes.
        cost, reference_cost: of the policy and of uniform 8/8, in the unit of `objective`.
        objective: what costs are.
    """

    policy: Policy
    divergence: float
    cost: int
    reference_cost: int
    objective: Objective

    @property
    def share(self) -> float:
        """The cost over that of uniform 8/8."""
        return self.cost / self.reference_cost

    @property
    def counts(self) -> dict[BitWidths, int]:
        """How many layers have which widths, the narrowest first."""
        return dict(sorted(Counter(self.policy.layers.values()).items()))

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text."""
        return {
            **self.policy.to_json(), "divergence": self.divergence, "cost": self.cost,
            "reference_cost": self.reference_cost, "objective": str(self.objective), "unit": self.objective.unit,
        }  # fmt: skip


@check_arguments("pins")
def allocate(
    network: Network,
    accelerator: Accelerator | str | Path,
    divergences: LayerDivergences,
    *,
    cost_budget: float | str,
    objective: Objective | ObjectiveName = Objective.CROSSBARS,
    pins: Mapping[str, Widths] | None = None,
) -> Allocation:
    """Choose the widths of every layer by the least sum of divergences from the float network within a cost.

    One measurement serves any number of budgets, objectives and accelerators. `mho.quantize` takes the policy.

    Args:
        network: float.
        accelerator: whose crossbars cost; or a preset's name or TOML file.
        divergences: of `mho.measure_divergences` of this network: every layer may have the widths that were measured
            of it.
        cost_budget: as of `mho.SearchOptions`: a share of the cost of uniform 8/8, such as 0.75, or an amount with its
            unit, such as "20000 crossbars".
        objective: what the cost is, as for `mho.search`.
        pins: widths of single layers, by name, at which they stay, 1..8 bits each; the others need divergences.

    Raises:
        ConfigError: the network is quantized; divergences are of another network, or a layer has none and no pin; no
            policy is within the budget; the objective does not fit.
        PolicyError: a pin names an unknown layer, or widths are out of range.
        MappingError: a layer cannot be mapped.
    """
    if network.is_quantized:
        raise ConfigError("the network is quantized", where="mho.allocate", expected="a float network")
    choices = _list_choices(network.layer_names, divergences, {} if pins is None else pins)
    costs = make_costs(network, as_accelerator(accelerator), parse_objective(objective), DEFAULT_MODEL)
    return _Problem(network.layer_names, choices, costs, cost_budget).solve(divergences)


def _list_choices(
    names: Sequence[str], divergences: LayerDivergences, pins: Mapping[str, Widths]
) -> dict[str, tuple[BitWidths, ...]]:
    """Return what each layer may have, the narrowest first. Raises `ConfigError` or `PolicyError`."""
    if not isinstance(pins, Mapping):
        raise ConfigError(f"pins are a {type(pins).__name__}", where="mho.allocate", expected="widths by layer")
    held = {name: as_widths(one, where=f"pins: {name}") for name, one in pins.items()}
    Policy.uniform(names, UNIFORM_REFERENCE).replace(held)  # names of layers alone
    for name, one in held.items():
        check_widths(one, where=f"pins: {name}")
    if unknown := [name for name in divergences.layers if name not in names]:
        raise ConfigError(
            f"divergences are of a layer {unknown[0]!r:.80}, which the network lacks", where="mho.allocate",
            hint="measure them of this network",
        )  # fmt: skip
    if missing := [name for name in names if name not in held and name not in divergences.layers]:
        raise ConfigError(
            f"{missing[0]!r} has neither divergences nor a pin", where="mho.allocate",
            hint="measure divergences of this layer too, or pin its widths",
        )  # fmt: skip
    return {name: (held[name],) if name in held else tuple(divergences.layers[name]) for name in names}


class _Problem:
    """What policies cost, and what they may cost.

    Args:
        names: of the layers.
        choices: widths that each may have.
        costs: of policies.
        budget: as of `allocate`.

    Raises:
        ConfigError: no policy is within the budget.
    """

    def __init__(
        self,
        names: Sequence[str],
        choices: Mapping[str, tuple[BitWidths, ...]],
        costs: PolicyCosts,
        budget: float | str,
    ) -> None:
        self._names, self._choices, self._costs = tuple(names), choices, costs
        table = costs.tabulate((), [choices[name] for name in names])[..., 0]
        self._shares = [
            np.array([own[bits.weight_bits - 1, bits.act_bits - 1] for bits in choices[name]])
            for name, own in zip(names, table, strict=True)
        ]
        place = UNIFORM_REFERENCE.weight_bits - 1, UNIFORM_REFERENCE.act_bits - 1
        self._sum = float(table[:, place[0], place[1]].sum())
        self._reference_cost = costs.cost_of(Policy.uniform(names, UNIFORM_REFERENCE))
        self._budget = CostBudget.parse(budget, costs.objective).of(self._reference_cost)
        cheapest = self._policy(np.array([share.argmin() for share in self._shares]))
        if (least := costs.cost_of(cheapest)) > self._budget and costs.adds_up:
            raise self._too_little(least)

    def solve(self, divergences: LayerDivergences) -> Allocation:
        """Return the policy of the least sum of divergences. Raises `ConfigError` where none is found."""
        values: list[FloatArray] = [
            np.array([divergences.layers[name][bits] for bits in own] if len(own) > 1 else [0.0])
            for name, own in self._choices.items()
        ]
        power = 1.0 / self._costs.objective.exponent
        chosen = solve_within_cost(
            values, self._shares, self._budget, lambda chosen: self._costs.cost_of(self._policy(chosen)),
            capacity=self._sum * (self._budget / self._reference_cost) ** power, power=power,
            tries=1 if self._costs.adds_up else BUDGET_TRIES,
        )  # fmt: skip
        if chosen is None:
            raise self._too_little(self._costs.cost_of(self._policy(np.array([s.argmin() for s in self._shares]))))
        policy = self._policy(chosen)
        cost = self._costs.cost_of(policy)
        return Allocation(policy, add_up(values, chosen), cost, self._reference_cost, self._costs.objective)

    def _policy(self, chosen: NDArray[np.int64]) -> Policy:
        pairs = zip(self._names, chosen.tolist(), strict=True)
        return Policy({name: self._choices[name][number] for name, number in pairs})

    def _too_little(self, least: int) -> ConfigError:
        unit = self._costs.objective.unit
        return ConfigError(
            f"the cheapest policy costs {least:,} {unit}, {least / self._reference_cost:.3f} of uniform 8/8; the "
            f"budget is {self._budget:,}",
            where="cost_budget",
            hint="raise the budget, allow narrower widths, or pin fewer layers",
        )
