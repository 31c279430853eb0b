"""Starting a search from what earlier searches measured: records of a log, of any method, objective and accelerator.

What a policy loses does not depend on the accelerator (except on arrays), and what it costs is known,
so a record of one accelerator teaches a search for another one, as long as network, training and data are the same.
Records that a search is given do not count into its budget; its method learns from all of them before it proposes
anything, and any of them may win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mho.bit_search.evaluation import EvaluationRecord, Evaluator
from mho.bit_search.log import EvaluationLog
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError, PolicyError
from mho.policy import Policy

_DECISIVE = ("network", "steps", "data", "training", "network_evaluator")
"""Keys of a problem that measurements must agree on to be compared."""


def known_records(
    log: EvaluationLog, evaluator: Evaluator, space: SearchSpace, *, where: str
) -> tuple[EvaluationRecord, ...]:
    """Return the records of a log that teach a search, in their order, at the costs of its space.

    Those of the evaluator's fidelity, without uniform 8/8, which every search measures itself; a policy whose cost the
    space does not know (of other layers, of ADC bits that are not searched) is left out.

    Args:
        log: where records come from.
        evaluator: of the search that gets them.
        space: of that search.
        where: what to name in errors, such as the log's path.

    Raises:
        ConfigError: measurements of the log are of another network, data or training, or on other arrays.
    """
    _check_problem(log.problem, evaluator.problem, where)
    found: list[EvaluationRecord] = []
    for record in log.records:
        is_known = record.fidelity == evaluator.fidelity and record.policy != space.reference_policy
        cost = _cost_of(record.policy, space) if is_known else None
        if cost is not None:
            found.append(replace(record, cost=cost, objective=space.objective))
    return tuple(found)


def snapshot(source: EvaluationLog, path: Path) -> EvaluationLog:
    """Return the log at `path`, first made a copy of `source` where there is none.

    A search that goes on after a kill must be given what it was given first, whatever was measured since.
    """
    if not path.exists():
        source.copy_to(path)
    return EvaluationLog.read(path)


def _cost_of(policy: Policy, space: SearchSpace) -> int | None:
    try:
        return space.cost_of(policy)
    except PolicyError:
        return None


def _check_problem(theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> None:
    keys = [key for key in _DECISIVE if theirs.get(key) != ours.get(key)]
    if ours.get("network_evaluator") is not None and theirs.get("accelerator") != ours.get("accelerator"):
        keys.append("accelerator (policies are evaluated on its arrays)")
    if keys:
        raise ConfigError(
            f"its measurements are of another problem: they differ in {', '.join(keys)}",
            where=where,
            expected="the same network, weights, data and training of candidates",
            hint="a saved agent (--agent) can be taken to another network",
        )
