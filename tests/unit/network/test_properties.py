"""What each operation reads, by taint: one element of an operand is not a number, and so are the results it reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mho.arithmetic.operations import OPERATIONS, infer_shape
from mho.errors import ScheduleError
from mho.network.graph import Network, Node, TensorInfo
from mho.network.properties import required_windows

IMAGE = (1, 4, 5, 6)
POOL = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2), "ceil_mode": 0}
CONV = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2), "groups": 1}
UNARY = ["relu", "sigmoid", "hard_swish", "silu", "tanh", "erf", "exp", "log", "sqrt", "reciprocal", "neg", "abs"]
BINARY = ["add", "sub", "mul", "div", "minimum", "maximum"]
QUANTIZER = {"scale": 0.1, "zero_point": 3, "qmin": 0, "qmax": 15}

CASES = [
    *((op, [IMAGE], {}, []) for op in UNARY),
    ("clip", [IMAGE], {"min": 0.1, "max": 0.5}, []),
    ("leaky_relu", [IMAGE], {"alpha": 0.1}, []),
    ("hard_sigmoid", [IMAGE], {"alpha": 0.2, "beta": 0.5}, []),
    ("gelu", [IMAGE], {"approximate": "tanh"}, []),
    ("pow", [IMAGE], {"exponent": 1.5}, []),
    ("fake_quantize", [IMAGE], QUANTIZER, []),
    *((op, [IMAGE, (1, 4, 1, 6)], {}, []) for op in BINARY),
    ("mul", [IMAGE], {}, [(6,)]),
    ("add", [(1, 1, 3), (1, 4, 1)], {}, []),
    ("cast", [IMAGE], {"to": "float16"}, []),
    ("where", [IMAGE, (1, 4, 1, 1)], {}, [np.arange(6) > 2]),
    ("where", [(3, 4)], {}, [(4,), np.eye(3, 4, dtype=bool)]),
    ("batch_norm", [IMAGE], {"axis": 1, "epsilon": 0.1}, [(4,)] * 4),
    ("layer_norm", [(2, 3, 4)], {"axis": 1, "epsilon": 0.1}, [(3, 4), (3, 4)]),
    ("softmax", [(2, 3, 4)], {"axis": 1}, []),
    ("log_softmax", [(2, 3, 4)], {"axis": 2}, []),
    ("reduce_mean", [IMAGE], {"axes": (2, 3), "keepdims": 1}, []),
    ("reduce_sum", [IMAGE], {"axes": (1, 3), "keepdims": 0}, []),
    ("reduce_max", [IMAGE], {"axes": (0, 2), "keepdims": 0}, []),
    ("max_pool", [IMAGE], POOL, []),
    ("max_pool", [IMAGE], {**POOL, "ceil_mode": 1, "dilations": (1, 1)}, []),
    ("max_pool", [(1, 2, 7, 7)], {**POOL, "kernel": (1, 1), "strides": (4, 3), "pads": (0, 0, 0, 0)}, []),
    ("average_pool", [IMAGE], {**POOL, "count_include_pad": 1}, []),
    ("conv", [IMAGE], CONV, [(5, 4, 3, 2), (5,)]),
    ("conv", [IMAGE], {**CONV, "kernel": (1, 1), "strides": (1, 1), "pads": (0, 0, 1, 2)}, [(5, 4, 1, 1)]),
    ("conv", [(2, 4, 5, 6)], {**CONV, "groups": 2}, [(6, 2, 3, 2)]),
    ("linear", [(2, 3, 4)], {}, [(5, 4), (5,)]),
    ("matmul", [(2, 3, 4), (2, 4, 5)], {}, []),
    ("matmul", [(3, 4)], {}, [(4, 5)]),
    ("reshape", [(1, 6, 4)], {"shape": (1, 6, 2, 2)}, []),
    ("reshape", [(1, 6, 4)], {"shape": (3, 8)}, []),
    ("reshape", [(1, 4, 1, 1)], {"shape": (4,)}, []),
    ("reshape", [(2, 3, 4, 5)], {"shape": (6, 1, 2, 10, 1)}, []),
    ("transpose", [(2, 3, 4)], {"perm": (2, 0, 1)}, []),
    ("concat", [(1, 2, 4), (1, 3, 4)], {"axis": 1}, []),
    ("concat", [(1, 2, 4)], {"axis": 2}, [(1, 2, 3)]),
    ("slice", [IMAGE], {"axes": (1, 3), "starts": (3, 1), "ends": (-1, 6), "steps": (-2, 3)}, []),
    ("gather", [(2, 5, 3)], {"axis": 1}, [np.array([[4, 0, 4]])]),
    ("expand", [(3, 1)], {"shape": (2, 3, 4)}, []),
    ("pad", [(1, 3, 4)], {"pads": (0, 1, 2, 0, 0, 1), "value": 0.5}, []),
    ("resize_nearest", [(1, 3, 2, 4)], {"scales": (1.0, 1.0, 3.0, 2.0)}, []),
]
"""Operation, shapes of the operands that are activations, attributes, shapes (or values) of the constants."""


def single_node_network(op, shapes, attributes, constants):
    generator = np.random.default_rng(0)
    values = {
        f"c{number}": given if isinstance(given, np.ndarray) else generator.uniform(0.5, 1, given).astype(np.float32)
        for number, given in enumerate(constants)
    }
    tensors = {f"x{number}": shape for number, shape in enumerate(shapes)}
    names = (*tensors, *values)
    made = infer_shape(op, [*shapes, *(value.shape for value in values.values())], attributes)
    node = Node("node", op, names, "y", attributes)
    inputs = tuple(TensorInfo(name, shape) for name, shape in tensors.items())
    return Network("one", inputs, (TensorInfo("y", made),), (node,), values, {**tensors, "y": made})


def find_reads(network):
    """Return bool [elements of all operands, *shape of the result]: which elements each result reads."""
    node, generator = network.nodes[0], np.random.default_rng(1)
    sizes = [math.prod(tensor.shape) for tensor in network.inputs]
    clean = generator.uniform(0.5, 1, sum(sizes)).astype(np.float32)
    tainted = np.where(np.eye(len(clean), dtype=bool), np.float32(np.nan), clean)
    parts = np.split(tainted, np.cumsum(sizes)[:-1], axis=1)
    operands = [part.reshape(-1, *tensor.shape) for part, tensor in zip(parts, network.inputs, strict=True)]
    operands += [network.constants[name] for name in node.inputs[len(sizes) :]]
    result = OPERATIONS[node.op].run([torch.from_numpy(np.array(operand)) for operand in operands], node.attributes)
    return np.isnan(result.numpy())


def draw_prefixes(shape, generator):
    """Return prefixes that are equal all along some axes."""
    kept = [size if generator.integers(0, 3) else 1 for size in shape]
    return generator.integers(0, 50, kept).astype(np.int32)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_result_has_the_largest_prefix_of_what_it_reads(case):
    network = single_node_network(*case)
    reads = find_reads(network)
    assert reads.any()
    for seed in range(20):
        generator = np.random.default_rng(seed)
        prefixes = [draw_prefixes(tensor.shape, generator) for tensor in network.inputs]
        operands = [None if len(prefixes) > 1 and not generator.integers(0, 4) else found for found in prefixes]
        operands[0] = prefixes[0] if all(operand is None for operand in operands) else operands[0]
        full = [
            np.broadcast_to(np.int32(0) if operand is None else operand, tensor.shape).reshape(-1)
            for operand, tensor in zip(operands, network.inputs, strict=True)
        ]
        column = np.concatenate(full).reshape(-1, *(1,) * (reads.ndim - 1))
        expected = (reads * column).max(axis=0)
        constants = [None] * (len(network.nodes[0].inputs) - len(operands))
        found = required_windows(network, network.nodes[0], [*operands, *constants])
        shape = network.shapes["y"]
        assert all(size in (1, whole) for size, whole in zip(found.shape, shape, strict=True))
        assert np.array_equal(np.broadcast_to(found, shape), expected)


def test_every_operation_has_a_rule_and_every_rule_a_case():
    assert {case[0] for case in CASES} == set(OPERATIONS)


def test_channels_of_feature_maps_stay_one_number():
    """Else large networks take gigabytes: a reshape of attention and a concatenation keep equal axes together."""
    split = single_node_network("reshape", [(1, 197, 768)], {"shape": (1, 197, 12, 64)}, [])
    assert required_windows(split, split.nodes[0], [np.ones((1, 197, 1), np.int32)]).shape == (1, 197, 1, 1)
    scaled = single_node_network("mul", [(1, 64, 9, 9), (1, 64, 1, 1)], {}, [])
    pair = [np.ones((1, 1, 9, 9), np.int32), np.ones((1, 1, 1, 1), np.int32)]
    assert required_windows(scaled, scaled.nodes[0], pair).shape == (1, 1, 9, 9)


def test_an_unknown_operation_is_refused():
    network = single_node_network("relu", [(1, 2)], {}, [])
    node = Node("odd", "sort", ("x0",), "y")
    with pytest.raises(ScheduleError, match=r"one: odd: nothing says which elements 'sort' reads"):
        required_windows(network, node, [np.ones((1, 2), np.int32)])
