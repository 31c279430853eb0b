"""One schedule of one, few and many crossbars: the program takes its time, and answers in its order."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.cost_model.network_map import NetworkMap
from mho.errors import MappingError
from mho.evaluation.compilation import compile_deployment, compile_for_machine, read_policy
from mho.evaluation.deployment import find_deployment
from mho.mapping.output_error import mapping_error
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.program.program import ABOVE_BOUND
from mho.quantization.ptq import quantize
from mho.report.map_document import MapDocument
from mho.report.result_text import describe_machine
from mho.scheduling.regime import Regime
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_on_chip, time_program
from mho.workflow.chip_figures import describe_deployments

REGIMES = {1: Regime.ONE_CROSSBAR, 3: Regime.TIME_MULTIPLEXED, 60: Regime.WEIGHT_STATIONARY}


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(5).standard_normal((3, 2, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def quantized(inputs):
    network = make_residual()
    return quantize(network, Policy.uniform(network.layer_names, BitWidths(4, 4)), inputs)


@pytest.mark.parametrize("digital", [(), ("second",)])
@pytest.mark.parametrize("crossbars", list(REGIMES))
def test_program_time_energy_headline_and_answers_are_of_one_schedule(quantized, inputs, crossbars, digital):
    energy = {"mvm_pj": 3, "cell_write_pj": 2, "crossbar_leakage_uw": 5, "operation_pj": 1}
    hardware = make_accelerator(
        rows=16, cols=16, crossbars=crossbars, energy=energy, endurance={"cell_writes": 10**6},
        mapping={"always_digital": digital}, digital={"operation_latency_us": 0.02},
    )  # fmt: skip
    deployment = find_deployment(quantized, read_policy(quantized), hardware)
    assert deployment.regime is REGIMES[crossbars]
    assert tuple(name for name, one in deployment.mappings.items() if one.is_digital) == digital
    program = compile_deployment(quantized, deployment)
    assert program.regime is deployment.regime
    assert program.instructions == compile_for_machine(quantized, hardware).instructions
    (expected,) = run_quantized(quantized, inputs).values()
    for outputs in Executor(program).run(inputs), interpret(program, inputs).outputs:
        (found,) = outputs.values()
        np.testing.assert_array_equal(found, expected)
    timing = time_program(program) if program.schedule is None else time_on_chip(program)
    assert (timing.latency_ps, timing.writes) == (deployment.latency_ps, deployment.writes)
    leaked = deployment.energy.component_aj["leakage"]
    assert leaked == pytest.approx(5 * crossbars * timing.latency_ps, rel=1e-6)
    assert ("write" in deployment.energy.component_aj) == (deployment.writes > 0)
    check_headline(deployment, timing, crossbars)


def check_headline(deployment, timing, crossbars):
    """What a run tells of its machine is that of the program."""
    (figures,) = describe_deployments({"found": deployment}, {"found": "found policy"})
    assert figures.regime is REGIMES[crossbars]
    assert (figures.latency_us, figures.writes) == (timing.latency_ps / 1e6, timing.writes)
    assert figures.energy_pj == pytest.approx(deployment.energy.total_aj / 1e6)
    assert (figures.lifetime_inputs is None) == (figures.cell_writes_per_input == 0) == (timing.writes == 0)
    words = {1: "Its crossbar is written", 3: f"rewritten on 3 of 3 crossbars, {timing.writes} writes", 60: "stay in"}
    assert words[crossbars] in describe_machine(figures, crossbars)


def test_a_batch_shares_writes_where_there_are_any(quantized):
    for crossbars, regime in REGIMES.items():
        hardware = make_accelerator(rows=16, cols=16, crossbars=crossbars, endurance={"cell_writes": 10**6})
        one, four = (find_deployment(quantized, read_policy(quantized), hardware, batch=batch) for batch in (1, 4))
        assert (one.batch, four.batch) == (1, 4)
        rewrites = regime is not Regime.WEIGHT_STATIONARY
        assert (four.interval_ps < one.interval_ps) == rewrites
        assert (four.cell_writes_per_input < one.cell_writes_per_input) == rewrites
        if rewrites:
            program = compile_for_machine(quantized, hardware, batch=4)
            assert program.metadata["batch"] == 4


def test_a_program_of_another_network_is_refused(quantized):
    other = Policy.uniform(quantized.layer_names, BitWidths(2, 2))
    network = make_residual()
    deployment = find_deployment(network, other, make_accelerator(rows=16, cols=16, crossbars=60))
    with pytest.raises(MappingError, match="another layer"):
        compile_deployment(quantized, deployment)
    with pytest.raises(MappingError, match="without integers"):
        read_policy(network)


@pytest.mark.parametrize("crossbars", list(REGIMES))
def test_layers_above_the_bound_on_errors_are_named_by_deployment_and_program(quantized, crossbars):
    noisy = make_accelerator(rows=16, cols=16, crossbars=crossbars, array={"programming_error": 0.2})
    deployment = find_deployment(quantized, read_policy(quantized), noisy)
    above = {name: error for name, one in deployment.mappings.items() if (error := mapping_error(one, noisy)) > 0.1}
    assert above
    assert deployment.above_bound == above
    figures = compile_for_machine(quantized, noisy).metadata[ABOVE_BOUND]
    assert figures == pytest.approx(above, abs=1e-6)
    for hardware in (noisy.with_max_error("none"), make_accelerator(rows=16, cols=16, crossbars=crossbars)):
        assert not find_deployment(quantized, read_policy(quantized), hardware).above_bound


@pytest.mark.parametrize("crossbars", [3, 60])
def test_the_map_of_a_schedule_has_its_mappings(quantized, crossbars):
    hardware = make_accelerator(rows=16, cols=16, crossbars=crossbars, energy={"mvm_pj": 3})
    deployment = find_deployment(quantized, read_policy(quantized), hardware)
    roles = {name: f"role of {name}" for name in deployment.mappings}
    found = NetworkMap.of_schedule(deployment.network_mapping, hardware, roles, model=deployment.model)
    assert {one.name: one.mapping for one in found.layers} == dict(deployment.mappings)
    rows = MapDocument.of("net", found).layers
    assert [row.why for row in rows] == list(roles.values())
    assert all(row.energy_nj and not row.alternatives for row in rows)
