from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mho.errors import DataError, InputFileError
from mho.network.graph import Network
from mho.quantization.calibration import calibrate
from mho.quantization.policy import Policy
from mho.quantization.ptq import as_tensor
from mho.quantization.qat import TrainableNetwork


@pytest.mark.parametrize(
    "values",
    [np.ones((2, 3), complex), torch.ones(2, dtype=torch.complex64), np.float32(3), "text", [[1, 2], [3]], None],
)
def test_what_is_not_an_array_of_real_samples_is_told(values):
    with pytest.raises(DataError, match="array of"):
        as_tensor(values)


@pytest.mark.parametrize("values", [np.ones((2, 3), np.uint8), [[1.0] * 3] * 2, torch.ones(2, 3, dtype=torch.bool)])
def test_real_samples_become_float32(values):
    assert torch.equal(as_tensor(values), torch.ones(2, 3))


def test_a_policy_file_nested_too_deeply_is_told(tmp_path: Path):
    path = tmp_path / "policy.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputFileError, match="not JSON"):
        Policy.load(path)


def _batches(network: Network, samples: torch.Tensor) -> list[int]:
    """Return how many samples `calibrate` runs at a time."""
    trainable, sizes = TrainableNetwork(network), []
    trainable.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    calibrate(trainable, samples)
    return sizes


def test_fewer_samples_are_calibrated_at_a_time_where_tensors_are_large(
    residual: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = torch.randn(300, 3, 8, 8)
    assert _batches(residual(), samples) == [256, 44]
    # The network's largest tensor has 8 channels of 8 x 8 values.
    monkeypatch.setattr("mho.quantization.calibration._VALUES_AT_ONCE", 120 * 512)
    assert _batches(residual(), samples) == [120, 120, 60]
    monkeypatch.setattr("mho.quantization.calibration._VALUES_AT_ONCE", 1)
    assert _batches(residual(), samples[:2]) == [1, 1]


def test_the_batch_size_changes_neither_weight_steps_nor_corrections(residual: Callable[..., Network]) -> None:
    samples = torch.randn(30, 3, 8, 8)
    together, apart = (calibrate(TrainableNetwork(residual()), samples, size).layers for size in (30, 7))
    for name, layer in together.items():
        assert torch.equal(apart[name].weight_steps, layer.weight_steps)
        torch.testing.assert_close(apart[name].bias_corrections, layer.bias_corrections, rtol=1e-4, atol=1e-6)
        # Each batch's extremes count once more.
        torch.testing.assert_close(apart[name].act_steps, layer.act_steps, rtol=0.1, atol=0)
