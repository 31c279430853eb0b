"""What every operation computes, that it does so whatever the batch and threads, and that it can be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.kernels import transcendental, trees
from mho.arithmetic.operations import OPERATIONS

POOL = {
    "kernel": (3, 2),
    "strides": (2, 1),
    "pads": (1, 0, 0, 1),
    "dilations": (1, 2),
    "ceil_mode": 1,
    "count_include_pad": 0,
}


def _tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 3


# op -> (per-sample shapes of activations, constants, attributes)
CASES: dict[str, tuple[list[tuple[int, ...]], list[Tensor], dict[str, object]]] = {
    "relu": ([(2, 5, 7)], [], {}),
    "clip": ([(2, 5, 7)], [], {"min": -1.0, "max": 6.0}),
    "leaky_relu": ([(2, 5, 7)], [], {"alpha": 0.1}),
    "sigmoid": ([(2, 5, 7)], [], {}),
    "hard_sigmoid": ([(2, 5, 7)], [], {"alpha": 0.2, "beta": 0.5}),
    "hard_swish": ([(2, 5, 7)], [], {}),
    "silu": ([(2, 5, 7)], [], {}),
    "tanh": ([(2, 5, 7)], [], {}),
    "gelu": ([(2, 5, 7)], [], {"approximate": "none"}),
    "erf": ([(2, 5, 7)], [], {}),
    "exp": ([(2, 5, 7)], [], {}),
    "neg": ([(2, 5, 7)], [], {}),
    "abs": ([(2, 5, 7)], [], {}),
    "reciprocal": ([(2, 5, 7)], [], {}),
    "pow": ([(2, 5, 7)], [], {"exponent": 3.0}),
    "softmax": ([(1, 5, 13)], [], {"axis": 1}),
    "log_softmax": ([(1, 5, 13)], [], {"axis": 2}),
    "add": ([(1, 4, 5), (1, 4, 5)], [], {}),
    "sub": ([(1, 4, 5)], [_tensor(4, 1)], {}),
    "mul": ([(1, 4, 5), (1, 4, 1)], [], {}),
    "div": ([(1, 4, 5)], [_tensor(5)], {}),
    "minimum": ([(1, 4, 5), (1, 1, 5)], [], {}),
    "maximum": ([(1, 4, 5)], [_tensor(1, 4, 1)], {}),
    "cast": ([(1, 4, 5)], [], {"to": "bfloat16"}),
    "where": ([(1, 4, 5)], [torch.full((4, 1), -math.inf), torch.arange(5) > 1], {}),
    "batch_norm": (
        [(1, 3, 4, 5)],
        [_tensor(3), _tensor(3), _tensor(3), _tensor(3).abs()],
        {"axis": 1, "epsilon": 1e-5},
    ),
    "layer_norm": ([(1, 6, 19)], [_tensor(19), _tensor(19)], {"axis": 2, "epsilon": 1e-6}),
    "max_pool": ([(1, 3, 7, 9)], [], POOL),
    "average_pool": ([(1, 3, 7, 9)], [], POOL),
    "reduce_mean": ([(1, 3, 7, 9)], [], {"axes": (2, 3), "keepdims": 1}),
    "reduce_sum": ([(1, 3, 7, 9)], [], {"axes": (1,), "keepdims": 0}),
    "reduce_max": ([(1, 3, 7, 9)], [], {"axes": (1, 3), "keepdims": 0}),
    "reshape": ([(1, 3, 8)], [], {"shape": (4, 6)}),
    "transpose": ([(1, 3, 8)], [], {"perm": (2, 0, 1)}),
    "concat": ([(1, 3, 8)], [_tensor(1, 2, 8)], {"axis": 1}),
    "slice": ([(1, 9, 8)], [], {"axes": (1, 2), "starts": (8, 1), "ends": (-1, 7), "steps": (-3, 2)}),
    "gather": ([(1, 9, 8)], [torch.tensor([[3, 0], [8, 8]])], {"axis": 1}),
    "expand": ([(1, 8)], [], {"shape": (3, 4, 8)}),
    "pad": ([(1, 3, 4)], [], {"pads": (0, 1, 2, 0, 0, 1), "value": 1.5}),
    "resize_nearest": ([(1, 2, 3, 4)], [], {"scales": (1.0, 1.0, 2.0, 3.0)}),
    "fake_quantize": ([(1, 3, 8)], [], {"scale": 0.25, "zero_point": 3, "qmin": -8, "qmax": 7}),
    "log": ([(2, 5, 7)], [], {}),
    "sqrt": ([(2, 5, 7)], [], {}),
}
FLOAT_MVM = {"conv", "linear", "matmul"}


def _operands(op: str, samples: int) -> list[Tensor]:
    shapes, constants, _ = CASES[op]
    generator = torch.Generator().manual_seed(5)
    activations = [torch.randn(samples, *shape, generator=generator) * 3 for shape in shapes]
    if op in ("log", "sqrt"):
        activations = [x.abs() + 0.1 for x in activations]
    return activations + constants


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_operation_but_the_float_products_is_checked_here() -> None:
    assert set(CASES) | FLOAT_MVM == set(OPERATIONS)


@pytest.mark.parametrize("op", CASES)
def test_a_batch_gives_the_bits_of_its_samples_one_by_one_on_any_threads(op: str, restore_threads: None) -> None:
    _, constants, attributes = CASES[op]
    operands = _operands(op, 1201)
    torch.set_num_threads(2)
    together = OPERATIONS[op].run(operands, attributes)
    torch.set_num_threads(1)
    count = len(operands) - len(constants)
    for n in (0, 1, 617, 1200):
        alone = OPERATIONS[op].run([x[n : n + 1] for x in operands[:count]] + constants, attributes)
        assert torch.equal(alone[0], together[n])


@pytest.mark.parametrize("op", CASES)
def test_the_shape_rule_tells_the_shape_that_is_computed(op: str) -> None:
    shapes, constants, attributes = CASES[op]
    expected = OPERATIONS[op].infer_shape([*shapes, *(tuple(c.shape) for c in constants)], attributes)
    result = OPERATIONS[op].run(_operands(op, 3), attributes)
    assert tuple(result.shape) == (3, *expected)
    assert result.dtype == torch.float32


@pytest.mark.parametrize("op", CASES)
def test_training_computes_the_same_and_has_gradients(op: str) -> None:
    attributes = CASES[op][2]
    operands = _operands(op, 3)
    exact = OPERATIONS[op].run(operands, attributes)
    operands[0].requires_grad_(True)
    trained = OPERATIONS[op].train(operands, attributes)
    assert torch.allclose(exact, trained, rtol=2e-5, atol=2e-6)
    (gradient,) = torch.autograd.grad(trained.sum(), operands[0])
    assert gradient.isfinite().all()


def test_a_convolution_pads_each_side_by_its_own_amount() -> None:
    x, weight, bias = _tensor(2, 1, 4, 9, 8), _tensor(6, 2, 3, 2), _tensor(6)
    attributes = {"kernel": (3, 2), "strides": (2, 1), "pads": (0, 1, 2, 0), "dilations": (1, 3), "groups": 2}
    result = OPERATIONS["conv"].run([x, weight, bias], attributes)
    padded = functional.pad(x[:, 0], (1, 0, 0, 2))
    expected = functional.conv2d(padded, weight, bias, (2, 1), 0, (1, 3), 2)
    assert torch.allclose(result[:, 0], expected)
    assert tuple(result.shape[1:]) == OPERATIONS["conv"].infer_shape([(1, 4, 9, 8), (6, 2, 3, 2), (6,)], attributes)


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pooling_counts_as_torch_does(ceil_mode: int, count_include_pad: int) -> None:
    x = _tensor(2, 1, 3, 10, 11)
    attributes = {
        "kernel": (3, 3),
        "strides": (2, 2),
        "pads": (1, 1, 1, 1),
        "dilations": (1, 1),
        "ceil_mode": ceil_mode,
        "count_include_pad": count_include_pad,
    }
    expected = functional.avg_pool2d(x[:, 0], 3, 2, 1, bool(ceil_mode), bool(count_include_pad))
    result = OPERATIONS["average_pool"].run([x], attributes)[:, 0]
    assert torch.allclose(result, expected, atol=1e-6)
    best = functional.max_pool2d(x[:, 0], 3, 2, 1, 1, bool(ceil_mode))
    assert torch.equal(OPERATIONS["max_pool"].run([x], attributes)[:, 0], best)


FUNCTIONS = {
    "exp": (transcendental.exp, np.exp, -90, 88),
    "log": (transcendental.log, np.log, 1e-38, 1e30),
    "sigmoid": (transcendental.sigmoid, lambda x: 1 / (1 + np.exp(-x)), -80, 80),
    "tanh": (transcendental.tanh, np.tanh, -12, 12),
    "erf": (transcendental.erf, np.vectorize(math.erf), -7, 7),
    "sqrt": (transcendental.sqrt, np.sqrt, 0, 1e6),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_round_the_true_value_to_float32(name: str) -> None:
    function, truth, low, high = FUNCTIONS[name]
    spread = np.random.default_rng(0).uniform(low, high, 20_000)
    near = np.geomspace(1e-30, 10, 2_000)
    x = np.concatenate([spread, near, -near if low < 0 else near]).astype(np.float32)
    exact = truth(x.astype(np.float64))
    result = function(torch.from_numpy(x)).numpy()
    assert np.abs(result - exact).max(where=np.abs(exact) < 1e-37, initial=0) < 1e-37
    step = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(result - exact) / step).max(where=np.abs(exact) >= 1e-37, initial=0) <= 0.5001


def test_gelu_is_accurate_to_the_float32_it_is_rounded_to() -> None:
    x = torch.linspace(-12, 12, 10_001)
    truth = functional.gelu(x.double())
    assert (transcendental.gelu(x, "none").double() - truth).abs().max() <= 5e-7
    approximate = functional.gelu(x.double(), approximate="tanh")
    assert (transcendental.gelu(x, "tanh").double() - approximate).abs().max() <= 5e-7


def test_limits_of_functions() -> None:
    edge = torch.tensor([math.inf, -math.inf, math.nan, 0.0])
    assert transcendental.exp(edge).tolist()[:2] == [math.inf, 0.0]
    assert transcendental.exp(edge)[2].isnan()
    logs = transcendental.log(torch.tensor([0.0, math.inf, -1.0, 1.0])).tolist()
    assert logs[:2] == [-math.inf, math.inf]
    assert math.isnan(logs[2])
    assert logs[3] == 0.0
    assert transcendental.erf(edge).tolist()[:2] == [1.0, -1.0]
    assert transcendental.tanh(edge).tolist()[:2] == [1.0, -1.0]
    assert transcendental.sigmoid(edge).tolist()[:2] == [1.0, 0.0]
    assert transcendental.power(torch.tensor([-2.0]), 3.0).item() == -8.0
    assert transcendental.power(torch.tensor([4.0]), -1.5).item() == 0.125


@pytest.mark.parametrize("exponent", [65.0, 66.0, -65.0, -66.0, 1e30, -3e30])
def test_large_whole_powers_are_those_of_numpy(exponent: float) -> None:
    x = np.array([-1.5, -1.01, -1.0, -0.9, -0.0, 0.0, 0.9, 1.0, 1.01, 1.5, np.inf, -np.inf], np.float32)
    with np.errstate(all="ignore"):
        expected = (x.astype(np.float64) ** exponent).astype(np.float32)
    np.testing.assert_allclose(transcendental.power(torch.tensor(x), exponent).numpy(), expected, rtol=1e-6)


def test_a_sum_adds_the_upper_half_to_the_lower() -> None:
    x = torch.tensor([[1e8, 1.0, -1e8, 1.0, 3.0]])
    # padded to eight: (1e8 + 3, 1, -1e8, 1) -> (8, 2) in float32, where 1e8 + 3 is 1e8 + 0
    assert trees.tree_sum(x).item() == (np.float32(1e8) + np.float32(3) - np.float32(1e8)) + 2
    terms = [x[:, i] for i in range(5)]
    assert torch.equal(trees.tree_sum_of(terms), trees.tree_sum(x))
    assert trees.tree_sum(x[:, :0]).item() == 0.0
    assert trees.tree_max(x).item() == 1e8


@pytest.mark.parametrize("count", [1, 3, 64])
def test_the_sign_of_the_zero_of_minimum_and_maximum_follows_from_the_operands(count: int) -> None:
    plus, minus = torch.zeros(1, count), -torch.zeros(1, count)
    for operands in ((plus, minus), (minus, plus)):
        assert not OPERATIONS["maximum"].run(operands, {}).signbit().any()
        assert OPERATIONS["minimum"].run(operands, {}).signbit().all()
        assert not trees.tree_max(torch.stack(operands)[:, 0], dim=0).signbit().any()
