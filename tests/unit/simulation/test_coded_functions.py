from dataclasses import replace

import numpy as np
import pytest
import torch
from bits import assert_same_bits
from small_programs import compile_small, grid, linear_network

from mho.arithmetic.exactness import exact_products
from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError
from mho.network.graph import Network, Node, TensorInfo
from mho.network.reference import run_quantized
from mho.program.instructions import Digital, QuantizeInput
from mho.simulation.coded_functions import _FUNCTIONS, CodedFunction, find_for_codes
from mho.simulation.executor import Executor
from mho.simulation.quantize_input import quantize

FORMS = [(name, {}) for name in sorted(_FUNCTIONS - {"gelu"})] + [
    ("gelu", {"approximate": kind}) for kind in ("none", "tanh")
]


def codes_of(scale, zero_point=0, qmin=-128, qmax=127, *, binary=False):
    return QuantizeInput("y", "codes", 0, scale, zero_point, qmin, qmax, binary, -qmin, ())


def function_of(name, attributes, *grids):
    return CodedFunction.find(Digital(name, ("x",), "y", attributes), grids)


@pytest.mark.parametrize(("name", "attributes"), FORMS)
@pytest.mark.parametrize(("scale", "zero_point"), [(0.0121, -114), (2.0**-10, 0), (0.0007, 100)])
def test_codes_are_those_of_the_exact_function(name, attributes, scale, zero_point):
    item = codes_of(scale, zero_point)
    function = function_of(name, attributes, item)
    normal = torch.randn(1 << 18, generator=torch.Generator().manual_seed(0))
    # Around what each code begins at: of some neighbours the code is in doubt.
    middles = torch.linspace(-2, 2, 1 << 18)
    special = torch.tensor([0.0, -0.0, torch.inf, 1e30, -1e30, 1e-40])
    x = torch.cat([normal, middles, special if name == "gelu" else special[:-2]])
    with exact_products():
        exact = OPERATIONS[name].run([x], attributes)
        assert torch.equal(quantize(item, function.run([x])), quantize(item, exact))


def test_what_is_in_doubt_is_exact():
    """A result in the middle between two codes: torch's own may lie to the other side."""
    x = torch.randn(1 << 16, generator=torch.Generator().manual_seed(0))
    with exact_products():
        exact = OPERATIONS["gelu"].run([x], {"approximate": "none"})
        for value in exact[:50]:
            scale = float(2 * value.abs())  # half a step
            if scale > 1e-3:
                found = function_of("gelu", {"approximate": "none"}, codes_of(scale)).run([x])
                index = exact.abs() == value.abs()
                assert torch.equal(found[index], exact[index])


def test_nan_is_refused_as_by_the_exact_function():
    item = codes_of(0.01)
    function = function_of("gelu", {"approximate": "none"}, item)
    with exact_products(), pytest.raises(DataError, match="NaN"):
        quantize(item, function.run([torch.tensor([1.0, torch.nan])]))


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(6, 8)[:, ::2],
        torch.randn(1, 5).expand(4, 5),
        torch.empty(0, 3),
    ],
    ids=["channels last", "strided", "expanded", "empty"],
)
def test_any_layout_is_taken(x):
    item = codes_of(0.01)
    with exact_products():
        found = function_of("silu", {}, item).run([x])
        assert torch.equal(quantize(item, found), quantize(item, OPERATIONS["silu"].run([x], {})))


def test_what_cannot_be_sure_is_computed_exactly():
    assert function_of("silu", {}, codes_of(0.01), codes_of(0.01))
    assert function_of("silu", {}, codes_of(0.01), codes_of(0.02)) is None
    assert function_of("silu", {}, codes_of(1e-4, qmin=-32768, qmax=32767)) is None
    assert function_of("silu", {}, codes_of(1e-5)) is None
    assert function_of("silu", {}, codes_of(1.0, qmin=-1, qmax=1, binary=True)) is None
    assert function_of("exp", {}, codes_of(0.01)) is None


@pytest.mark.parametrize(
    ("name", "attributes", "item", "is_nothing"),
    [
        ("relu", {}, codes_of(0.01, qmin=0, qmax=255), True),
        ("relu", {}, codes_of(0.01, -128), True),
        ("relu", {}, codes_of(0.01, -127), False),
        ("clip", {"min": 0.0, "max": 6.0}, codes_of(6 / 255, qmin=0, qmax=255), True),
        ("clip", {"min": 0.0, "max": 6.0}, codes_of(6 / 254, qmin=0, qmax=255), False),
        ("clip", {"min": 0.0, "max": 6.0}, codes_of(6 / 255, 1, qmin=0, qmax=255), False),
        ("clip", {"min": -1.0, "max": 1.0}, codes_of(1.0, qmin=-1, qmax=1, binary=True), False),
    ],
)
def test_limits_outside_of_the_grid_are_not_computed(name, attributes, item, is_nothing):
    run = find_for_codes(Digital(name, ("x",), "y", attributes), [item])
    assert (run is not None) is is_nothing
    x = torch.cat([torch.linspace(-20, 20, 100_001), torch.tensor([-torch.inf, torch.inf])])
    exact = quantize(item, OPERATIONS[name].run([x], attributes))
    assert torch.equal(quantize(item, x), exact) is is_nothing or item.binary
    if run:
        assert run([x]) is x


def test_a_limit_that_one_of_two_layers_does_not_hold_is_computed():
    relu = Digital("relu", ("x",), "y")
    assert find_for_codes(relu, [codes_of(0.01, -128), codes_of(0.02, -128)])
    assert find_for_codes(relu, [codes_of(0.01, -128), codes_of(0.02, 0)]) is None


def with_gelu_before(network: Network, *, is_output: bool = False) -> Network:
    """Return a dense network whose layer reads the GELU of the input."""
    (layer,) = network.nodes
    node = Node("act", "gelu", ("x",), "g", {"approximate": "none"})
    shape = network.shapes["x"]
    return replace(
        network,
        nodes=(node, replace(layer, inputs=("g", *layer.inputs[1:]))),
        outputs=(*network.outputs, *([TensorInfo("g", shape)] if is_output else [])),
        shapes={**network.shapes, "g": shape},
    )


@pytest.mark.parametrize("is_output", [False, True])
def test_a_program_gives_the_bits_of_the_reference(is_output):
    weights = np.random.default_rng(0).integers(-8, 8, (5, 40))
    network = with_gelu_before(linear_network(weights, grid(8, scale=0.01)), is_output=is_output)
    x = {"x": np.random.default_rng(1).standard_normal((50, 1, 40)).astype(np.float32)}
    executor = Executor(compile_small(network))
    assert_same_bits(executor.run(x), run_quantized(network, x))
    assert_same_bits(executor.run(x, 7), run_quantized(network, x))


def test_the_sources_of_a_layer_are_exact():
    network = with_gelu_before(linear_network(np.ones((2, 40)), grid(8, scale=0.01)))
    x = np.random.default_rng(1).standard_normal((50, 1, 40)).astype(np.float32)
    found = Executor(compile_small(network)).find_sources("fc", x)["g"]
    with exact_products():
        exact = OPERATIONS["gelu"].run([torch.from_numpy(x)], {"approximate": "none"})
    assert torch.equal(torch.from_numpy(found), exact)
