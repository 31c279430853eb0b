"""A few images whose class can be seen, and a network that is to learn them."""

from __future__ import annotations

import numpy as np
import torch

import mho
from mho.data.dataset import Dataset, Split
from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train
from mho.quantization.training_options import TrainingOptions


def coloured_split(count: int = 160) -> Split:
    """Images [3, 8, 8] of five classes that differ in their mean colour."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, size=count)
    images = random.normal(size=(count, 3, 8, 8)) * 30 + 90
    for image, label in zip(images, labels, strict=True):
        image += 60.0 * np.array([label & 1, label >> 1 & 1, label >> 2])[:, None, None]
    return Split(images.clip(0, 255).astype(np.uint8), labels, (0.35,) * 3, (0.2,) * 3)


def digits_network(dataset: Dataset) -> Network:
    """Two dense layers, trained on scikit-learn's digits."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10))
    network = TrainableNetwork(mho.load(model, torch.zeros(1, 1, 8, 8)))
    train(network, dataset.train, TrainingOptions(epochs=4, learning_rate=0.1), torch.Generator().manual_seed(1))
    return network.to_network()


def short_training(**changes: object) -> TrainingOptions:
    return TrainingOptions(**{"epochs": 3, "batch_size": 32, "learning_rate": 0.02, **changes})  # type: ignore[arg-type]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trainable_network(network: Network, bits: str | None) -> TrainableNetwork:
    """The network in float, or calibrated and set to uniform bits such as "4/3"."""
    trainable = TrainableNetwork(network)
    if bits is not None:
        calibrate(trainable, torch.from_numpy(coloured_split().inputs(slice(None))))
        trainable.set_policy(Policy.uniform(network.layer_names, BitWidths.parse(bits)))
    return trainable
