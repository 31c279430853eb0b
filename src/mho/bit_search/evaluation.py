"""What an evaluation of a policy is, and how it is measured by training.

Methods propose policies and learn from records; they never see data. Validation data gives accuracies, a fixed
calibration split the loss that scores; test data is nowhere near.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from mho.bit_search.objective import Objective
from mho.errors import MhoError
from mho.policy import Policy

OK, FAILED, SCREENED = "ok", "failed", "screened"


@dataclass(frozen=True)
class Variant:
    """Another way to evaluate than the full one.

    Attributes:
        steps: of training, fewer than the full ones; 0: only calibrate; None: all.
        repeat: another seed than the search's, by number; 0: the search's.
        is_exact: by exact integers, where policies are evaluated on chips otherwise.
    """

    steps: int | None = None
    repeat: int = 0
    is_exact: bool = False


FULL = Variant()
"""The full evaluation."""


@dataclass(frozen=True)
class Measurement:
    """What evaluating one policy gave.

    Attributes:
        score: loss on the fixed calibration split, lower is better; None where the evaluation failed.
        accuracy: fraction right on validation data, 0..1; None where the evaluation failed.
        note: why it failed, or was cut short.
    """

    score: float | None
    accuracy: float | None
    note: str = ""

    @classmethod
    def of(cls, score: float, accuracy: float, note: str = "") -> Measurement:
        """Make a measurement; one that is not finite (training diverged) is a failed one."""
        if math.isfinite(score) and math.isfinite(accuracy):
            return cls(float(score), float(accuracy), note)
        return cls(None, None, "training diverged: loss or accuracy is not finite")


@dataclass(frozen=True)
class EvaluationRecord:
    """One evaluated policy.

    Attributes:
        policy: the bit widths.
        score, accuracy, note: see `Measurement`.
        cost: of the policy, in the unit of `objective`; it does not belong to the evaluation, and is counted anew by
            every search.
        objective: what `cost` is.
        seed: seed that the evaluation used.
        seconds: wall time that it took.
        method: the search method that proposed it first.
        index: place in the log, from 0.
        fidelity: how thoroughly it was measured; a policy is evaluated once a fidelity.
        status: "ok", "failed", or "screened": not worth a full evaluation; its score is what a shorter one promises.
        seeds: how many measurements, each with another seed, score and accuracy are the mean of.
    """

    policy: Policy
    score: float | None
    accuracy: float | None
    cost: int
    seed: int
    seconds: float
    method: str
    index: int
    fidelity: str
    status: str
    note: str = ""
    objective: Objective = Objective.LATENCY
    seeds: int = 1

    @property
    def is_ok(self) -> bool:
        """True where score and accuracy are known."""
        return self.status == OK

    def to_json(self) -> dict[str, Any]:
        """Return the content of a log line; "seeds" only for means, which no log has."""
        return {
            "index": self.index, "policy": self.policy.to_json(), "score": self.score, "accuracy": self.accuracy,
            "objective": str(self.objective), "cost": self.cost, "unit": self.objective.unit,
            "seed": self.seed, "seconds": self.seconds, "method": self.method,
            "fidelity": self.fidelity, "status": self.status, "note": self.note,
            **({} if self.seeds == 1 else {"seeds": self.seeds}),
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: Any, *, where: str) -> EvaluationRecord:
        """Read the content of a log line. Raises `MhoError` naming the key that is wrong."""
        if not isinstance(content, dict):
            raise MhoError("not an evaluation record", where=where)
        for key, kinds in _RECORD_TYPES.items():
            value = content.get(key)
            if key not in content or not isinstance(value, kinds) or isinstance(value, bool):
                raise MhoError(f"key {key!r} is missing or is {value!r}", where=where)
        seeds = content.get("seeds", 1)
        if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
            raise MhoError(f"key 'seeds' is {seeds!r}", where=where, expected="a number of measurements, 1 or more")
        if unknown := set(content) - {*_RECORD_TYPES, "seeds"}:
            raise MhoError(f"unknown key {min(unknown)!r}", where=where)
        if content["objective"] not in list(Objective):
            raise MhoError(f"unknown objective {content['objective']!r}", where=where, expected=", ".join(Objective))
        objective = Objective(content["objective"])
        if content["unit"] != objective.unit:
            raise MhoError(f"a cost in {content['unit']!r}", where=where, expected=f"{objective.unit} for {objective}")
        is_ok = content["status"] == OK
        is_known = content["status"] in (OK, FAILED, SCREENED)
        if not is_known or (is_ok and None in (content["score"], content["accuracy"])):
            raise MhoError(f"status {content['status']!r} does not fit score and accuracy", where=where)
        own = {key: value for key, value in content.items() if key != "unit"}
        return cls(**{**own, "objective": objective, "policy": Policy.from_json(content["policy"], where=where)})


_RECORD_TYPES: dict[str, Any] = {
    "index": int, "policy": dict, "score": (float, int, type(None)), "accuracy": (float, int, type(None)),
    "objective": str, "cost": int, "unit": str,
    "seed": int, "seconds": (float, int), "method": str, "fidelity": str, "status": str, "note": str,
}  # fmt: skip


def pool(measured: Sequence[EvaluationRecord]) -> EvaluationRecord:
    """Return one record of a policy that several seeds measured: the means of score and accuracy, and all seconds.

    Policy, cost, seed and the rest are those of the first. A policy whose evaluation fails with any of them failed.
    """
    first = replace(measured[0], seconds=sum(record.seconds for record in measured), seeds=len(measured))
    failed = next((record for record in measured if record.score is None or record.accuracy is None), None)
    if failed is not None:
        return replace(first, score=None, accuracy=None, status=FAILED, note=f"{failed.note} ({failed.fidelity})")
    score, accuracy = (statistics.fmean(getattr(r, key) for r in measured) for key in ("score", "accuracy"))
    return replace(first, score=score, accuracy=accuracy)


class Evaluator(Protocol):
    """Measures policies. The result depends on the policy and on `problem`, not on the order of evaluations."""

    @property
    def fidelity(self) -> str:
        """How thoroughly policies are measured."""
        ...

    @property
    def problem(self) -> Mapping[str, Any]:
        """What a measurement depends on besides policy and fidelity, as JSON: hashes, settings, seed."""
        ...

    def seed_for(self, policy: Policy) -> int:
        """Return the seed that evaluating `policy` uses."""
        ...

    def evaluate(self, policy: Policy) -> Measurement:
        """Measure a policy. A diverged training is a failed measurement, not an exception."""
        ...


@runtime_checkable
class VariedEvaluator(Evaluator, Protocol):
    """An evaluator that can do with less than a full evaluation, or with another seed."""

    def at(self, variant: Variant) -> Evaluator:
        """Return what evaluates so; its fidelity says how. Raises `ConfigError` where that is not possible."""
        ...

    def relative_cost(self, variant: Variant) -> float:
        """Return what it takes as a share of a full evaluation."""
        ...


@runtime_checkable
class ChipAwareEvaluator(VariedEvaluator, Protocol):
    """An evaluator that may evaluate on chips; its variant `Variant(is_exact=True)` does so by exact integers."""

    @property
    def is_on_chips(self) -> bool:
        """True where accuracies are those of chips."""
        ...


def problem_hash(problem: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a problem, hexadecimal."""
    return hashlib.sha256(json.dumps(problem, sort_keys=True, allow_nan=False).encode()).hexdigest()
