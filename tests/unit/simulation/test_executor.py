import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from chosen_mappings import compile_as
from random_networks import random_inputs
from small_programs import (
    change_constant,
    change_instructions,
    compile_small,
    conv_network,
    grid,
    linear_network,
    matmul_network,
)

from mho.arithmetic.exactness import exact_products
from mho.errors import DataError, MemoryBudgetError, ProgramError
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.input_files import MEMORY_KEY
from mho.network.graph import Grid
from mho.network.reference import run_quantized
from mho.program.instructions import ShiftAdd
from mho.program.verify import prove_program
from mho.simulation.analog import AnalogExecutor
from mho.simulation.contraction import PartialSums, Route, choose_route, contract
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret


def bounds(matrix, low=-128, high=127):
    return PartialSums.of_matrix(np.asarray(matrix, np.float32)[:, :, None], low, high)


def test_float32_serves_below_2_to_the_24_and_parts_do_beyond():
    assert choose_route(bounds(np.full((1, 1000), 127)), "x") == Route(torch.float32, (0, 1000))
    assert choose_route(bounds(np.full((1, 1032), 127)), "x") == Route(torch.float32, (0, 1032))
    assert choose_route(bounds(np.full((1, 1033), 127)), "x") == Route(torch.float32, (0, 516, 1033))


def test_engines_refuse_more_than_the_budget_and_the_interpreter_runs_in_parts(monkeypatch):
    program = compile_small(conv_network())
    inputs = random_inputs(conv_network(), 40)
    whole = interpret(program, inputs, skip_zero_slices=True)
    monkeypatch.setenv(MEMORY_KEY, str(7 * program.sample_bytes / 2**30))
    parts = interpret(program, inputs, skip_zero_slices=True)
    assert_same_bits(parts.outputs, whole.outputs)
    assert (parts.writes, parts.mvms) == (whole.writes, whole.mvms)
    np.testing.assert_array_equal(parts.skipped["conv"].mvms, whole.skipped["conv"].mvms)
    assert_same_bits(Executor(program).run(inputs, 2), whole.outputs)
    with pytest.raises(MemoryBudgetError, match="a batch of 40 samples"):
        Executor(program).run(inputs, 10**9)
    with pytest.raises(MemoryBudgetError, match="a batch of 40 samples"):
        AnalogExecutor(program, 0).run(inputs, 10**9)
    monkeypatch.setenv(MEMORY_KEY, str(1.1 * program.sample_bytes / 2**30))
    with pytest.raises(MemoryBudgetError, match="the outputs of 40 samples"):
        interpret(program, inputs)


def test_signs_of_weights_are_counted_apart():
    alternating = np.tile([127, -127], 800)[None]
    assert len(choose_route(bounds(alternating, 0, 127), "x").parts()) == 1
    assert len(choose_route(bounds(np.abs(alternating), 0, 127), "x").parts()) == 2


def test_float64_serves_where_one_input_is_too_much_for_float32():
    assert choose_route(bounds(np.full((1, 8), 2**15), -(2**15), 2**15), "x").dtype is torch.float64
    assert choose_route(bounds(np.full((1, 2000), 127)), "x", may_split=False).dtype is torch.float64


def test_what_no_route_computes_exactly_is_refused():
    with pytest.raises(ProgramError, match="layer x"):
        choose_route(bounds(np.full((1, 2), 2**23), 0, 2**40), "x")


def test_a_partial_sum_never_passes_its_bound():
    generator = np.random.default_rng(0)
    matrix = generator.integers(-7, 8, (5, 30))
    sums = bounds(matrix, -3, 4)
    inputs = generator.integers(-3, 5, (200, 30))
    partial = np.abs(np.cumsum(matrix[None] * inputs[:, None], axis=2)).max(axis=(0, 2))
    assert (partial <= np.maximum(sums.upper.sum(axis=1), sums.lower.sum(axis=1))).all()
    best = np.where(matrix > 0, 4, -3)
    assert ((matrix * best * (matrix > 0)).sum(axis=1) <= sums.upper.sum(axis=1)).all()


def test_bins_of_many_inputs_hold_their_sums():
    matrix = np.random.default_rng(0).integers(-7, 8, (3, 5000))
    sums = bounds(matrix, 0, 10)
    assert sums.upper.shape[1] <= 2048
    np.testing.assert_array_equal(sums.upper.sum(axis=1), np.maximum(matrix, 0).sum(axis=1) * 10)
    np.testing.assert_array_equal(sums.lower.sum(axis=1), np.maximum(-matrix, 0).sum(axis=1) * 10)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_parts_are_added_with_a_single_rounding(parts):
    generator = np.random.default_rng(parts)
    values = generator.integers(-(2**24) + 1, 2**24, (parts, 100_000))
    route = Route(torch.float32, tuple(range(parts + 1)))
    total = contract(route, lambda part: torch.from_numpy(values[part.start].astype(np.float32)), None)
    np.testing.assert_array_equal(total.numpy(), values.sum(axis=0).astype(np.float32))
    extra = torch.from_numpy(generator.integers(-(2**40), 2**40, 100_000))
    total = contract(route, lambda part: torch.from_numpy(values[part.start].astype(np.float32)), extra)
    np.testing.assert_array_equal(total.numpy(), (values.sum(axis=0) + extra.numpy()).astype(np.float32))


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
@pytest.mark.parametrize("zero_point", [0, -3])
@pytest.mark.parametrize("cols", [5, 64])
def test_the_integers_come_back_from_the_cells(encoding, zero_point, cols):
    network = conv_network((1, 4, 5, 5), outputs=6, groups=2, zero_point=zero_point)
    program = compile_small(network, make_accelerator(rows=7, cols=cols, encoding=encoding))
    (product,) = prove_program(program)
    np.testing.assert_array_equal(product.matrix, network.constants["w"].reshape(2, 3, 18) - zero_point)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("window", "slices"), [("1x1 positions", 3), ("1x3 positions", 2), ("2x2 pixels", 1), ("3 pixels x 6 positions", 1)]
)
def test_the_integers_come_back_from_windows_and_slices_side_by_side(encoding, window, slices):
    network = conv_network((1, 2, 4, 5), outputs=4, groups=2, strides=(1, 1), pads=(1, 1, 1, 1), zero_point=-3)
    program = compile_as(network, make_accelerator(64, 64), encoding, window=window, slices=slices)
    (product,) = prove_program(program)
    np.testing.assert_array_equal(product.matrix, network.constants["w"].reshape(2, 2, 9) + 3)
    x = random_inputs(network, 3)
    assert_same_bits(Executor(program).run(x), run_quantized(network, x))


def test_what_the_executor_runs_are_the_cells_and_nothing_else():
    """Damage that verification cannot see, other weights, shows in both engines alike."""
    program = compile_small(conv_network(zero_point=1), make_accelerator(encoding="offset"))
    damaged = change_constant(program, "conv:cells", lambda a: np.where(np.arange(a.shape[1])[:, None] == 5, 0, a))
    inputs = {"x": np.random.default_rng(0).standard_normal((4, 2, 4, 5)).astype(np.float32)}
    before, after = Executor(program).run(inputs), Executor(damaged).run(inputs)
    assert (before["y"] != after["y"]).any()
    assert_same_bits(after, interpret(damaged, inputs).outputs)


@pytest.mark.parametrize("name", ["conv:correction", "conv:sum_factors", "conv:multiplier"])
@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_any_correction_is_obeyed(name, encoding):
    program = compile_small(conv_network(zero_point=1), make_accelerator(encoding=encoding))
    changed = change_constant(program, name, lambda a: a * 3 + 1)
    inputs = {"x": np.random.default_rng(0).standard_normal((4, 2, 4, 5)).astype(np.float32)}
    assert_same_bits(Executor(changed).run(inputs), interpret(changed, inputs).outputs)


def test_a_damaged_program_is_not_run():
    program = compile_small(conv_network())
    with pytest.raises(ProgramError):
        Executor(change_instructions(program, ShiftAdd, lambda _: None))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("size", [40, 3000])
def test_wide_and_long_products_are_exact(bits, size):
    generator = np.random.default_rng(bits + size)
    half = 2 ** (bits - 1)
    weights = generator.integers(-half, half, (3, size))
    network = linear_network(weights, grid(bits, scale=2.0**-bits), weight_bits=bits)
    x = {"x": generator.random((5, 1, size), dtype=np.float32)}
    program = compile_small(network, make_accelerator(256, 256, 4))
    assert_same_bits(Executor(program).run(x), run_quantized(network, x))


def test_long_products_of_activations_are_exact():
    program_network = matmul_network(grid(16, signed=True, scale=2.0**-14), grid(16, signed=True, scale=2.0**-14))
    inputs = random_inputs(program_network, 3)
    assert_same_bits(Executor(compile_small(program_network)).run(inputs), run_quantized(program_network, inputs))


def test_a_sum_of_nothing_is_positive_zero_even_with_negative_weights():
    network = linear_network(np.full((2, 3), -5), grid(3))
    assert not np.signbit(Executor(compile_small(network)).run(np.zeros((1, 3)))["y"]).any()


def test_a_negative_multiplier_gives_negative_zero_as_the_reference_does():
    network = conv_network(inputs=grid(3))
    node = network.nodes[0]
    weight = node.quantization.weight
    negative = Grid(-weight.scales, weight.zero_points, weight.qmin, weight.qmax, weight.bits)
    object.__setattr__(node.quantization, "weight", negative)
    x = {"x": np.zeros((1, 2, 4, 5), np.float32)}
    assert_same_bits(Executor(compile_small(network)).run(x), run_quantized(network, x))


def test_settings_of_torch_that_trade_exactness_are_put_aside_and_put_back():
    conv = torch.backends.mkldnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "bf16"
    try:
        with exact_products():
            assert conv.fp32_precision == "ieee"
        assert conv.fp32_precision == "bf16"
        network = conv_network((1, 64, 16, 16), outputs=64, inputs=grid(8), weight_bits=8)
        x = random_inputs(network, 2)
        assert_same_bits(Executor(compile_small(network)).run(x), run_quantized(network, x))
    finally:
        conv.fp32_precision = before


def test_inputs_that_no_layer_reads_and_outputs_that_layers_read_are_kept():
    network = conv_network()
    both = (*network.outputs, type(network.outputs[0])("c", network.shapes["c"]))
    object.__setattr__(network, "outputs", both)
    x = random_inputs(network, 3)
    assert_same_bits(Executor(compile_small(network)).run(x, 2), run_quantized(network, x))


def test_progress_is_reported():
    calls = []
    Executor(compile_small(conv_network())).run(np.zeros((5, 2, 4, 5)), 2, lambda *call: calls.append(call))
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(DataError, match="batch size 0"):
        Executor(compile_small(conv_network())).run(np.zeros((5, 2, 4, 5)), 0)


def test_inputs_are_left_as_they_were():
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 5)).astype(np.float32)
    copy = x.copy()
    Executor(compile_small(conv_network())).run(x)
    np.testing.assert_array_equal(x, copy)
