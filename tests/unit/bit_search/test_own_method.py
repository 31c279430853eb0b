"""A user's own search method is one beside the built-in ones: logged, resumed, checked."""

from functools import partial

import numpy as np
import pytest
from search_problem import SmoothEvaluator, small_space

from mho.bit_search.evaluation import Measurement
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import METHODS
from mho.bit_search.own_method import OwnMethod
from mho.bit_search.runner import SearchLimits, run_search
from mho.errors import ConfigError
from mho.policy import BitWidths, Policy


class Drawn:
    """Draws every layer's widths; remembers what was reported to it."""

    def __init__(self, space, goal, budget, generator):
        self.space, self.goal, self.budget, self.generator, self.records = space, goal, budget, generator, []

    def ask(self, _=()):
        return Policy({one.name: one.choices[self.generator.integers(len(one.choices))] for one in self.space.layers})

    def tell(self, record):
        self.records.append(record)


def search(method, *, log=None, given=(), **limits):
    space = small_space(prune=True)
    evaluator = SmoothEvaluator(space.layer_names)
    log = log or EvaluationLog(None, evaluator.problem)
    generator = np.random.default_rng(3)
    return run_search(method, space, evaluator, log, SearchLimits(**{"budget": 8, **limits}), generator, given=given)


def test_it_is_made_with_what_a_search_knows_and_gets_every_record():
    made = []

    def make(*arguments):
        made.append(Drawn(*arguments))
        return made[-1]

    result = search(OwnMethod("drawn", make))
    (method,) = made
    assert (result.method, len(result.records), result.ended) == ("drawn", 8, "budget")
    assert (method.goal, method.budget) == (result.goal, 8)
    assert tuple(method.records) == result.records
    assert {record.method for record in result.records} == {"drawn"}


def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    space = small_space(prune=True)
    log = partial(EvaluationLog, tmp_path / "log.jsonl", SmoothEvaluator(space.layer_names).problem)
    search(OwnMethod("drawn", Drawn), log=log(), budget=4)
    resumed = search(OwnMethod("drawn", Drawn), log=log())
    policies = [record.policy for record in resumed.records]
    assert policies == [record.policy for record in search(OwnMethod("drawn", Drawn)).records]


@pytest.mark.parametrize("learns", [False, True])
def test_what_it_supports_is_what_it_says(learns):
    method = OwnMethod("drawn", Drawn, supports_warm_start=learns, supports_front=learns)
    earlier = search(method).records[1:]
    if learns:
        assert search(method, given=earlier).given == len(earlier)
        assert search(method, whole_front=True).front
        return
    with pytest.raises(ConfigError, match="drawn learns from nothing but"):
        search(method, given=earlier)
    with pytest.raises(ConfigError, match="drawn looks for one policy"):
        search(method, whole_front=True)


@pytest.mark.parametrize("proposal", ["8/8", BitWidths(8, 8), Policy({"conv1": BitWidths(8, 8)})])
def test_a_proposal_outside_of_the_space_is_an_error_that_names_the_method(proposal):
    class Wrong(Drawn):
        def ask(self, _=()):
            return proposal

    with pytest.raises(ConfigError, match="which the space does not have") as raised:
        search(OwnMethod("wrong", Wrong))
    assert raised.value.where == "search method wrong"


def test_what_is_no_method_is_refused():
    with pytest.raises(ConfigError, match="has no ask and no tell"):
        search(OwnMethod("object", lambda *_: object()))
    with pytest.raises(ConfigError, match="makes no search method"):
        OwnMethod("drawn", "Drawn")
    with pytest.raises(ConfigError, match="is no search method"):
        search(Drawn)
    for name in ("", "two words", "1st", 5):
        with pytest.raises(ConfigError, match="is called"):
            OwnMethod(name, Drawn)


@pytest.mark.parametrize("name", ["auto", *METHODS])
def test_names_of_built_in_methods_stay_theirs(name):
    with pytest.raises(ConfigError, match="is a built-in method"):
        search(OwnMethod(name, Drawn))


def test_a_diverged_training_reaches_it_as_a_failed_record():
    failed = Measurement.of(float("nan"), 0.5)

    class Diverging(SmoothEvaluator):
        def evaluate(self, policy):
            return super().evaluate(policy) if set(policy.layers.values()) == {BitWidths(8, 8)} else failed

    made = []
    space = small_space(prune=True)
    evaluator = Diverging(space.layer_names)
    run_search(
        OwnMethod("drawn", lambda *arguments: made.append(Drawn(*arguments)) or made[0]),
        space, evaluator, EvaluationLog(None, evaluator.problem), SearchLimits(budget=4), np.random.default_rng(0),
    )  # fmt: skip
    assert [record.is_ok for record in made[0].records] == [True, False, False, False]
