"""The problems of the search benchmark: network, data, accelerator, and how a policy is measured by training.

`resnet20` is the trained ResNet-20 of `examples/cifar10_resnet20.toml`; `vgg11` a narrow VGG-like network that is
trained here (`train_float`), `vgg8` a shorter and wider one, to which agents that learned on `vgg11` are taken. All run
on crossbars of 64 x 64 under the paper's mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.qat_evaluator import QatEvaluator
from mho.bit_search.space import SearchSpace
from mho.data import Dataset, DataSpec, load_dataset
from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.models import build_model
from mho.models.weights import load_weights
from mho.network.graph import Network
from mho.network.torch_reader import read_torch
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, train
from mho.quantization.training_options import TrainingOptions
from mho.workflow.stage import versions

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
ACCELERATOR = HERE.parent / "examples" / "crossbar-64x64.toml"
SHAPE, CLASSES = (3, 32, 32), 10
CALIBRATION, VALIDATION, RANGE_IMAGES = 1000, 2000, 500
SEED = 1
EVALUATION_BATCH = 500
VGG11_WIDTHS = (16, 24, "pool", 32, 32, "pool", 48, 48, 64, "pool", 64, 64, 64)
VGG8_WIDTHS = (24, 24, "pool", 48, 48, "pool", 80, 80, "pool", 96)
FLOAT_TRAINING = TrainingOptions(
    epochs=8, batch_size=128, learning_rate=0.1, warmup_steps=500, label_smoothing=0.05, augmentation="flip-crop"
)


class NarrowVgg(nn.Module):
    """3x3 convolutions with batch normalization, three max pools, global average, one linear layer.

    Args:
        widths: channels of each convolution, and "pool".
    """

    def __init__(self, widths: Sequence[int | str]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = SHAPE[0]
        for entry in widths:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(width, entry, 3, padding=1, bias=False), nn.BatchNorm2d(entry), nn.ReLU()]
            width = entry
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images [N, 3, 32, 32] to logits [N, 10]."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def make_vgg(widths: Sequence[int | str]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return NarrowVgg(widths)


def make_resnet() -> nn.Module:
    return build_model("resnet20", CLASSES, SHAPE, torch.Generator().manual_seed(SEED))


@dataclass(frozen=True)
class Problem:
    """One network and how its policies are measured.

    Attributes:
        make: the network, untrained.
        training: the short training of a candidate.
        judging: images that give the score and the accuracy.
        weights: where its trained weights lie by default; None: they are the user's.
    """

    name: str
    make: Callable[[], nn.Module]
    training: TrainingOptions
    judging: tuple[int, int]
    weights: Path | None = None

    def network(self) -> Network:
        """Return the network untrained: enough for spaces and costs."""
        return read_torch(self.make(), (1, *SHAPE))

    def trained(self, weights: Path | None) -> TrainableNetwork:
        """Return the trained float network."""
        model = self.make()
        load_weights(model, weights or self.weights or Path(f"{self.name}.safetensors"))
        return TrainableNetwork(read_torch(model, (1, *SHAPE)))

    def evaluator(self, dataset: Dataset, weights: Path | None, *, seed: int, steps: int | None = None) -> QatEvaluator:
        """Return what measures policies.

        Args:
            dataset: its splits.
            weights: of the float network; None: the published ones.
            seed: of every training.
            steps: of the training; None: the usual number.
        """
        trainable = self.trained(weights)
        images = dataset.calibration.spread(RANGE_IMAGES)
        table = calibrate(trainable, torch.from_numpy(images.inputs(slice(None))))
        training = self.training if steps is None else replace(self.training, steps=steps)
        hardware = accelerator()
        calibration, validation = (
            dataset.calibration.spread(self.judging[0]),
            dataset.validation.spread(self.judging[1]),
        )
        return QatEvaluator(
            trainable, table, dataset.train, calibration, validation, training, seed=seed,
            batch_size=EVALUATION_BATCH,
            problem={
                "name": self.name, "accelerator": hardware.to_json(), "mapping": str(MappingModel.PAPER),
                "threads": torch.get_num_threads(), "versions": versions(),
            },
        )  # fmt: skip

    def space(self, constraints: SearchConstraints, *, prune: bool) -> SearchSpace:
        """Return the space of its policies on the benchmark's accelerator under the paper's mapping."""
        return make_space(self.network(), accelerator(), constraints, mapping=MappingModel.PAPER, prune=prune)


VGG_TRAINING = TrainingOptions(steps=32, batch_size=32, learning_rate=0.005, augmentation="flip-crop")

PROBLEMS = {
    "resnet20": Problem(
        "resnet20",
        make_resnet,
        TrainingOptions(steps=24, batch_size=32, learning_rate=0.01, augmentation="flip-crop"),
        (500, 1000),
    ),
    "vgg11": Problem(
        "vgg11",
        partial(make_vgg, VGG11_WIDTHS),
        VGG_TRAINING,
        (500, 1500),
        DATA / "search_vgg11.safetensors",
    ),
    "vgg8": Problem(
        "vgg8", partial(make_vgg, VGG8_WIDTHS), VGG_TRAINING, (500, 1500), DATA / "search_vgg8.safetensors"
    ),
}


def accelerator() -> Accelerator:
    return load_accelerator(ACCELERATOR)


def dataset(root: Path) -> Dataset:
    """Return CIFAR-10 with the benchmark's splits."""
    spec = DataSpec(name="cifar10", root=root, calibration=CALIBRATION, validation=VALIDATION, augmentation="flip-crop")
    return load_dataset(spec, np.random.default_rng(SEED))


def train_float(problem: Problem, data: Dataset, out: Path, checkpoint: Path) -> None:
    """Train the float network and write its weights to `out`; goes on from `checkpoint` after a kill."""
    model = problem.make()

    def tell(progress: TrainingProgress) -> None:
        if progress.step % 50 == 0:
            print(f"step {progress.step} of {progress.steps}, loss {progress.loss:.3f}, {progress.accuracy:.3f}, "
                  f"{progress.seconds_left:.0f} s left", flush=True)  # fmt: skip

    train(model, data.train, FLOAT_TRAINING, torch.Generator().manual_seed(SEED), checkpoint, tell)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out)
