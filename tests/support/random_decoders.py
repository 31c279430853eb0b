"""Random blocks of decoders as language models have them, in integers, written node by node."""

from __future__ import annotations

import math

import numpy as np
from network_builder import NetworkBuilder
from random_networks import Chooser

from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.ptq import quantize

NORMS = 3
"""RMS normalizations of a network."""


def random_decoder(chooser: Chooser) -> tuple[Network, dict[str, np.ndarray]]:
    """Return a network with the grids of an integer-only digital unit, and samples that it was not calibrated on.

    It looks tokens up, or takes their vectors; normalizes, rotates queries and keys by their positions, attends to no
    later token in heads that may share keys and values, and ends in a gated unit and a last layer.
    """
    b = NetworkBuilder((1, chooser.integer(1, 5)), seed=chooser.integer(0, 99))
    rows, heads, size = chooser.integer(1, 20), chooser.integer(1, 3), 2 * chooser.integer(1, 2)
    is_looked_up = chooser.integer(0, 1)
    if is_looked_up:
        x = b.add("embed", b.constant("table", rows, heads * size), at="input")
    else:
        b.shapes["input"] = (*b.shapes["input"], heads * size)
        x = "input"
    x = b.add("add", _attend(b, chooser, _normalize(b, chooser, x), heads), at=x)
    x = b.add("add", _gate(b, chooser, _normalize(b, chooser, x)), at=x)
    _normalize(b, chooser, x)
    b.linear(chooser.integer(1, 4), bias=False)
    network = b.build()
    random, shape = np.random.default_rng(chooser.integer(0, 99)), (20, *network.inputs[0].shape)
    samples = random.integers(-rows, rows, shape) if is_looked_up else random.standard_normal(shape)
    samples = samples.astype(np.float32)
    widths = BitWidths(chooser.integer(2, 8), chooser.integer(2, 8))
    quantized = quantize(network, Policy.uniform(network.layer_names, widths), samples[:16])
    digital = assign_digital_grids(quantized, samples[:16], bits=chooser.choice((8, 12, 16)))
    return digital, {"input": samples[16:]}


def _normalize(b: NetworkBuilder, chooser: Chooser, x: str) -> str:
    """Divide by the root mean square over the last axis, in one of the forms that files hold, with a scale or not."""
    squares = b.add("mul", x, at=x) if chooser.integer(0, 1) else b.add("pow", at=x, exponent=2.0)
    axis = len(b.shapes[x]) - 1
    mean = b.add("reduce_mean", at=squares, axes=(axis,), keepdims=1)
    b.add("add", _number(b, chooser.choice((1e-6, 1e-3, 0.5))), at=mean)
    form = chooser.choice(("power", "reciprocal", "division"))
    if form == "power":
        y = b.add("mul", b.add("pow", exponent=-0.5), at=x)
    elif form == "reciprocal":
        b.add("sqrt")
        y = b.add("mul", x, at=b.add("reciprocal"))
    else:
        y = b.add("div", b.add("sqrt"), at=x)
    if chooser.integer(0, 1):
        y = b.add("mul", b.constant(f"scale{len(b.nodes)}", b.shapes[x][-1]))
    return y


def _attend(b: NetworkBuilder, chooser: Chooser, x: str, heads: int) -> str:
    """Mix tokens by attention in heads; keys and values are each head's own, or one that all heads share."""
    _, tokens, width = b.shapes[x]
    size, shared = width // heads, chooser.integer(0, 1)
    query = _rotate(b, _split(b, x, heads, size))
    key = _rotate(b, _split(b, x, 1 if shared else heads, size))
    value = _split(b, x, 1 if shared else heads, size)
    if shared:
        key, value = (b.add("expand", at=one, shape=(1, heads, tokens, size)) for one in (key, value))
    scores = b.add("matmul", b.add("transpose", at=key, perm=(0, 1, 3, 2)), at=query)
    scores = b.add("mul", _number(b, 1 / math.sqrt(size)), at=scores)
    later = np.triu(np.ones((tokens, tokens), bool), 1)
    mask = f"mask{len(b.nodes)}"
    b.constants[mask] = np.where(later, chooser.choice((-math.inf, -1e4)), 0.0).astype(np.float32)
    b.add("softmax", at=b.add("add", mask, at=scores), axis=3)
    b.add("transpose", at=b.add("matmul", value), perm=(0, 2, 1, 3))
    b.add("reshape", shape=(1, tokens, width))
    return b.linear(width, bias=False)


def _split(b: NetworkBuilder, x: str, heads: int, size: int) -> str:
    """Return what a layer makes of tokens, [1, heads, tokens, size]."""
    b.last = x
    b.linear(heads * size, bias=False)
    b.add("reshape", shape=(1, b.shapes[x][1], heads, size))
    return b.add("transpose", perm=(0, 2, 1, 3))


def _rotate(b: NetworkBuilder, x: str) -> str:
    """Rotate pairs of numbers by angles that grow with the position."""
    _, _, tokens, size = b.shapes[x]
    angles = np.arange(tokens)[:, None] / 100.0 ** np.linspace(0, 1, size // 2)
    angles = np.concatenate((angles, angles), axis=1).astype(np.float32)
    cos, sin = f"cos{len(b.nodes)}", f"sin{len(b.nodes)}"
    b.constants |= {cos: np.cos(angles), sin: np.sin(angles)}
    first, second = (
        b.add("slice", at=x, axes=(3,), starts=(start,), ends=(start + size // 2,), steps=(1,))
        for start in (0, size // 2)
    )
    turned = b.add("concat", first, at=b.add("neg", at=second), axis=3)
    return b.add("add", b.add("mul", sin, at=turned), at=b.add("mul", cos, at=x))


def _gate(b: NetworkBuilder, chooser: Chooser, x: str) -> str:
    """Return what a layer makes of the product of two others, one of them behind SiLU."""
    hidden, width = chooser.integer(1, 9), b.shapes[x][-1]
    b.last = x
    b.linear(hidden, bias=False)
    gate = b.add("silu")
    b.last = x
    b.add("mul", gate, at=b.linear(hidden, bias=False))
    return b.linear(width, bias=False)


def _number(b: NetworkBuilder, value: float) -> str:
    name = f"number{len(b.nodes)}"
    b.constants[name] = np.array(value, np.float32)
    return name
