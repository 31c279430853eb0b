"""What follows from the records: what each operation reads (by taint), what is never negative, what keeps samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from operation_cases import CASES, OperationCase, cases_network

from mho.arithmetic.operations import OPERATIONS
from mho.errors import ScheduleError
from mho.network.graph import Network, Node
from mho.network.properties import keeps_samples_apart, non_negative_tensors, required_windows


def _sum_along(operands: list[torch.Tensor], attributes: dict[str, int]) -> torch.Tensor:
    dim = attributes["axis"] + 1
    total = operands[0].sum(dim, keepdim="k" in attributes or bool(attributes["keepdims"]))
    return total if "k" not in attributes else total.repeat_interleave(attributes["k"], dim)


def _any_slice(operands: list[torch.Tensor], attributes: dict[str, int]) -> torch.Tensor:
    """Any slice of the updates may fall on any place, by any index."""
    data, indices, updates = operands
    return (
        data + updates.sum(attributes["axis"] + 1, keepdim=True) + indices.sum(1).reshape(-1, *(1,) * (data.dim() - 1))
    )


CARRIERS = {
    **dict.fromkeys(("is_nan", "sign"), lambda operands, _: operands[0]),
    **dict.fromkeys(("equal", "less", "less_or_equal"), lambda operands, _: operands[0] + operands[1]),
    **dict.fromkeys(("arg_max", "top_k", "top_k_indices"), _sum_along),
    "embed": lambda operands, _: operands[0][..., None].expand(*operands[0].shape, operands[1].shape[1]),
    "scatter": _any_slice,
    "where": lambda operands, _: operands[0] + operands[1] + operands[2],
}
"""What reads the same elements as an operation whose result is a number though it reads NaN."""


def find_reads(network: Network) -> np.ndarray:
    """Return bool [elements of all operands, *shape of the result]: which elements each result reads."""
    node, generator = network.nodes[0], np.random.default_rng(1)
    sizes = [math.prod(tensor.shape) for tensor in network.inputs]
    clean = generator.uniform(0.5, 1, sum(sizes)).astype(np.float32)
    clean = -clean if node.op == "prelu" else clean  # which reads slopes below 0 alone
    tainted = np.where(np.eye(len(clean), dtype=bool), np.float32(np.nan), clean)
    parts = np.split(tainted, np.cumsum(sizes)[:-1], axis=1)
    operands = [part.reshape(-1, *tensor.shape) for part, tensor in zip(parts, network.inputs, strict=True)]
    operands += [network.constants[name] for name in node.inputs[len(sizes) :]]
    carries = node.op not in CARRIERS or operands[-1].dtype == np.bool_
    run = OPERATIONS[node.op].run if carries else CARRIERS[node.op]
    result = run([torch.from_numpy(np.array(operand)) for operand in operands], node.attributes)
    return np.isnan(result.numpy())


def draw_numbers(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return numbers of windows that are equal all along some axes."""
    kept = [size if generator.integers(0, 3) else 1 for size in shape]
    return generator.integers(0, 50, kept).astype(np.int32)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_result_requires_the_windows_of_all_that_it_reads(case: OperationCase) -> None:
    network = cases_network([case])
    (node,), shape = network.nodes, network.outputs[0].shape
    reads = find_reads(network)
    assert reads.any()
    for seed in range(12):
        generator = np.random.default_rng(seed)
        drawn = [draw_numbers(tensor.shape, generator) for tensor in network.inputs]
        operands = [None if len(drawn) > 1 and not generator.integers(0, 4) else found for found in drawn]
        operands[0] = drawn[0] if all(operand is None for operand in operands) else operands[0]
        full = [
            np.broadcast_to(np.int32(0) if operand is None else operand, tensor.shape).reshape(-1)
            for operand, tensor in zip(operands, network.inputs, strict=True)
        ]
        column = np.concatenate(full).reshape(-1, *(1,) * (reads.ndim - 1))
        constants = [None] * (len(node.inputs) - len(operands))
        found = required_windows(network, node, [*operands, *constants])
        assert all(size in (1, whole) for size, whole in zip(found.shape, shape, strict=True))
        assert np.array_equal(np.broadcast_to(found, shape), (reads * column).max(axis=0))


def test_channels_of_feature_maps_stay_one_number() -> None:
    """Else large networks take gigabytes: a reshape of attention and a concatenation keep equal axes together."""
    split = cases_network([OperationCase("reshape", [(1, 197, 768)], {"shape": (1, 197, 12, 64)})])
    assert required_windows(split, split.nodes[0], [np.ones((1, 197, 1), np.int32)]).shape == (1, 197, 1, 1)
    scaled = cases_network([OperationCase("mul", [(1, 64, 9, 9), (1, 64, 1, 1)])])
    pair = [np.ones((1, 1, 9, 9), np.int32), np.ones((1, 1, 1, 1), np.int32)]
    assert required_windows(scaled, scaled.nodes[0], pair).shape == (1, 1, 9, 9)


def test_an_unknown_operation_is_refused() -> None:
    node = Node("odd", "sort", ("x0",), "y")
    with pytest.raises(ScheduleError, match=r"cases: odd: nothing says which elements 'sort' reads"):
        required_windows(cases_network([OperationCase("relu", [(1, 2)])]), node, [np.ones((1, 2), np.int32)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_said_never_to_be_negative_is_not(case: OperationCase) -> None:
    """Both for inputs of any sign, and for inputs that a relu made."""
    record, network = OPERATIONS[case.op], cases_network([case])
    constants = [torch.from_numpy(value) for value in case.make_constants()]
    (node,) = network.nodes
    rectified = [Node(f"r{i}", "relu", (t.name,), f"{t.name}.r") for i, t in enumerate(network.inputs)]
    operands = tuple(f"{name}.r" if name in network.shapes else name for name in node.inputs)
    behind = Node(node.name, node.op, operands, node.output, node.attributes)
    shapes = dict(network.shapes) | {f"{t.name}.r": t.shape for t in network.inputs}
    both = Network("rectified", network.inputs, network.outputs, (*rectified, behind), network.constants, shapes)
    for source, is_rectified in ((network, False), (both, True)):
        values = [torch.from_numpy(x) for x in case.make_activations(50)]
        values = [value.relu() if is_rectified else value for value in values]
        if node.output in non_negative_tensors(source):
            assert not (record.run([*values, *constants], case.attributes) < 0).any()
        elif is_rectified and case.op in ("relu", "elu", "mish", "add", "max_pool", "reshape", "prelu"):
            pytest.fail(f"{case.op} of what is not negative is not known to be so")


def test_samples_are_apart_where_nothing_mixes_or_moves_the_leading_axis() -> None:
    is_apart = {(case.op, keeps_samples_apart(cases_network([case]))) for case in CASES}
    for op in ("relu", "conv", "max_pool", "batch_norm", "mul", "prelu", "where", "reshape", "pad"):
        assert (op, True) in is_apart
    for op in ("transpose", "reduce_max", "matmul", "linear", "expand"):
        assert (op, True) not in is_apart
    assert not keeps_samples_apart(cases_network([OperationCase("softmax", [(1, 3)], {"axis": 0})]))
    assert not keeps_samples_apart(cases_network([OperationCase("add", [(1, 3)], {}, [(2, 3)])]))
