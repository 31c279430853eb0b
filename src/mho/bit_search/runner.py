"""Runs a search: lets the method propose, evaluates, logs, counts, and picks the best policy.

A search that was killed goes on when it is called again with the same arguments: the method is replayed from its start
and the log answers what was evaluated before, so policies, records and best policy are those of a run that was never
interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.bit_search.auto import MethodChoice, choose_method
from mho.bit_search.baselines import UniformSearch
from mho.bit_search.evaluation import ChipAwareEvaluator, EvaluationRecord, Evaluator, Variant, pool
from mho.bit_search.goal import Goal, front_of, select_nearest
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer, Measurer
from mho.bit_search.method import SavesAgent, SearchMethod
from mho.bit_search.methods import (
    AUTO,
    MethodOptions,
    check_given,
    check_goal,
    method_factory,
    name_of,
    supports_warm_start,
)
from mho.bit_search.own_method import OwnMethod
from mho.bit_search.search_state import Noise, OnPolicy, SearchLimits, SearchState
from mho.bit_search.space import SearchSpace
from mho.display import Drawable, Table
from mho.errors import MhoError
from mho.formats import format_cost, plural
from mho.policy import Policy
from mho.task.task import CLASSIFICATION

if TYPE_CHECKING:
    from mho.bit_search.agent_file import SavedAgent

MAX_REPEATS = 200
"""A method that proposes nothing new this often in a row has ended."""


@dataclass(frozen=True)
class SearchResult(Drawable):
    """What a search found.

    Attributes:
        method: name of the method.
        goal: reference, allowed loss.
        reference: the record of uniform 8/8.
        best: the best policy (see `mho.bit_search.goal.select_best`); None where no policy of the space reaches the
            target.
        records: every distinct policy that this search evaluated or was given, in order, the reference first.
        front: the Pareto front of cost and accuracy, cheapest first.
        ended: "budget", "exhausted" (the method had nothing new to propose), "stopped" (by `on_progress`) or "failed"
            (by an error; records are what was evaluated before).
        given: how many of the records, those after the reference, come from earlier searches.
        spent: what all that was worth, in full evaluations (`mho.bit_search.screening`).
        noise: of the measurements of the best policy and the reference; None where nothing was repeated.
        agent: what the agent of `rl` has learned; None for other methods.
        choice: why "auto" took the method; None where the method was specified.
    """

    method: str
    goal: Goal
    reference: EvaluationRecord
    best: EvaluationRecord | None
    records: tuple[EvaluationRecord, ...]
    front: tuple[EvaluationRecord, ...]
    ended: str
    given: int = 0
    spent: float = 0.0
    noise: Noise | None = None
    agent: SavedAgent | None = None
    choice: MethodChoice | None = None

    @property
    def tried(self) -> int:
        """How many distinct policies this search evaluated."""
        return len(self.records) - self.given

    @property
    def repeats(self) -> int:
        """How many evaluations of these policies, with other seeds, came after their first."""
        own = (self.reference, *self.records[1 + self.given :])
        return sum(record.seeds - 1 for record in own)

    def __repr__(self) -> str:
        return f"SearchResult({self._summary})"

    @property
    def _summary(self) -> str:
        best, tried = self.best, plural(self.tried, "policy", "policies")
        if self.repeats:
            tried = f"{self.tried + self.repeats:,} evaluations: {tried}, {plural(self.repeats, 'repeat')}"
        if best is None or best.accuracy is None:
            return f"{self.method}: {tried}, none reaches the target"
        metric, gain = self.goal.task.metric, self.reference.cost / best.cost
        lost = metric.scale * (self.goal.reference_accuracy - best.accuracy)
        points = f"{metric.format_drop(abs(lost))} {'lost' if lost >= 0 else 'gained'}"
        return f"{self.method}: {tried}, best {gain:.2f}x less {self.goal.objective} than 8/8, {points}"

    def table(self) -> Table:
        """Return one row a policy, in the order tried, the reference first; costs in the unit that the title names."""
        front = {id(record) for record in self.front}
        unit = self.goal.objective.unit.replace(" ", "_").lower()
        return Table(
            self._summary,
            (
                f"cost_{unit}", "gain", "accuracy", "score", "on_front", "is_best", "method", "status", "seeds",
                "seconds", "policy",
            ),
            tuple(
                (
                    record.cost, self.reference.cost / record.cost if record.cost else None, record.accuracy,
                    record.score, id(record) in front, record is self.best, record.method, record.status, record.seeds,
                    record.seconds, " ".join(map(str, record.policy.layers.values())),
                )
                for record in self.records
            ),
        )  # fmt: skip

    @property
    def missed(self) -> str:
        """What the search did not reach, by how much, and what may help; empty where it has a best policy."""
        if self.best is not None:
            return ""
        what, hint = self._describe_miss()
        return f"{what[0].upper()}{what[1:]}: {hint}."

    def require_best(self) -> EvaluationRecord:
        """Return the best policy.

        Raises:
            MhoError: no policy of the space reaches the target, or costs as little as the budget.
        """
        if self.best is None:
            what, hint = self._describe_miss()
            raise MhoError(what, where=f"search by {self.method}", hint=hint)
        return self.best

    def _describe_miss(self) -> tuple[str, str]:
        """Return what no policy reaches, the nearest beside it, and what may help."""
        goal, nearest = self.goal, select_nearest(self.goal, [one for one in self.records if one is not self.reference])
        what = f"no policy of {len(self.records)} evaluated"
        if goal.cost_budget is not None:
            unit = goal.objective.unit
            least = "" if nearest is None else f", the cheapest beside uniform 8/8 {format_cost(nearest.cost, unit)}"
            return (
                f"{what} costs {format_cost(goal.cost_budget, unit)} or less{least}",
                "raise cost_budget, allow fewer bits, or evaluate more policies",
            )
        metric = goal.task.metric
        most = "" if nearest is None else f", the best beside uniform 8/8 {metric.format(nearest.accuracy)}"
        words = f"{'an' if metric.words[0] in 'aeiF' else 'a'} {metric.words}"
        return (
            f"{what} reaches {words} of {metric.format(goal.target_accuracy)} on validation data{most}",
            "allow a larger drop or more bits, evaluate more policies, or train each longer",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of a result file."""
        return {
            "method": self.method,
            "objective": str(self.goal.objective),
            **({} if self.goal.task == CLASSIFICATION else {"task": self.goal.task.to_json()}),
            "reference_accuracy": self.goal.reference_accuracy,
            "allowed_drop": None if self.goal.cost_budget is not None else self.goal.allowed_drop,
            "cost_budget": self.goal.cost_budget,
            "whole_front": self.goal.whole_front,
            "reference": self.reference.to_json(),
            "best": None if self.best is None else self.best.to_json(),
            "front": [self.records.index(record) for record in self.front],
            "records": [record.to_json() for record in self.records],
            "ended": self.ended,
            "given": self.given,
            "spent": round(self.spent, 6),
            "noise": None if self.noise is None else self.noise.to_json(),
        }


def run_search(
    method: str | OwnMethod,
    space: SearchSpace,
    evaluator: Evaluator,
    log: EvaluationLog,
    options: SearchLimits,
    generator: np.random.Generator,
    on_progress: OnPolicy | None = None,
    *,
    method_options: MethodOptions | None = None,
    given: Sequence[EvaluationRecord] = (),
    measurer: Measurer | None = None,
) -> SearchResult:
    """Search for the cheapest policy within the allowed loss of accuracy, or the most accurate within a cost budget.

    Args:
        method: one of `mho.bit_search.methods.METHODS`, "auto" (`mho.bit_search.auto`), or one's own.
        space: what may be proposed.
        evaluator: measures policies.
        log: records of this problem; answers what was evaluated before.
        options: budget, and what is looked for.
        generator: randomness of the method. Pass one of the same state to go on after a kill.
        on_progress: called after every distinct policy; where it returns True, no further one is proposed.
        method_options: options of the method.
        given: records of earlier searches (`bit_search.warm_start.known_records`): the method learns from them, they
            may win, and they do not count into the budget.
        measurer: who measures in the evaluator's place, several policies at a time; None: the evaluator itself.

    Raises:
        ConfigError: unknown method or impossible options, or the method learns from nothing but its own evaluations.
        MhoError: the reference could not be evaluated.
    """
    choice = choose_method(space, options.budget, method_options) if method == AUTO else None
    method = method if choice is None else choice.method
    make_method = method_factory(method, method_options)
    if space.size == 1:  # nothing to learn
        make_method = UniformSearch
    check_given(method, given)
    limit = None if options.cost_budget is None else options.cost_budget.of(space.reference_cost)
    check_goal(method, space, cost_budget=limit, whole_front=options.whole_front)
    state = SearchState(
        name_of(method), space, evaluator, log, options, on_progress, measurer or LocalMeasurer(evaluator)
    )
    reference = _measure_reference(state)
    goal = make_goal(_find_full_figures(state, reference), options, space, limit)
    state.start(goal, given)
    method_at_work = make_method(space, goal, options.budget, generator)
    for record in state.records:
        method_at_work.tell(record)
    ended = _walk(state, method_at_work, options.batch, learns_again=supports_warm_start(method))
    agent = method_at_work.save() if isinstance(method_at_work, SavesAgent) else None
    return _sum_up(state, goal, reference, ended, agent, choice)


def _sum_up(
    state: SearchState,
    goal: Goal,
    reference: EvaluationRecord,
    ended: str,
    agent: SavedAgent | None,
    choice: MethodChoice | None,
) -> SearchResult:
    best, records = state.best(), tuple(state.records)
    return SearchResult(
        method=state.method,
        goal=goal,
        reference=reference,
        best=best,
        records=records,
        front=front_of(records),
        ended=ended,
        given=len(state.given),
        spent=state.spent,
        noise=None if best is None else state.noise_of(best, reference),
        agent=agent,
        choice=choice,
    )


def _measure_reference(state: SearchState) -> EvaluationRecord:
    """Return the record of the reference, with all seeds. Raises `MhoError` where it cannot be evaluated."""
    (reference,) = state.evaluate([state.space.reference_policy])
    while reference.is_ok and reference.seeds <= state.limits.repeats:
        (reference,) = state.measure_again([reference])
    if not reference.is_ok:
        raise MhoError(
            f"the reference policy could not be evaluated: {reference.note}",
            where=f"search by {state.method}",
            hint="lower the learning rate of the evaluation, or calibrate on more samples",
        )
    return reference


def _find_full_figures(state: SearchState, reference: EvaluationRecord) -> tuple[float, float]:
    """Return the accuracy and the loss that drops and excess losses count from: those of the reference.

    Where chips evaluate, its accuracy is that of exact integers: what chips lose is part of the drop, and a chip that
    loses much is no excuse for losing more. So is its loss where it loses more than is allowed on chips: where uniform
    8/8 is near chance, a loss that counted from there would tell none of the better policies apart.
    """
    evaluator, full = state.evaluator, reference
    if isinstance(evaluator, ChipAwareEvaluator) and evaluator.is_on_chips:
        variants = (Variant(repeat=repeat, is_exact=True) for repeat in range(reference.seeds))
        full = pool([record for variant in variants for record in state.measure_as(variant, [reference.policy])])
    assert full.accuracy is not None, "its training did not fail on chips either"
    known = state.limits.reference_accuracy
    return choose_full_figures(reference, full, full.accuracy if known is None else known, state.limits)


def choose_full_figures(
    reference: EvaluationRecord, exact: EvaluationRecord, accuracy: float, limits: SearchLimits
) -> tuple[float, float]:
    """Return the accuracy that drops count from, and the loss that excess losses do.

    Args:
        reference: the record of uniform 8/8, evaluated as policies are.
        exact: its record by exact integers; the same where policies are evaluated so.
        accuracy: that drops count from.
        limits: what may be lost.
    """
    assert reference.accuracy is not None, "it was measured"
    is_kept = reference.accuracy >= accuracy - limits.task.metric.allowed(limits.allowed_drop)
    score = reference.score if is_kept else exact.score
    assert score is not None, "measured with its accuracy"
    return accuracy, score


def make_goal(
    full_figures: tuple[float, float],
    options: SearchLimits,
    space: SearchSpace,
    cost_budget: int | None,
) -> Goal:
    """Return what a search is after.

    Args:
        full_figures: accuracy, 0..1, and loss of uniform 8/8 that drops and excess losses count from.
        options: what may be lost or cost.
        space: what is searched.
        cost_budget: what the best policy may cost, in the unit of the space's objective; None: what accuracy allows.
    """
    full_accuracy, full_score = full_figures
    return Goal(
        full_accuracy,
        options.allowed_drop,
        space.reference_cost,
        full_score,
        space.objective,
        cost_budget,
        options.whole_front,
        options.task,
    )


def _walk(state: SearchState, method: SearchMethod, batch: int, *, learns_again: bool) -> str:
    """Propose, evaluate and learn until the budget is spent, nothing new comes or the caller stops; return which."""
    repeated = 0
    while room := state.room(batch):
        if state.is_stopped:
            return "stopped"
        policies = _ask(method, room) if repeated < MAX_REPEATS else []
        if not policies:
            if _tell_again(method, state.end(), learns_again):
                continue  # the incumbent may have been replaced, and others may win now
            return "exhausted"
        before = len(state.records)
        for record in state.evaluate(policies):
            method.tell(record)
            if state.is_stopped:
                return "stopped"
        _tell_again(method, state.settle(), learns_again)
        repeated = repeated + len(policies) if len(state.records) == before else 0
    return "budget"


def _tell_again(method: SearchMethod, repeated: Iterator[EvaluationRecord], learns: bool) -> int:
    """Report policies that other seeds measured, where the method learns from that; return how many there were."""
    count = 0
    for record in repeated:
        count += 1
        if learns:
            method.tell(record)
    return count


def _ask(method: SearchMethod, count: int) -> list[Policy]:
    """Return so many proposals; fewer where the method has no more before these are evaluated."""
    policies: list[Policy] = []
    while len(policies) < count and (policy := method.ask(policies)) is not None:
        policies.append(policy)
    return policies
