"""Random programs of any regime: on one crossbar, with tiles that stay, with tiles that are reloaded."""

from __future__ import annotations

from typing import Any

from accelerators import accelerators
from chip_programs import random_chip_network, random_schedule
from hypothesis import assume
from hypothesis import strategies as st
from random_networks import choosers, networks
from reload_programs import random_reload

from mho.errors import MappingError
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.program.lowering import compile_network, compile_schedule
from mho.program.program import Program


@st.composite
def one_crossbar_programs(draw: Any) -> tuple[Network, Program]:
    """Strategy of small quantized networks, each with a program for a single crossbar."""
    network, model = draw(networks()), draw(st.sampled_from(MappingModel))
    return network, compile_network(network, draw(accelerators()), model=model)


@st.composite
def resident_programs(draw: Any) -> tuple[Network, Program]:
    """Strategy of small quantized networks, each with a program whose tiles stay in crossbars of their own."""
    chooser = draw(choosers())
    network = random_chip_network(chooser)
    try:
        schedule = random_schedule(chooser, network)
    except MappingError:
        assume(False)
    return network, compile_schedule(network, schedule)


@st.composite
def reload_programs(draw: Any) -> tuple[Network, Program]:
    """Strategy of small quantized networks, each with a program whose tiles are reloaded into too few crossbars."""
    try:
        network, _, program = random_reload(draw(choosers()))
    except MappingError:
        assume(False)
    return network, program


REGIMES = {"one crossbar": one_crossbar_programs(), "staying": resident_programs(), "reloaded": reload_programs()}
"""Strategies of networks with their programs, by regime: a test runs once with each."""
