import numpy as np
import pytest
from accelerators import make_accelerator

from mho.cost_model.latency import cost_network
from mho.errors import MappingError, PolicyError
from mho.hardware.loading import load_accelerator, override
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network, Node, TensorInfo
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

ACCELERATOR = load_accelerator("pelke2026-4bit")
LAYERS = (MvmLayer("a", "conv", 64, 576, 50176, 1), MvmLayer("b", "linear", 1000, 4096, 1, 1))


def uniform(bits):
    return Policy.uniform(("a", "b"), BitWidths.parse(bits))


def test_time_is_writes_and_reads_in_exact_picoseconds():
    cost = cost_network(LAYERS, uniform("8/8"), ACCELERATOR, model=MappingModel.PAPER)
    first, second = cost.layers
    assert (first.write_ps, first.read_ps) == (3 * 56_000_000, 3 * 50176 * 8 * 1_400_000)
    assert (second.write_ps, second.read_ps) == (256 * 56_000_000, 256 * 8 * 1_400_000)
    assert cost.latency_ps == first.latency_ps + second.latency_ps
    assert (cost.tiles, cost.mvms) == (259, 3 * 50176 * 8 + 256 * 8)


def test_a_network_is_costed_by_its_derived_layers():
    node = Node("fc", "linear", ("x", "w"), "y")
    network = Network(
        "net",
        (TensorInfo("x", (1, 20)),),
        (TensorInfo("y", (1, 10)),),
        (node,),
        {"w": np.zeros((10, 20), dtype=np.float32)},
        {"x": (1, 20), "y": (1, 10)},
    )
    cost = cost_network(network, Policy({"fc": BitWidths(8, 8)}), ACCELERATOR, model=MappingModel.PAPER)
    assert (cost.layers[0].mapping.rows, cost.layers[0].mapping.cols) == (20, 40)
    assert cost.latency_ps == 56_000_000 + 8 * 1_400_000


def test_bits_that_the_cell_holds_anyway_are_free():
    costs = {
        bits: cost_network(LAYERS, uniform(f"{bits}/8"), ACCELERATOR, model=MappingModel.PAPER).latency_ps
        for bits in (1, 4, 5, 8)
    }
    assert costs[1] == costs[4] < costs[5] == costs[8]


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_fewer_bits_are_never_slower(encoding, model):
    hardware = override(ACCELERATOR, encoding=encoding, cell_bits=3)
    times = [
        cost_network(LAYERS, uniform(f"{bits}/{bits}"), hardware, model=model).latency_ps
        for bits in (1, 2, 3, 4, 5, 6, 7, 8, 16)
    ]
    assert times == sorted(times)


def test_times_beyond_64_bits_stay_exact():
    layers = (MvmLayer("a", "linear", 10**9, 10**9, 10**9, 10**9),)
    cost = cost_network(layers, Policy({"a": BitWidths(8, 8)}), ACCELERATOR, model=MappingModel.PAPER)
    tiles = 10**9 * -(-(10**9 * 4) // 256) * -(-(10**9) // 256)
    assert cost.latency_ps == tiles * 56_000_000 + tiles * 10**9 * 8 * 1_400_000


def test_conversions_of_an_ideal_adc_take_the_bits_that_its_rows_need():
    """Two tiles of 16 rows and 20 columns, three positions, three steps; 16 ADCs; sums reach 16 * 15 = 240."""
    layers, policy = (MvmLayer("a", "linear", 10, 20, 3, 1),), Policy({"a": BitWidths(4, 3)})
    sizes = {"rows": 16, "cols": 64, "cell_bits": 4}
    converters = {"columns_per_adc": 4, "adc_latency_us_per_bit": 0.01}
    ideal, eight = (make_accelerator(**sizes, adc_bits=bits, converters=converters) for bits in ("ideal", 8))
    cost = cost_network(layers, policy, ideal, model=MappingModel.PAPER)
    rounds = 2 * 3 * 3 * 2
    assert cost.latency_ps == 2 * 53_000_007 + 2 * 3 * 3 * 1_300_001 + rounds * 8 * 10_000
    for model in MappingModel:
        times = [cost_network(layers, policy, hardware, model=model).latency_ps for hardware in (ideal, eight)]
        assert times[0] == times[1]


def test_wider_pulse_width_dacs_need_fewer_mvms_and_longer_pulses():
    """Four tiles of 16 rows and 10 columns, three positions; inputs of six bits."""
    layers, policy = (MvmLayer("a", "linear", 10, 60, 3, 1),), Policy({"a": BitWidths(4, 6)})
    times = []
    for dac_bits, slices in ((1, 6), (2, 3), (3, 2)):
        sizes = {"rows": 16, "cols": 64, "cell_bits": 4, "dac_bits": dac_bits, "encoding": "offset"}
        hardware = make_accelerator(**sizes, converters={"dac_latency_us_per_step": 0.9})
        cost = cost_network(layers, policy, hardware, model=MappingModel.PAPER)
        assert cost.latency_ps == 4 * 53_000_007 + 4 * 3 * slices * (1_300_001 + (2**dac_bits - 1) * 900_000)
        times.append(cost.latency_ps)
    assert times[1] == min(times), "without the pulses, the widest DAC would be the fastest"


def test_the_best_mapping_weighs_the_time_of_an_ideal_adc():
    """Five bits in cells of four: two columns a weight in all encodings, of which differences are converted once."""
    layers, policy = (MvmLayer("a", "linear", 30, 60, 50, 1),), Policy({"a": BitWidths(5, 4)})

    def find(per_bit_us, encodings):
        converters = {"columns_per_adc": 64, "column_difference": "analog", "adc_latency_us_per_bit": per_bit_us}
        mapping = {"encoding": encodings[0], "allowed": {"encodings": encodings}}
        hardware = make_accelerator(64, 64, 4, encoding=encodings[0], converters=converters, mapping=mapping)
        (layer,) = cost_network(layers, policy, hardware, model=MappingModel.BEST).layers
        return layer.mapping.encoding, layer.latency_ps

    offset, both = ["offset", "offset-digital"], ["differential-columns", "offset", "offset-digital"]
    assert find(0, both)[1] == find(0, offset)[1]
    (chosen, time_ps), (_, others_ps) = find(0.5, both), find(0.5, offset)
    assert chosen is Encoding.DIFFERENTIAL_COLUMNS
    # 50 positions, 4 steps, 30 conversions of 11 bits (64 * 15 = 960, and a sign), not 60 of 10
    assert time_ps == 53_000_007 + 50 * 4 * (1_300_001 + 30 * 11 * 500_000) < others_ps


def test_a_network_without_mvm_layers_is_an_error():
    with pytest.raises(MappingError, match="no MVM layer"):
        cost_network((), Policy({}), ACCELERATOR)


def test_an_unknown_layer_in_a_policy_is_an_error():
    with pytest.raises(PolicyError, match="unknown layers: c"):
        cost_network(LAYERS, Policy.uniform(("a", "b", "c"), BitWidths(8, 8)), ACCELERATOR)
