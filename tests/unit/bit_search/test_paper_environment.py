import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from search_problem import resnet18_space
from stable_baselines3.common.env_checker import check_env as check_env_for_agents

from mho.bit_search.paper_environment import BitWidthEnvironment, bits_from_range, option_from_share
from mho.policy import BitWidths, Policy


def play(environment, actions):
    observations, rewards = [environment.reset(seed=0)[0]], []
    for action in actions:
        observation, reward, done, _, info = environment.step(np.array([action], dtype=np.float32))
        observations.append(observation)
        rewards.append(reward)
    assert done
    return observations, rewards, info["policy"]


def test_the_environment_passes_the_checkers_of_gymnasium_and_of_the_agents_library():
    space = resnet18_space(prune=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(BitWidthEnvironment(space, lambda _: 1.0), skip_render_check=True)
        check_env_for_agents(BitWidthEnvironment(space, lambda _: 1.0))


@pytest.mark.parametrize(
    ("action", "bits"),
    [(0.0, 1), (0.06, 1), (0.124, 1), (0.126, 2), (0.5 + 1e-9, 5), (0.49, 4), (0.874, 7), (0.876, 8), (1.0, 8)],
)
def test_the_papers_mapping_of_an_action_to_bits(action, bits):
    assert bits_from_range(action, 1, 8) == bits


def test_the_papers_mapping_stays_in_range_at_both_ends_of_any_range():
    for low in range(1, 9):
        for high in range(low, 9):
            assert bits_from_range(0.0, low, high) == low
            assert bits_from_range(1.0, low, high) == high


@pytest.mark.parametrize(("action", "bits"), [(0.0, 4), (0.499, 4), (0.5, 8), (1.0, 8)])
def test_options_have_equal_shares_of_the_action(action, bits):
    assert option_from_share(action, (4, 8)) == bits


def test_in_the_papers_mode_every_layer_takes_two_steps_and_sees_ten_features():
    space = resnet18_space(prune=False, weight_bits_multiple=4)
    environment = BitWidthEnvironment(space)
    observations, _, policy = play(environment, [0.2, 0.9] * 21)
    assert environment.observation_space.shape == (10,)
    assert policy == Policy(
        dict.fromkeys(space.layer_names, BitWidths(4, 8)) | {"conv1": BitWidths(8, 8), "fc": BitWidths(8, 8)}
    )
    flags = [float(observation[9]) for observation in observations[:-1]]
    assert flags == [1.0, 0.0] * 21
    assert observations[0][8] == 0.0
    assert [float(o[8]) for o in observations[1:5]] == [1.0, 1.0, 0.5, 1.0]


def test_every_policy_of_an_episode_lies_in_the_space():
    space = resnet18_space(prune=False)
    environment = BitWidthEnvironment(space)
    draws = np.random.default_rng(0)
    for _ in range(30):
        _, _, policy = play(environment, draws.random(42))
        assert space.contains(policy)


def test_the_reward_comes_at_the_end():
    environment = BitWidthEnvironment(resnet18_space(prune=False), lambda policy: float(policy["fc"].weight_bits))
    _, rewards, _ = play(environment, [0.5] * 42)
    assert rewards == [0.0] * 41 + [8.0]


def test_an_episode_can_be_played_again_after_another():
    environment = BitWidthEnvironment(resnet18_space(prune=False))
    first, _, policy = play(environment, [0.3] * 42)
    play(environment, [0.9] * 42)
    again, _, same = play(environment, [0.3] * 42)
    assert policy == same
    np.testing.assert_array_equal(first, again)
