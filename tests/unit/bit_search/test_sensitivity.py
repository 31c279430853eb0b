import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_layers, resnet18_space

from mho.bit_search.operands import BITS
from mho.bit_search.sensitivity import SensitivityModel, SensitivityPrior
from mho.bit_search.space_policies import draw_policy
from mho.errors import ConfigError

NAMES = [layer.name for layer in resnet18_layers()]
UNIT = 0.03


def measured(count, seed=0):
    space, draws = resnet18_space(hold_first_last=None), np.random.default_rng(seed)
    evaluator = SmoothEvaluator(NAMES, noise=0.0)
    policies = [draw_policy(space, draws, spread=True) for _ in range(count)]
    return policies, np.array([2.0 * evaluator.damage(policy) for policy in policies])


def true_logs():
    """Logarithms of excess at 2 bits, in units."""
    evaluator = SmoothEvaluator(NAMES, noise=0.0)
    pairs = np.array([[evaluator.weights[name], evaluator.acts[name]] for name in NAMES])
    return np.log(2.0 * pairs / UNIT)


def test_the_model_learns_which_layers_are_sensitive():
    space = resnet18_space(hold_first_last=None)
    evaluator = SmoothEvaluator(space.layer_names, noise=0.0)
    draws = np.random.default_rng(0)
    policies = [draw_policy(space, draws, spread=True) for _ in range(80)]
    unseen = [draw_policy(space, draws, spread=True) for _ in range(40)]
    model, unit = SensitivityModel(space.layer_names), 0.03

    def error():
        increases = model.increases()
        predicted = [
            sum(
                increases[k, 0, policy[n].weight_bits - 1] + increases[k, 1, policy[n].act_bits - 1]
                for k, n in enumerate(space.layer_names)
            )
            for policy in unseen
        ]
        true = [2.0 * evaluator.damage(policy) / unit for policy in unseen]
        return np.std(np.log(predicted) - np.log(true))

    before = error()
    model.fit(policies, np.array([2.0 * evaluator.damage(policy) for policy in policies]), unit)
    assert error() < 0.15 < before
    increases = model.increases()
    assert np.all(np.diff(increases[:, :, 3:]) < 0)
    assert increases.shape == (21, 2, 8)
    assert not np.array_equal(model.increases(draws), increases)


def test_the_model_is_surer_after_more_evaluations():
    found = []
    for count in (0, 10, 100):
        model = SensitivityModel(NAMES)
        if count:
            model.fit(*measured(count), UNIT)
        found.append(model.deviations.mean())
    assert found[0] > 1.1 * found[1] > 1.1 * found[2]


def test_deviations_are_those_of_drawn_samples():
    model, draws = SensitivityModel(NAMES), np.random.default_rng(2)
    model.fit(*measured(40), UNIT)
    logs = np.array([np.log(model.increases(draws)[:, :, 1]) for _ in range(800)])
    shift = logs.mean(axis=(1, 2), keepdims=True)  # factors that all layers share
    spread = (logs - shift).std(axis=0) / 0.4
    assert np.corrcoef(spread.ravel(), model.deviations.ravel())[0, 1] > 0.95


def test_what_is_known_beforehand_orders_layers_before_any_evaluation():
    logs = true_logs()
    prior = SensitivityPrior(logs + 5.0, np.full(logs.shape, 0.1), 1.0, 0.1, np.zeros((2, 8)), "a test")
    model = SensitivityModel(NAMES, prior)
    found = np.log(model.increases()[:, :, 1])
    np.testing.assert_allclose(found - found.mean(), logs - logs.mean(), atol=1e-6)
    assert not np.ptp(np.log(SensitivityModel(NAMES).increases()[:, 0, 1]))


def test_a_prior_that_is_wrong_is_overruled_by_evaluations():
    wrong = SensitivityPrior(-true_logs(), np.full((len(NAMES), 2), 0.6), 1.0, 0.5, np.zeros((2, 8)), "a test")
    model = SensitivityModel(NAMES, wrong)
    correlation = []
    for count in (0, 200):
        if count:
            model.fit(*measured(count), UNIT)
        correlation.append(np.corrcoef(model.log_sensitivities.ravel(), true_logs().ravel())[0, 1])
    assert correlation[0] < -0.9
    assert correlation[1] > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.zeros((3, 1))}, "offsets have shape"),
        ({"stds": np.zeros((3, 2))}, "not above 0"),
        ({"profiles": np.zeros((2, 7))}, "profiles have shape"),
        ({"offsets": np.full((3, 2), np.nan)}, "not finite"),
    ],
)
def test_a_prior_is_checked(change, message):
    content = {"offsets": np.zeros((3, 2)), "stds": np.ones((3, 2)), "profiles": np.zeros((len(BITS), 8))}
    with pytest.raises(ConfigError, match=message):
        SensitivityPrior(**{**content, **change}, slope=1.0, slope_std=1.0, source="a test")


def test_a_prior_of_another_number_of_layers_is_refused():
    with pytest.raises(ConfigError, match="2 layers"):
        SensitivityModel(["a"], SensitivityPrior.nothing(2))
