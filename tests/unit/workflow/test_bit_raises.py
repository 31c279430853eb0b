import numpy as np
import pytest
from tiny_run import CONFIG, write_tiny_run

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.layer_features import LAYER_FEATURES
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError
from mho.policy import BitWidths, Policy
from mho.workflow.bit_raises import LastBudget
from mho.workflow.config import load_config

NAMES = ("first", "a", "b", "last")


@pytest.fixture(scope="module")
def space():
    """Cells of 4 bits, a cycle an activation bit; `a` takes ten times as long as the others."""
    slices, cycles = np.ceil(np.arange(1, 9) / 4), np.arange(1, 9)
    table = (1000 * np.array([1, 10, 1, 1])[:, None, None] * slices[:, None] * cycles).astype(np.int64)
    features = np.zeros((len(NAMES), len(LAYER_FEATURES)), np.float32)
    return SearchSpace.build(NAMES, table, features, SearchConstraints())


def sensitivities(policy, wins):
    def step(layer, operand, bits):
        return None if bits == 8 else {"bits": bits + 1, "loss": -wins.get((layer, operand), -0.1)}

    operands = [
        {"layer": layer, "operand": operand, "bits": bits, "less": None, "more": step(layer, operand, bits)}
        for layer, widths in policy.layers.items()
        for operand, bits in (("weight", widths.weight_bits), ("activation", widths.act_bits))
    ]
    return {"samples": 100, "loss": 0.5, "operands": operands}


def spend(space, share, wins):
    policy = Policy({name: BitWidths(8, 8) if name in ("first", "last") else BitWidths(4, 4) for name in NAMES})
    raised = LastBudget(share, space).spend(policy, sensitivities(policy, wins))
    assert raised is None or space.cost_of(raised) <= (1 + share) * space.cost_of(policy)
    return raised if raised is None else (str(raised["a"]), str(raised["b"]), str(raised["first"]))


def test_bits_go_where_they_win_most_for_their_cost_within_the_budget(space):
    wins = {("a", "activation"): 0.05, ("b", "activation"): 0.02}
    assert spend(space, 0.02, wins) == ("4/4", "4/5", "8/8")
    assert spend(space, 0.16, wins) == ("4/5", "4/5", "8/8")
    assert spend(space, 0.001, wins) is None


def test_weights_get_all_the_bits_that_one_more_costs(space):
    assert spend(space, 0.06, {("b", "weight"): 0.01}) == ("4/4", "8/4", "8/8")


def test_nothing_is_spent_where_nothing_is_won(space):
    assert spend(space, 1.0, {}) is None


def test_a_cost_budget_leaves_nothing_to_spend(tmp_path):
    file = write_tiny_run(tmp_path)
    file.write_text(CONFIG.replace("allowed_drop = 20", "cost_budget = 0.5\nlast_budget = 0.02"))
    with pytest.raises(ConfigError, match="spent by the search already"):
        load_config(file)
