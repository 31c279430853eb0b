import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bits import assert_same_bits
from random_networks import random_inputs
from small_programs import compile_small, conv_network, grid

from mho.arithmetic.exactness import exact_products
from mho.network.reference import run_quantized
from mho.program.geometry import ConvGeometry
from mho.simulation import layer_runners
from mho.simulation.byte_convolution import ByteConvolution, has_byte_convolutions, takes_bytes
from mho.simulation.executor import Executor

FORMS = [
    {"shape": (1, 16, 9, 9), "outputs": 8, "strides": (1, 1), "pads": (1, 1, 1, 1)},
    {"shape": (2, 3, 9, 10), "outputs": 5, "strides": (2, 1), "pads": (1, 0, 2, 1)},
    {"shape": (1, 24, 6, 6), "outputs": 24, "groups": 24, "strides": (2, 2), "pads": (0, 1, 1, 0)},
    {"shape": (1, 8, 6, 6), "outputs": 12, "groups": 4, "strides": (1, 1), "pads": (1, 1, 1, 1)},
]

needs_bytes = pytest.mark.skipif(not has_byte_convolutions(), reason="no exact and fast products of bytes here")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("weight_bits", [2, 8])
def test_a_convolution_gives_the_bits_of_the_reference_on_its_route(form, signed, weight_bits):
    network = conv_network(**form, inputs=grid(8, signed=signed), weight_bits=weight_bits)
    executor = Executor(compile_small(network))
    assert executor.routes["conv"].startswith("uint8" if has_byte_convolutions() else "float32")
    inputs = random_inputs(network, 5)
    for size in (5, 2, 1):
        assert_same_bits(executor.run(inputs, size), run_quantized(network, inputs))


@pytest.mark.parametrize("form", FORMS)
def test_both_routes_give_the_same_bits(form, monkeypatch):
    network = conv_network(**form, inputs=grid(8, signed=False), weight_bits=8)
    program, inputs = compile_small(network), random_inputs(network, 3)
    chosen = Executor(program).run(inputs)
    monkeypatch.setattr(layer_runners, "takes_bytes", lambda *_, **__: False)
    floats = Executor(program)
    assert floats.routes["conv"].startswith("float32")
    assert_same_bits(floats.run(inputs), chosen)


@needs_bytes
@pytest.mark.parametrize(
    ("weight", "codes", "zero", "is_exact", "taken"),
    [
        (127, (0, 255), 0, False, True),
        (-128, (0, 255), 0, False, True),
        (128, (0, 255), 0, False, False),
        (-129, (0, 255), 0, False, False),
        (1, (0, 256), 0, False, False),
        (1, (-1, 254), 0, False, False),
        (1, (0, 255), 256, False, False),
        (127, (0, 255), 1, False, False),
        (127, (0, 255), 0, True, False),
        (1, (0, 255), 1, True, True),
    ],
)
def test_bytes_are_taken_where_codes_weights_and_sums_fit(weight, codes, zero, is_exact, taken):
    matrix = np.full((1, 600, 1), weight, np.float32)  # 600 x 127 x 255 passes 2^24
    assert takes_bytes(matrix, codes, zero, is_exact=is_exact) is taken


@needs_bytes
def test_sums_beyond_2_to_the_24_are_rounded_once():
    channels = 2048
    generator = np.random.default_rng(0)
    kernels = generator.integers(64, 128, (4, channels, 3, 3))
    geometry = ConvGeometry(1, channels, 5, 5, 4, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)
    codes = torch.from_numpy(generator.integers(128, 256, (2, channels, 5, 5)).astype(np.uint8))
    with exact_products():
        found = ByteConvolution(kernels, geometry, 0).run(codes.contiguous(memory_format=torch.channels_last))
        right = torch.nn.functional.conv2d(codes.double(), torch.from_numpy(kernels).double(), padding=1)
    assert float(right.max()) > 2**27
    assert torch.equal(found, right.to(torch.float32))


_RUN = """
import numpy as np
from random_networks import random_inputs
from small_programs import compile_small, conv_network, grid
from mho.network.reference import run_quantized
from mho.simulation.executor import Executor
codes = grid(8, signed=False)
network = conv_network((1, 64, 8, 8), 16, strides=(1, 1), pads=(1, 1, 1, 1), inputs=codes, weight_bits=8)
executor = Executor(compile_small(network))
inputs = {name: np.abs(array) * 100 for name, array in random_inputs(network, 3).items()}  # most codes are 255
found, right = executor.run(inputs), run_quantized(network, inputs)
assert all(found[name].tobytes() == right[name].tobytes() for name in right)
print(executor.routes["conv"])
"""


@pytest.mark.parametrize(
    "setting",
    [{"ATEN_CPU_CAPABILITY": "default"}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}],
    ids=lambda setting: "=".join(*setting.items()),
)
def test_without_vnni_floats_give_the_same_bits(setting):
    support = Path(__file__).parents[2] / "support"
    path = os.pathsep.join([str(support), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _RUN], env=os.environ | setting | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("float32")


def test_an_operator_that_takes_other_arguments_only_means_that_there_is_none(monkeypatch):
    def refuses(*_):
        raise RuntimeError("onednn::qconv_pointwise() is missing value for argument 'algorithm'")

    class Other:
        qconv_prepack = qconv_pointwise = staticmethod(refuses)

    monkeypatch.setattr(torch.ops, "onednn", Other())
    assert not has_byte_convolutions.__wrapped__()
    monkeypatch.setattr(torch.ops, "onednn", object())
    assert not has_byte_convolutions.__wrapped__()
