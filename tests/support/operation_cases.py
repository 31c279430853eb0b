"""One use or more of every operation: what the tests of all that a record says run through."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mho.arithmetic.operations import infer_shape
from mho.network.graph import Network, Node, TensorInfo

IMAGE = (1, 4, 5, 6)
WINDOWS = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2)}
SINGLE = {"kernel": (1, 1), "strides": (4, 3), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
QUANTIZER = {"scale": 0.25, "zero_point": 3, "qmin": -8, "qmax": 7}


@dataclass(frozen=True, eq=False)
class OperationCase:
    """One use.

    Attributes:
        op: operation.
        shapes: per-sample shapes of the activations.
        attributes: of the operation.
        constants: the other operands; a shape stands for random numbers from 0.5 to 1.
    """

    op: str
    shapes: list[tuple[int, ...]]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.op

    def make_constants(self) -> list[np.ndarray]:
        generator = np.random.default_rng(0)
        return [
            given if isinstance(given, np.ndarray) else generator.uniform(0.5, 1, given).astype(np.float32)
            for given in self.constants
        ]

    def make_activations(self, samples: int, seed: int = 5) -> list[np.ndarray]:
        """Return [samples, *shape] of each activation: numbers that the operation takes."""
        generator = np.random.default_rng(seed)
        values = [3 * generator.standard_normal((samples, *shape)).astype(np.float32) for shape in self.shapes]
        if self.op == "embed":
            return [generator.integers(-3, 3, x.shape).astype(np.float32) for x in values]
        if self.op == "scatter":
            values[1] = np.argsort(generator.random((samples, 4)))[:, : self.shapes[1][0]].astype(np.float32) - 2
        return [np.abs(x) + np.float32(0.1) for x in values] if self.op in ("log", "sqrt") else values

    def infer_shape(self) -> tuple[int, ...]:
        return infer_shape(self.op, [*self.shapes, *(c.shape for c in self.make_constants())], self.attributes)


def _case(op: str, *shapes: tuple[int, ...], constants: list[Any] | None = None, **attributes: Any) -> OperationCase:
    return OperationCase(op, list(shapes), attributes, constants or [])


CASES = [
    *(
        _case(op, IMAGE)
        for op in (
            *("relu", "sigmoid", "hard_swish", "silu", "tanh", "erf", "exp", "log", "sqrt", "reciprocal", "neg"),
            *("abs", "softplus", "softsign", "mish", "is_nan", "floor", "ceil", "round", "sign", "sin", "cos"),
        )
    ),
    _case("clip", IMAGE, min=-1.0, max=6.0),
    *(_case(op, IMAGE, alpha=0.75) for op in ("leaky_relu", "thresholded_relu", "elu", "celu")),
    _case("selu", IMAGE, alpha=1.5, gamma=1.25),
    _case("prelu", IMAGE, constants=[(4, 1, 1)]),
    _case("prelu", IMAGE, (1, 1, 1, 6)),
    _case("hard_sigmoid", IMAGE, alpha=0.25, beta=0.5),
    _case("gelu", IMAGE, approximate="none"),
    _case("gelu", IMAGE, approximate="tanh"),
    _case("pow", IMAGE, exponent=3.0),
    _case("fake_quantize", IMAGE, **QUANTIZER),
    *(_case(op, IMAGE, (1, 4, 1, 6)) for op in ("add", "sub", "mul", "div", "minimum", "maximum")),
    *(_case(op, IMAGE, IMAGE) for op in ("equal", "less", "less_or_equal")),
    _case("mul", IMAGE, constants=[(6,)]),
    _case("add", (1, 1, 3), (1, 4, 1)),
    _case("cast", IMAGE, to="float16"),
    _case("cast", IMAGE, to="bfloat16"),
    _case("where", IMAGE, (1, 4, 1, 1), constants=[np.arange(6) > 2]),
    _case("where", IMAGE, IMAGE, (1, 4, 1, 1)),
    _case("where", (3, 4), constants=[np.full((4, 1), -math.inf, np.float32)[:3], np.eye(3, 4, dtype=bool)]),
    _case("batch_norm", IMAGE, constants=[(4,)] * 4, axis=1, epsilon=0.125),
    _case("layer_norm", (2, 3, 4), constants=[(3, 4), (3, 4)], axis=1, epsilon=0.125),
    _case("softmax", (2, 3, 13), axis=1),
    _case("log_softmax", (2, 3, 13), axis=2),
    _case("reduce_mean", IMAGE, axes=(2, 3), keepdims=1),
    _case("reduce_sum", IMAGE, axes=(1, 3), keepdims=0),
    _case("reduce_max", IMAGE, axes=(0, 2), keepdims=0),
    _case("arg_max", IMAGE, axis=2, keepdims=0, select_last_index=0),
    _case("arg_max", IMAGE, axis=3, keepdims=1, select_last_index=1),
    _case("top_k", IMAGE, axis=3, k=4, largest=1),
    _case("top_k_indices", IMAGE, axis=2, k=2, largest=0),
    _case("max_pool", IMAGE, **WINDOWS, ceil_mode=0),
    _case("max_pool", IMAGE, **{**WINDOWS, "dilations": (1, 1)}, ceil_mode=1),
    _case("max_pool", (1, 2, 7, 7), **SINGLE, ceil_mode=0),
    _case("average_pool", IMAGE, **WINDOWS, ceil_mode=0, count_include_pad=1),
    _case("average_pool", IMAGE, **{**WINDOWS, "dilations": (1, 1)}, ceil_mode=0, count_include_pad=0),
    _case("conv", IMAGE, constants=[(5, 4, 3, 2), (5,)], **WINDOWS, groups=1),
    _case("conv", IMAGE, constants=[(5, 4, 1, 1)], **{**SINGLE, "strides": (1, 1), "pads": (0, 0, 1, 2)}, groups=1),
    _case("conv", (2, 4, 5, 6), constants=[(6, 2, 3, 2)], **WINDOWS, groups=2),
    _case("linear", (2, 3, 4), constants=[(5, 4), (5,)]),
    _case("matmul", (2, 3, 4), (2, 4, 5)),
    _case("reshape", (1, 6, 4), shape=(1, 6, 2, 2)),
    _case("reshape", (1, 6, 4), shape=(3, 8)),
    _case("reshape", (1, 4, 1, 1), shape=(4,)),
    _case("reshape", (2, 3, 4, 5), shape=(6, 1, 2, 10, 1)),
    _case("transpose", (2, 3, 4), perm=(2, 0, 1)),
    _case("concat", (1, 2, 4), (1, 3, 4), axis=1),
    _case("concat", (1, 2, 4), constants=[(1, 2, 3)], axis=2),
    _case("slice", IMAGE, axes=(1, 3), starts=(3, 1), ends=(-1, 6), steps=(-2, 3)),
    _case("gather", (2, 5, 3), constants=[np.array([[4, 0, 4]])], axis=1),
    _case("embed", (1, 5), constants=[(3, 4)]),
    _case("scatter", (2, 5, 3), (2,), (2, 2, 3), axis=1),
    _case("scatter", (4, 3), (1,), (1, 3), axis=0),
    _case("expand", (3, 1), shape=(2, 3, 4)),
    _case("pad", (1, 3, 4), pads=(0, 1, 2, 0, 0, 1), value=0.5),
    _case("resize_nearest", (1, 3, 2, 4), scales=(1.0, 1.0, 3.0, 2.0)),
]


def cases_network(cases: list[OperationCase]) -> Network:
    """Return one network with a node `{op}_{number}` for each case, which makes a tensor of that name."""
    inputs, outputs, nodes = [], [], []
    constants: dict[str, np.ndarray] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for number, case in enumerate(cases):
        name = f"{case.op}_{number}"
        taken = [TensorInfo(f"{name}.x{index}", shape) for index, shape in enumerate(case.shapes)]
        held = {f"{name}.c{index}": value for index, value in enumerate(case.make_constants())}
        output = TensorInfo(name, case.infer_shape())
        nodes.append(Node(name, case.op, (*(t.name for t in taken), *held), name, case.attributes))
        shapes |= {tensor.name: tensor.shape for tensor in (*taken, output)}
        inputs, outputs, constants = [*inputs, *taken], [*outputs, output], constants | held
    return Network("cases", tuple(inputs), tuple(outputs), tuple(nodes), constants, shapes)


def cases_inputs(cases: list[OperationCase], samples: int) -> dict[str, np.ndarray]:
    """Return inputs of `cases_network`."""
    return {
        f"{case.op}_{number}.x{index}": value
        for number, case in enumerate(cases)
        for index, value in enumerate(case.make_activations(samples))
    }
