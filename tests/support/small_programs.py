"""Programs of one or two layers for tests, and ways to damage them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from accelerators import make_accelerator

from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo
from mho.program.instructions import Instruction, Layer, Loop, Window
from mho.program.lowering import compile_network
from mho.program.program import Program


def grid(bits: int, *, signed: bool = False, zero_point: int = 0, scale: float = 0.25) -> Grid:
    low = -(2 ** (bits - 1)) if signed else 0
    return Grid(np.float32(scale), np.int64(zero_point), low, low + 2**bits - 1, bits)


def linear_network(
    weights: np.ndarray, inputs: Grid, *, weight_bits: int = 4, zero_point: int = 0, bias: np.ndarray | None = None
) -> Network:
    """One dense layer on [1, inputs], named "fc"; weights on a full signed range, scale 1/2."""
    outputs, size = weights.shape
    half = 2 ** (weight_bits - 1)
    weight = Grid(np.float32(0.5), np.int64(zero_point), -half, half - 1, weight_bits)
    constants = {"w": weights.astype(np.int64), **({} if bias is None else {"b": bias.astype(np.float32)})}
    node = Node("fc", "linear", ("x", *constants), "y", {}, LayerQuantization(inputs, weight))
    return Network(
        "tiny",
        (TensorInfo("x", (1, size)),),
        (TensorInfo("y", (1, outputs)),),
        (node,),
        constants,
        {"x": (1, size), "y": (1, outputs)},
    )


def conv_network(
    shape: tuple[int, int, int, int] = (1, 2, 4, 5),
    outputs: int = 4,
    groups: int = 1,
    strides: tuple[int, int] = (1, 2),
    pads: tuple[int, int, int, int] = (1, 0, 1, 2),
    inputs: Grid | None = None,
    weight_bits: int = 4,
    zero_point: int = 0,
) -> Network:
    """A convolution "conv" of 3x3 kernels and a ReLU after it; random weights of a fixed seed."""
    generator = np.random.default_rng(7)
    half = 2 ** (weight_bits - 1)
    weights = generator.integers(-half, half, (outputs, shape[1] // groups, 3, 3))
    weight = Grid(np.full(outputs, 0.5, np.float32), np.full(outputs, zero_point), -half, half - 1, weight_bits)
    out = (
        shape[0],
        outputs,
        (shape[2] + pads[0] + pads[2] - 3) // strides[0] + 1,
        (shape[3] + pads[1] + pads[3] - 3) // strides[1] + 1,
    )
    attributes = {"kernel": (3, 3), "strides": strides, "pads": pads, "dilations": (1, 1), "groups": groups}
    quantization = LayerQuantization(inputs or grid(3, signed=True), weight)
    nodes = (
        Node("conv", "conv", ("x", "w"), "c", attributes, quantization),
        Node("relu", "relu", ("c",), "y"),
    )
    return Network(
        "small",
        (TensorInfo("x", shape),),
        (TensorInfo("y", out),),
        nodes,
        {"w": weights},
        {"x": shape, "c": out, "y": out},
    )


def matmul_network(streamed: Grid | None = None, stored: Grid | None = None) -> Network:
    """A product of two activations "qk": [1, 2, 3, 4] by [1, 2, 4, 5]."""
    a, b, y = (1, 2, 3, 4), (1, 2, 4, 5), (1, 2, 3, 5)
    quantization = LayerQuantization(streamed or grid(3, signed=True), stored or grid(4, signed=True))
    return Network(
        "attention",
        (TensorInfo("a", a), TensorInfo("b", b)),
        (TensorInfo("y", y),),
        (Node("qk", "matmul", ("a", "b"), "y", {}, quantization),),
        {},
        {"a": a, "b": b, "y": y},
    )


def compile_small(
    network: Network, accelerator: Accelerator | None = None, model: MappingModel = MappingModel.PAPER
) -> Program:
    """Compile with the paper's mapping, whose tiles and loops are easy to foresee, unless given otherwise."""
    return compile_network(network, accelerator or make_accelerator(), model=model)


def change_instructions(
    program: Program, kind: type, change: Callable[[Any], Instruction | None], *, only: int | None = None
) -> Program:
    """Return the program with every instruction of a kind (or number `only` of them) changed; None removes it."""
    seen = -1

    def visit(body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
        nonlocal seen
        result: list[Instruction] = []
        for item in body:
            if isinstance(item, kind):
                seen += 1
                changed = change(item) if only in (None, seen) else item
                if changed is None:
                    continue
                item = changed
            elif isinstance(item, Loop | Window | Layer):
                item = replace(item, body=visit(item.body))
            result.append(item)
        return tuple(result)

    return replace(program, instructions=visit(program.instructions))


def change_constant(program: Program, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Program:
    """Return the program with one constant changed."""
    return replace(program, constants={**program.constants, name: change(np.array(program.constants[name]))})
