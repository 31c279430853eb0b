"""Any program gives on a device what it gives in the simulator, and its test vectors are what a core would compute."""

from __future__ import annotations

import numpy as np
from accelerators import accelerators
from chip_programs import random_chip_network, random_schedule
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from plain_device import Chip
from random_networks import choosers, networks, random_inputs
from reload_programs import random_reload
from vector_checks import check_reads

import mho
from mho.errors import MappingError
from mho.mapping.layer_mapping import MappingModel
from mho.program.instructions import Mvm
from mho.program.lowering import compile_network, compile_schedule
from mho.program.program import walk

RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def check(program: mho.Program, network: mho.Network) -> None:
    inputs = random_inputs(network, 2)
    run = mho.run_on_device(program, inputs, Chip(), compare=True)
    for name, exact in mho.simulate(program, inputs).items():
        np.testing.assert_array_equal(run.outputs[name].view(np.uint32), exact.view(np.uint32))
    assert run.comparison is not None
    assert run.comparison.different == 0
    analog = [layer.name for layer in program.layers if any(isinstance(item, Mvm) for item, _ in walk(layer.body))]
    if analog:
        check_reads(mho.vectors(program, inputs, analog[-1], windows=(0, 1), sample=1))


@settings(max_examples=examples(12), **RELAXED)
@given(networks(max_layers=2), accelerators(), st.sampled_from(MappingModel))
def test_a_program_of_one_crossbar_runs_on_a_device(network, accelerator, model):
    check(compile_network(network, accelerator, model=model), network)


@settings(max_examples=examples(5), **RELAXED)
@given(choosers())
def test_so_does_one_whose_tiles_stay(chooser):
    network = random_chip_network(chooser)
    try:
        schedule = random_schedule(chooser, network)
    except MappingError:
        assume(False)
    check(compile_schedule(network, schedule), network)


@settings(max_examples=examples(5), **RELAXED)
@given(choosers())
def test_so_does_one_whose_tiles_take_turns(chooser):
    try:
        network, _, program = random_reload(chooser)
    except MappingError:
        assume(False)
    check(program, network)
