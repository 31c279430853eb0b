"""What every operation computes, that it does so whatever the batch and threads, and that it can be trained."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from operation_cases import CASES, OperationCase
from torch import Tensor
from torch.nn import functional

import mho
from mho.arithmetic.kernels import transcendental, trees
from mho.arithmetic.operation import Operation
from mho.arithmetic.operations import OPERATIONS
from mho.quantization.export_operations import WRITERS

DIGITAL = [case for case in CASES if not OPERATIONS[case.op].is_mvm]


def _tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 3


def _tensors(arrays: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_record_is_complete(name: str) -> None:
    """The constructor asks for the rules; the kernels, the ONNX form and a case of the tests are named elsewhere."""
    record = OPERATIONS[name]
    assert record.name == name
    assert callable(record.run)
    assert callable(record.train)
    assert bool(record.onnx) or name in WRITERS or record.is_lowered
    assert not record.is_elementwise or not record.onnx or all(a.onnx is not None for a in record.attributes.values())
    # Operations on integers alone have tests of their own.
    assert any(case.op == name for case in CASES) or record.is_lowered


def test_kernels_belong_to_records() -> None:
    folder = Path(mho.__file__).parent / "arithmetic" / "kernels"
    for path in folder.glob("*.py"):
        for name in re.findall(r"^(?:def )?(?:run|train)_(\w+)", path.read_text(encoding="utf-8"), re.M):
            assert OPERATIONS[name].kernels == path.stem


def test_no_other_table_lists_operations() -> None:
    """Facts of operations lie in their records: nobody else has five names of operations in one literal."""
    names = "|".join(OPERATIONS)
    literal = re.compile(rf"""["'](?:{names})["'](?:[^"'()=]*["'](?:{names})["']){{4}}""")
    folder = Path(mho.__file__).parent
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if literal.search(path.read_text(encoding="utf-8"))
    }
    allowed = {
        "quantization/export_operations.py",  # how ONNX writes what one node does not, held complete above
        "network/naming.py",  # what lies between the two products of attention
        "network/draft_rewrites.py",  # what may have infinite constants
        "simulation/coded_functions.py",  # whose float32 results in torch have a measured error
        "deploy/digital.py", "deploy/digital_integers.py", "deploy/image_format.py",  # functions of the C runtime
    }  # fmt: skip
    assert found == allowed


def test_an_operation_without_kernel_says_which_is_missing() -> None:
    odd: Operation = dataclasses.replace(OPERATIONS["relu"], name="odd")
    with pytest.raises(NotImplementedError, match=r"kernels\.elementwise has no run_odd"):
        _ = odd.run


@pytest.mark.parametrize("case", DIGITAL, ids=str)
def test_a_batch_gives_the_bits_of_its_samples_one_by_one_on_any_threads(
    case: OperationCase, restore_threads: None
) -> None:
    activations, constants = _tensors(case.make_activations(401)), _tensors(case.make_constants())
    run = OPERATIONS[case.op].run
    torch.set_num_threads(2)
    together = run([*activations, *constants], case.attributes)
    torch.set_num_threads(1)
    assert tuple(together.shape) == (401, *case.infer_shape())
    assert together.dtype == torch.float32
    for n in (0, 1, 217, 400):
        alone = run([*(x[n : n + 1] for x in activations), *constants], case.attributes)
        assert torch.equal(alone[0], together[n])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_training_computes_the_same_and_has_gradients(case: OperationCase) -> None:
    operands = _tensors([*case.make_activations(3), *case.make_constants()])
    exact = OPERATIONS[case.op].run(operands, case.attributes)
    operands[0].requires_grad_(True)
    trained = OPERATIONS[case.op].train(operands, case.attributes)
    assert torch.allclose(exact, trained, rtol=2e-5, atol=2e-6)
    if not trained.requires_grad:  # comparisons, and rows of a constant table
        assert case.op in ("equal", "less", "less_or_equal", "is_nan", "embed", "arg_max", "top_k_indices")
        return
    (gradient,) = torch.autograd.grad(trained.sum(), operands[0])
    assert gradient.isfinite().all()


def test_a_convolution_pads_each_side_by_its_own_amount() -> None:
    x, weight, bias = _tensor(2, 1, 4, 9, 8), _tensor(6, 2, 3, 2), _tensor(6)
    attributes = {"kernel": (3, 2), "strides": (2, 1), "pads": (0, 1, 2, 0), "dilations": (1, 3), "groups": 2}
    result = OPERATIONS["conv"].run([x, weight, bias], attributes)
    padded = functional.pad(x[:, 0], (1, 0, 0, 2))
    expected = functional.conv2d(padded, weight, bias, (2, 1), 0, (1, 3), 2)
    assert torch.allclose(result[:, 0], expected)


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
    "sin": (transcendental.sin, np.sin, -1e5, 1e5),
    "cos": (transcendental.cos, np.cos, -1e5, 1e5),
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
def test_the_sign_of_a_zero_that_is_the_extreme_follows_from_the_operands(count: int) -> None:
    plus, minus = torch.zeros(1, 1, 1, 2, count), -torch.zeros(1, 1, 1, 2, count)
    windows = {"kernel": (2, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "ceil_mode": 0}
    for operands in ((plus, minus), (minus, plus)):
        assert not OPERATIONS["maximum"].run(operands, {}).signbit().any()
        assert OPERATIONS["minimum"].run(operands, {}).signbit().all()
        both = torch.cat([x[..., :1, :] for x in operands], dim=-2)
        assert not trees.tree_max(both, dim=-2).signbit().any()
        assert not OPERATIONS["max_pool"].run([both], windows).signbit().any()
    assert OPERATIONS["max_pool"].run([minus], windows).signbit().all()
    assert OPERATIONS["max_pool"].run([minus], {**windows, "pads": (1, 0, 1, 0)}).signbit().all()


SMOOTH = {
    "elu": (functional.elu, {"alpha": 1.0}),
    "celu": (lambda x: functional.celu(x, 0.7), {"alpha": 0.7}),
    "softplus": (functional.softplus, {}),
    "mish": (functional.mish, {}),
}


@pytest.mark.parametrize("op", SMOOTH)
def test_smooth_activations_round_the_true_value_to_float32(op: str) -> None:
    truth, attributes = SMOOTH[op]
    x = torch.cat([torch.linspace(-80, 20, 10_001), torch.logspace(-30, 0, 500), -torch.logspace(-30, 0, 500)])
    exact = truth(x.double()).numpy()
    result = OPERATIONS[op].run([x[None]], attributes)[0].numpy()
    step = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(result - exact) / step).max(where=np.abs(exact) >= 1e-30, initial=0) <= 0.5001
