"""Post-training quantization in one call: calibrate, set the policy, fold."""

from __future__ import annotations

from typing import Any

import torch

from mho.errors import DataError
from mho.network.graph import Network
from mho.quantization.calibration import CalibrationTable, calibrate
from mho.quantization.policy import Policy
from mho.quantization.qat import TrainableNetwork


def quantize(
    network: Network,
    policy: Policy,
    calibration_inputs: Any,
    *,
    table: CalibrationTable | None = None,
    batch_size: int = 256,
) -> Network:
    """Quantize a float network without training.

    Args:
        network: float; a quantized one is calibrated anew from the values of its integers.
        policy: bit widths of every MVM layer.
        calibration_inputs: real numbers [N, *S] or [N, *S[1:]], as the network takes them; a few hundred samples.
        table: steps found before for this network; the inputs are then not used.
        batch_size: samples at a time.

    Returns:
        The network in integers; run it with `mho.network.reference.run_quantized`.

    Raises:
        DataError: inputs of another shape, NaN or infinity.
        PolicyError: the policy does not name the network's layers.
    """
    trainable = TrainableNetwork(network)
    policy.check_against(trainable.mvm_modules)
    if table is None:
        calibrate(trainable, as_tensor(calibration_inputs), batch_size)
    else:
        trainable.set_calibration(table)
    trainable.set_policy(policy)
    return trainable.to_quantized_network()


def as_tensor(values: Any) -> torch.Tensor:
    """Return real numbers as a float32 tensor. Raises `DataError`."""
    try:
        return torch.as_tensor(values).to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"not an array of numbers: {error}", where="inputs") from error
