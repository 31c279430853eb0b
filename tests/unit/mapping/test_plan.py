import numpy as np
import pytest

from mho.accelerator.loading import accelerator_from_json, load_accelerator
from mho.accelerator.spec import PAPER_ENCODINGS, Encoding
from mho.errors import PolicyError
from mho.mapping.plan import count_layers, plan_layer, plan_network
from mho.network.layers import MvmLayer
from mho.quantization.policy import BitWidths, Policy

LAYER = MvmLayer("conv", "conv", outputs=64, inputs=576, positions=50176, repeat=1)
HEADS = MvmLayer("scores", "matmul", outputs=50, inputs=64, positions=50, repeat=12)


def accelerator(**changes):
    content = load_accelerator("pelke2026-4bit").to_json()
    for key, value in changes.items():
        section, name = key.split("__")
        content[section][name] = value
    return accelerator_from_json(content, where="test")


def test_a_layer_is_counted_as_in_the_paper():
    mapping = plan_layer(LAYER, BitWidths(8, 8), accelerator())
    assert (mapping.num_weight_slices, mapping.num_input_slices) == (2, 8)
    assert (mapping.rows, mapping.cols) == (576, 256)
    assert (mapping.row_tiles, mapping.col_tiles) == (3, 1)
    assert (mapping.tiles, mapping.mvms) == (3, 3 * 50176 * 8)


@pytest.mark.parametrize(
    ("encoding", "rows", "cols"),
    [(Encoding.DIFFERENTIAL_COLUMNS, 576, 256), (Encoding.DIFFERENTIAL_ROWS, 1152, 128), (Encoding.OFFSET, 576, 129)],
)
def test_the_encoding_sets_the_physical_size(encoding, rows, cols):
    mapping = plan_layer(LAYER, BitWidths(8, 8), accelerator(mapping__encoding=encoding.value))
    assert (mapping.encoding, mapping.rows, mapping.cols) == (encoding, rows, cols)


def test_repeats_are_counted_in_writes_and_reads():
    mapping = plan_layer(HEADS, BitWidths(8, 8), accelerator())
    assert (mapping.rows, mapping.cols) == (64, 200)
    assert (mapping.tiles, mapping.mvms) == (12, 12 * 50 * 8)


def test_wider_dacs_take_fewer_steps_and_fewer_bits_fewer_cells():
    mapping = plan_layer(LAYER, BitWidths(4, 5), accelerator(converters__dac_bits=2))
    assert (mapping.num_weight_slices, mapping.num_input_slices) == (1, 3)


def test_a_network_is_mapped_by_name_in_execution_order():
    policy = Policy({"scores": BitWidths(4, 4), "conv": BitWidths(8, 2)})
    mappings = plan_network([LAYER, HEADS], policy, accelerator())
    assert [(mapping.layer.name, str(mapping.bits)) for mapping in mappings] == [("conv", "8/2"), ("scores", "4/4")]


@pytest.mark.parametrize("names", [["conv"], ["conv", "scores", "other"]])
def test_a_policy_that_does_not_fit_the_layers_is_an_error(names):
    with pytest.raises(PolicyError):
        plan_network([LAYER, HEADS], Policy.uniform(names, BitWidths(8, 8)), accelerator())


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_many_layers_at_many_widths_are_counted_like_each_alone(encoding):
    hardware = accelerator(mapping__encoding=encoding.value, crossbar__cell_bits=3, converters__dac_bits=2)
    widths = np.array([1, 2, 7, 8, 16])
    counts = count_layers([LAYER, HEADS], widths[:, None], widths[None, :], hardware)
    for number, layer in enumerate([LAYER, HEADS]):
        for w, weight_bits in enumerate(widths.tolist()):
            for a, act_bits in enumerate(widths.tolist()):
                mapping = plan_layer(layer, BitWidths(weight_bits, act_bits), hardware)
                assert counts.tiles[number, w, 0] == mapping.tiles
                assert counts.mvms[number, w, a] == mapping.mvms
