import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from search_problem import resnet18_space

from mho.bit_search.agent_environment import PlanningEnvironment, action_at, place_of
from mho.bit_search.choice_tables import ChoiceTables
from mho.errors import ConfigError
from mho.policy import BitWidths


def make(seed=0, **limits):
    space = resnet18_space(**limits)
    tables = ChoiceTables(space)
    environment = PlanningEnvironment(tables)
    logs = np.random.default_rng(seed).normal(-3, 1, (len(space.layers), 2, 1)) - np.arange(8)
    environment.enter(tables.increases(np.exp(logs)))
    return environment, tables.increases(np.exp(logs))


def play(environment, actions):
    observation, _ = environment.reset()
    seen, rewards, done, info = [observation], [], False, {}
    for action in actions:
        assert not done
        observation, reward, done, _, info = environment.step(np.array([action], np.float32))
        seen.append(observation)
        rewards.append(reward)
    assert done
    return np.array(seen), rewards, info["row"]


def test_it_is_a_gymnasium_environment():
    check_env(make()[0], skip_render_check=True)


def test_places_and_actions_are_inverse():
    for count in (1, 2, 7, 40):
        assert [place_of(float(a), count) for a in action_at(np.arange(count), count)] == list(range(count))
        assert (place_of(-1.0, count), place_of(1.0, count)) == (0, count - 1)


def test_an_episode_takes_choices_of_the_frontiers_and_ends_with_the_reward_of_the_whole_policy():
    environment, increases = make()
    tables, draws = environment.tables, np.random.default_rng(1)
    seen, rewards, row = play(environment, draws.uniform(-1, 1, len(tables.free)))
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert rewards[:-1] == [0.0] * (len(rewards) - 1)
    assert rewards[-1] == pytest.approx(tables.reward(*tables.sums(increases, row[None]))[0])
    assert all(number in environment.frontiers.numbers[k] for k, number in enumerate(row))
    (first, last) = environment.tables.space.layers[0], environment.tables.space.layers[-1]
    assert [first.choices[row[0]], last.choices[row[-1]]] == [BitWidths(8, 8)] * 2


def test_the_ends_of_actions_are_the_least_loss_increase_and_the_least_cost():
    environment, increases = make()
    tables = environment.tables
    _, _, careful = play(environment, [-1.0] * len(tables.free))
    _, _, cheap = play(environment, [1.0] * len(tables.free))
    (least_increase, increase), (share, least_share) = tables.sums(increases, np.array([careful, cheap]))
    assert least_increase == pytest.approx(increases.min(axis=1).sum())
    assert least_share == pytest.approx(tables.shares.min(axis=1).sum())
    assert increase > least_increase
    assert share > least_share


def test_actions_lead_to_wanted_choices():
    environment, _ = make()
    wanted = [int(numbers[len(numbers) // 2]) for numbers in environment.frontiers.numbers]
    actions = [environment.action_towards(int(k), wanted[k])[0] for k in environment.tables.free]
    _, _, row = play(environment, actions)
    assert row.tolist() == wanted


def test_what_is_seen_differs_between_samples_and_budgets_but_not_units():
    environment, increases = make()
    first, _ = environment.reset()
    environment.enter(increases / 3.0)
    other, _ = environment.reset()
    assert not np.array_equal(first, other)
    environment.enter(increases)
    again, _ = environment.reset()
    np.testing.assert_array_equal(first, again)


def test_a_space_without_choices_is_refused():
    held = {name: BitWidths(8, 8) for name in resnet18_space().layer_names}
    with pytest.raises(ConfigError, match="nothing to choose"):
        PlanningEnvironment(ChoiceTables(resnet18_space(pins=held)))
