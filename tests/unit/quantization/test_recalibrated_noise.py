"""Training for chips whose channels are corrected: errors that the correction takes off do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerators import make_accelerator
from quantized_layers import classified_squares, dense, noise_for, only_layer, only_module

from mho.array.conductances import Conditions
from mho.network.graph import Network
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import evaluate, train

DRIFT = {"drift_exponent": 0.05, "drift_reference_s": 1.0}
HOUR = Conditions(elapsed_s=3600.0)


def noise_of(
    trainable: TrainableNetwork, array: dict[str, Any], *, recalibrates: bool = True, **options: Any
) -> ArrayNoise:
    accelerator = make_accelerator(64, 32, 2, encoding="differential-columns", array=array)
    given = {"conditions": HOUR} if "drift_exponent" in array else {}
    noise = noise_for(trainable, accelerator, recalibrates=recalibrates, **given, **options)
    noise.redraw(torch.Generator().manual_seed(1))
    return noise


@pytest.mark.parametrize("method", ["statistical", "tiles"])
def test_what_drift_does_to_whole_channels_is_taken_off(method: str) -> None:
    trainable, x = dense(samples=40)
    exact = trainable(x)
    results = {}
    for recalibrates in (False, True):
        noise = noise_of(trainable, DRIFT, recalibrates=recalibrates, method=method)
        with noise.on(trainable):
            noise.meet(trainable, x)
            results[recalibrates] = trainable(x)
    assert not torch.allclose(results[False], exact, rtol=0.1)
    torch.testing.assert_close(results[True], exact, rtol=1e-4, atol=1e-4)


def test_channels_have_the_means_and_deviations_of_exact_results_and_errors_within_them_stay() -> None:
    trainable, x = dense(samples=40)
    bias = only_module(trainable).corrected_bias()
    exact = trainable(x)
    noise = noise_of(trainable, {"programming_error": 0.1}, method="statistical")
    with noise.on(trainable):
        noise.meet(trainable, x)
        found = trainable(x)
    assert bias is not None
    torch.testing.assert_close(found.mean(0), exact.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.std(0), exact.std(0), rtol=1e-4, atol=1e-4)
    assert (found - exact).abs().mean() > 0.01 * exact.std()


def test_a_layer_that_is_used_twice_keeps_the_distribution_of_each_use() -> None:
    trainable, x = dense(samples=40)
    noise = noise_of(trainable, DRIFT, method="statistical")
    with noise.on(trainable):
        layer = only_layer(noise)
        layer.is_exact = True
        wanted = [trainable(one) for one in (x, 3 * x)]
        layer.is_exact = False
        for one, exact in zip((x, 3 * x), wanted, strict=True):
            torch.testing.assert_close(trainable(one), exact, rtol=1e-4, atol=1e-4)


def test_training_for_corrected_chips_keeps_exact_accuracy(residual: Callable[..., Network]) -> None:
    """Without the correction normalizations learn statistics of drifted sums, which exact integers do not have."""
    losses = {}
    for recalibrates in (False, True):
        trainable, split, options = classified_squares(residual())
        noise = noise_of(trainable, DRIFT, recalibrates=recalibrates, method="statistical")
        train(trainable, split, options, torch.Generator().manual_seed(1), noise=noise)
        losses[recalibrates] = evaluate(trainable, split).loss
    plain, split, options = classified_squares(residual())
    train(plain, split, options, torch.Generator().manual_seed(1))
    assert losses[True] == pytest.approx(evaluate(plain, split).loss, rel=0.3)
    assert losses[True] < losses[False]
