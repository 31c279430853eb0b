"""A network that normalizes its input gives for raw samples, to the last bit, what it gives for normalized ones."""

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from onnx_models import model, node, run_onnxruntime
from small_training import coloured_split

import mho
from mho.data.dataset import Split
from mho.network.graph import Network
from mho.network.input_normalization import find_normalization, normalize_input
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_quantized
from mho.program.program import NORMALIZES_INPUT
from mho.quantization.export import build_float_model, build_qcdq_model
from mho.quantization.qat import TrainableNetwork

HARDWARE = make_accelerator(64, 64, 2)
EVERY = slice(None)


def vectors() -> Split:
    values = np.random.default_rng(0).normal(3, 2, (40, 6)).astype(np.float32)
    return Split(values, np.arange(40) % 5, tuple(values.mean(0).tolist()), tuple(values.std(0).tolist()))


def real_images() -> Split:
    split = coloured_split(40)
    return Split(split.images.astype(np.float32) / 7, split.labels, (12.9,), (5.3,))


def bytes_of_images() -> Split:
    return coloured_split(40)


@pytest.fixture(params=[bytes_of_images, real_images, vectors])
def split(request) -> Split:
    return request.param()


def small_network(split: Split) -> Network:
    """A convolution and a dense layer, or two dense ones."""
    draws = np.random.default_rng(1)
    if len(split.sample_shape) == 1:
        first, size = node("Gemm", "x w", "h", name="first", transB=1), (8, 6)
    else:
        first, size = node("Conv", "x w", "h", name="first", pads=[1, 1, 1, 1]), (4, 3, 3, 3)
    nodes = [first, node("Relu", "h", "r"), node("Flatten", "r", "f"), node("Gemm", "f v", name="last", transB=1)]
    inputs = size[0] * (1 if len(size) == 2 else 64)
    constants = {"w": draws.normal(size=size), "v": draws.normal(size=(5, inputs)) / inputs}
    arrays = {name: array.astype(np.float32) for name, array in constants.items()}
    return read_onnx(model(nodes, {"x": (1, *split.sample_shape)}, arrays))


def test_raw_samples_give_the_bits_of_normalized_ones_in_files_engines_and_onnxruntime(split):
    quantized = mho.quantize(small_network(split), "5/6", split.inputs(EVERY))
    file = build_qcdq_model(normalize_input(quantized, split.normalization))
    network = read_onnx(file)
    raw, (wanted,) = split.images, run_quantized(quantized, split.inputs(EVERY)).values()
    assert (run_quantized(network, raw)[network.outputs[0].name] == wanted).all()
    program = mho.compile(network, HARDWARE)
    assert program.metadata[NORMALIZES_INPUT] == [step for step, _ in split.normalization]
    for engine in ("executor", "interpreter"):
        (found,) = mho.simulate(program, raw, engine=engine).values()
        assert (found == wanted.reshape(found.shape)).all()
    theirs = run_onnxruntime(file, {"x": raw.astype(np.float32)})
    assert (theirs == run_onnxruntime(build_qcdq_model(quantized), {"x": split.inputs(EVERY)})).all()


def test_time_and_crossbars_stay_what_they_are(split):
    quantized = mho.quantize(small_network(split), "5/6", split.inputs(EVERY))
    normalizing = normalize_input(quantized, split.normalization)
    assert mho.timing(mho.compile(normalizing, HARDWARE)) == mho.timing(mho.compile(quantized, HARDWARE))
    plain, own = (mho.schedule(network, "isaac", "5/6", simulate=False) for network in (quantized, normalizing))
    timings = [(one.ideal.finish_ps(), one.ideal.interval_ps, one.plan.used_crossbars) for one in (plain, own)]
    assert timings[0] == timings[1]


def test_the_steps_are_found_again_in_files(split):
    network = small_network(split)
    assert not find_normalization(network)
    found = find_normalization(read_onnx(build_float_model(normalize_input(network, split.normalization))))
    for (step, numbers), (wanted_step, wanted) in zip(found, split.normalization, strict=True):
        assert step == wanted_step
        assert (numbers == wanted).all()


def test_training_leaves_the_normalization_and_the_steps_behind_it_alone(split):
    network = small_network(split)
    plain, own = TrainableNetwork(network), TrainableNetwork(normalize_input(network, split.normalization))
    raw = torch.from_numpy(split.images.astype(np.float32))
    assert (own(raw) == plain(torch.from_numpy(split.inputs(EVERY)))).all()
    learned = [{name for name, one in module.named_parameters() if one.requires_grad} for module in (plain, own)]
    assert learned[0] == learned[1]


def test_a_dataset_without_normalization_gives_its_samples_as_they_are(split):
    raw = Split(split.images, split.labels, None, None)
    assert raw.normalization == ()
    assert raw.inputs(EVERY).dtype == np.float32
    assert (raw.inputs(EVERY) == split.images).all()
