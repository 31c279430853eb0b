import numpy as np
import pytest

from mho.cost_model.latency import cost_network
from mho.cost_model.latency_table import WIDTHS, LatencyTable
from mho.errors import MappingError, PolicyError
from mho.hardware.loading import load_accelerator, override
from mho.hardware.spec import PAPER_ENCODINGS
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

ACCELERATOR = load_accelerator("pelke2026-4bit")
LAYERS = (
    MvmLayer("a", "conv", 64, 576, 50176, 1),
    MvmLayer("b", "linear", 1000, 4096, 1, 1),
    MvmLayer("c", "matmul", 50, 64, 50, 12),
)
NAMES = ("a", "b", "c")


def random_policies(count):
    generator = np.random.default_rng(0)
    for _ in range(count):
        pairs = generator.choice(WIDTHS, (len(NAMES), 2)).tolist()
        yield Policy({name: BitWidths(*pair) for name, pair in zip(NAMES, pairs, strict=True)})


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
@pytest.mark.parametrize("cell_bits", [1, 2, 3, 4, 8])
def test_the_table_holds_what_the_cost_model_gives(encoding, cell_bits):
    hardware = override(ACCELERATOR, encoding=encoding, cell_bits=cell_bits)
    table = LatencyTable.build(LAYERS, hardware)
    for policy in random_policies(8):
        cost = cost_network(LAYERS, policy, hardware)
        assert table.policy_latency_ps(policy) == cost.latency_ps


def test_many_policies_are_reported_at_once():
    table = LatencyTable.build(LAYERS, ACCELERATOR)
    policies = list(random_policies(50))
    weight_bits = np.array([[policy[name].weight_bits for name in NAMES] for policy in policies])
    act_bits = np.array([[policy[name].act_bits for name in NAMES] for policy in policies])
    times = table.latencies_ps(weight_bits, act_bits)
    assert times.dtype == np.int64
    assert times.tolist() == [table.policy_latency_ps(policy) for policy in policies]


def test_the_table_has_every_layer_and_width_and_cannot_be_changed():
    table = LatencyTable.build(LAYERS, ACCELERATOR)
    assert table.layer_names == NAMES
    assert table.latency_ps.shape == (3, len(WIDTHS), len(WIDTHS), 1)
    assert table.latency_ps.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        table.latency_ps[0, 0, 0, 0] = 1


def test_a_time_that_64_bits_cannot_hold_is_an_error_and_never_wraps():
    with pytest.raises(MappingError, match="less than 2"):
        LatencyTable.build((MvmLayer("a", "linear", 10**6, 10**6, 10**6, 1),), ACCELERATOR)


@pytest.mark.parametrize("width", [0, 9, 15, 17, -1])
def test_a_width_that_no_policy_has_is_an_error(width):
    table = LatencyTable.build(LAYERS, ACCELERATOR)
    with pytest.raises(PolicyError):
        table.latencies_ps(np.full(3, width), np.full(3, 8))


def test_an_unknown_layer_is_an_error_with_the_nearest_name():
    table = LatencyTable.build((MvmLayer("conv1", "conv", 8, 9, 1, 1),), ACCELERATOR)
    with pytest.raises(PolicyError, match="did you mean 'conv1'"):
        table.policy_latency_ps(Policy({"conv2": BitWidths(8, 8)}))


def test_a_policy_with_adc_bits_of_its_own_is_an_error():
    table = LatencyTable.build(LAYERS[:1], ACCELERATOR)
    with pytest.raises(PolicyError, match="ADC bits of their own"):
        table.policy_latency_ps(Policy({"a": BitWidths(8, 8, 6)}))
