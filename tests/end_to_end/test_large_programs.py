"""Networks of real size: compiled quickly and leanly, in the paper's time, executed to the last bit."""

import resource
import time

import numpy as np
import pytest
from bits import assert_same_bits
from quantized_models import quantize_by_range

from mho.cost_model.latency import cost_network
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.loading import load_network
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.program.container import read_program, write_program
from mho.program.lowering import compile_network, compile_schedule
from mho.scheduling.chip_schedule import ChipDemand, schedule_network
from mho.simulation.executor import Executor
from mho.simulation.timing import time_on_chip, time_program

PAPER_MS = {"resnet18": 1507.5, "vit_b_32": 3461.1, "vgg16": 12394.6}


def policy_of(network):
    widths = {node.name: (node.quantization.weight.bits, node.quantization.input.bits) for node in network.mvm_nodes}
    return Policy({name: BitWidths(*bits) for name, bits in widths.items()})


def assert_timed_as_costed(program, name, network, model):
    timing = time_program(program)
    cost = cost_network(network, policy_of(network), load_accelerator("pelke2026-4bit"), model=model)
    assert timing.latency_ps == cost.latency_ps
    if model is MappingModel.PAPER and name in PAPER_MS:
        assert round(timing.latency_ps / 1e9, 1) == PAPER_MS[name]


@pytest.mark.slow
@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "mobilenet_v2", "resnet50"])
def test_torchvision_networks_are_compiled_and_executed_to_the_last_bit(name, model, tmp_path):
    network = quantize_by_range(load_network(f"torchvision:{name}"), 8, 8)
    write_program(compile_network(network, load_accelerator("pelke2026-4bit"), model=model), tmp_path / "p.mho")
    program = read_program(tmp_path / "p.mho")
    assert_timed_as_costed(program, name, network, model)
    image = {program.inputs[0]: np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    assert_same_bits(Executor(program).run(image), run_quantized(network, image))


@pytest.mark.slow
@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("name", ["vgg16", "vit_b_32"])
def test_large_networks_compile_in_20_seconds_and_4_gigabytes(name, model, tmp_path):
    network = quantize_by_range(load_network(f"torchvision:{name}"), 8, 8)
    start = time.process_time()
    program = compile_network(network, load_accelerator("pelke2026-4bit"), model=model)
    write_program(program, tmp_path / "p.mho")
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6
    assert_timed_as_costed(program, name, network, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "mobilenet_v2"])
def test_torchvision_networks_on_chips_of_many_crossbars_keep_their_bits_and_times(name, tmp_path):
    network = quantize_by_range(load_network(f"torchvision:{name}"), 8, 8)
    policy, chip = policy_of(network), load_accelerator("clsa-256")
    minimal = ChipDemand.of(network, policy, chip).minimal_crossbars
    schedule = schedule_network(network, policy, chip, crossbars=minimal + minimal // 4)
    write_program(compile_schedule(network, schedule), tmp_path / "p.mho")
    program = read_program(tmp_path / "p.mho")
    assert time_on_chip(program).latency_ps == schedule.ideal.makespan_ps
    image = {program.inputs[0]: np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    assert_same_bits(Executor(program).run(image), run_quantized(network, image))
