import json

import numpy as np
import pytest
import torch

from mho.bit_search.sensitivity import SensitivityModel
from mho.bit_search.sensitivity_probes import Probes, probe_layers
from mho.data.dataset import Split
from mho.errors import ConfigError, InputFileError
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork

SAMPLES = 40


@pytest.fixture(scope="module")
def split():
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, 1, 4, 4), dtype=np.uint8)
    return Split(images, np.zeros(SAMPLES, np.int64), (0.5,), (0.25,))


@pytest.fixture(scope="module")
def trainable(split):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, dead, last = torch.nn.Linear(16, 12), torch.nn.Linear(12, 12), torch.nn.Linear(12, 5)
    with torch.no_grad():
        dead.weight.mul_(1e-3)  # what comes of it hardly counts beside its bias
        last.weight.mul_(4.0)
    model = torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.ReLU(), dead, torch.nn.ReLU(), last)
    network = TrainableNetwork(read_torch(model, (1, 1, 4, 4)))
    network.set_calibration(calibrate(network, torch.from_numpy(split.inputs(slice(None)))))
    return network


def test_each_divergence_is_that_of_one_operand_alone(trainable, split):
    probes = probe_layers(trainable, split, bits=(2, 4), batch_size=7)
    names = probes.layer_names
    assert names == tuple(trainable.mvm_modules)
    inputs = torch.from_numpy(split.inputs(slice(None)))

    def answers(policy):
        trainable.set_policy(policy)
        with torch.no_grad():
            return torch.softmax(trainable(inputs).double(), dim=1).numpy()

    trainable.eval()
    wide = Policy.uniform(names, BitWidths(8, 8))
    expected = answers(wide)
    for (layer, operand, width), found in np.ndenumerate(probes.divergences):
        bits = BitWidths((2, 4)[width], 8) if operand == 0 else BitWidths(8, (2, 4)[width])
        other = answers(wide.replace({names[layer]: bits}))
        divergence = (expected * np.log(expected / other)).sum(axis=1).mean()
        assert found == pytest.approx(divergence, rel=1e-4, abs=1e-9)
    trainable.set_policy(None)


def test_the_network_is_put_back(trainable, split):
    policy = Policy.uniform(tuple(trainable.mvm_modules), BitWidths(5, 6))
    trainable.set_policy(policy)
    trainable.train()
    shares = []
    probe_layers(trainable, split, bits=(3,), on_progress=shares.append)
    assert trainable.policy == policy
    assert trainable.training
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    trainable.set_policy(None)
    trainable.eval()


def test_layers_before_one_that_hardly_counts_are_known_to_be_insensitive(trainable, split):
    probes = probe_layers(trainable, split)
    found = probes.log_sensitivities
    assert found[:2].max() < found[2, 1] - 1.0
    model = SensitivityModel(probes.layer_names, probes.prior())
    increases = model.increases()[:, :, 3]
    assert increases[:2].max() < increases[2, 1]


def test_probes_come_back_from_json(trainable, split):
    probes = probe_layers(trainable, split, bits=(4, 2, 2))
    assert probes.bits == (2, 4)
    again = Probes.from_json(json.loads(json.dumps(probes.to_json())), where="a file")
    assert (again.layer_names, again.bits, again.samples) == (probes.layer_names, (2, 4), SAMPLES)
    np.testing.assert_array_equal(again.divergences, probes.divergences)


@pytest.mark.parametrize(
    "change",
    [
        {"bits": [2]},
        {"divergences": {"a": [[-1.0, 0], [0, 0]]}},
        {"divergences": []},
        {"samples": None},
        {"bits": [2, 10**30]},
        {"divergences": {"a": [[10**400, 0], [0, 0]]}},
    ],
)
def test_damaged_probes_are_refused(change):
    content = {"bits": [2, 4], "samples": 3, "divergences": {"a": [[1.0, 0.5], [1.0, 0.5]]}}
    Probes.from_json(content, where="a file")
    with pytest.raises(InputFileError, match="damaged probes"):
        Probes.from_json({**content, **change}, where="a file")


@pytest.mark.parametrize("bits", [(), (0,), (9,)])
def test_bits_out_of_range_are_refused(trainable, split, bits):
    with pytest.raises(ConfigError, match=r"1\.\.8, some samples"):
        probe_layers(trainable, split, bits=bits)
