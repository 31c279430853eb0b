"""Make resnet20.onnx: a ResNet-20 for CIFAR-10 at uniform 4/4, trained for it. Some minutes on one core.

python examples/studies/make_resnet20.py DATA WEIGHTS

DATA: cifar-10-batches-bin or its .tar.gz, or a folder or .tar.gz of train/<class>/*.jpg and test/<class>/*.jpg.
WEIGHTS: of the float network, .safetensors with torchvision's names (`layer2.0.downsample.0.weight`).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import mho
from mho.data import DataSpec, load_dataset
from mho.models import build_model
from mho.models.weights import load_weights
from mho.network.torch_reader import read_torch
from mho.policy import Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, train
from mho.quantization.training_options import TrainingOptions
from mho.seeds import derive_seed

TRAINING = TrainingOptions(
    steps=500,
    batch_size=64,
    learning_rate=0.01,
    warmup_steps=25,
    augmentation="flip-crop",
    fixed_norm_share=0.2,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("resnet20.onnx"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = DataSpec(name="cifar10", root=options.data, calibration=2000, validation=2000)
    data = load_dataset(spec, np.random.default_rng(derive_seed(1, "splits")))  # the cut that studies and runs make
    shape = data.train.sample_shape
    model = build_model("resnet20", data.classes, shape, torch.Generator().manual_seed(1))
    load_weights(model, options.weights)
    trainable = TrainableNetwork(read_torch(model, (1, *shape)))
    trainable.set_calibration(calibrate(trainable, torch.from_numpy(data.calibration.inputs(slice(None)))))
    trainable.set_policy(Policy.uniform(trainable.mvm_modules, mho.BitWidths(4, 4)))
    train(trainable, data.train, TRAINING, torch.Generator().manual_seed(1), on_progress=tell)
    network = trainable.to_quantized_network()
    mho.save(network, options.output)
    test = data.test.spread(1000)
    (logits,) = mho.simulate(mho.compile(network, "pelke2026-4bit"), test.inputs(slice(None))).values()
    print(f"{100 * (logits.argmax(axis=1) == test.labels).mean():.2f} % of {len(test)} test images")


def tell(progress: TrainingProgress) -> None:
    if progress.step % 100 == 0:
        print(f"{progress.step} of {progress.steps} steps, loss {progress.loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
