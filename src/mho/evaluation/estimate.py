"""The accuracy of a quantized network on an accelerator: of exact integers, estimated, and on sampled chips beside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Conditions
from mho.data.dataset import Split
from mho.errors import DataError
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import ChipEvaluator
from mho.evaluation.samples import Inputs, LabelledSamples
from mho.evaluation.statistical import StatisticalEvaluator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network


@dataclass(frozen=True)
class AccuracyEstimate:
    """Accuracies of a network, 0..1.

    Attributes:
        network, accelerator: names.
        samples: how many were classified.
        exact: accuracy of the integers, as on ideal arrays.
        estimated: mean over chips, by the statistical model of the arrays.
        estimated_s: processor time of the estimate, s.
        chips: chips that were sampled, 0 or more.
        sampled: mean accuracy on them; None without.
        sampled_s: processor time of that, s; None without.
    """

    network: str
    accelerator: str
    samples: int
    exact: float
    estimated: float
    estimated_s: float
    chips: int = 0
    sampled: float | None = None
    sampled_s: float | None = None


def estimate_accuracy(
    network: Network,
    accelerator: Accelerator,
    samples: LabelledSamples,
    *,
    calibration: NDArray[np.float32] | None,
    mapping: MappingModel,
    conditions: Conditions,
    chips: int,
    seed: int,
) -> AccuracyEstimate:
    """Estimate the accuracy of a quantized network on chips of an accelerator.

    Args:
        network: quantized, with one input.
        accelerator: the hardware, and what the network is mapped onto.
        samples: of one input.
        calibration: inputs that errors and ranges of converters follow from; None: those of the samples.
        mapping: how layers are laid into crossbars.
        conditions: when and how cells are read.
        chips: sampled beside the estimate; 0: none.
        seed: of the random numbers.

    Raises:
        MhoError: the network is in float or cannot be mapped, or the model leaves out something of the hardware.
    """
    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.training import evaluate

    if not network.mvm_nodes or any(node.quantization is None for node in network.mvm_nodes):
        raise DataError("the network is in float", where=network.name, hint="mho quantize makes integers of it")
    test = Split(only_input(samples.inputs, where="samples"), samples.labels, None, None)
    seen = test if calibration is None else Split(calibration, np.zeros(len(calibration), dtype=np.int64), None, None)
    trainable = TrainableNetwork(network)
    exact = evaluate(trainable, test).accuracy
    sampled_chips = SampledChips(max(1, chips), accelerator, conditions)
    start = time.process_time()
    model = StatisticalEvaluator(sampled_chips, accelerator, seen, mapping=mapping, seed=seed)
    (estimate,) = model.evaluate(trainable, (test,))
    estimated_s = time.process_time() - start
    found = AccuracyEstimate(network.name, accelerator.name, len(test), exact, estimate.accuracy, estimated_s)
    if not chips:
        return found
    start = time.process_time()
    (sampled,) = ChipEvaluator(sampled_chips, accelerator, seen, mapping=mapping, seed=seed).evaluate(
        trainable, (test,)
    )
    return replace(found, chips=chips, sampled=sampled.accuracy, sampled_s=time.process_time() - start)


def only_input(inputs: Inputs, *, where: str) -> NDArray[np.float32]:
    """Return the only array of inputs. Raises `DataError` where there are more."""
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    if len(arrays) != 1:
        raise DataError(f"{len(arrays)} inputs", where=where, expected="those of a network with one input")
    return np.asarray(arrays[0], dtype=np.float32)
