import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from search_problem import resnet18_space
from stable_baselines3.common.env_checker import check_env as check_env_for_agents

from mho.bit_search.paper_environment import BitWidthEnvironment, bits_from_range, option_from_share
from mho.errors import ConfigError
from mho.policy import BitWidths, Policy


def play(environment, actions):
    observations, rewards = [environment.reset(seed=0)[0]], []
    for action in actions:
        observation, reward, done, _, info = environment.step(np.array([action], dtype=np.float32))
        observations.append(observation)
        rewards.append(reward)
    assert done
    return observations, rewards, info["policy"]


@pytest.mark.parametrize("prune", [True, False])
def test_the_environment_passes_the_checkers_of_gymnasium_and_of_the_agents_library(prune):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(BitWidthEnvironment(resnet18_space(prune=prune), lambda _: 1.0), skip_render_check=True)
        check_env_for_agents(BitWidthEnvironment(resnet18_space(prune=prune), lambda _: 1.0))


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


def test_in_a_pruned_space_layers_without_a_choice_take_no_step():
    environment = BitWidthEnvironment(resnet18_space())
    assert len(environment.decisions) == 2 * 19
    assert environment.observation_space.shape == (13,)


def test_every_policy_of_an_episode_lies_in_the_space():
    space = resnet18_space()
    environment = BitWidthEnvironment(space)
    draws = np.random.default_rng(0)
    for _ in range(30):
        _, _, policy = play(environment, draws.random(38))
        assert space.contains(policy)


def test_the_reward_comes_at_the_end_from_the_judge():
    environment = BitWidthEnvironment(resnet18_space(), lambda policy: float(policy["fc"].weight_bits))
    _, rewards, _ = play(environment, [0.5] * 38)
    assert rewards == [0.0] * 37 + [8.0]


def test_an_episode_can_be_played_again_after_another():
    environment = BitWidthEnvironment(resnet18_space())
    first, _, policy = play(environment, [0.3] * 38)
    play(environment, [0.9] * 38)
    again, _, same = play(environment, [0.3] * 38)
    assert policy == same
    np.testing.assert_array_equal(first, again)


def test_progress_features_tell_what_was_spent_and_what_is_left():
    space = resnet18_space(hold_first_last=None)
    environment = BitWidthEnvironment(space)
    observations, _, _ = play(environment, [1.0] * 42)
    shares = [float(o[12]) for o in observations[:42:2]]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert all(float(o[11]) == 1.0 for o in observations[:42])
    slim, _, _ = play(environment, [0.0] * 42)
    assert all(float(o[11]) < 0.9 for o in slim[2:42])


def test_a_space_without_a_choice_is_refused():
    space = resnet18_space(min_weight_bits=8, min_act_bits=8)
    with pytest.raises(ConfigError, match="nothing to choose"):
        BitWidthEnvironment(space)
