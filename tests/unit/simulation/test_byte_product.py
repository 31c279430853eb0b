import numpy as np
import pytest
from bits import assert_same_bits
from random_networks import random_inputs
from small_programs import compile_small, grid, linear_network

from mho.array.integer_product import has_fast_bytes
from mho.network.reference import run_quantized
from mho.simulation.byte_product import ByteProduct
from mho.simulation.executor import Executor

needs_bytes = pytest.mark.skipif(not has_fast_bytes(), reason="no exact and fast products of bytes here")


def dense(size, *, signed, weight_bits):
    half = 2 ** (weight_bits - 1)
    weights = np.random.default_rng(size).integers(-half, half, (7, size))
    return linear_network(weights, grid(8, signed=signed), weight_bits=weight_bits, zero_point=1)


@pytest.mark.parametrize("size", [1, 40, 700])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("weight_bits", [2, 7])
def test_a_dense_layer_gives_the_bits_of_the_reference_on_both_routes(size, signed, weight_bits, monkeypatch):
    network = dense(size, signed=signed, weight_bits=weight_bits)
    program, inputs = compile_small(network), random_inputs(network, 5)
    executor = Executor(program)
    assert executor.routes["fc"].startswith("uint8" if has_fast_bytes() else "float32")
    for batch in (5, 2, 1):
        assert_same_bits(executor.run(inputs, batch), run_quantized(network, inputs))
    monkeypatch.setattr(ByteProduct, "find", lambda *_: None)
    floats = Executor(program)
    assert floats.routes["fc"].startswith("float32")
    assert_same_bits(floats.run(inputs), executor.run(inputs))


@needs_bytes
@pytest.mark.parametrize(
    ("weight", "codes", "correction", "taken"),
    [
        (127, (0, 255), 0, True),
        (-128, (0, 255), -(1 << 20), True),
        (128, (0, 255), 0, False),
        (-129, (0, 255), 0, False),
        (1, (0, 256), 0, False),
        (1, (-1, 254), 0, False),
        (1, (0, 255), (1 << 31) - 1 - 600 * 255, True),
        (1, (0, 255), (1 << 31) - 600 * 255, False),
    ],
)
def test_bytes_are_taken_where_codes_weights_and_sums_fit(weight, codes, correction, taken):
    matrix = np.full((1, 600), weight, np.float32)
    assert (ByteProduct.find(matrix, np.array([correction]), codes) is not None) is taken
