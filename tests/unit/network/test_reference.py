"""The oracle against plain loops, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_networks import SeededChooser, random_inputs, random_network

from mho.errors import DataError, MhoError
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo
from mho.network.reference import run_float, run_quantized


def _network(node: Node, shapes: dict[str, tuple[int, ...]], constants: dict[str, np.ndarray]) -> Network:
    inputs = tuple(TensorInfo(name, shapes[name]) for name in node.inputs if name in shapes)
    return Network("test", inputs, (TensorInfo(node.output, shapes[node.output]),), (node,), constants, shapes)


def test_a_convolution_is_what_its_loops_say() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-8, 8, (4, 2, 3, 2))
    bias = rng.normal(0, 1, 4).astype(np.float32)
    grids = LayerQuantization(
        Grid(np.float32(0.25), 5, 0, 15, 4),
        Grid(rng.uniform(0.1, 1, 4).astype(np.float32), rng.integers(-2, 3, 4), -8, 7, 4),
    )
    attributes = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2), "groups": 2}
    shapes = {"x": (1, 4, 6, 5), "y": (1, 4, 4, 4)}
    node = Node("conv", "conv", ("x", "w", "b"), "y", attributes, grids)
    x = rng.normal(0, 2, (2, 1, 4, 6, 5)).astype(np.float32)
    sums: dict[str, np.ndarray] = {}
    result = run_quantized(_network(node, shapes, {"w": weight, "b": bias}), x, record=sums)["y"]

    q = (np.rint(x / np.float32(0.25)) + 5).clip(0, 15).astype(int) - 5
    for n, o, i, j in itertools.product(range(2), range(4), range(4), range(4)):
        total = 0
        for c, a, b in itertools.product(range(2), range(3), range(2)):
            row, column = 2 * i + a - 1, j + 2 * b
            if 0 <= row < 6 and 0 <= column < 5:
                channel = (o // 2) * 2 + c
                total += int(weight[o, c, a, b] - grids.weight.zero_points[o]) * int(q[n, 0, channel, row, column])
        assert sums["conv"][n, 0, o, i, j] == total
        unit = np.float32(0.25) * grids.weight.scales[o]
        assert result[n, o, i, j] == np.float32(np.float32(total) * unit) + bias[o]


def test_sums_beyond_float64_are_exact() -> None:
    rng = np.random.default_rng(1)
    low, high = -(1 << 40), 1 << 40
    weight = rng.integers(low, high, (3, 50))
    grids = LayerQuantization(Grid(np.float32(1), 0, -32768, 32767, 16), Grid(np.float32(1), 0, low, high, 42))
    node = Node("fc", "linear", ("x", "w"), "y", {}, grids)
    x = rng.integers(-32768, 32767, (1, 1, 50)).astype(np.float32)
    sums: dict[str, np.ndarray] = {}
    run_quantized(_network(node, {"x": (1, 50), "y": (1, 3)}, {"w": weight}), x, record=sums)
    expected = [sum(int(a) * int(b) for a, b in zip(row, x[0, 0], strict=True)) for row in weight]
    assert sums["fc"][0, 0].tolist() == expected


def test_a_batch_gives_the_bits_of_its_samples_one_by_one() -> None:
    for seed in range(12):
        network = random_network(SeededChooser(seed))
        inputs = random_inputs(network, 5, seed)
        together = run_quantized(network, inputs)
        for index in range(5):
            alone = run_quantized(network, {name: array[index : index + 1] for name, array in inputs.items()})
            for name, array in together.items():
                assert np.array_equal(array[index], alone[name][0])


def _linear(quantized: bool) -> Network:
    grids = (
        LayerQuantization(Grid(np.float32(1), 0, 0, 255, 8), Grid(np.float32(1), 0, -7, 7, 4)) if quantized else None
    )
    node = Node("fc", "linear", ("x", "w"), "y", {}, grids)
    weight = np.ones((3, 2), np.int8 if quantized else np.float32)
    return _network(node, {"x": (1, 2), "y": (1, 3)}, {"w": weight})


def test_a_float_network_has_no_integers_and_a_quantized_one_no_float_layers() -> None:
    with pytest.raises(MhoError, match="layers without integers: fc"):
        run_quantized(_linear(False), np.ones((1, 2)))
    with pytest.raises(MhoError, match="quantized layers in a float run: fc"):
        run_float(_linear(True), np.ones((1, 2)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"z": np.ones((1, 2))}, "no input 'z'"),
        ({}, "'x' is missing"),
        (np.ones((1, 3)), r"shape \[1, 3\]"),
        (np.full((1, 2), np.inf), "infinite"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_float(_linear(False), inputs)
