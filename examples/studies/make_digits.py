"""Make digits.onnx: a small network for scikit-learn's handwritten digits, quantized to 4 bit. Takes some seconds.

python examples/studies/make_digits.py
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

import mho
from mho.data import DataSpec, load_dataset
from mho.seeds import derive_seed

EPOCHS = 40


def train(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs[index]), labels[index]).backward()
            optimizer.step()
        schedule.step()


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    spec = DataSpec(name="digits", calibration=200, validation=250)
    data = load_dataset(spec, np.random.default_rng(derive_seed(1, "splits")))  # the cut that studies and runs make
    module = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip
    every = slice(None)
    train(module, torch.from_numpy(data.train.inputs(every)), torch.from_numpy(np.array(data.train.labels)))
    network = mho.load(module.eval(), torch.zeros(1, 1, 8, 8))
    mho.save(mho.quantize(network, "4/4", data.calibration.inputs(every)), Path(__file__).with_name("digits.onnx"))


if __name__ == "__main__":
    main()
