from types import SimpleNamespace

import pytest

from mho.bit_search.budget import CostBudget
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal, front_of
from mho.errors import ConfigError
from mho.policy import BitWidths, Policy
from mho.settings import parse_settings
from mho.workflow.search_settings import SearchSettings
from mho.workflow.search_stage import order_finalists, read_cost_budget


def record(index: int, cost: int, accuracy: float) -> EvaluationRecord:
    policy = Policy({"fc": BitWidths(8, 8 - index)})
    return EvaluationRecord(policy, 1.0 - accuracy, accuracy, cost, 0, 0.0, "rl", index, "f", "ok")


def result(*records: EvaluationRecord, best: int | None, cost_budget: int | None = None) -> SimpleNamespace:
    goal = Goal(0.99, 1.0, 100, 0.01, cost_budget=cost_budget)
    return SimpleNamespace(
        records=records,
        front=front_of(records),
        best=None if best is None else records[best],
        reference=records[0],
        goal=goal,
    )


def space(*outside: int) -> SimpleNamespace:
    return SimpleNamespace(contains=lambda policy: 8 - policy["fc"].act_bits not in outside)


RECORDS = (record(0, 100, 0.99), record(1, 50, 0.97), record(2, 60, 0.96), record(3, 70, 0.985), record(4, 40, 0.5))


def test_finalists_are_the_winner_and_then_slower_ones_that_are_more_accurate():
    assert order_finalists(result(*RECORDS, best=1), space()) == [1, 3, 0]


def test_uniform_8_8_is_no_finalist_where_it_breaks_the_limits_of_the_search():
    records = (record(0, 100, 0.99), record(1, 50, 0.97), record(2, 70, 0.98))
    assert order_finalists(result(*records, best=1), space(0)) == [1, 2]


def test_within_a_cost_budget_finalists_are_those_that_keep_it_the_least_loss_first():
    assert order_finalists(result(*RECORDS, best=1, cost_budget=60), space()) == [1, 2, 4]
    assert order_finalists(result(*RECORDS, best=3, cost_budget=70), space()) == [3, 1, 2, 4]


def test_the_only_finalist_is_the_nearest_policy_of_the_space_where_none_keeps_the_goal():
    assert order_finalists(result(*RECORDS, best=None), space(0)) == [3]
    assert order_finalists(result(*RECORDS, best=None, cost_budget=30), space(0)) == [4]
    assert order_finalists(result(RECORDS[0], best=None), space(0)) == [0]


def settings(**given) -> SearchSettings:
    return parse_settings(SearchSettings, {"budget": 2 if "policy" in given else 5, **given}, where="search")


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ({}, None),
        ({"cost_budget": 0.4}, CostBudget(share=0.4)),
        ({"cost_budget": "0.4"}, CostBudget(share=0.4)),
        ({"cost_budget": "250 us"}, CostBudget(amount=250_000_000)),
        ({"cost_budget": "3.5 nJ", "objective": "energy"}, CostBudget(amount=3_500_000_000)),
        ({"cost_budget": "2 nJ us", "objective": "energy-delay"}, CostBudget(amount=2 * 10**15)),
        ({"cost_budget": "96 crossbars", "objective": "crossbars"}, CostBudget(amount=96)),
    ],
)
def test_cost_budgets_are_read_under_the_objective(given, budget):
    assert read_cost_budget(settings(**given)) == budget


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cost_budget": 1.5}, "cost_budget: is 1.5"),
        ({"cost_budget": 0}, "cost_budget: is 0"),
        ({"cost_budget": "3 nJ"}, "the cost budget is '3 nJ'; expected a share(.|\n)*ps, ns, us"),
        ({"cost_budget": "soon"}, "the cost budget is 'soon'"),
        ({"cost_budget": 0.4, "allowed_drop": 1.0}, "either allowed_drop or cost_budget"),
        ({"cost_budget": 0.4, "whole_front": True, "method": "exact"}, "either cost_budget or whole_front"),
        ({"ranges": {"a": {"weights": [4, 2]}}}, r"ranges\.a: weights are 4 to 2"),
        ({"ranges": {"a": {"weights": [0, 2]}}}, r"ranges\.a\.weights"),
        ({"ranges": {"a": {"weight": [1, 2]}}}, r"ranges\.a\.weight: unknown key"),
        ({"ranges": {"a": {"acts": [2, 4]}}, "pins": {"a": "8/8"}}, "a: a layer has either a pin or a range"),
        ({"policy": {}}, "policy names no layer"),
        (
            {"policy": {"a": "4/4"}, "budget": 9, "pins": {"b": "8/8"}},
            "policy and pins, budget: where a policy is given",
        ),
        ({"whole_front": True, "method": "random"}, "whole_front needs one of the methods"),
    ],
)
def test_goals_that_contradict_themselves_are_reported(given, message):
    with pytest.raises(ConfigError, match=message):
        settings(**given)


def test_settings_read_back_from_what_they_tell_and_tell_no_unused_keys():
    ranges = {"a": {"weights": [2, 4]}, "b": {"acts": [4, 8]}}
    assert settings(ranges=ranges).model_dump(mode="json")["ranges"] == ranges
    for given in (
        {},
        {"ranges": ranges},
        {"cost_budget": 0.4},
        {"cost_budget": "250 us"},
        {"whole_front": True, "method": "exact"},
    ):
        one = settings(**given)
        document = one.model_dump(mode="json")
        assert settings(**document).model_dump() == one.model_dump()
        assert ("cost_budget" in document) == ("cost_budget" in given) != ("allowed_drop" in document)
    assert "whole_front" not in settings().model_dump(mode="json")
