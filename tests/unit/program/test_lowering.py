from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from random_networks import SeededChooser, random_inputs, random_network
from small_programs import compile_small, conv_network, grid, linear_network, matmul_network

from mho.errors import MappingError
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.paper_mapping import plan_layer
from mho.network.graph import Grid, LayerQuantization, Node
from mho.network.layers import derive_layer_table
from mho.network.reference import run_quantized
from mho.policy import BitWidths
from mho.program.instructions import Layer, LoadInput, Loop, Mvm, SumInputs, WriteTile
from mho.program.lowering import compile_network
from mho.program.program import walk
from mho.simulation.executor import Executor


def count(program, kind):
    return sum(isinstance(item, kind) for item, _ in walk(program.instructions))


def test_a_float_network_is_refused_with_its_layers_and_what_to_do():
    network = conv_network()
    nodes = tuple(Node(n.name, n.op, n.inputs, n.output, n.attributes) for n in network.nodes)
    with pytest.raises(MappingError, match=r"layers without integers: conv[\s\S]*quantize it first"):
        compile_network(network.with_nodes(nodes, network.constants), make_accelerator())


def test_an_adc_that_cannot_resolve_every_sum_is_refused_with_demand_limit_and_levers():
    network = linear_network(np.ones((2, 9), np.int64), grid(3))
    with pytest.raises(MappingError) as error:
        compile_small(network, make_accelerator(rows=9, cell_bits=4, adc_bits=7))
    for part in ("layer fc", "135", "9 rows", "8 bits", "adc_bits = 7", "crossbar.rows", "converters.dac_bits"):
        assert part in str(error.value)
    compile_small(network, make_accelerator(rows=9, cell_bits=4, adc_bits=8))


@pytest.mark.parametrize("adc_range", ["calibrated-layer", "calibrated-columns"])
@pytest.mark.parametrize("model", MappingModel)
def test_calibrated_adcs_need_not_resolve_every_sum(adc_range, model):
    """All rows are driven at once, and the exact engines give the integers as if they were read exactly."""
    network = linear_network(np.ones((2, 9), np.int64), grid(3))
    hardware = make_accelerator(rows=9, cell_bits=4, adc_bits=2, converters={"adc_range": adc_range})
    program = compile_small(network, hardware.with_max_error("none"), model)
    assert count(program, Mvm) == count(compile_small(network, make_accelerator(rows=9, cell_bits=4), model), Mvm)
    inputs = random_inputs(network, 3)
    assert_same_bits(Executor(program).run(inputs), run_quantized(network, inputs))


def test_fewer_rows_than_the_crossbar_has_ask_less_of_the_adc():
    network = linear_network(np.ones((2, 3), np.int64), grid(3))
    compile_small(network, make_accelerator(rows=200, cell_bits=4, adc_bits=6))


@pytest.mark.parametrize(
    ("encoding", "at_once"), [(Encoding.DIFFERENTIAL_COLUMNS, 8), (Encoding.DIFFERENTIAL_ROWS, 2 * 4)]
)
def test_the_best_mapping_drives_as_many_rows_at_once_as_the_adc_tells_apart(encoding, at_once):
    """7 bits tell sums up to 127 apart: 8 rows of 15 at most; with a sign 63, of either sign 4 rows."""
    network = linear_network(np.arange(40).reshape(2, 20) % 15 - 7, grid(3))
    allowed = {"encoding": str(encoding), "allowed": {"encodings": [str(encoding)]}}
    hardware = make_accelerator(64, 64, 4, adc_bits=7, mapping=allowed)
    program = compile_small(network, hardware, MappingModel.BEST)
    loads = [item for item, _ in walk(program.instructions) if isinstance(item, LoadInput)]
    assert {len(load.rows) for load in loads} >= {at_once}
    assert max(len(load.rows) for load in loads) == at_once
    assert [load.first_row for load in loads] == [load.rows.start for load in loads]
    x = random_inputs(network, 3)
    assert_same_bits(Executor(program).run(x), run_quantized(network, x))


def test_an_input_grid_wider_than_its_bits_is_refused():
    wide = Grid(np.float32(1), np.int64(0), 0, 8, 3)
    with pytest.raises(MappingError, match=r"layer fc[\s\S]*0\.\.7"):
        compile_small(linear_network(np.ones((2, 3), np.int64), wide))


def test_a_program_grows_with_its_tiles_and_not_with_its_positions():
    small, large = (compile_small(conv_network((1, 2, size, size))) for size in (6, 60))
    assert count(small, WriteTile) == count(large, WriteTile)
    assert sum(1 for _ in walk(small.instructions)) == sum(1 for _ in walk(large.instructions))


def test_groups_and_heads_are_loops():
    program = compile_small(conv_network((1, 6, 4, 4), outputs=6, groups=6))
    assert count(program, WriteTile) == 2
    layer = program.layers[0]
    assert any(isinstance(item, Loop) and (item.variable, item.count) == ("g", 6) for item in layer.body)


def test_every_mvm_stands_in_the_layer_that_it_is_for():
    program = compile_small(conv_network())
    assert all(not isinstance(item, Mvm) for item in program.instructions)
    assert [item.name for item in program.instructions if isinstance(item, Layer)] == ["conv"]


@pytest.mark.parametrize(
    ("encoding", "zero_point", "digital_sums"),
    [
        (Encoding.DIFFERENTIAL_COLUMNS, 0, 0),
        (Encoding.DIFFERENTIAL_COLUMNS, 3, 1),
        (Encoding.DIFFERENTIAL_ROWS, 3, 1),
        (Encoding.OFFSET, 0, 0),
        (Encoding.OFFSET, 3, 0),
    ],
)
def test_inputs_are_summed_digitally_only_where_zero_points_need_it_and_no_column_does(
    encoding, zero_point, digital_sums
):
    program = compile_small(conv_network(zero_point=zero_point), make_accelerator(encoding=encoding))
    assert count(program, SumInputs) == digital_sums
    assert program.layers[0].body[-1].layout.has_sums == (zero_point != 0 or encoding is Encoding.OFFSET)


def test_stored_activations_are_summed_only_where_codes_of_zero_are_not_zero():
    assert count(compile_small(matmul_network(streamed=grid(3))), SumInputs) == 0
    assert count(compile_small(matmul_network(streamed=grid(3, signed=True))), SumInputs) == 1


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("cell_bits", [1, 3, 4, 8])
def test_extreme_weights_and_inputs_are_exact(encoding, value, cell_bits):
    inputs = grid(8, signed=True, zero_point=-128, scale=1.0)
    network = linear_network(np.full((3, 40), value), inputs, weight_bits=8, zero_point=127)
    program = compile_small(network, make_accelerator(rows=16, cell_bits=cell_bits, encoding=encoding))
    x = {"x": np.array([np.full((1, 40), 1000.0), np.full((1, 40), -1000.0), np.full((1, 40), 128.0)], np.float32)}
    expected = (value - 127) * np.array([255, 0, 128]) * 40 * 0.5
    np.testing.assert_array_equal(run_quantized(network, x)["y"][:, 0], expected.astype(np.float32))
    assert_same_bits(Executor(program).run(x), run_quantized(network, x))


def test_metadata_tells_versions_and_widths():
    program = compile_network(conv_network(), make_accelerator(), metadata={"model": {"file": "a.onnx"}})
    assert program.metadata["policy"] == {"layers": {"conv": {"weight_bits": 4, "act_bits": 3}}}
    assert program.metadata["model"] == {"file": "a.onnx"}
    assert program.metadata["mho"]


def test_a_layer_named_like_another_s_parts_is_refused():
    network = conv_network()
    shapes = {**network.shapes, "conv:codes": network.shapes["y"]}
    nodes = (*network.nodes[:1], Node("relu", "relu", ("c",), "conv:codes"), Node("neg", "neg", ("conv:codes",), "y"))
    with pytest.raises(Exception, match="conv:codes"):
        compile_small(replace(network, nodes=nodes, shapes=shapes))


def test_a_mapping_of_another_layer_is_refused():
    network, other = conv_network(), conv_network(outputs=8)
    (layer,), (larger,) = derive_layer_table(network), derive_layer_table(other)
    bits, hardware = BitWidths(4, 3), make_accelerator()
    compile_network(network, hardware, mappings={"conv": plan_layer(layer, bits, hardware)})
    without_integers = plan_layer(replace(layer, integers=None), bits, hardware)
    for wrong in (
        plan_layer(larger, bits, hardware),
        plan_layer(layer, BitWidths(4, 4), hardware),
        plan_layer(layer, BitWidths(5, 3), hardware),
        without_integers,
    ):
        with pytest.raises(MappingError, match=r"layer conv: a mapping of another layer[\s\S]*expected: "):
            compile_network(network, hardware, mappings={"conv": wrong})
    with pytest.raises(MappingError, match=r"a mapping of 'cnv'[\s\S]*conv"):
        compile_network(network, hardware, mappings={"cnv": plan_layer(layer, bits, hardware)})


@pytest.mark.parametrize("size", [(64, 64), (8, 64), (64, 8)])
def test_a_mapping_for_a_larger_crossbar_is_cut_where_this_one_ends(size):
    network = conv_network()
    (layer,), x = derive_layer_table(network), random_inputs(network, 2)
    mapping = plan_layer(layer, BitWidths(4, 3), make_accelerator(*size))
    program = compile_network(network, make_accelerator(), mappings={"conv": mapping})
    assert max(len(item.rows) for item, _ in walk(program.instructions) if isinstance(item, WriteTile)) == 8
    assert_same_bits(Executor(program).run(x), run_quantized(network, x))


def test_weights_off_their_grid_are_refused():
    network = linear_network(np.full((2, 3), 9), grid(3))
    with pytest.raises(MappingError, match="layer fc"):
        compile_small(network)


def test_batches_inside_the_network_are_positions():
    network = conv_network((3, 2, 4, 5))
    x = random_inputs(network, 2)
    assert_same_bits(Executor(compile_small(network)).run(x), run_quantized(network, x))


def test_every_seed_compiles_to_the_same_program_twice():
    for seed in range(5):
        first, second = (compile_small(random_network(SeededChooser(seed))) for _ in range(2))
        assert first.instructions == second.instructions


def test_binary_inputs_have_no_code_for_their_zero():
    binary = Grid(np.float32(1), np.int64(0), -1, 1, 1)
    network = linear_network(np.ones((2, 3), np.int64), binary)
    assert isinstance(network.nodes[0].quantization, LayerQuantization)
    with pytest.raises(MappingError, match="layer fc"):
        compile_small(network)
