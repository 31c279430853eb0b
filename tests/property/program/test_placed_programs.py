"""Where lines and digits avoid all stuck cells, chips give the bits of the reference, for any mapping and encoding."""

from __future__ import annotations

from bits import assert_same_bits
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_mappings import random_accelerator, random_program
from random_networks import choosers, random_inputs, random_layer

from mho.hardware.loading import accelerator_from_json
from mho.network.reference import run_quantized
from mho.simulation.analog import AnalogExecutor


@settings(max_examples=examples(40), **RELAXED)
@given(
    choosers(),
    st.integers(0, 2**20),
    st.sampled_from([("as-mapped", "digits"), ("fault-aware", "none"), ("fault-aware", "digits")]),
    st.sampled_from(["digital", "analog"]),
)
def test_chips_whose_stuck_cells_are_all_avoided_are_exact(chooser, seed, mitigation, difference):
    network, content = random_layer(chooser), random_accelerator(chooser).to_json()
    content["converters"].update(column_difference=difference)
    program = random_program(chooser, network, accelerator_from_json(content, where="drawn"))
    placement, compensation = mitigation
    content["array"].update(stuck_on_rate=0.02, stuck_off_rate=0.02, spare_cols=2)
    content["array"].update(placement=placement, fault_compensation=compensation)
    executor = AnalogExecutor(program, seed, hardware=accelerator_from_json(content, where="faulty"))
    faults = executor.faults
    assert faults.error <= faults.error_as_mapped
    assume(faults.wrong_as_mapped and not faults.wrong)
    inputs = random_inputs(network, 2)
    assert_same_bits(executor.run(inputs), run_quantized(network, inputs))
