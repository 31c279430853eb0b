"""Which records of other searches teach a search, and at what costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import OK, EvaluationRecord
from mho.bit_search.layer_features import LAYER_FEATURES
from mho.bit_search.log import EvaluationLog
from mho.bit_search.space import SearchSpace
from mho.bit_search.warm_start import known_records, snapshot
from mho.errors import ConfigError
from mho.policy import BitWidths, Policy

NAMES = ("a", "b")
PROBLEM = {"network": "n", "steps": "s", "data": {"train": "t"}, "training": None, "accelerator": "one", "seed": 1}


class NamedEvaluator:
    """An evaluator that is only asked what it is."""

    fidelity = "ptq"

    def __init__(self, **changes):
        self.problem = PROBLEM | changes


@pytest.fixture
def space():
    table = np.arange(1, 129, dtype=np.int64).reshape(2, 8, 8)
    return SearchSpace.build(NAMES, table, np.zeros((2, len(LAYER_FEATURES))), SearchConstraints(hold_first_last=None))


@pytest.fixture
def log():
    log = EvaluationLog(None, PROBLEM)
    made = EvaluationRecord(
        policy=Policy.uniform(NAMES, BitWidths(4, 4)), score=1.0, accuracy=0.5, cost=7, seed=1, seconds=0.0,
        method="exact", index=0, fidelity="ptq", status=OK,
    )  # fmt: skip
    for record in (
        replace(made, policy=Policy.uniform(NAMES, BitWidths(8, 8))),
        made,
        replace(made, fidelity="32 steps"),
        replace(made, policy=Policy.uniform(("c", "d"), BitWidths(4, 4))),
        replace(made, policy=Policy.uniform(NAMES, BitWidths(4, 4, 5))),
    ):
        log.append(record)
    return log


def test_records_of_the_same_layers_and_fidelity_come_at_the_costs_of_the_space(log, space):
    (known,) = known_records(log, NamedEvaluator(accelerator="two", seed=2), space, where="log")
    assert known.policy == Policy.uniform(NAMES, BitWidths(4, 4))
    assert known.cost == space.cost_of(known.policy) != 7
    assert (known.score, known.method) == (1.0, "exact")


@pytest.mark.parametrize("change", [{"network": "m"}, {"data": {"train": None}}, {"training": {"steps": "9"}}])
def test_measurements_of_another_problem_are_refused(log, space, change):
    with pytest.raises(ConfigError, match=f"differ in {next(iter(change))}"):
        known_records(log, NamedEvaluator(**change), space, where="log.jsonl")


def test_on_arrays_the_accelerator_must_be_the_same(space):
    on_arrays = {"network_evaluator": {"arrays": 1}}
    log = EvaluationLog(None, PROBLEM | on_arrays)
    assert known_records(log, NamedEvaluator(**on_arrays), space, where="log") == ()
    with pytest.raises(ConfigError, match="accelerator"):
        known_records(log, NamedEvaluator(**on_arrays, accelerator="two"), space, where="log")


def test_a_snapshot_stays_what_it_was(log, tmp_path):
    first = snapshot(log, tmp_path / "known.jsonl").records
    log.append(replace(log.records[1], fidelity="other"))
    assert snapshot(log, tmp_path / "known.jsonl").records == first
    assert len(first) == 5
