"""Digital operations on tensors of which a part is missing: what is there is right, what depends on it is missing."""

import numpy as np
import torch
from examples import RELAXED, examples
from hypothesis import given, settings
from random_digital import random_digital_network
from random_networks import choosers, random_inputs, random_network

from mho.arithmetic.operations import OPERATIONS


def evaluate(network, node, values):
    operands = [torch.from_numpy(np.array(values.get(name, network.constants.get(name)))) for name in node.inputs]
    return np.ascontiguousarray(OPERATIONS[node.op].run(operands, node.attributes).numpy())


@settings(max_examples=examples(60), **RELAXED)
@given(choosers())
def test_what_does_not_depend_on_a_missing_element_keeps_its_bits_and_all_else_is_missing(chooser):
    network = random_digital_network(chooser) if chooser.integer(0, 3) else random_network(chooser)
    values = random_inputs(network, 1, seed=chooser.integer(0, 99))
    for node in network.nodes:
        if node.is_mvm:
            shape = network.shapes[node.output]
            values[node.output] = np.random.default_rng(3).standard_normal((1, *shape)).astype(np.float32)
            continue
        clean = values[node.output] = evaluate(network, node, values)
        source = next(name for name in node.inputs if name in values)
        flat = values[source].reshape(-1)
        place = chooser.integer(0, flat.size - 1)
        before, changed = flat[place], np.zeros(clean.shape, bool)
        for other in (before + 3, before - 3, 0.0):
            flat[place] = other
            changed |= evaluate(network, node, values) != clean
        flat[place] = np.nan
        partial = evaluate(network, node, values)
        flat[place] = before
        is_missing = np.isnan(partial)
        assert not (changed & ~is_missing).any(), node.op
        assert np.array_equal(partial[~is_missing].view(np.uint32), clean[~is_missing].view(np.uint32)), node.op
