"""The public API is reachable by the names that the documentation gives, whatever was imported before."""

from __future__ import annotations

import numpy as np
import pytest

import mho


@pytest.fixture(scope="module")
def network():
    return mho.load("resnet8", input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)


def test_every_public_name_can_be_had():
    for name in mho.__all__:
        assert getattr(mho, name) is not None
    assert set(mho.__all__) <= set(dir(mho))


def test_packages_stay_callable_after_their_submodules_are_imported(network):
    import mho.bit_search.space
    import mho.cost_model.latency

    assert (
        mho.cost(network, "pelke2026-4bit").latency_ps
        == mho.cost(network, mho.accelerator("pelke2026-4bit")).latency_ps
    )
    assert callable(mho.search)
    assert callable(mho.accelerator)


def test_fewer_bits_cost_less(network):
    accelerator = mho.accelerator("pelke2026-4bit")
    policy = mho.Policy.uniform(network.layer_names, mho.BitWidths(4, 4))
    assert mho.cost(network, accelerator, policy).latency_ps == mho.cost(network, accelerator, "4/4").latency_ps
    assert mho.cost(network, accelerator, "4/4").latency_ps < mho.cost(network, accelerator).latency_ps


def test_both_engines_answer_alike_from_value_and_file(network, samples, tmp_path):
    from mho.program.container import write_program

    program = mho.compile(mho.quantize(network, "4/8", samples), "pelke2026-4bit")
    write_program(program, tmp_path / "p.mho")
    fast = mho.simulate(program, samples)
    slow = mho.simulate(tmp_path / "p.mho", samples[:4], engine="interpreter")
    for name, array in slow.items():
        np.testing.assert_array_equal(fast[name][:4], array)


def test_zero_slices_are_counted_from_value_and_file(network, samples, tmp_path):
    program = mho.compile(mho.quantize(network, "4/8", samples), "pelke2026-4bit")
    mho.save(program, tmp_path / "p.mho")
    found, again = (mho.count_zero_slices(given, samples) for given in (program, tmp_path / "p.mho"))
    assert [layer.name for layer in found.layers] == list(network.layer_names)
    np.testing.assert_array_equal(found.latencies_ps, again.latencies_ps)
    assert (mho.count_zero_slices(program, samples * 0).skipped > found.skipped).all()


def test_wrong_calls_are_explained(network, samples):
    with pytest.raises(mho.MhoError, match="quantize"):
        mho.compile(network, "pelke2026-4bit")
    with pytest.raises(mho.MhoError, match="WEIGHT/ACTIVATION"):
        mho.cost(network, "pelke2026-4bit", "8x8")
    with pytest.raises(mho.MhoError, match="example"):
        mho.load(object())
    program = mho.compile(mho.quantize(network, "4/4", samples), "pelke2026-4bit")
    with pytest.raises(mho.MhoError, match="engine"):
        mho.simulate(program, samples, engine="guess")
    with pytest.raises(AttributeError):
        mho.no_such_name  # noqa: B018
