"""`mho.map`: how a network lies in crossbars, from Python."""

from __future__ import annotations

import pytest

import mho


@pytest.fixture(scope="module")
def network():
    return mho.load("resnet8", input_shape=(1, 8, 8))


@pytest.mark.parametrize("mapping", ["best", "paper"])
def test_its_times_are_those_of_the_cost(network, mapping):
    found = mho.map(network, "pelke2026-4bit", "4/6", mapping=mapping, batch=3)
    cost = mho.cost(network, "pelke2026-4bit", "4/6", mapping=mapping, batch=3)
    assert found.latency_ps == cost.latency_ps
    assert [layer.name for layer in found.layers] == list(network.layer_names)


def test_values_do_not_change(network):
    found = mho.map(network, "pelke2026-4bit")
    with pytest.raises(AttributeError):
        found.layers[0].cost = None  # type: ignore[misc]


def test_wrong_calls_are_explained(network):
    with pytest.raises(mho.MhoError, match="unknown mapping 'bset'"):
        mho.map(network, "pelke2026-4bit", mapping="bset")  # type: ignore[arg-type]
    with pytest.raises(mho.MhoError, match="no MVM layer 'conv'"):
        mho.map(network, "pelke2026-4bit").layer("conv")
