import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from search_problem import SmoothEvaluator, resnet18_space, small_space

from mho.bit_search.agent import PlanningAgent
from mho.bit_search.agent_file import SavedAgent
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import OK, EvaluationRecord
from mho.bit_search.goal import Goal
from mho.bit_search.learners import Algorithm
from mho.bit_search.local_search import improve
from mho.bit_search.sensitivity import UNKNOWN_STD
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError, InputFileError


def goal_of(space, evaluator):
    reference = evaluator.evaluate(space.reference_policy)
    return Goal(reference.accuracy, 1.0, space.reference_cost, reference.score)


def drive(agent, space, evaluator, count):
    """Ask and tell `count` times; return the fastest gain whose true accuracy suffices, after each evaluation."""
    target = evaluator.true_accuracy(space.reference_policy) - 0.01
    best, gains = 0.0, []
    for policy in [space.reference_policy, *[None] * count]:
        asked = agent.ask() if policy is None else policy
        measured = evaluator.evaluate(asked)
        cost = space.cost_of(asked)
        agent.tell(EvaluationRecord(asked, measured.score, measured.accuracy, cost, 0, 0.0, "m", 0, "f", OK))
        if evaluator.true_accuracy(asked) >= target and policy is None:
            best = max(best, space.reference_cost / cost)
        gains.append(best)
    return gains


def make(algorithm=Algorithm.DDPG, seed=0, saved=None, space=None):
    space = resnet18_space() if space is None else space
    evaluator = SmoothEvaluator(space.layer_names, 0, noise=0.0)
    goal = goal_of(space, evaluator)
    return PlanningAgent(space, goal, 50, np.random.default_rng(seed), algorithm=algorithm, saved=saved), evaluator


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_algorithm_is_deterministic(algorithm):
    """That each finds fast policies is the subject of `test_method_quality`."""
    proposals = []
    for _ in range(2):
        agent, evaluator = make(algorithm, space=small_space())
        drive(agent, agent.tables.space, evaluator, 3)
        proposals.append(agent.ask())
    assert proposals[0] == proposals[1]


@pytest.mark.parametrize(
    ("algorithm", "rounds"), [(Algorithm.DDPG, 8), pytest.param(Algorithm.PPO, 24, marks=pytest.mark.slow)]
)
def test_the_agent_itself_learns(algorithm, rounds):
    """Without noise and look-ahead its episodes get nearer to what look-ahead makes of them."""
    agent, evaluator = make(algorithm)
    drive(agent, agent.tables.space, evaluator, 6)
    draws = np.random.default_rng(9)
    samples = [agent.sample_rollout()[0] for _ in range(8)]

    def shortfall():
        found = []
        for increases in samples:
            environment = agent._environments[0]
            environment.enter(increases)
            (row,) = agent._play([environment], np.zeros(1))
            (best,) = improve(agent.tables, increases, row[None], draws)
            increase, share = agent.tables.sums(increases, np.array([row, best]))
            own, other = agent.tables.reward(increase, share)
            found.append(other - own)
        return np.mean(found)

    fresh, _ = make(algorithm, seed=1)
    trained = agent.learner
    agent.learner = fresh.learner
    before = shortfall()
    agent.learner = trained
    for _ in range(rounds):
        agent._learn()
    assert shortfall() < 0.7 * before


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of an agent that has learned from a few evaluations."""
    agent, evaluator = make()
    drive(agent, agent.tables.space, evaluator, 14)
    path = tmp_path_factory.mktemp("agent") / "agent.safetensors"
    agent.save().save(path)
    return path


def test_a_saved_agent_comes_back_whole_and_starts_near_where_it_left_off(trained):
    saved = SavedAgent.load(trained)
    agent, evaluator = make(saved=saved, algorithm=None)
    networks = agent.learner.tensors()
    assert all(torch.equal(tensor, networks[name]) for name, tensor in saved.networks.items())
    assert saved.evaluations == 15
    early = drive(agent, agent.tables.space, evaluator, 4)
    fresh, _ = make(seed=1)
    assert early[-1] > max(1.9, drive(fresh, agent.tables.space, evaluator, 4)[-1])


def test_layers_of_another_network_are_predicted_from_those_that_are_like_them():
    own, draws = resnet18_space(), np.random.default_rng(0)
    logs = np.stack([3.0 * own.features[:, 1], -2.0 * own.features[:, 7]], axis=1).astype(np.float64)
    ones, profiles = np.full(logs.shape, 0.3), draws.normal(size=(2, 8))
    saved = SavedAgent(Algorithm.DDPG, {}, own.layer_names, own.features, logs, ones, profiles, 9)
    some, limits = [0, 3, 5, 12, 20], SearchConstraints(hold_first_last=None)
    table, features = np.array(own.layer_costs)[some], own.features[some] + np.float32(0.01)
    known = saved.prior_for(SearchSpace.build([f"x{k}" for k in some], table, features, limits))
    assert np.corrcoef(known.offsets.ravel(), logs[some].ravel())[0, 1] > 0.9
    assert known.stds.max() < UNKNOWN_STD
    np.testing.assert_array_equal(known.profiles, profiles)
    far = SearchSpace.build(["y0", "y1"], table[:2], np.full((2, 8), 9.0, np.float32), limits)
    unknown = saved.prior_for(far)
    np.testing.assert_allclose(unknown.offsets, 0, atol=1e-9)
    np.testing.assert_allclose(unknown.stds, UNKNOWN_STD)
    same = saved.prior_for(own)
    np.testing.assert_array_equal(same.offsets, logs)
    assert same.stds.max() < 0.4


def test_a_saved_agent_of_another_algorithm_is_refused(trained):
    saved = SavedAgent.load(trained)
    with pytest.raises(ConfigError, match="learned by ddpg, and sac"):
        make(Algorithm.SAC, saved=saved)


def test_damaged_files_are_refused(tmp_path, trained):
    path = trained
    with pytest.raises(InputFileError, match="no such file"):
        SavedAgent.load(tmp_path / "none")
    torn = tmp_path / "torn"
    torn.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputFileError, match="cannot be read"):
        SavedAgent.load(torn)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["mho"])
    del description["sha256"]  # the checksum would be found wrong first
    for change, shown in (
        ({"format": "x"}, "not a saved agent"),
        ({"version": 9}, "version 9"),
        ({"layers": [1]}, "layers"),
        ({"algorithm": "dqn"}, "dqn"),
    ):
        other = tmp_path / "other"
        save_file(tensors, other, metadata={"mho": json.dumps({**description, **change})})
        with pytest.raises(InputFileError, match=shown):
            SavedAgent.load(other)
    save_file(
        tensors | {"log_sensitivities": tensors["log_sensitivities"] * 0 + 1e38},
        other,
        metadata={"mho": json.dumps(description)},
    )
    with pytest.raises(InputFileError, match="none beyond 100"):
        SavedAgent.load(other)
    for text, shown in (
        ("null", "no JSON object"),
        ("[1]", "no JSON object"),
        ("[" * 10**5, "too deeply"),
        ("{", "JSON"),
    ):
        other = tmp_path / "other"
        save_file(tensors, other, metadata={"mho": text})
        with pytest.raises(InputFileError, match=shown):
            SavedAgent.load(other)
    for name, tensor, shown in (
        ("profiles", torch.zeros(2, 3), "profiles"),
        ("deviations", -tensors["deviations"], "not above 0"),
        ("network:actor.mu.0.weight", torch.zeros(3, 3), "does not fit"),
        ("network:actor.mu.0.bias", torch.full_like(tensors["network:actor.mu.0.bias"], torch.nan), "not finite"),
    ):
        other = tmp_path / "other"
        save_file({**tensors, name: tensor}, other, metadata={"mho": json.dumps(description)})
        with pytest.raises(InputFileError, match=shown):
            make(saved=SavedAgent.load(other), algorithm=None)
