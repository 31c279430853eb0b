from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from quantized_layers import inputs_for, quantized

from mho.errors import DataError, InputFileError, PolicyError
from mho.network.graph import Grid, LayerQuantization, Network
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import LEAST_SAMPLES_FOR_SIGN, calibrate
from mho.quantization.calibration_table import CALIBRATED_BITS, CalibrationTable
from mho.quantization.ptq import quantize
from mho.quantization.qat import TrainableNetwork


def _calibrated(network: Network, bits: str) -> TrainableNetwork:
    return quantized(network, inputs_for(network), bits).eval()


def test_parameters_are_named_after_layers(residual) -> None:
    names = set(TrainableNetwork(residual()).state_dict())
    assert {"stem.conv.weight", "stem.bn.running_var", "block.conv.bias", "fc.weight"} <= names


def test_names_that_mean_something_to_torch_still_make_a_module(builder) -> None:
    b = builder((1, 4))
    for name in ("train", "a", "a.b", "a..b", "forward.weight"):
        b.linear(4, name=name)
    network = b.build()
    trainable = TrainableNetwork(network)
    assert list(trainable.mvm_modules) == list(network.layer_names)
    assert trainable(torch.zeros(2, 4)).shape == (2, 4)


def test_float_mode_changes_nothing(residual) -> None:
    network, x = residual(), inputs_for(residual(), 5)
    before = TrainableNetwork(network).eval()(x)
    trainable = quantized(network, x, "2/2").eval()
    assert not torch.equal(trainable(x), before)
    trainable.set_policy(None)
    assert torch.equal(trainable(x), before)


def test_inputs_are_taken_with_and_without_the_batch_axis(residual) -> None:
    trainable, x = TrainableNetwork(residual()).eval(), inputs_for(residual(), 3)
    assert torch.equal(trainable(x), trainable(x[:, None]))
    with pytest.raises(DataError, match=r"expected: \[N, 3, 8, 8\] or \[N, 1, 3, 8, 8\]"):
        trainable(x[:, :, 1:])
    with pytest.raises(DataError, match="2 inputs"):
        trainable(x, x)


def test_batch_norm_lives_in_training(residual) -> None:
    trainable, x = TrainableNetwork(residual()), inputs_for(residual())
    module = trainable.get_submodule("stem.bn")
    before = module.running_mean.clone()
    stem = trainable.mvm_modules["stem.conv"](x[:, None])
    trainable.train()(x)
    torch.testing.assert_close(module.running_mean, 0.9 * before + 0.1 * stem.mean((0, 1, 3, 4)))


def test_every_parameter_learns_except_the_steps_of_inputs(residual, attention) -> None:
    for network in (residual(), attention()):
        trainable = _calibrated(network, "4/4").train()
        trainable(inputs_for(network)).square().sum().backward()
        silent = {n for n, p in trainable.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
        frozen = {f"{n.name}.input_quantizer.log_ratio" for n in network.mvm_nodes if n.inputs[0] == "input"}
        assert silent == frozen


def test_the_float_network_comes_back_with_what_was_learned(residual) -> None:
    network = residual()
    trainable = TrainableNetwork(network)
    unchanged = trainable.to_network()
    for name, value in network.constants.items():
        np.testing.assert_array_equal(unchanged.constants[name], value)
    with torch.no_grad():
        for parameter in trainable.parameters():
            parameter.add_(0.25)
    trainable.train()(inputs_for(network))
    trainable.eval()
    again = TrainableNetwork(trainable.to_network()).eval()
    x = inputs_for(network, 4, seed=3)
    assert torch.equal(again(x), trainable(x))


@pytest.mark.parametrize(
    ("kind", "bits"), [("residual", "1/4"), ("attention", "2/8"), ("residual", "8/8"), ("attention", "16/16")]
)
def test_an_imported_quantized_network_keeps_its_integers(request, kind: str, bits: str) -> None:
    network = request.getfixturevalue(kind)()
    imported = _calibrated(network, bits).to_quantized_network()
    trainable = TrainableNetwork(imported).eval()
    assert trainable.policy == Policy.uniform(network.layer_names, BitWidths.parse(bits))
    _assert_same_integers(trainable.to_quantized_network(), imported)


def test_imported_zero_points_and_full_ranges_are_kept(builder) -> None:
    b = builder((1, 2, 5, 5))
    b.conv(3, bias=True, name="conv")
    b.constants["conv.weight"] = b.random.integers(-128, 128, size=(3, 2, 3, 3)).astype(np.int8)
    network = b.build()
    weight = Grid(np.float32([0.01, -0.02, 0.0]), np.int64([5, 0, -7]), -128, 127, 8)
    layer = LayerQuantization(Grid(np.float32(0.02), np.int64(100), 0, 255, 8), weight)
    node = network.nodes[0]
    nodes = (type(node)(node.name, node.op, node.inputs, node.output, node.attributes, layer),)
    trainable = TrainableNetwork(network.with_nodes(nodes, network.constants)).eval()
    again = trainable.to_quantized_network()
    found = again.nodes[0]
    np.testing.assert_array_equal(again.constants[found.inputs[1]], b.constants["conv.weight"])
    np.testing.assert_array_equal(found.quantization.weight.zero_points, weight.zero_points)
    assert (found.quantization.input.qmin, found.quantization.input.qmax) == (0, 255)
    assert int(found.quantization.input.zero_points) == 100
    bias = torch.tensor(b.constants["conv.bias"])
    torch.testing.assert_close(trainable(torch.randn(2, 2, 5, 5))[:, 2], bias[2].expand(2, 5, 5))


def _assert_same_integers(ours: Network, theirs: Network) -> None:
    for a, b in zip(ours.mvm_nodes, theirs.mvm_nodes, strict=True):
        for mine, other in (
            (a.quantization.input, b.quantization.input),
            (a.quantization.weight, b.quantization.weight),
        ):
            np.testing.assert_array_equal(mine.scales, other.scales)
            np.testing.assert_array_equal(mine.zero_points, other.zero_points)
            assert (mine.qmin, mine.qmax, mine.bits) == (other.qmin, other.qmax, other.bits)
        for mine, other in zip(a.inputs[1:], b.inputs[1:], strict=True):
            if mine in ours.constants:
                np.testing.assert_array_equal(ours.constants[mine], theirs.constants[other])


def test_only_a_batch_norm_right_after_its_layer_is_folded(builder) -> None:
    b = builder((1, 2, 6, 6))
    b.batch_norm("before")
    b.conv(4, name="one")
    b.batch_norm("folded")
    b.add("relu")
    shared = b.conv(4, name="two")
    b.batch_norm("kept")
    b.add("add", shared)
    network = b.build()
    nodes = _calibrated(network, "4/4").to_quantized_network().nodes
    assert [n.name for n in nodes if n.op == "batch_norm"] == ["before", "kept"]


def test_a_policy_needs_calibration_and_every_layer(residual) -> None:
    network = residual()
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    trainable = TrainableNetwork(network, policy)
    with pytest.raises(PolicyError, match="calibrate first"):
        trainable(inputs_for(network))
    with pytest.raises(PolicyError, match="calibrate"):
        trainable.to_quantized_network()
    with pytest.raises(PolicyError, match="without bit widths: fc"):
        trainable.set_policy(Policy({n: b for n, b in policy.layers.items() if n != "fc"}))
    with pytest.raises(PolicyError, match=r"layers in float: stem\.conv"):
        TrainableNetwork(network).to_quantized_network()


def test_setting_a_policy_moves_no_tensor(residual) -> None:
    trainable = _calibrated(residual(), "8/8")
    places = {name: tensor.data_ptr() for name, tensor in trainable.state_dict().items()}
    trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths(1, 3)))
    assert places == {name: tensor.data_ptr() for name, tensor in trainable.state_dict().items()}


@pytest.mark.parametrize("others", ["8/8", None])
def test_one_layer_has_other_widths_within_the_block_alone(residual, others: str | None) -> None:
    network, x = residual(), inputs_for(residual(), 5)
    trainable = quantized(network, x, "8/8").eval()
    policy, name = trainable.policy, network.layer_names[1]
    assert policy is not None
    if others is None:
        trainable.set_policy(None)
    before = trainable(x)
    with trainable.layer_at(name, BitWidths(2, 3)):
        found = trainable(x)
    assert torch.equal(trainable(x), before)
    trainable.set_policy(policy.replace({name: BitWidths(2, 3)}))
    for other in () if others else set(network.layer_names) - {name}:
        trainable.mvm_modules[other].quantized = False
    assert torch.equal(found, trainable(x))
    assert not torch.equal(found, before)


def test_a_layer_comes_back_after_an_error_and_needs_a_calibration(residual) -> None:
    network, x = residual(), inputs_for(residual(), 5)
    trainable = quantized(network, x, "8/8").eval()
    before, name = trainable(x), network.layer_names[0]
    with pytest.raises(ZeroDivisionError), trainable.layer_at(name, BitWidths(2, 2)):
        raise ZeroDivisionError
    assert torch.equal(trainable(x), before)
    with pytest.raises(PolicyError, match="calibrate first"), TrainableNetwork(network).layer_at(name, BitWidths(2, 2)):
        pass


def test_activations_after_relu_are_unsigned_and_others_signed(residual, attention) -> None:
    nodes = _calibrated(residual(), "8/4").to_quantized_network().mvm_nodes
    ranges = {n.name: (n.quantization.input.qmin, n.quantization.input.qmax) for n in nodes}
    assert ranges == {"stem.conv": (-8, 7), "block.conv": (0, 15), "down": (0, 15), "fc": (0, 15)}
    nodes = _calibrated(attention(), "8/4").to_quantized_network().mvm_nodes
    ranges = {n.name: n.quantization.input.qmin for n in nodes}
    assert ranges["scores"] == -8
    assert ranges["mix"] == 0


@pytest.mark.parametrize(
    ("samples", "least", "qmin"),
    [
        (LEAST_SAMPLES_FOR_SIGN, 0.0, 0),
        (LEAST_SAMPLES_FOR_SIGN, -0.01, 0),
        (LEAST_SAMPLES_FOR_SIGN - 1, 0.0, -8),
    ],
    ids=["none negative", "hardly any negative", "too few samples"],
)
def test_inputs_are_unsigned_where_many_calibration_samples_hold_hardly_anything_negative(
    residual, samples, least, qmin
):
    network = residual()
    trainable = TrainableNetwork(network).eval()
    x = inputs_for(network, samples).abs()
    x.flatten()[-1] = least
    calibrate(trainable, x, batch_size=10)
    trainable.set_policy(Policy.uniform(network.layer_names, BitWidths(8, 4)))
    grid = trainable.to_quantized_network().node("stem.conv").quantization.input
    assert (grid.qmin, grid.qmax) == (qmin, qmin + 15)


def test_bad_numbers_are_refused_and_named(residual) -> None:
    network = residual()
    x = inputs_for(network)
    x[3, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="calibration inputs"):
        calibrate(TrainableNetwork(network), x)
    with pytest.raises(DataError, match="no calibration samples"):
        calibrate(TrainableNetwork(network), x[:0])
    broken = network.constants["block.conv.weight"].copy()
    broken[0, 0, 0, 0] = np.inf
    bad = network.with_nodes(network.nodes, {**network.constants, "block.conv.weight": broken})
    with pytest.raises(DataError, match=r"block\.conv"):
        calibrate(TrainableNetwork(bad), inputs_for(network))


def test_a_calibration_table_survives_its_file(residual, tmp_path: Path) -> None:
    network = residual()
    trainable = TrainableNetwork(network).eval()
    table = calibrate(trainable, inputs_for(network))
    table.save(tmp_path / "table.safetensors")
    loaded = CalibrationTable.load(tmp_path / "table.safetensors")
    policy = Policy.uniform(network.layer_names, BitWidths(3, 5))
    _assert_same_integers(quantize(network, policy, None, table=loaded), quantize(network, policy, inputs_for(network)))
    assert loaded.layers["stem.conv"].weight_steps.shape == (len(CALIBRATED_BITS), 8)
    (tmp_path / "torn").write_bytes((tmp_path / "table.safetensors").read_bytes()[:-7])
    with pytest.raises(InputFileError):
        CalibrationTable.load(tmp_path / "torn")
    with pytest.raises(InputFileError, match="no such file"):
        CalibrationTable.load(tmp_path / "absent")


def test_a_trained_state_survives_its_file(residual, tmp_path: Path) -> None:
    network, x = residual(), inputs_for(residual(), 4)
    trainable = _calibrated(network, "3/4")
    with torch.no_grad():
        for parameter in trainable.parameters():
            parameter.mul_(1.1).add_(0.01)
    trainable.save(tmp_path / "state.safetensors")
    fresh = TrainableNetwork(network).eval()
    fresh.load(tmp_path / "state.safetensors")
    assert torch.equal(fresh(x), trainable(x))
    assert fresh.policy == trainable.policy
    with pytest.raises(InputFileError, match="another network"):
        fresh.load_state_tensors({})


def test_layers_that_share_a_constant_share_its_parameter(builder) -> None:
    b = builder((1, 4))
    b.linear(4, name="first", bias=False)
    b.add("relu")
    b.add("linear", "first.weight", name="second")
    trainable = TrainableNetwork(b.build())
    modules = trainable.mvm_modules
    assert modules["first"].weight is modules["second"].weight
    assert sum(name.endswith("weight") for name in trainable.state_tensors()) == 1
