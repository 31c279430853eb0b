"""`mho.schedule`: a network on a chip of many crossbars, from Python."""

from __future__ import annotations

import pytest
from chip_networks import make_residual

import mho
from mho.mapping.model import MappingModel
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.reload import ReloadSchedule


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
    with pytest.raises(mho.MhoError, match="unknown objective 'speed'"):
        mho.schedule(network, "clsa-256", objective="speed")  # type: ignore[arg-type]
    with pytest.raises(mho.MhoError, match="unknown mapping 'bset'"):
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
