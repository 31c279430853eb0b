"""Post-training quantization in one call: calibrate, set the policy, fit as far as the effort goes, fold."""

from __future__ import annotations

from typing import Any

from mho.errors import DataError
from mho.network.graph import Network
from mho.policy import Policy
from mho.progress import OnProgress
from mho.quantization.calibration import calibrate
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.effort import DEFAULT_EFFORT, Effort, steps_of
from mho.quantization.joint_inputs import as_inputs
from mho.quantization.qat import TrainableNetwork
from mho.quantization.reconstruction import reconstruct
from mho.quantization.smoothing import smooth


def quantize(
    network: Network,
    policy: Policy,
    calibration_inputs: Any,
    *,
    table: CalibrationTable | None = None,
    batch_size: int | None = None,
    effort: Effort = DEFAULT_EFFORT,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Network:
    """Quantize a float network without training.

    Args:
        network: float; a quantized one is calibrated anew from the values of its integers.
        policy: bit widths of every MVM layer.
        calibration_inputs: real numbers [N, *S] or [N, *S[1:]], as the network takes them, of several inputs by name; a
            few hundred samples.
        table: calibration found before for this network, which is not smoothed then; only an effort that fits layers
            then uses the inputs.
        batch_size: samples at a time of the calibration; by default 256, fewer where the network's tensors are large.
        effort: which steps follow or precede calibration (`mho.quantization.effort.EffortSteps`). No labels are needed.
        seed: of what "best" draws.
        on_progress: called with how far the efforts beyond "fast" are.

    Returns:
        The network in integers; run it with `mho.network.reference.run_quantized`.

    Raises:
        DataError: inputs of another shape, NaN or infinity.
        PolicyError: the policy does not name the network's layers.
    """
    if batch_size is not None and batch_size < 1:
        raise DataError(f"batch_size is {batch_size}", where="quantize", expected="1 or more")
    policy.check_against(network.layer_names)
    steps = steps_of(effort)
    inputs = as_inputs(network, calibration_inputs) if table is None or steps.fits_layers else None
    if inputs is not None and table is None and steps.smooths:
        network = smooth(network, policy, inputs)
    trainable = TrainableNetwork(network)
    if table is None:
        assert inputs is not None, "read above"
        calibrate(trainable, inputs, None if batch_size is None else min(batch_size, max(1, len(inputs))))
    else:
        trainable.set_calibration(table)
    trainable.set_policy(policy)
    if inputs is not None and steps.fits_layers:
        reconstruct(trainable, inputs, effort, seed=seed, on_progress=on_progress)
    return trainable.to_quantized_network()
