import numpy as np
import pytest
import torch
from search_problem import resnet18_space, search

from mho.bit_search.evaluation import OK, EvaluationRecord
from mho.bit_search.goal import Goal
from mho.bit_search.paper_agent import PaperAgent, draw_truncated_normal
from mho.bit_search.space_policies import draw_policy
from mho.errors import ConfigError
from mho.policy import BitWidths

GOAL = Goal(0.7, 1.0, 10**12, 1.2)


def speed(result):
    return result.goal.reference_cost / result.require_best().cost


@pytest.mark.slow
def test_the_improved_agent_beats_random_search_and_the_papers_agent_at_few_evaluations():
    improved = [speed(search("rl", 20, seed=seed)) for seed in range(2)]
    assert np.mean(improved) > np.mean([speed(search("random", 50, seed=seed)) for seed in range(4)]) + 0.2
    assert np.mean(improved) > speed(search("rl-paper", 35)) + 0.2


def report(agent, policy, accuracy=0.69, score=1.3):
    agent.tell(EvaluationRecord(policy, score, accuracy, 10**11, 0, 0.0, "m", 0, "f", OK))


@pytest.fixture
def paper_agent():
    return PaperAgent(resnet18_space(prune=False), GOAL, 100, np.random.default_rng(0))


def test_the_papers_networks_have_its_sizes_and_their_last_layers_its_bounds(paper_agent):
    actor, critic = paper_agent.model.actor.mu, paper_agent.model.critic.q_networks[0]
    assert [tuple(p.shape) for p in actor.parameters() if p.ndim == 2] == [(300, 10), (300, 300), (1, 300)]
    assert [tuple(p.shape) for p in critic.parameters() if p.ndim == 2] == [(300, 10), (300, 1), (300, 300), (1, 300)]
    for last in (actor[4], critic.value):
        assert all(0 < float(p.detach().abs().max()) <= 0.003 for p in last.parameters())
    states = torch.rand(5, 10)
    np.testing.assert_allclose(actor(states).detach().numpy(), 0.0, atol=0.1)


def test_the_papers_rates_and_replay(paper_agent):
    model = paper_agent.model
    assert [model.actor.optimizer.param_groups[0]["lr"], model.critic.optimizer.param_groups[0]["lr"]] == [1e-4, 1e-3]
    assert (model.tau, model.gamma, model.batch_size) == (0.01, 1.0, 64)
    assert model.replay_buffer.buffer_size == 128 * 21


def test_the_papers_agent_stores_the_final_reward_at_every_step_and_learns_after_twenty_episodes(paper_agent):
    before = [p.detach().clone() for p in paper_agent.model.actor.parameters()]
    for episode in range(1, 22):
        report(paper_agent, paper_agent.ask(), accuracy=0.69 - 0.001 * episode)
        if episode == 20:
            assert all(torch.equal(a, b) for a, b in zip(before, paper_agent.model.actor.parameters(), strict=True))
    buffer = paper_agent.model.replay_buffer
    np.testing.assert_allclose(buffer.rewards[: 42 * 21, 0], np.repeat(-np.arange(1, 22.0), 42), rtol=1e-5)
    assert buffer.dones[:84, 0].tolist() == ([0.0] * 41 + [1.0]) * 2
    assert paper_agent.model._n_updates == 42
    rates = [p["lr"] for p in paper_agent.model.actor.optimizer.param_groups]
    assert rates == [1e-4]


def test_batches_lose_the_moving_average_of_their_mean_reward(paper_agent):
    buffer = paper_agent.model.replay_buffer
    for _ in range(3):
        report(paper_agent, paper_agent.ask(), accuracy=0.68)
    assert torch.all(buffer.sample(64).rewards == 0.0)


def test_the_papers_agent_refuses_a_pruned_space():
    with pytest.raises(ConfigError, match="prune=False"):
        PaperAgent(resnet18_space(), GOAL, 100, np.random.default_rng(0))


def test_truncated_normal_draws_stay_inside_and_have_the_right_mean():
    draws = np.random.default_rng(0)
    values = [draw_truncated_normal(0.5, 0.5, draws) for _ in range(4000)]
    assert 0.0 <= min(values) < 0.05 < 0.95 < max(values) <= 1.0
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)
    assert np.std(values) == pytest.approx(0.27, abs=0.02)


def test_uniform_search_goes_from_slow_to_fast_and_keeps_held_layers():
    result = search("uniform", 100)
    latencies = [record.cost for record in result.records]
    assert latencies == sorted(latencies, reverse=True)
    assert result.ended == "exhausted"
    assert all(record.policy["conv1"] == BitWidths(8, 8) for record in result.records)
    uniform = [{record.policy[f"layer4.{block}.conv1"] for block in (0, 1)} for record in result.records]
    assert {BitWidths(4, 6)} in uniform
    assert all(len(widths) == 1 for widths in uniform)


def test_random_search_is_spread_over_speeds():
    space, draws = resnet18_space(), np.random.default_rng(0)
    speeds = {
        spread: [space.reference_cost / space.cost_of(draw_policy(space, draws, spread=spread)) for _ in range(100)]
        for spread in (True, False)
    }
    assert np.std(speeds[True]) > 3 * np.std(speeds[False])
