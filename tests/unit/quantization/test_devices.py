import multiprocessing

import pytest
import torch
from small_training import trainable_network

from mho.errors import ConfigError
from mho.quantization.devices import Devices, Precision, device_of, find_devices, placed
from mho.quantization.modules import MvmModule


@pytest.fixture
def quantized_network(residual):
    return trainable_network(residual(), "4/3")


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("gpus")
def test_all_gpus_are_found_or_those_that_are_named():
    assert find_devices("auto").names == find_devices("cuda").names == ("cuda:0", "cuda:1")
    assert find_devices("cuda:1", "bf16") == Devices(("cuda:1",), Precision.BF16)
    assert find_devices("cpu").names == ("cpu",)
    for wrong in ("cuda:2", "cuda:0,cuda:2"):
        with pytest.raises(ConfigError, match=r"no device cuda:2\n  expected: cpu, cuda:0, cuda:1"):
            find_devices(wrong)
    with pytest.raises(ConfigError, match="not both"):
        find_devices("cpu,cuda:0")


@pytest.mark.usefixtures("no_gpus")
def test_without_gpus_the_processor_is_taken_and_gpus_are_refused():
    assert find_devices("auto") == Devices()
    assert find_devices("cpu,cpu").names == ("cpu", "cpu")
    with pytest.raises(ConfigError, match="no GPU was found"):
        find_devices("cuda")
    for wrong in ("gpu", "", "cpu,", "cuda:x"):
        with pytest.raises(ConfigError, match="expected: auto, cpu, cuda"):
            find_devices(wrong)


def test_figures_depend_on_kinds_of_devices_and_not_on_which_they_are():
    assert Devices().to_json() == {}
    assert Devices(("cuda:1", "cuda:3")).to_json() == {"devices": ["cuda", "cuda"], "precision": "float32"}
    assert Devices(("cpu",), Precision.BF16).to_json() == {"devices": ["cpu"], "precision": "bf16"}


@pytest.mark.usefixtures("gpus")
def test_workers_of_a_pool_take_devices_in_turns(monkeypatch):
    devices = Devices(("cuda:0", "cuda:1"), Precision.BF16)
    assert devices.own() == Devices(("cuda:0",), Precision.BF16)
    for number, expected in ((0, "cuda:0"), (1, "cuda:1"), (4, "cuda:0")):
        monkeypatch.setattr(multiprocessing.current_process(), "name", f"mho-worker-{number}")
        assert devices.own().names == (expected,)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Devices(("cuda:3",)).own().names == ("cuda:0",)
    assert Devices(("cpu", "cpu")).own().names == ("cpu",)


def test_a_network_is_placed_meanwhile(quantized_network):
    layers = [m for m in quantized_network.modules() if isinstance(m, MvmModule)]
    with placed(quantized_network, "cpu", Precision.BF16):
        assert {layer.product_type for layer in layers} == {torch.bfloat16}
    assert {layer.product_type for layer in layers} == {None}
    assert device_of(quantized_network) == torch.device("cpu")


def test_products_in_bf16_follow_those_in_float32_in_training_and_are_exact_otherwise(quantized_network):
    def run(precision, *, training):
        quantized_network.train(training)
        quantized_network.zero_grad()
        with placed(quantized_network, "cpu", precision):
            logits = quantized_network(inputs)
            logits.square().sum().backward()
        return logits.detach(), {
            n: p.grad.clone() for n, p in quantized_network.named_parameters() if p.grad is not None
        }

    inputs = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    exact, gradients = run(Precision.FLOAT32, training=True)
    rough, rough_gradients = run(Precision.BF16, training=True)
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))
    assert rough_gradients.keys() == gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert rough_gradients[name].dtype == torch.float32
        torch.testing.assert_close(rough_gradients[name], gradient, rtol=0.1, atol=0.02 * largest)
    assert torch.equal(run(Precision.BF16, training=False)[0], run(Precision.FLOAT32, training=False)[0])
