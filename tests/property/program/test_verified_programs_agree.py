"""Whatever passes verification runs, and both engines agree on it: also programs that no compiler made."""

from functools import cache

from bits import assert_same_bits
from examples import RELAXED, examples
from hand_made import HAND_MADE
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutate
from random_mappings import random_accelerator, random_program
from random_networks import SeededChooser, choosers, random_inputs, random_layer, random_network

from mho.errors import MhoError
from mho.mapping.layer_mapping import MappingModel
from mho.program.lowering import compile_network
from mho.program.verify import verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program


@cache
def network_program(seed):
    """A network of one or two layers in the best mappings: windows, packed groups, slices at once, shared writes."""
    chooser = SeededChooser(seed)
    hardware, network = random_accelerator(chooser, most=24), random_network(chooser, max_layers=1 + seed % 2)
    return compile_network(network, hardware, model=MappingModel.BEST), random_inputs(network, 2)


@cache
def layer_program(seed):
    """A layer in any mapping that is allowed."""
    chooser = SeededChooser(seed)
    hardware, network = random_accelerator(chooser, most=24), random_layer(chooser)
    return random_program(chooser, network, hardware), random_inputs(network, 2)


@cache
def hand_made_program(name):
    made = HAND_MADE[name]()
    return made.program, made.inputs


def check(program, inputs, chooser):
    """Damage a program; where it passes, both engines give the same, and it does what its timing counts."""
    try:
        mutated = mutate(program, chooser)
        verify_program(mutated)
    except MhoError:
        return
    execution = interpret(mutated, inputs)
    layers = time_program(mutated).layers
    assert execution.writes == {layer.name: layer.writes for layer in layers}
    assert execution.mvms == {layer.name: layer.mvms for layer in layers}
    assert_same_bits(Executor(mutated).run(inputs), execution.outputs)


@settings(max_examples=examples(150), **RELAXED)
@given(st.integers(0, 25), choosers())
def test_engines_agree_on_every_damaged_program_of_a_network_that_passes(seed, chooser):
    check(*network_program(seed), chooser)


@settings(max_examples=examples(150), **RELAXED)
@given(st.integers(0, 25), choosers())
def test_engines_agree_on_every_damaged_program_of_any_mapping_that_passes(seed, chooser):
    check(*layer_program(seed), chooser)


@settings(max_examples=examples(150), **RELAXED)
@given(st.sampled_from(sorted(HAND_MADE)), choosers())
def test_engines_agree_on_every_damaged_program_written_by_hand_that_passes(name, chooser):
    check(*hand_made_program(name), chooser)
