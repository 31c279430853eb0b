"""Options of layers on a chip: against every way there is, counted one by one, and run as programs."""

from __future__ import annotations

from itertools import pairwise, product

from accelerators import accelerators, make_accelerator
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import choosers, networks, random_inputs

from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import Encoding
from mho.mapping.adc_resolution import resolvable_rows
from mho.mapping.digital_layers import may_be_digital, must_be_digital
from mho.mapping.encoding import count_correction_columns, count_output_columns, stored_range, weight_offset
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.windows import PositionGrid
from mho.network.layers import ConvShape, MvmLayer, derive_layer_table
from mho.network.reference import run_quantized
from mho.policy import BitWidths
from mho.program.lowering import compile_network
from mho.scheduling.options import CopyCost, list_chip_options
from mho.simulation.executor import Executor

RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@st.composite
def layers(draw):
    """Strategy of layers: convolutions of any stride and groups, dense layers, products of activations."""
    outputs, repeat = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["conv", "conv", "linear", "matmul"]))
    if kind != "conv":
        positions, repeat = draw(st.integers(1, 9)), repeat if kind == "matmul" else 1
        return MvmLayer("layer", kind, outputs, draw(st.integers(1, 30)), positions, repeat)
    kernel, strides, dilations = (tuple(draw(st.integers(1, 3)) for _ in range(2)) for _ in range(3))
    out, batch = (draw(st.integers(1, 6)), draw(st.integers(1, 6))), draw(st.integers(1, 2))
    sizes = [(out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(2)]
    shape = ConvShape(batch, (sizes[0], sizes[1]), out, kernel, strides, dilations, (0, 0, 0, 0))
    inputs = draw(st.integers(1, 3)) * kernel[0] * kernel[1]
    return MvmLayer("layer", kind, outputs, inputs, batch * out[0] * out[1], repeat, shape)


def ceil(number, divisor):
    return -(-number // divisor)


def count_conversion_bits(accelerator, encoding):
    """Return the bits of one conversion: of an ideal ADC, those that the largest sum of all active rows needs."""
    crossbar, converters = accelerator.crossbar, accelerator.converters
    if converters.adc_bits != "ideal":
        return converters.adc_bits
    is_rows, is_columns = (encoding is one for one in (Encoding.DIFFERENTIAL_ROWS, Encoding.DIFFERENTIAL_COLUMNS))
    is_signed = is_rows or (is_columns and converters.column_difference == "analog" and crossbar.cols > 1)
    driven = ceil(crossbar.rows_at_once, 2) if is_rows else crossbar.rows_at_once
    largest = driven * (2**crossbar.cell_bits - 1) * (2**converters.dac_bits - 1)
    return len(f"{largest:b}") + is_signed


def count_every_way(layer, bits, accelerator):
    """Return {(crossbars, time of all windows, ps)} of every window, number of slices and pack, plainly written."""
    crossbar, converters, allowed = accelerator.crossbar, accelerator.converters, accelerator.mapping.allowed
    grid, found = PositionGrid.of(layer), set()
    taps = grid.height.kernel * grid.width.kernel
    num_slices = ceil(bits.act_bits, converters.dac_bits)
    is_analog = converters.column_difference is ColumnDifference.ANALOG
    adcs = ceil(crossbar.cols, max(converters.columns_per_adc, 2 if is_analog else 1))
    read_ps = accelerator.mvm_latency_ps
    values = stored_range(layer, bits.weight_bits)
    sizes = product(range(1, grid.height.positions + 1), range(1, grid.width.positions + 1))
    options = product(allowed.encodings, sizes, range(1, num_slices + 1), range(1, layer.repeat + 1))
    for encoding, (high, wide), at_once, per_tile in options:
        shift = (at_once - 1) * converters.dac_bits
        cols_each = count_output_columns(values, encoding, crossbar.cell_bits, shift)
        rows_each = at_once * (2 if encoding is Encoding.DIFFERENTIAL_ROWS else 1)
        places = product(range(high), range(wide), range(grid.height.kernel), range(grid.width.kernel))
        pixels = len(
            {
                (y * grid.height.stride + i * grid.height.dilation, x * grid.width.stride + j * grid.width.dilation)
                for y, x, i, j in places
            }
        )
        corrections = count_correction_columns(values, encoding, crossbar.cell_bits, shift)
        rows = layer.inputs // taps * pixels * rows_each
        cols = high * wide * (layer.outputs * cols_each + corrections)
        fits = pixels * rows_each <= crossbar.rows and high * wide * cols_each <= crossbar.cols
        is_single = high == wide == 1
        if at_once > allowed.input_slices_per_mvm or high * wide > allowed.window_positions:
            continue
        if at_once > crossbar.rows or not (fits or is_single):
            continue
        packed = (per_tile * rows, per_tile * cols)
        if per_tile > 1 and (
            per_tile > allowed.groups_per_tile or packed[0] > crossbar.rows or packed[1] > crossbar.cols
        ):
            continue
        rows_at_once = resolvable_rows(accelerator, encoding)
        matrices = [per_tile] * (layer.repeat // per_tile) + [layer.repeat % per_tile] * bool(layer.repeat % per_tile)
        tiles = sum(ceil(count * rows, crossbar.rows) * ceil(count * cols, crossbar.cols) for count in matrices)
        reads = ceil(min(packed[0], crossbar.rows), rows_at_once)
        round_ps = converters.adc_latency_ps_per_bit * count_conversion_bits(accelerator, encoding)
        pair = 2 if is_analog and encoding is Encoding.DIFFERENTIAL_COLUMNS else 1
        rounds = ceil(ceil(min(packed[1], crossbar.cols), pair), adcs)
        operations = 0
        for count in matrices:
            in_tiles = [min(crossbar.rows, count * rows - start) for start in range(0, count * rows, crossbar.rows)]
            widths = [min(crossbar.cols, count * cols - start) for start in range(0, count * cols, crossbar.cols)]
            converted = sum(ceil(width, pair) for width in widths)
            operations += sum(ceil(held, rows_at_once) for held in in_tiles) * converted
        sums = high * wide * layer.inputs * layer.repeat
        if not weight_offset(values, encoding) or encoding is Encoding.OFFSET:
            sums = 0
        steps = ceil(num_slices, at_once)
        digital_ps = (steps * operations + sums) * accelerator.digital.operation_latency_ps
        window_ps = steps * reads * (read_ps + rounds * round_ps) + digital_ps
        windows = grid.batch * ceil(grid.height.positions, high) * ceil(grid.width.positions, wide)
        found.add((tiles, windows * window_ps))
    return found


def split_options(options):
    """Return the digital option and those in crossbars; the digital one stands first."""
    count = sum(mapping.is_digital for mapping in options)
    assert all(mapping.is_digital for mapping in options[:count])
    return options[:count], options[count:]


WIDTHS = st.builds(BitWidths, st.sampled_from([1, 2, 3, 8]), st.sampled_from([1, 2, 3, 5]))


@settings(max_examples=examples(150), **RELAXED)
@given(layers(), WIDTHS, accelerators())
def test_options_are_all_that_no_other_way_beats(layer, bits, accelerator):
    digital, options = split_options(list_chip_options(layer, bits, accelerator, MappingModel.BEST))
    assert len(digital) == may_be_digital(layer, accelerator)
    if must_be_digital(layer, accelerator):
        assert not options
        return
    costs = [CopyCost.of(mapping, accelerator) for mapping in options]
    found = [(cost.crossbars, cost.work_ps) for cost in costs]
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(found))
    ways = count_every_way(layer, bits, accelerator)
    for way in ways:
        assert any(own[0] <= way[0] and own[1] <= way[1] for own in found), way
    assert set(found) <= ways


@settings(max_examples=examples(100), **RELAXED)
@given(networks(), accelerators(), choosers(), st.sampled_from(MappingModel))
def test_every_option_makes_a_program_that_gives_the_integers(network, accelerator, chooser, model):
    mappings = {}
    for layer, node in zip(derive_layer_table(network), network.mvm_nodes, strict=True):
        bits = BitWidths(node.quantization.weight.bits, node.quantization.input.bits)
        options = list_chip_options(layer, bits, accelerator, model)
        mappings[layer.name] = chooser.choice(options)
        cost = CopyCost.of(mappings[layer.name], accelerator)
        if mappings[layer.name].is_digital:
            assert (cost.crossbars, cost.windows, cost.window_ps) == (0, layer.positions, cost.digital_ps)
            continue
        part = mappings[layer.name].parts[0]
        assert (cost.crossbars, cost.windows) == (mappings[layer.name].tiles, part.windows)
        assert cost.crossbars == part.counts.tiles
        assert (cost.write_ps > 0) == layer.is_stored_dynamically
    inputs = random_inputs(network, 2)
    program = compile_network(network, accelerator, mappings=mappings)
    assert_same_bits(Executor(program).run(inputs, batch_size=2), run_quantized(network, inputs))


def test_the_paper_model_has_its_own_mapping_alone():
    layer = MvmLayer("layer", "linear", 5, 30, 9, 1)
    (only,) = list_chip_options(layer, BitWidths(4, 3), make_accelerator(), MappingModel.PAPER)
    cost = CopyCost.of(only, make_accelerator())
    assert (cost.crossbars, cost.windows, cost.window_ps, cost.write_ps) == (4 * 3, 9, 3 * 1_300_001, 0)
