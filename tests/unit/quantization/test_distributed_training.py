import multiprocessing

import pytest
import torch
from small_training import coloured_split, seeded, short_training, trainable_network
from torch import nn

from mho.errors import ConfigError, TrainingError, UnsupportedOperationError
from mho.quantization.compilation import CompiledModule
from mho.quantization.devices import Devices, Precision
from mho.quantization.distributed_training import train_on

TWO = Devices(("cpu", "cpu"))


def train_small(network, bits, devices, checkpoint=None, on_progress=None):
    options = short_training(augmentation="flip-crop", label_smoothing=0.1)
    trainable = trainable_network(network, bits)
    result = train_on(devices, trainable, coloured_split(), options, seeded(), checkpoint, on_progress)
    return trainable.state_tensors(), result


def assert_close(ours, theirs, rtol, atol):
    (tensors, of_two), (expected, of_one) = ours, theirs
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=rtol, atol=atol, msg=name)
    assert of_two.steps == of_one.steps
    losses = [[epoch.loss for epoch in result.epochs] for result in (of_two, of_one)]
    assert losses[0] == pytest.approx(losses[1], rel=rtol)


@pytest.mark.slow
def test_two_processes_do_what_one_does_on_the_whole_batch_even_where_one_died_in_between(residual, tmp_path):
    def kill(progress):
        if progress.step == 8:
            multiprocessing.active_children()[0].kill()

    threads = torch.get_num_threads()
    with pytest.raises(TrainingError, match=r"ended with code -9[^$]*resumes from the last checkpoint"):
        train_small(residual(), None, TWO, tmp_path / "checkpoint", kill)
    assert not multiprocessing.active_children()
    assert not torch.distributed.is_initialized()
    assert torch.get_num_threads() == threads
    together = train_small(residual(), None, TWO, tmp_path / "checkpoint")
    assert_close(together, train_small(residual(), None, Devices()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_a_quantized_network_as_one_does(residual):
    """As near as rounding lets them: a last bit, which is the processor's, may move a value to the next level."""
    together, alone = (train_small(residual(), "3/4", devices) for devices in (TWO, Devices()))
    assert_close(together, alone, rtol=0.01, atol=0.01)


def test_batches_that_do_not_divide_and_what_runs_on_one_processor_only_are_refused(residual):
    network = trainable_network(residual(), "4/4")
    with pytest.raises(ConfigError, match=r"batches of 31 for 2 devices\n  expected: a multiple of 2"):
        train_on(TWO, network, coloured_split(), short_training(batch_size=31), seeded())
    with pytest.raises(ConfigError, match="batches of 3 for 2 devices"):
        train_on(TWO, network, coloured_split(3), short_training(), seeded())
    for module in (nn.Flatten(), CompiledModule(network)):
        with pytest.raises(UnsupportedOperationError, match="expected: a TrainableNetwork, not compiled"):
            train_on(TWO, module, coloured_split(), short_training(), seeded())
    with pytest.raises(UnsupportedOperationError, match="training on arrays runs on the processor"):
        train_on(TWO, network, coloured_split(), short_training(), seeded(), noise=object())


def test_training_in_bf16_learns_what_float32_learns(residual):
    losses = {}
    for precision in Precision:
        network = trainable_network(residual(), "4/4")
        options = short_training(epochs=15, learning_rate=0.1, scale_learning_rate=0.03)
        result = train_on(Devices(("cpu",), precision), network, coloured_split(), options, seeded())
        losses[precision] = result.epochs[-1].loss
    assert losses[Precision.BF16] != losses[Precision.FLOAT32]
    assert losses[Precision.BF16] == pytest.approx(losses[Precision.FLOAT32], abs=0.15)
    assert losses[Precision.BF16] < 0.8
