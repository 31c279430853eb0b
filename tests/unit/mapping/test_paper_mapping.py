import numpy as np
import pytest

from mho.errors import MappingError, PolicyError
from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.event_counts import EventCounts
from mho.mapping.layer_mapping import MappingModel, Range
from mho.mapping.network_mapping import map_network
from mho.mapping.paper_mapping import count_layers, plan_layer
from mho.mapping.windows import SINGLE
from mho.network.layers import LayerIntegers, MvmLayer
from mho.policy import BitWidths, Policy

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
    (part,) = mapping.parts
    assert (part.num_weight_slices, part.num_steps) == (2, 8)
    assert (mapping.rows, mapping.cols) == (part.rows, part.cols) == (576, 256)
    assert (part.row_tiles, part.col_tiles) == (3, 1)
    assert (mapping.tiles, mapping.mvms) == (3, 3 * 50176 * 8)


def test_the_paper_takes_one_position_and_one_input_slice_an_mvm():
    (part,) = plan_layer(HEADS, BitWidths(8, 8), accelerator()).parts
    assert (part.groups, part.outputs, part.inputs) == (Range(0, 12), Range(0, 50), Range(0, 64))
    assert (part.window, part.windows, part.slices_at_once, part.groups_per_tile) == (SINGLE, 50, 1, 1)


@pytest.mark.parametrize(
    ("encoding", "rows", "cols"),
    [(Encoding.DIFFERENTIAL_COLUMNS, 576, 256), (Encoding.DIFFERENTIAL_ROWS, 1152, 128), (Encoding.OFFSET, 576, 129)],
)
def test_the_encoding_sets_the_physical_size(encoding, rows, cols):
    mapping = plan_layer(LAYER, BitWidths(8, 8), accelerator(mapping__encoding=encoding.value))
    assert (mapping.encoding, mapping.rows, mapping.cols) == (encoding, rows, cols)
    assert mapping.parts[0].correction_cols == (encoding is Encoding.OFFSET)


def test_repeats_are_counted_in_writes_and_reads():
    mapping = plan_layer(HEADS, BitWidths(8, 8), accelerator())
    assert (mapping.rows, mapping.cols) == (64, 200)
    assert (mapping.tiles, mapping.mvms) == (12, 12 * 50 * 8)


def test_wider_dacs_take_fewer_steps_and_fewer_bits_fewer_cells():
    (part,) = plan_layer(LAYER, BitWidths(4, 5), accelerator(converters__dac_bits=2)).parts
    assert (part.num_weight_slices, part.num_steps) == (1, 3)


def test_fewer_active_rows_are_more_reads_of_the_same_tiles():
    whole, halves = (
        plan_layer(LAYER, BitWidths(8, 8), accelerator(crossbar__active_rows=rows)) for rows in ("all", 100)
    )
    # 576 rows are tiles of 256, 256 and 64 rows: 3, 3 and 1 reads of at most 100 rows.
    assert (halves.tiles, halves.mvms) == (whole.tiles, 7 * 50176 * 8)
    assert halves.parts[0].rows_at_once == 100


@pytest.mark.parametrize(
    ("encoding", "takes_input_sums", "takes_stored_sums", "additions"),
    [
        (Encoding.DIFFERENTIAL_COLUMNS, False, False, 0),
        (Encoding.DIFFERENTIAL_COLUMNS, True, False, 64 * 50 * 12),
        (Encoding.DIFFERENTIAL_ROWS, True, True, 64 * 50 * 12 + 64 * 50 * 12),
        (Encoding.OFFSET, True, False, 0),
        (Encoding.OFFSET, True, True, 64 * 50 * 12),
    ],
)
def test_sums_that_no_column_gives_are_digital_work(encoding, takes_input_sums, takes_stored_sums, additions):
    integers = LayerIntegers(-127, 127, 8, takes_input_sums, takes_stored_sums)
    layer = MvmLayer("scores", "matmul", 50, 64, 50, 12, integers=integers)
    hardware = accelerator(mapping__encoding=encoding.value)
    mapping = plan_layer(layer, BitWidths(8, 8), hardware)
    assert mapping.extra_operations == additions
    assert mapping.counts == mapping.parts[0].counts + EventCounts(0, 0, 0, additions)
    # At other widths the layer's own grid says nothing.
    assert plan_layer(layer, BitWidths(4, 8), hardware).extra_operations == 0


def test_an_adc_that_cannot_tell_sums_apart_is_an_error_that_names_the_layer():
    with pytest.raises(MappingError, match="layer conv"):
        plan_layer(LAYER, BitWidths(8, 8), accelerator(converters__adc_bits=8))


def test_a_network_is_mapped_by_name_in_execution_order():
    policy = Policy({"scores": BitWidths(4, 4), "conv": BitWidths(8, 2)})
    mapping = map_network([LAYER, HEADS], policy, accelerator(), MappingModel.PAPER)
    assert [(one.layer.name, str(one.bits)) for one in mapping.layers] == [("conv", "8/2"), ("scores", "4/4")]
    assert mapping.layers == tuple(plan_layer(layer, policy[layer.name], accelerator()) for layer in (LAYER, HEADS))


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("names", [["conv"], ["conv", "scores", "other"]])
def test_a_policy_that_does_not_fit_the_layers_is_an_error(names, model):
    with pytest.raises(PolicyError):
        map_network([LAYER, HEADS], Policy.uniform(names, BitWidths(8, 8)), accelerator(), model)


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
