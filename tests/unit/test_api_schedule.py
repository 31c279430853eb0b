"""`mho.schedule`: a network on a chip of many crossbars, from Python."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_chain, make_residual

import mho
from mho.mapping.layer_mapping import MappingModel
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.reload_schedule import ReloadSchedule


@pytest.fixture(scope="module")
def network():
    return make_residual()


def test_what_is_asked_for_reaches_the_schedule(network):
    found = mho.schedule(
        network,
        "clsa-256",
        "4/6",
        crossbars=9,
        objective="interval",
        mapping="paper",
        batch=2,
        layers=["first", "third"],
    )
    assert found.accelerator.chip.crossbars == 9
    assert found.objective is Objective.INTERVAL
    assert found.model is MappingModel.PAPER
    assert found.batch == 2
    assert dict(found.policy.layers) == dict.fromkeys(["first", "third"], mho.BitWidths(4, 6))
    assert found.plan.used_crossbars <= 9


def test_values_do_not_change(network):
    found = mho.schedule(network, "clsa-256")
    with pytest.raises(AttributeError):
        found.plan = None  # type: ignore[misc]


def test_wrong_calls_are_explained(network):
    with pytest.raises(mho.MhoError, match="objective is 'speed'"):
        mho.schedule(network, "clsa-256", objective="speed")  # type: ignore[arg-type]
    with pytest.raises(mho.MhoError, match=r"mapping is 'bset'(.|\n)*did you mean 'best'"):
        mho.schedule(network, "clsa-256", mapping="bset")  # type: ignore[arg-type]
    with pytest.raises(mho.MhoError, match="batch 0"):
        mho.schedule(network, "pelke2026-4bit", batch=0)


def test_tiles_are_rewritten_where_the_crossbars_do_not_hold_each_layer(network):
    found = mho.schedule(network, "pelke2026-4bit", "8/8", batch=2, layers=["second", "head"])
    assert isinstance(found, ReloadSchedule)
    assert (found.crossbars, found.batch) == (1, 2)
    assert found.work.layers == ("second", "head")
    more = mho.schedule(network, "pelke2026-4bit", "8/8", crossbars=2, mapping="paper")
    assert isinstance(more, ReloadSchedule)
    assert (more.crossbars, more.model, more.accelerator.chip.crossbars) == (2, MappingModel.PAPER, 2)
    assert isinstance(mho.schedule(network, "pelke2026-4bit", "8/8", crossbars=100), ChipSchedule)


def test_a_schedule_becomes_a_program_that_tells_its_own_times(tmp_path):
    network = make_chain()
    samples = np.random.default_rng(2).standard_normal((4, *network.inputs[0].shape)).astype(np.float32)
    quantized = mho.quantize(network, "4/4", samples)
    schedule = mho.schedule(quantized, make_accelerator(rows=32, cols=16, crossbars=30), "4/4")
    program = mho.compile_schedule(quantized, schedule)
    mho.save(program, tmp_path / "p.mho")
    expected = mho.simulate(mho.compile(quantized, make_accelerator()), samples)
    for engine in ("executor", "interpreter"):
        outputs = mho.simulate(tmp_path / "p.mho", samples, engine=engine)
        assert all(np.array_equal(outputs[name], values) for name, values in expected.items())
    assert mho.timing(tmp_path / "p.mho").latency_ps == schedule.timing.latency_ps == schedule.ideal.makespan_ps
    assert len(mho.timing(program, batch=3).batch.finish_ps) == 3


def test_times_of_one_crossbar_are_those_of_the_cost_model():
    network = make_chain()
    quantized = mho.quantize(network, "4/4", np.ones((1, *network.inputs[0].shape), np.float32))
    program = mho.compile(quantized, "pelke2026-4bit")
    assert mho.timing(program).latency_ps == mho.cost(quantized, "pelke2026-4bit", "4/4").latency_ps
    with pytest.raises(mho.MhoError, match="carries a schedule"):
        mho.timing(program, batch=2)


def test_only_whole_networks_with_integers_become_programs_for_chips():
    network = make_chain()
    chip = make_accelerator(rows=32, cols=16, crossbars=30)
    with pytest.raises(mho.MhoError, match="layers without integers"):
        mho.compile_schedule(network, mho.schedule(network, chip, "4/4"))
    quantized = mho.quantize(network, "4/4", np.ones((1, *network.inputs[0].shape), np.float32))
    with pytest.raises(mho.MhoError, match="leaves out: second"):
        mho.compile_schedule(quantized, mho.schedule(quantized, chip, "4/4", layers=["first"]))
    with pytest.raises(mho.MhoError, match="a mapping of another layer"):
        mho.compile_schedule(quantized, mho.schedule(quantized, chip, "8/8"))
