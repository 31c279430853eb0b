"""Sensitivities are changes of the loss that evaluating the changed network gives."""

from __future__ import annotations

import pytest
import torch
from small_training import coloured_split

from mho.errors import PolicyError
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.layer_sensitivity import ACTIVATION, WEIGHT, measure_sensitivities
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import evaluate

SPLIT = coloured_split(60)


@pytest.fixture
def calibrated():
    """A network at 8/4 and 1/3, and its table."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 9), torch.nn.ReLU(), torch.nn.Linear(9, 5))
    network = TrainableNetwork(read_torch(model, (1, 3, 8, 8)))
    table = calibrate(network, torch.from_numpy(SPLIT.inputs(slice(None))))
    network.set_calibration(table)
    first, last = network.mvm_modules
    network.set_policy(Policy({first: BitWidths(8, 4), last: BitWidths(1, 3)}))
    return network, table


def test_each_step_is_the_loss_with_those_bits_less_the_loss_now(calibrated):
    network, table = calibrated
    policy = network.policy
    found = measure_sensitivities(network, table, SPLIT, batch_size=16)
    assert (found.samples, found.loss) == (60, evaluate(network, SPLIT, 16).loss)
    assert [(one.operand, one.bits) for one in found.operands] == [
        (WEIGHT, 8), (ACTIVATION, 4), (WEIGHT, 1), (ACTIVATION, 3),
    ]  # fmt: skip
    assert (found.operands[0].more, found.operands[2].less) == (None, None), "8 bits are the most, 1 is the least"
    for one in found.operands:
        for step in filter(None, (one.less, one.more)):
            own = policy[one.layer]
            bits = (step.bits, own.act_bits) if one.operand == WEIGHT else (own.weight_bits, step.bits)
            network.set_policy(policy.replace({one.layer: BitWidths(*bits)}))
            assert step.loss == pytest.approx(evaluate(network, SPLIT, 16).loss - found.loss, abs=1e-6)
    assert found.to_json()["operands"][0]["less"]["bits"] == 7


def test_the_network_stays_as_it_was_trained(calibrated):
    network, table = calibrated
    with torch.no_grad():
        for module in network.mvm_modules.values():
            module.weight_quantizer.log_ratio.add_(0.1)  # as training leaves steps
            module.bias_correction.zero_()
    before = {name: tensor.clone() for name, tensor in network.state_tensors().items()}
    loss = evaluate(network, SPLIT).loss
    shares = []
    measure_sensitivities(network, table, SPLIT, on_progress=shares.append)
    assert shares == [0.5, 1.0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_tensors().items())
    assert evaluate(network, SPLIT).loss == loss


def test_a_float_network_has_none(calibrated):
    network, table = calibrated
    network.set_policy(None)
    with pytest.raises(PolicyError, match="those of a quantized network"):
        measure_sensitivities(network, table, SPLIT)
