from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import coloured_split, seeded, short_training, trainable_network
from torch import nn

from mho.data.dataset import Split
from mho.errors import ConfigError, DataError, InputFileError, TrainingError
from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.batches import shuffled_batches
from mho.quantization.compilation import CompiledModule, compile_if_possible, unwrap
from mho.quantization.optimizers import Optimizers
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, TrainingResult, evaluate, train


@pytest.mark.parametrize(
    ("bits", "loss", "optimizer", "rate"),
    [(None, 0.6, "adamw", 0.01), ("4/4", 0.6, "sgd", 0.1), ("4/4", 0.6, "adamw", 0.01), ("1/2", 1.3, "sgd", 0.1)],
)
def test_training_learns(
    residual: Callable[..., Network], bits: str | None, loss: float, optimizer: str, rate: float
) -> None:
    trainable, split = trainable_network(residual(), bits), coloured_split()
    assert evaluate(trainable, split).loss > 1.7
    options = short_training(epochs=20, optimizer=optimizer, learning_rate=rate, scale_learning_rate=0.03)
    result = train(trainable, split, options, seeded())
    after = evaluate(trainable, split)
    assert after.loss < loss
    assert after.correct == round(after.accuracy * after.count)
    assert len(result.epochs) == 20
    assert result.steps == 100


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_an_interrupted_training_ends_in_the_same_bytes(
    residual: Callable[..., Network], tmp_path: Path, optimizer: str
) -> None:
    options = short_training(optimizer=optimizer, augmentation="flip-crop", warmup_steps=3, label_smoothing=0.1)

    class Interruption(Exception):
        pass

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 8:
            raise Interruption

    def run(path: Path | None, on_progress: Callable[[TrainingProgress], None] | None = None) -> tuple[bytes, object]:
        trainable = trainable_network(residual(), "3/4")
        result = train(trainable, coloured_split(), options, seeded(), path, on_progress)
        trainable.save(tmp_path / "state")
        return (tmp_path / "state").read_bytes(), result

    straight = run(None)
    with pytest.raises(Interruption):
        run(tmp_path / "checkpoint", interrupt)
    assert run(tmp_path / "checkpoint") == straight
    assert run(tmp_path / "checkpoint") == straight, "a finished training is restored, not repeated"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_checkpoint_of_another_training_is_refused(residual: Callable[..., Network], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    train(trainable_network(residual(), "4/4"), coloured_split(), short_training(epochs=1), seeded(), path)
    with pytest.raises(ConfigError, match="other options"):
        train(trainable_network(residual(), "4/4"), coloured_split(), short_training(epochs=2), seeded(), path)
    with pytest.raises(ConfigError, match="other policy"):
        train(trainable_network(residual(), "4/5"), coloured_split(), short_training(epochs=1), seeded(), path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputFileError):
        train(trainable_network(residual(), "4/4"), coloured_split(), short_training(epochs=1), seeded(), path)


def test_steps_may_end_within_an_epoch(residual: Callable[..., Network]) -> None:
    seen: list[TrainingProgress] = []
    result = train(
        trainable_network(residual(), None),
        coloured_split(),
        short_training(epochs=None, steps=7),
        seeded(),
        None,
        seen.append,
    )
    assert result.steps == 7
    assert [p.step for p in seen] == list(range(1, 8))
    assert [p.epoch for p in seen] == [1] * 5 + [2] * 2
    assert seen[-1].seconds_left == 0
    assert all(p.epochs == 2 for p in seen)


def test_a_diverged_training_stops_with_advice(residual: Callable[..., Network]) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(trainable_network(residual(), None), coloured_split(), short_training(learning_rate=1e30), seeded())


def test_samples_and_labels_that_do_not_fit_are_refused(residual: Callable[..., Network]) -> None:
    split = coloured_split()
    wrong = Split(split.images, split.labels + 3, split.mean, split.std)
    with pytest.raises(DataError, match="only 5 outputs"):
        train(trainable_network(residual(), None), wrong, short_training(), seeded())
    features = Split(np.zeros((8, 4), np.float32), np.zeros(8, np.int64), (0.0,), (1.0,))
    with pytest.raises(DataError, match="cannot be augmented"):
        train(nn.Linear(4, 2), features, short_training(augmentation="flip-crop"), seeded())
    narrow = Split(np.zeros((8, 1, 64, 4), np.float32), np.zeros(8, np.int64), (0.0,), (1.0,))
    with pytest.raises(DataError, match="too small to be augmented by flip-shift"):
        train(nn.Flatten(), narrow, short_training(augmentation="flip-shift"), seeded())


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": None},
        {"steps": 3},
        {"batch_size": 0},
        {"optimizer": "lion"},
        {"learning_rate": float("nan")},
        {"label_smoothing": 1.0},
        {"augmentation": "cutout"},
        {"fixed_norm_share": -0.1},
        {"fixed_norm_share": 1.1},
        {"fixed_norm_share": float("nan")},
        {"max_gradient_norm": 0.0},
        {"max_gradient_norm": float("inf")},
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        short_training(**changes)


def test_any_module_can_be_trained() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    result: TrainingResult = train(module, coloured_split(), short_training(), seeded())
    assert result.epochs[-1].loss < result.epochs[0].loss


def test_decay_spares_biases_normalizations_and_steps(residual: Callable[..., Network]) -> None:
    trainable = trainable_network(residual(), "4/4")
    optimizers = Optimizers(trainable, short_training(weight_decay=0.5, learning_rate=0.1), 10)
    before = {name: p.detach().clone() for name, p in trainable.named_parameters()}
    for parameter in trainable.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step(0)
    moved = {name for name, p in trainable.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {f"{name}.weight" for name in trainable.mvm_modules}


def test_nesterov_steps_along_the_momentum_that_the_gradient_leaves() -> None:
    """Sutskever et al. 2013, as torch has it: with gradients of 1, steps of 1 + 0.9 and then 1 + 0.9 * 1.9."""
    weight = nn.Parameter(torch.zeros(2, 2))
    module = nn.Module()
    module.weight = weight
    options = short_training(optimizer="nesterov", learning_rate=1.0, weight_decay=0.0, schedule="constant")
    optimizers = Optimizers(module, options, 2)
    for step, expected in enumerate((-1.9, -1.9 - 2.71)):
        weight.grad = torch.ones(2, 2)
        optimizers.step(step)
        assert weight.detach() == pytest.approx(expected)


def test_rates_warm_up_and_fall_like_a_cosine() -> None:
    optimizers = Optimizers(nn.Linear(2, 2), short_training(warmup_steps=4), 24)
    shares = [optimizers.rate_share(step) for step in range(24)]
    assert shares[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert shares[14] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(shares[4:]))
    constant = Optimizers(nn.Linear(2, 2), short_training(schedule="constant"), 24)
    assert {constant.rate_share(step) for step in range(24)} == {1.0}


@pytest.mark.parametrize(
    ("augmentation", "size", "border"), [("flip-crop", 8, "constant"), ("flip-shift", 16, "reflect")]
)
def test_augmentation_moves_and_mirrors_whole_images(augmentation: str, size: int, border: str) -> None:
    images = np.arange(1, 1 + 64 * size * size).reshape(64, 1, size, size).astype(np.float32)
    split = Split(images, np.arange(64), (0.0,), (1.0,))
    (inputs, labels), *_ = shuffled_batches(split, 64, augmentation, seeded())
    forms = set()
    for image, label in zip(inputs.numpy()[:, 0], labels.tolist(), strict=True):
        padded = np.pad(images[label, 0], 1, mode=border)  # type: ignore[call-overload]
        found = [
            (dy, dx, flip)
            for dy in range(3)
            for dx in range(3)
            for flip in (1, -1)
            if np.array_equal(padded[dy : dy + size, dx : dx + size][:, ::flip], image)
        ]
        assert len(found) == 1
        forms.add(found[0])
    assert len(forms) > 12


def test_the_generator_alone_gives_the_order() -> None:
    first, again, other = (
        [b[1].tolist() for b in shuffled_batches(coloured_split(), 16, "none", seeded(s))] for s in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("shape", "batches"), [((3, 224, 224), [13, 13, 4]), ((2,), [30]), ((3, 1000, 1000), [1] * 30)]
)
def test_a_processor_is_given_few_large_samples_at_a_time(shape: tuple[int, ...], batches: list[int]) -> None:
    seen = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return torch.nn.functional.one_hot(torch.zeros(len(x), dtype=torch.long), 4).float()

    one = np.zeros((1, *shape), np.uint8)
    split = Split(np.broadcast_to(one, (30, *shape)), np.arange(30) % 4, (0.0,) * shape[0], (1.0,) * shape[0])
    found = evaluate(Counting(), split, 256)
    assert seen == batches
    assert (found.count, found.correct) == (30, 8)


def test_without_a_compiler_the_module_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    module = nn.Linear(2, 2)
    found, note = compile_if_possible(module)
    assert found is module
    assert "no C++ compiler" in note


def test_a_failing_compilation_falls_back_with_a_note() -> None:
    module = nn.Linear(2, 2)
    compiled = CompiledModule(module)

    def fail(*_: object) -> None:
        raise torch._dynamo.exc.InternalTorchDynamoError("cannot")

    compiled._compiled[0] = fail  # type: ignore[call-overload]
    x = torch.ones(1, 2)
    assert torch.equal(compiled(x), module(x))
    assert "cannot" in compiled.note
    assert unwrap(compiled) is module


def test_what_a_kernel_refuses_is_said_by_the_module_itself() -> None:
    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if float(x) > 1:
                raise DataError("beyond the table")
            return x

    compiled = CompiledModule(Picky())

    def fail(*_: object) -> None:
        raise RuntimeError("index out of bounds: 0 <= tmp < 65")

    compiled._compiled[0] = fail  # type: ignore[call-overload]
    with pytest.raises(DataError, match="beyond the table"):
        compiled(torch.tensor(2.0))
    with pytest.raises(RuntimeError, match="out of bounds"):
        compiled(torch.tensor(0.0))


@pytest.mark.slow
def test_one_compilation_serves_every_policy(residual: Callable[..., Network]) -> None:
    trainable = trainable_network(residual(), "4/4")
    compiled, note = compile_if_possible(trainable)
    if note:
        pytest.fail(note)
    x = torch.from_numpy(coloured_split(32).inputs(slice(None)))
    torch._dynamo.reset()
    counter = torch._dynamo.utils.counters["stats"]
    compiled(x).sum().backward()
    first = counter["unique_graphs"]
    for bits in ("1/1", "2/3", "8/8", "16/16"):
        trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths.parse(bits)))
        compiled(x).sum().backward()
    assert counter["unique_graphs"] == first == 1
    trainable.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), trainable(x), rtol=1e-3, atol=1e-3)


def _statistics(trainable: TrainableNetwork) -> list[torch.Tensor]:
    return [tensor.clone() for name, tensor in trainable.state_tensors().items() if ".running_" in name]


def test_normalizations_keep_their_statistics_in_the_last_steps(residual: Callable[..., Network]) -> None:
    """Of 15 steps, 40 %, the last six: within them the network trains as it will answer."""
    trainable, split, seen = trainable_network(residual(), "4/4"), coloured_split(), []
    x = torch.from_numpy(split.inputs(slice(8)))

    def look(_: TrainingProgress) -> None:
        with torch.no_grad():
            as_trained = trainable(x)
            trainable.eval()
            seen.append((torch.equal(trainable(x), as_trained), _statistics(trainable)))
            trainable.train()

    train(trainable, split, short_training(fixed_norm_share=0.4), seeded(), on_progress=look)
    assert [same for same, _ in seen] == [False] * 9 + [True] * 6
    assert all(map(torch.equal, seen[9][1], seen[-1][1]))
    assert not all(map(torch.equal, seen[0][1], seen[8][1]))
    trainable.train()
    trainable(x)
    assert not all(map(torch.equal, _statistics(trainable), seen[-1][1])), "they live again after the training"


def test_with_fixed_normalizations_training_starts_from_the_calibrated_network(
    residual: Callable[..., Network],
) -> None:
    """Bias corrections stay: a training that changes nothing answers as calibration does."""
    split, answers = coloured_split(), {}
    x = torch.from_numpy(split.inputs(slice(None)))
    for share in (0.0, 1.0):
        trainable = trainable_network(residual(), "3/3")
        calibrated = trainable.eval()(x)
        frozen = short_training(learning_rate=0.0, scale_learning_rate=0.0, weight_decay=0.0, fixed_norm_share=share)
        train(trainable, split, frozen, seeded())
        answers[share] = torch.equal(trainable(x), calibrated)
    assert answers == {0.0: False, 1.0: True}


def test_a_gradient_that_is_too_large_is_scaled_to_the_norm_allowed(residual: Callable[..., Network]) -> None:
    """The first step of SGD moves all weights together by the rate times the norm of the gradient."""
    moved = {}
    for limit in (1e-3, 1e9, None):
        trainable = trainable_network(residual(), "4/4")
        before = [one.detach().clone() for one in trainable.parameters()]
        once = short_training(
            epochs=None, steps=1, learning_rate=0.5, weight_decay=0.0, scale_learning_rate=0.0, max_gradient_norm=limit
        )
        train(trainable, coloured_split(), once, seeded())
        after = [one.detach() for one in trainable.parameters()]
        moved[limit] = float(sum(torch.sum((new - old) ** 2) for new, old in zip(after, before, strict=True)) ** 0.5)
    assert moved[1e-3] == pytest.approx(0.5e-3, rel=1e-2)
    assert moved[1e9] == moved[None] > 0.5e-2
