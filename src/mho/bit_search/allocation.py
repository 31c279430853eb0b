"""Bit widths of every layer from calibration samples alone: no labels, no training, no evaluations of policies.

Each layer in turn is quantized alone, and how far the float network's answers move is measured
(`mho.bit_search.divergences`). To second order such divergences add up over layers whose errors are independent, so the
policy of the least sum within a cost is a multiple-choice knapsack, solved to its optimum (`mho.bit_search.knapsack`;
sensitivities that add up: HAWQ-V3, Yao et al. 2021, arXiv 2011.10680; divergences: ZeroQ, Cai et al. 2020, arXiv
2001.00281). A search corrects such a model by evaluating policies; here it is trusted as it is.

All other layers stay in float: were they quantized too, each change of one layer would flip roundings of all later
ones, and in a deep network these hide what a few bits of one layer change.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.argument_checks import check_arguments
from mho.bit_search.budget import CostBudget
from mho.bit_search.divergences import Probe, answer_of, measure_divergences
from mho.bit_search.knapsack import BUDGET_TRIES, FloatArray, add_up, solve_within_cost
from mho.bit_search.objective import Objective, ObjectiveName, parse_objective
from mho.bit_search.policy_costs import PolicyCosts, make_costs
from mho.data.in_memory import read_inputs
from mho.errors import ConfigError, PolicyError
from mho.hardware.loading import as_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.network.graph import Network
from mho.policy import MAX_BITS, UNIFORM_REFERENCE, BitWidths, Policy, Widths, as_widths
from mho.progress import OnProgress, Progress
from mho.quantization.calibration import calibrate
from mho.quantization.effort import DEFAULT_EFFORT, Effort, steps_of
from mho.quantization.joint_inputs import Inputs, as_inputs
from mho.quantization.qat import TrainableNetwork
from mho.quantization.smoothing import smooth
from mho.task.task import CLASSIFICATION, Task

DEFAULT_WIDTHS = ("4/8", "6/8", "8/8")
DEFAULT_PROBED = 64
_BATCH_BYTES = 1 << 27
"""Of the float64 answers to one batch, at most, unless one sample has more."""


@dataclass(frozen=True)
class Allocation:
    """A policy that was allocated.

    Attributes:
        policy: of all layers.
        divergence: sum of the layers' divergences, an estimate of the policy's from float, >= 0, without layers that
            have a pin; in nats a sample or position where the task has classes.
        cost, reference_cost: of the policy and of uniform 8/8, in the unit of `objective`.
        objective: what costs are.
        divergences: what was measured, by layer and widths; layers with a pin are not in it.
        samples: on how many samples.
    """

    policy: Policy
    divergence: float
    cost: int
    reference_cost: int
    objective: Objective
    divergences: Mapping[str, Mapping[BitWidths, float]]
    samples: int

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
        divergences = {
            layer: {str(bits): found for bits, found in own.items()} for layer, own in self.divergences.items()
        }
        return {
            **self.policy.to_json(), "divergence": self.divergence, "cost": self.cost,
            "reference_cost": self.reference_cost, "objective": str(self.objective), "unit": self.objective.unit,
            "divergences": divergences, "samples": self.samples,
        }  # fmt: skip


@check_arguments("calibration_inputs", "widths", "pins")
def allocate(
    network: Network,
    accelerator: Accelerator | str | Path,
    calibration_inputs: Any,
    *,
    cost_budget: float | str,
    widths: Sequence[Widths] = DEFAULT_WIDTHS,
    objective: Objective | ObjectiveName = Objective.CROSSBARS,
    pins: Mapping[str, Widths] | None = None,
    task: Task | None = None,
    effort: Effort = DEFAULT_EFFORT,
    probed_samples: int = DEFAULT_PROBED,
    on_progress: OnProgress | None = None,
) -> Allocation:
    """Choose the widths of every layer from samples alone: the least divergence from the float network within a cost.

    It takes a pass from the layer on for each layer and each of `widths`, over the probed samples. No labels are needed
    and nothing is trained; `mho.quantize` then takes the policy.

    Args:
        network: float, with trained weights.
        accelerator: whose crossbars cost; or a preset's name or TOML file.
        calibration_inputs: as for `mho.quantize`: real samples, which set ranges.
        cost_budget: as of `mho.SearchOptions`: a share of the cost of uniform 8/8, such as 0.75, or an amount with its
            unit, such as "20000 crossbars".
        widths: what a layer may have, 1..8 bits each, two or more pairs.
        objective: what the cost is, as for `mho.search`.
        pins: widths of single layers, by name, at which they stay.
        task: says which axis of the answers has classes, or that none has; None: "language-modelling" of a network with
            states, else "classification".
        effort: with which the network will be quantized; beyond "fast" layers are measured after smoothing.
        probed_samples: on how many of the samples, spread evenly, divergences are measured; at most all.
        on_progress: called with a `Progress` as layers are measured.

    Raises:
        ConfigError: the network is quantized; no policy is within the budget; widths, task or objective do not fit.
        PolicyError: a pin names an unknown layer, or widths are out of range.
        DataError: inputs of another shape, NaN or infinity.
        MappingError: a layer cannot be mapped.
    """
    if network.is_quantized:
        raise ConfigError("the network is quantized", where="mho.allocate", expected="a float network")
    if probed_samples < 1:
        raise ConfigError(f"probed_samples is {probed_samples}", where="mho.allocate", expected="1 or more")
    kind = _task_of(network, task)
    choices = _list_choices(network.layer_names, widths, {} if pins is None else pins)
    costs = make_costs(network, as_accelerator(accelerator), parse_objective(objective), DEFAULT_MODEL)
    problem = _Problem(network.layer_names, choices, costs, cost_budget)
    inputs = as_inputs(network, read_inputs(calibration_inputs, where="calibration inputs"))
    measured = network
    if steps_of(effort).smooths:
        measured = smooth(network, Policy.uniform(network.layer_names, UNIFORM_REFERENCE), inputs)
    trainable = TrainableNetwork(measured).eval()
    calibrate(trainable, inputs)
    probed = _spread(inputs, probed_samples)
    divergences = _measure(trainable, probed, choices, kind, on_progress)
    return problem.solve(divergences, len(probed))


def _task_of(network: Network, task: Task | None) -> Task:
    """Return the task, checked against the answers' shape. Raises `ConfigError`."""
    if task is None:
        task = Task("language-modelling") if network.states else CLASSIFICATION
    shape = network.shapes[answer_of(network)]
    if task.has_classes and (len(shape) > 2) != task.has_positions:
        raise ConfigError(
            f"answers have shape {list(shape)}, and the task is {task.kind}",
            where="mho.allocate",
            expected="a task whose answers have that shape",
            hint="name the task: it says along which axis classes lie",
        )
    return task


def _list_choices(
    names: Sequence[str], widths: Sequence[Widths], pins: Mapping[str, Widths]
) -> dict[str, tuple[BitWidths, ...]]:
    """Return what each layer may have, the narrowest first. Raises `ConfigError` or `PolicyError`."""
    if not isinstance(widths, list | tuple):
        raise ConfigError(f"widths are a {type(widths).__name__}", where="mho.allocate", expected="a list of pairs")
    if not isinstance(pins, Mapping):
        raise ConfigError(f"pins are a {type(pins).__name__}", where="mho.allocate", expected="widths by layer")
    free = tuple(sorted({as_widths(one, where="widths") for one in widths}))
    held = {name: as_widths(one, where=f"pins: {name}") for name, one in pins.items()}
    Policy(dict.fromkeys(names, UNIFORM_REFERENCE)).replace(held)  # names of layers alone
    if len(free) < 2:
        raise ConfigError(f"{len(free)} pairs of widths", where="mho.allocate", expected="two or more to choose from")
    for one in (*free, *held.values()):
        if max(one.weight_bits, one.act_bits) > MAX_BITS or one.adc_bits is not None:
            raise PolicyError(f"widths {one}", where="mho.allocate", expected=f"weights and activations, 1..{MAX_BITS}")
    return {name: (held[name],) if name in held else free for name in names}


class _Problem:
    """What policies cost, and what they may cost; made before anything is measured, so that nonsense ends at once.

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

    def solve(self, divergences: Mapping[str, Mapping[BitWidths, float]], samples: int) -> Allocation:
        """Return the policy of the least sum of divergences. Raises `ConfigError` where none is found."""
        values: list[FloatArray] = [
            np.array([divergences.get(name, {}).get(bits, 0.0) for bits in self._choices[name]]) for name in self._names
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
        return Allocation(
            policy, add_up(values, chosen), cost, self._reference_cost, self._costs.objective, divergences, samples
        )

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


def _measure(
    trainable: TrainableNetwork,
    inputs: Inputs,
    choices: Mapping[str, tuple[BitWidths, ...]],
    task: Task,
    on_progress: OnProgress | None,
) -> Mapping[str, Mapping[BitWidths, float]]:
    """Return the divergence of every layer at every width that it may have; none of pinned layers."""
    probes = [Probe(name, bits) for name, own in choices.items() if len(own) > 1 for bits in own]
    network = trainable.network
    answer = 8 * int(np.prod(network.shapes[answer_of(network)]))
    found = measure_divergences(
        trainable, inputs.split(max(1, min(256, _BATCH_BYTES // answer))), probes, task,
        reference=None, samples=len(inputs),
        on_progress=None if on_progress is None else _as_shares(on_progress, len(probes)),
    )  # fmt: skip
    by_layer: dict[str, dict[BitWidths, float]] = {}
    for probe, divergence in zip(probes, found.tolist(), strict=True):
        by_layer.setdefault(probe.layer, {})[probe.widths] = divergence
    return MappingProxyType({name: MappingProxyType(own) for name, own in by_layer.items()})


def _as_shares(on_progress: OnProgress, probes: int) -> Callable[[float], None]:
    """Return what takes the share done, 0..1, and reports it with the time left."""
    start = time.monotonic()

    def show(share: float) -> None:
        left, done = (time.monotonic() - start) * (1.0 - share) / share, round(share * probes)
        detail = f"{done:,} of {probes:,} widths of layers measured"
        on_progress(Progress("allocation", "Measure layers", share, detail, share, left, done == probes))

    return show


def _spread(inputs: Inputs, count: int) -> Inputs:
    """Return so many of the samples, from the first to near the last, evenly."""
    return inputs[torch.arange(min(count, len(inputs))) * len(inputs) // min(count, len(inputs))]
