"""Any program gives on a device what it gives in the simulator, and its test vectors are what a core would compute."""

from __future__ import annotations

import numpy as np
import pytest
from any_programs import REGIMES
from examples import RELAXED, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_device import Chip
from random_networks import random_inputs
from vector_checks import check_reads

import mho
from mho.program.instructions import Mvm
from mho.program.program import walk


@pytest.mark.parametrize("regime", REGIMES)
@settings(max_examples=examples(10), **RELAXED)
@given(st.data())
def test_a_program_of_any_regime_runs_on_a_device(regime, data):
    network, program = data.draw(REGIMES[regime])
    inputs = random_inputs(network, 2)
    run = mho.run_on_device(program, inputs, Chip(), compare=True)
    for name, exact in mho.simulate(program, inputs).items():
        np.testing.assert_array_equal(run.outputs[name].view(np.uint32), exact.view(np.uint32))
    assert run.comparison is not None
    assert run.comparison.different == 0
    analog = [layer.name for layer in program.layers if any(isinstance(item, Mvm) for item, _ in walk(layer.body))]
    if analog:
        check_reads(mho.vectors(program, inputs, analog[-1], windows=(0, 1), sample=1))
