"""The table `search` of a run's configuration: what is searched, for how long, and what policies may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mho.bit_search.methods import AUTO, SUPPORTS_FRONT, SUPPORTS_WARM_START, MethodName, prunes, takers_of
from mho.errors import ConfigError, MhoError
from mho.frozen_model import FrozenModel
from mho.hardware.converters import MAX_ADC_BITS
from mho.input_files import hash_file
from mho.policy import BitWidths

GIVEN_BUDGET = 2
"""Evaluations that a given policy takes."""
EXECUTION = ("storage", "trackers")
"""Keys that change no figure."""
OWN_LOG: Literal["log"] = "log"


def _check_widths(text: str) -> str:
    try:
        widths = BitWidths.parse(text)
    except MhoError as error:
        raise ValueError(str(error).replace("\n", "; ")) from error
    if max(widths.weight_bits, widths.act_bits) > 8:
        raise ValueError(f"{text} is above 8 bits")
    return text


Widths = Annotated[str, AfterValidator(_check_widths)]
"""WEIGHT/ACTIVATION bits, such as "8/8", or WEIGHT/ACTIVATION/ADC bits."""


Ends = tuple[Annotated[int, Field(ge=1, le=8)], Annotated[int, Field(ge=1, le=8)]]


class RangeSettings(FrozenModel):
    """The bits that one layer may have."""

    weights: Ends | None = None
    """Fewest and most bits of its weights. Left out: as other layers."""
    acts: Ends | None = None
    """Fewest and most bits of its activations. Left out: as other layers."""

    @model_validator(mode="after")
    def _rises(self) -> RangeSettings:
        for kind in ("weights", "acts"):
            ends = getattr(self, kind)
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"{kind} are {ends[0]} to {ends[1]}; expected the fewest bits first")
        return self


def _describe_ranges(ranges: Mapping[str, RangeSettings]) -> dict[str, Any]:
    return {name: own.model_dump(mode="json", exclude_none=True) for name, own in ranges.items()}


class StartSettings(FrozenModel):
    """What a search starts from."""

    algorithm: Literal["ddpg", "td3", "sac", "ppo"] | None = None
    """How the agent of `rl` learns. Left out: as the saved agent, else `ddpg`."""
    agent: Path | None = None
    """An agent that an earlier search with `rl` saved (.safetensors), of this network or another one."""
    evaluations: Literal["log"] | Path | None = None
    """Evaluations of earlier searches to learn from, which do not count into the budget: an evaluation log (.jsonl) of
    the same network, training and data, for whatever accelerator, or "log": what this run's own log holds already."""
    probe_images: int = Field(default=0, ge=0, le=100_000)
    """On how many images of the calibration split the sensitivity of each layer is probed by forward passes before
    the search; 0: none."""

    def changed_keys(self) -> tuple[str, ...]:
        """Return the keys that differ from their defaults."""
        return tuple(self.model_dump(exclude_defaults=True))

    def check_method(self, method: str) -> None:
        """Raise `ValueError` where the method cannot start from one of these."""
        for key, is_given, takers in (
            ("algorithm", self.algorithm is not None, takers_of("algorithm")),
            ("agent", self.agent is not None, takers_of("saved")),
            ("evaluations", self.evaluations is not None, SUPPORTS_WARM_START),
            ("probe_images", self.probe_images > 0, takers_of("prior")),
        ):
            if is_given and method not in (*takers, AUTO):
                raise ValueError(f"start.{key} is for the methods {', '.join(takers)}, and not for {method}")

    def check_files(self) -> None:
        """Read the files, before hours of training.

        Raises:
            InputFileError: one is missing, damaged or something else.
            ConfigError: the agent learned by another algorithm.
        """
        from mho.bit_search.agent_file import SavedAgent
        from mho.bit_search.log import EvaluationLog

        if self.agent is not None:
            learned = SavedAgent.load(self.agent).algorithm
            if self.algorithm not in (None, learned):
                raise ConfigError(
                    f"the agent learned by {learned}, and {self.algorithm} is specified",
                    where=str(self.agent),
                    hint="leave the algorithm out, or start without the agent",
                )
        if self.evaluations is not None and self.evaluations != OWN_LOG:
            EvaluationLog.read(self.evaluations)

    def ingredients(self) -> dict[str, Any]:
        """Return what a search depends on through these: contents of files, not where they lie.

        The run's own log grows with every search: that it is taken counts, not what it held.

        Raises:
            InputFileError: a file cannot be read.
        """
        content = self.model_dump(mode="json", exclude={"agent", "evaluations"}, exclude_defaults=True)
        for key in ("agent", "evaluations"):
            value = getattr(self, key)
            if value is not None:
                content[key] = value if value == OWN_LOG else hash_file(value)
        return content


_RANGES = PlainSerializer(_describe_ranges, return_type=dict[str, Any])


class SearchSettings(FrozenModel):
    """How bit widths are searched."""

    policy: Annotated[Mapping[str, Widths], PlainSerializer(dict, return_type=dict[str, str])] | None = None
    """Widths of every layer by name, or in a file the name of a policy file: nothing is searched, this policy is
    trained, compiled and simulated. Beside it `objective` and `allowed_drop` may be given."""
    method: MethodName = "auto"
    """`auto` takes what the benchmarks of methods show best, and says why. `rl` is the improved agent, `rl-paper`
    follows arXiv 2601.21737; `exact` solves a program in a model of sensitivities; `evolution` and `tpe`
    are Optuna's NSGA-II and Parzen estimator; the others are baselines."""
    objective: Literal["latency", "interval", "energy", "energy-delay", "crossbars", "lifetime"] = "latency"
    """What is made least on the accelerator's crossbars. `latency`: of one input; `interval`: between inputs of a full
    pipeline (throughput); `energy`: of one input; `energy-delay`: that energy times the latency; `crossbars`: how many
    hold all tiles; `lifetime`: writes of a cell for an input, and the latency of policies that write equally often."""
    budget: int = Field(ge=2, le=100_000)
    """Evaluations: distinct policies, uniform 8/8 counted in, and repeated measurements."""
    batch: int = Field(default=1, ge=1, le=1024)
    """How many policies the method proposes before it learns the result of any. With more than one, so many may be
    evaluated at the same time (`--processes`, `--ray`); other batches lead to other proposals."""
    storage: str | None = Field(default=None, min_length=1)
    """Where trials are stored for Optuna's dashboard, and shared with other searches of the same problem: a URL such as
    `postgresql+psycopg://user@host/name`, or `sqlite` for a file beside the log. Changes no figure."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """What shows the search while it runs: TensorBoard, Weights & Biases."""
    allowed_drop: float = Field(default=1.0, ge=0)
    """How much worse the metric on validation data may be than at uniform 8/8, in its own unit: points (percent) of
    accuracy, dB of a signal-to-noise ratio."""
    cost_budget: Annotated[float, Field(gt=0, le=1)] | str | None = None
    """What the best policy may cost, instead of an allowed accuracy drop: a share of the cost of uniform 8/8, such as
    0.4, or an amount in a unit of the objective, such as "250 us". The most accurate policy within it is searched. Left
    out: the cheapest one within `allowed_drop`."""
    whole_front: bool = False
    """Search policies of all costs alike, instead of near the best one."""
    min_weight_bits: int = Field(default=2, ge=1, le=8)
    """Fewest bits of a weight."""
    max_weight_bits: int = Field(default=8, ge=1, le=8)
    """Most bits of a weight."""
    min_act_bits: int = Field(default=2, ge=1, le=8)
    """Fewest bits of an activation."""
    max_act_bits: int = Field(default=8, ge=1, le=8)
    """Most bits of an activation."""
    hold_first_last: Widths | Literal["auto", "none"] = "auto"
    """Widths at which the first and the last layer are held. "auto": 8/8, and where accuracy is that on chips that are
    not ideal, the allowed widths that are predicted to err least there; "none": both layers are searched too."""
    weight_bits_multiple: int | Literal["auto", "cell"] = "auto"
    """Weight bits are multiples of this; "cell": of the cell's bits; "auto": of the cell's bits under the paper's
    mapping, which cannot use a partly filled cell, and any under the best."""
    pins: Annotated[Mapping[str, Widths], PlainSerializer(dict, return_type=dict[str, str])] = Field(
        default_factory=dict
    )
    """Widths of single layers, by name."""
    ranges: Annotated[Mapping[str, RangeSettings], PlainSerializer(_describe_ranges, return_type=dict[str, Any])] = (
        Field(default_factory=dict)
    )
    """Ranges of single layers, by name, which go before the general ones and before hold_first_last."""
    adc_bits: tuple[Annotated[int, Field(ge=1, le=MAX_ADC_BITS)], ...] = ()
    """With how many bits the sums of a layer may be converted, such as [4, 5, 6, 8]. Needs calibrated ADCs; candidates
    are then evaluated on arrays. Left out: with those of the accelerator, which are not searched."""
    start: StartSettings = StartSettings()
    """What the search starts from."""
    prune: bool | None = None
    """Drop choices that cannot win before searching. Left out: true, except for `rl-paper`."""
    finalists: int = Field(default=3, ge=1, le=20)
    """How many of the best policies may be trained fully: cheapest first, until one keeps the allowed drop; within a
    cost budget all of them, and the most accurate one is taken."""
    last_budget: float = Field(default=0.0, ge=0, le=1)
    """Share of the found policy's cost that may be spent, after its training, on more bits where they win most; the
    policy is then trained once more, and the better one is kept. 0.02 is 2 %."""

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = handler(self)
        unsaid = {"policy", "last_budget", "adc_bits", "cost_budget", "whole_front", "ranges", *EXECUTION}
        if self.batch == 1:
            content.pop("batch", None)
        if self.start == StartSettings():
            content.pop("start", None)
        if self.cost_budget is not None:
            content.pop("allowed_drop", None)
        return {key: value for key, value in content.items() if key not in unsaid or value}

    @property
    def has_agent(self) -> bool:
        """True where the search is one of `rl`, whose agent can be saved."""
        is_agents = self.start.algorithm is not None or self.start.agent is not None
        return self.method == "rl" or (self.method == AUTO and is_agents)

    @property
    def has_adc_bits(self) -> bool:
        """True where layers may convert with bits of their own, so that candidates are evaluated on arrays."""
        held = () if self.hold_first_last in ("auto", "none") else (self.hold_first_last,)
        given = (*held, *self.pins.values()) if self.policy is None else self.policy.values()
        adc_bits = (BitWidths.parse(widths).adc_bits for widths in given)
        return bool(self.adc_bits) or any(bits is not None for bits in adc_bits)

    @field_validator("pins", "ranges", "policy")
    @classmethod
    def _freeze(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return None if value is None else MappingProxyType(dict(value))

    @model_validator(mode="before")
    @classmethod
    def _count_given(cls, content: Any) -> Any:
        """A given policy takes two evaluations: its own and that of uniform 8/8."""
        if isinstance(content, Mapping) and content.get("policy") is not None:
            return {"budget": GIVEN_BUDGET, **content}
        return content

    @field_validator("weight_bits_multiple")
    @classmethod
    def _multiple(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 8:
            raise ValueError(f'is {value}; expected 1..8, "cell" or "auto"')
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> SearchSettings:
        for kind in ("weight", "act"):
            low, high = getattr(self, f"min_{kind}_bits"), getattr(self, f"max_{kind}_bits")
            if low > high:
                raise ValueError(f"min_{kind}_bits is {low}, above max_{kind}_bits, which is {high}")
        if both := sorted(set(self.pins) & set(self.ranges)):
            raise ValueError(f"{', '.join(both)}: a layer has either a pin or a range")
        if self.prune and not prunes(self.method):
            raise ValueError("rl-paper follows the paper, which does not prune: leave prune out, or use method rl")
        self.start.check_method(self.method)
        self._check_goal()
        self._check_policy()
        return self

    def _check_policy(self) -> None:
        if self.policy is None:
            return
        own = {"policy", "budget", "objective", "allowed_drop"}
        others = [
            *self.model_dump(exclude_defaults=True, exclude=own),
            *(["budget"] if self.budget != GIVEN_BUDGET else []),
        ]
        if not self.policy:
            raise ValueError("policy names no layer")
        if others:
            raise ValueError(f"policy and {', '.join(others)}: where a policy is given, nothing is searched")

    def _check_goal(self) -> None:
        from mho.bit_search.budget import CostBudget
        from mho.bit_search.objective import Objective

        if self.whole_front and self.method not in (*SUPPORTS_FRONT, AUTO):
            raise ValueError(f"whole_front needs one of the methods {', '.join(SUPPORTS_FRONT)}, and not {self.method}")
        if self.cost_budget is None:
            return
        if self.last_budget:
            raise ValueError("last_budget and cost_budget: a cost budget is spent by the search already")
        if self.whole_front:
            raise ValueError("give either cost_budget or whole_front, which has policies of all costs")
        if "allowed_drop" in self.model_fields_set:
            raise ValueError("give either allowed_drop or cost_budget")
        try:
            CostBudget.parse(self.cost_budget, Objective(self.objective))
        except MhoError as error:
            raise ValueError(f"{error.what}; expected {error.expected}") from error
