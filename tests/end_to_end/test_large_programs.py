"""Networks of real size: compiled quickly and leanly, in the paper's time, executed to the last bit."""

import resource
import time

import numpy as np
import pytest
from bits import assert_same_bits
from quantized_models import quantize_by_range

from mho.accelerator.loading import load_accelerator
from mho.network.loading import load_network
from mho.network.reference import run_quantized
from mho.program.container import read_program, write_program
from mho.program.lowering import compile_network
from mho.simulation.executor import Executor
from mho.simulation.timing import time_program


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "latency_ms"), [("resnet18", 1507.5), ("vit_b_32", 3461.1), ("mobilenet_v2", None), ("resnet50", None)]
)
def test_torchvision_networks_are_compiled_and_executed_to_the_last_bit(name, latency_ms, tmp_path):
    network = quantize_by_range(load_network(f"torchvision:{name}"), 8, 8)
    write_program(compile_network(network, load_accelerator("pelke2026-4bit")), tmp_path / "p.mho")
    program = read_program(tmp_path / "p.mho")
    if latency_ms is not None:
        assert round(time_program(program).latency_ps / 1e9, 1) == latency_ms
    image = {program.inputs[0]: np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    assert_same_bits(Executor(program).run(image), run_quantized(network, image))


@pytest.mark.slow
def test_vgg16_compiles_in_20_seconds_and_4_gigabytes(tmp_path):
    network = quantize_by_range(load_network("torchvision:vgg16"), 8, 8)
    start = time.perf_counter()
    program = compile_network(network, load_accelerator("pelke2026-4bit"))
    write_program(program, tmp_path / "p.mho")
    assert time.perf_counter() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6
    timing = time_program(program)
    assert round(timing.latency_ps / 1e9, 1) == 12394.6
    assert timing.mvms > 8_000_000
