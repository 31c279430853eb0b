"""What a finished search says about single layers: read from its file, and told of the policy that it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.explanation import Explanation, explain_policy
from mho.bit_search.goal import Goal
from mho.bit_search.objective import Objective
from mho.bit_search.space import SearchSpace
from mho.errors import InputFileError
from mho.seeds import derive_seed


def read_records(content: Mapping[str, Any], where: str) -> tuple[EvaluationRecord, ...]:
    """Return the records of a search's file, the reference first. Raises `MhoError`."""
    records = content.get("records") if isinstance(content, Mapping) else None
    if not isinstance(records, list) or not records:
        raise InputFileError("holds no records of a search", where=where, hint="the file is damaged")
    return tuple(EvaluationRecord.from_json(record, where=where) for record in records)


def read_goal(content: Mapping[str, Any], reference: EvaluationRecord) -> Goal:
    """Return what a search was after; `reference` is its record of uniform 8/8."""
    assert reference.score is not None, "a search without its reference ends with an error"
    return Goal(
        content["reference_accuracy"],
        content["allowed_drop_points"] or 0.0,
        reference.cost,
        reference.score,
        Objective(content["objective"]),
        content["cost_budget"],
        content["whole_front"],
    )


def explain_search(space: SearchSpace, content: Mapping[str, Any], where: str, *, place: int, seed: int) -> Explanation:
    """Explain one of the policies that a search evaluated.

    Args:
        space: that was searched.
        content: of the search's file.
        where: the file, for messages.
        place: of the policy among its records.
        seed: of the run.

    Raises:
        MhoError: the search evaluated too few policies.
    """
    records = read_records(content, where)
    generator = np.random.default_rng(derive_seed(seed, "explanation"))
    return explain_policy(space, read_goal(content, records[0]), records, records[place].policy, generator)
