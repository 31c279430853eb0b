from collections.abc import Callable

import numpy as np
import pytest
import torch

from mho.errors import DataError
from mho.network.graph import Network, Node, TensorInfo
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.joint_inputs import as_tensor
from mho.quantization.ptq import quantize
from mho.quantization.qat import TrainableNetwork


@pytest.mark.parametrize(
    "values",
    [np.ones((2, 3), complex), torch.ones(2, dtype=torch.complex64), np.float32(3), "text", [[1, 2], [3]], None],
)
def test_what_is_not_an_array_of_real_samples_is_refused(values):
    with pytest.raises(DataError, match="array of"):
        as_tensor(values)


@pytest.mark.parametrize("values", [np.ones((2, 3), np.uint8), [[1.0] * 3] * 2, torch.ones(2, 3, dtype=torch.bool)])
def test_real_samples_become_float32(values):
    assert torch.equal(as_tensor(values), torch.ones(2, 3))


def _dense_chain(depth: int, factor: float) -> Network:
    """Return `depth` dense layers of 2 x 2 one after the other, each of which multiplies by `factor`."""
    names = [f"x{number}" for number in range(depth + 1)]
    nodes = [Node(f"fc{n}", "linear", (names[n], "w"), names[n + 1]) for n in range(depth)]
    ends = [TensorInfo(name, (1, 2)) for name in (names[0], names[-1])]
    weight = np.eye(2, dtype=np.float32) * np.float32(factor)
    return Network("chain", (ends[0],), (ends[1],), tuple(nodes), {"w": weight}, dict.fromkeys(names, (1, 2)))


def test_a_layer_whose_inputs_or_weights_vanish_is_named():
    policy, samples = Policy.uniform([f"fc{n}" for n in range(20)], BitWidths(8, 8)), np.float32([[1, -2], [3, 4]])
    assert quantize(_dense_chain(20, 0.1), policy, samples).is_quantized
    with pytest.raises(DataError, match=r"fc16: inputs of at most 4e-32"):
        quantize(_dense_chain(20, 0.01), policy, samples)
    with pytest.raises(DataError, match=r"fc0: weights of at most 1e-42"):
        quantize(_dense_chain(20, 1e-42), policy, samples)


def test_a_channel_that_vanishes_beside_others_becomes_zero():
    network = _dense_chain(1, 1.0)
    weight = np.float32([[1e-42, 2e-43], [0.5, 1.0]])
    network = network.with_nodes(network.nodes, {"w": weight})
    quantized = quantize(network, Policy.uniform(["fc0"], BitWidths(8, 8)), np.float32([[1, -2], [3, 4]]))
    layer = quantized.node("fc0")
    assert (layer.quantization.weight.scales > 0).all()
    assert abs(run_quantized(quantized, np.float32([[1, 2]]))["x1"][0, 0]) < 1e-38


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
    together, apart = (calibrate(TrainableNetwork(residual()), samples, size).complete().layers for size in (30, 7))
    for name, layer in together.items():
        assert torch.equal(apart[name].weight_steps, layer.weight_steps)
        torch.testing.assert_close(apart[name].bias_corrections, layer.bias_corrections, rtol=1e-4, atol=1e-6)
        # Each batch's extremes count once more.
        torch.testing.assert_close(apart[name].act_steps, layer.act_steps, rtol=0.1, atol=0)
