"""Networks with divisions by tensors, in integers."""

from __future__ import annotations

import numpy as np
from network_builder import NetworkBuilder
from random_networks import Chooser

from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.ptq import quantize


def random_quotients(chooser: Chooser) -> tuple[Network, dict[str, np.ndarray]]:
    """Return a network with the grids of an integer-only digital unit, and samples that it was not calibrated on.

    It divides a layer's result by another's, or by their exponentials' sum, a constant by that, and has a last layer.
    """
    rows, width = chooser.integer(1, 4), chooser.integer(1, 6)
    b = NetworkBuilder((1, rows, width), seed=chooser.integer(0, 99))
    first = b.linear(width)
    b.last = "input"
    second = b.linear(chooser.choice((1, width)), bias=False)
    if chooser.integer(0, 1):
        second = b.add("reduce_sum", at=b.add("exp"), axes=(chooser.integer(1, 2),), keepdims=1)
    last = b.add("div", second, at=first)
    if chooser.integer(0, 1):
        b.constant("one", *((rows, b.shapes[last][-1])[-chooser.integer(0, 2) or 2 :]))
        b.add("div", last, at="one", name="turned")
    quotient = b.last
    network = b.build(quotient, b.linear(chooser.integer(1, 4)))
    random = np.random.default_rng(chooser.integer(0, 99))
    inputs = random.standard_normal((16, *network.inputs[0].shape)).astype(np.float32)
    widths = BitWidths(chooser.integer(2, 8), chooser.integer(2, 8))
    quantized = quantize(network, Policy.uniform(network.layer_names, widths), inputs)
    digital = assign_digital_grids(quantized, inputs, bits=chooser.choice((8, 12, 16)))
    others = random.standard_normal((4, *network.inputs[0].shape)).astype(np.float32)
    others[0] = 0
    return digital, {"input": others}
