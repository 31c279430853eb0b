from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import coloured_split, digits_network, seeded, short_training

from mho.data import DataSpec, load_dataset
from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.shared_widths import SPREAD, SharedWidths, train_shared
from mho.quantization.training import TrainingProgress, evaluate
from mho.quantization.training_options import TrainingOptions

EVERY = tuple(BitWidths(weight, act) for weight in range(2, 9) for act in range(2, 9))


def test_policies_are_drawn_near_a_common_level_from_what_each_layer_may_have() -> None:
    held = (BitWidths(8, 8),)
    widths, generator = SharedWidths({"first": held, "a": EVERY, "b": EVERY[::5]}), seeded()
    drawn = [widths.draw(generator) for _ in range(300)]
    assert {policy["first"] for policy in drawn} == set(held)
    assert {policy["b"] for policy in drawn} <= set(EVERY[::5])
    for operand in ("weight_bits", "act_bits"):
        assert {getattr(policy["a"], operand) for policy in drawn} == set(range(2, 9))
    assert max(abs(policy["a"].weight_bits - policy["a"].act_bits) for policy in drawn) <= 2 * SPREAD + 1


def test_after_one_training_policies_lose_less_by_calibration_alone() -> None:
    digits = load_dataset(DataSpec(name="digits", calibration=60, validation=100), np.random.default_rng(0))
    network = TrainableNetwork(digits_network(digits))
    inputs, choices = (
        torch.from_numpy(digits.calibration.inputs(slice(None))),
        dict.fromkeys(network.mvm_modules, EVERY),
    )

    def lost() -> float:
        """Mean loss of low widths over that of 8/8."""
        losses = []
        for bits in ("2/2", "2/4", "8/8"):
            network.set_policy(Policy.uniform(choices, BitWidths.parse(bits)))
            losses.append(evaluate(network, digits.validation).loss)
        network.set_policy(None)
        return sum(losses[:2]) / 2 - losses[2]

    table = calibrate(network, inputs)
    before, float_loss = lost(), evaluate(network, digits.validation).loss
    options = TrainingOptions(epochs=15, learning_rate=0.1)
    train_shared(network, table, SharedWidths(choices), digits.train, options, seeded())
    assert network.policy is None
    calibrate(network, inputs)
    assert lost() < 0.8 * before
    assert evaluate(network, digits.validation).loss < float_loss


def test_an_interrupted_training_ends_in_the_same_weights(residual: Callable[..., Network], tmp_path: Path) -> None:
    split = coloured_split(96)

    class Interruption(Exception):
        pass

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 4:
            raise Interruption

    def run(checkpoint: Path | None, on_progress: Callable[[TrainingProgress], None] | None = None) -> torch.Tensor:
        network = TrainableNetwork(residual())
        table = calibrate(network, torch.from_numpy(split.inputs(slice(None))))
        widths = SharedWidths(dict.fromkeys(network.mvm_modules, EVERY))
        options = short_training(epochs=2, augmentation="flip-crop", distillation=0.5)
        train_shared(
            network, table, widths, split, options, seeded(),
            teacher=network.network, checkpoint=checkpoint, on_progress=on_progress,
        )  # fmt: skip
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    straight = run(None)
    with pytest.raises(Interruption):
        run(tmp_path / "checkpoint", interrupt)
    assert torch.equal(run(tmp_path / "checkpoint"), straight)
