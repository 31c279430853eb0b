"""Networks of token indices in integers: embeddings, positions that are counted, a layer."""

from __future__ import annotations

import numpy as np
from network_builder import NetworkBuilder
from random_networks import Chooser

from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.ptq import quantize


def random_embeddings(chooser: Chooser) -> tuple[Network, dict[str, np.ndarray]]:
    """Return a network with the grids of an integer-only digital unit, and samples.

    Its inputs are tokens [1, T] and a position [1]; its outputs the rows of both embeddings, and what a layer makes of
    their sum.
    """
    tokens, count, width = chooser.integer(1, 6), chooser.integer(1, 400), chooser.integer(1, 9)
    first, most = chooser.integer(0, 5), chooser.integer(0, 7)
    b = NetworkBuilder((1, tokens), seed=chooser.integer(0, 99))
    b.constants["count"] = np.arange(first, first + tokens, dtype=np.float32)
    table = b.add("embed", b.constant("table", count, width), at="input")
    places = b.add("add", "count", at=b.input("position", 1))
    if chooser.integer(0, 1):
        places = b.add("clip", at=places, min=0.0, max=float(most + first + tokens - 1))
    places = b.add("reshape", at=places, shape=(1, tokens))
    rows = b.add("embed", b.constant("places", most + first + tokens, width), at=places)
    b.add("add", rows, at=table)
    network = b.build(table, rows, b.linear(chooser.integer(1, 5)))
    random = np.random.default_rng(chooser.integer(0, 99))
    inputs = {
        "input": random.integers(-count, count, (4, 1, tokens)).astype(np.float32),
        "position": random.integers(0, most + 1, (4, 1)).astype(np.float32),
    }
    widths = BitWidths(chooser.integer(2, 8), chooser.integer(2, 8))
    quantized = quantize(network, Policy.uniform(network.layer_names, widths), inputs)
    return assign_digital_grids(quantized, inputs, bits=chooser.choice((8, 11, 16))), inputs
