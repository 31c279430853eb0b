from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_training import coloured_split, seeded, short_training, trainable_network
from torch.nn import functional

from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.network.graph import Network
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train


def divergence(student: TrainableNetwork, teacher: Network, split: Split) -> float:
    """Mean Kullback-Leibler divergence of a network's answers from the float network's."""
    inputs = torch.from_numpy(split.inputs(slice(None)))
    with torch.no_grad():
        found, wanted = (functional.log_softmax(one.eval()(inputs), 1) for one in (student, TrainableNetwork(teacher)))
    return float(functional.kl_div(found, wanted, log_target=True, reduction="batchmean"))


def test_a_network_learns_what_its_teacher_answers_whatever_the_labels_say(
    residual: Callable[..., Network],
) -> None:
    split, module = coloured_split(), TrainableNetwork(residual())
    train(module, split, short_training(epochs=12, learning_rate=0.1), seeded())
    network = module.to_network()
    others = Split(split.images, np.roll(split.labels, 1), split.mean, split.std)
    states = []
    for labelled in (split, others):
        student = trainable_network(network, "2/3")
        before = divergence(student, network, split)
        options = short_training(epochs=4, learning_rate=0.01, distillation=1.0, fixed_norm_share=1.0)
        train(student, labelled, options, seeded(), teacher=network)
        assert divergence(student, network, split) < 0.7 * before
        states.append({name: tensor.clone() for name, tensor in student.state_tensors().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("share", "is_given", "message"), [(0.5, False, "no teacher"), (0.0, True, "a teacher")])
def test_a_share_without_a_teacher_is_refused_and_a_teacher_without_a_share(
    residual: Callable[..., Network], share: float, is_given: bool, message: str
) -> None:
    network = residual()
    options = short_training(epochs=1, distillation=share)
    with pytest.raises(ConfigError, match=message):
        train(
            trainable_network(network, "4/4"),
            coloured_split(),
            options,
            seeded(),
            teacher=network if is_given else None,
        )
