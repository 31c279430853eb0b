"""Public functions given what they do not take: always an `MhoError`, never what the depths raise."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from cached_decoder import CachedDecoder
from chip_networks import make_chain

import mho

NONE = Path("/dev/null/such")  # below what is no folder, so that nobody can make it
BAD = [
    None, True, -1, 10**30, float("nan"), "nonsense", "a\0b", b"bytes", [object()], {1: "4/8"}, object(), np.zeros(3),
    np.zeros((2, 3), complex), [[1], [2, 3]], Path("/dev/null/such"), torch.utils.data.TensorDataset(torch.zeros(3, 2)),
]  # fmt: skip
"""Values of every kind, each of which most arguments do not take."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def divergences_of(network):
    widths = {mho.BitWidths(4, 8): 0.5, mho.BitWidths(8, 8): 0.25}
    return mho.LayerDivergences(dict.fromkeys(network.layer_names, widths), 4, "fast")


def records(network):
    """Arguments of the records that users make."""
    policy = mho.Policy.uniform(network.layer_names, "4/4")
    return {
        "Policy": {"layers": dict(policy.layers)},
        "BitWidths": {"weight_bits": 4, "act_bits": 4},
        "Conditions": {},
        "Task": {"kind": "regression"},
        "SearchOptions": {},
        "TrainableNetwork": {"network": network, "policy": policy},
        "TrainingOptions": {"epochs": 1},
        "LayerDivergences": {"layers": divergences_of(network).layers, "samples": 4, "effort": "fast"},
    }


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A sound call of each public function."""
    network = make_chain()
    samples = np.random.default_rng(2).standard_normal((4, *network.inputs[0].shape)).astype(np.float32)
    quantized = mho.quantize(network, "4/4", samples)
    program = mho.compile(quantized, "pelke2026-4bit")
    labels = np.zeros(4, np.int64)
    folder = tmp_path_factory.mktemp("public")
    decoder = CachedDecoder(layers=1)
    whole, ids = mho.load_decoder(decoder, context=4, block=4), np.zeros((2, 4), np.int64)
    inputs = mho.first_inputs(whole, ids)
    language = mho.quantize(whole, "4/4", inputs)
    return {
        "load": {"model": torch.nn.Linear(4, 2), "example_input": (1, 4), "input_shape": (1, 4)},
        "load_decoder": {"module": decoder, "context": 4, "block": 4},
        "share_weights": {"quantized": language, "form": whole},
        "first_inputs": {"network": whole, "tokens": ids},
        "generate": {"program": mho.compile(language, "isaac"), "prompt": [1, 2], "tokens": 1},
        "load_layers": {"model": str(NONE)},
        "accelerator": {"name_or_path": "isaac"},
        "cost": {"network": network, "accelerator": "pelke2026-4bit"},
        "map": {"network": network, "accelerator": "pelke2026-4bit"},
        "schedule": {"network": network, "accelerator": "isaac", "simulate": False},
        "compare": {"network": quantized, "accelerators": ["pelke2026-4bit"], "samples": (samples, labels)},
        "measure_divergences": {"network": whole, "calibration_inputs": inputs},
        "allocate": {
            "network": network,
            "accelerator": "isaac",
            "cost_budget": 1.0,
            "divergences": mho.measure_divergences(network, samples, task=mho.Task("regression")),
        },
        "quantize": {"network": network, "policy": "4/4", "calibration_inputs": samples},
        "quantize_digital": {"quantized": quantized, "calibration_inputs": samples},
        "trainable": {"network": network, "policy": "4/4", "calibration_inputs": samples},
        "save": {"value": program, "path": folder / "p.mho"},
        "estimate": {"network": quantized, "accelerator": "rram-hfo2", "samples": (samples, labels)},
        "compile": {"quantized": quantized, "accelerator": "pelke2026-4bit"},
        "compile_schedule": {"quantized": quantized, "schedule": mho.schedule(quantized, "isaac", simulate=False)},
        "timing": {"program": program},
        "simulate": {"program": program, "inputs": samples},
        "calibrate": {"program": program, "inputs": samples, "seed": 0, "per": "layer"},
        "recalibrate": {"program": program, "inputs": samples, "seed": 0},
        "count_zero_slices": {"program": program, "inputs": samples},
        "digital_work": {"program": program},
        "emit": {"program": program, "target": "vectors", "directory": folder / "out"},
        "vectors": {"program": program, "inputs": samples, "layer": "first", "windows": (0, 1)},
        "run_on_device": {"program": program, "inputs": samples, "device": "nothing:here"},
        "dataset": {"train": (np.zeros((40, 3), np.float32), np.arange(40) % 2)},
        "search": {"network": network, "dataset": (samples, labels), "accelerator": "isaac", "budget": 1},
        "run": {"config": NONE},
        "read_result": {"run": NONE},
        "compare_runs": {"first": NONE, "second": NONE},
        "draw_run": {"run": NONE, "file": folder / "x.svg"},
        "search_config": {"config": NONE},
        "mix": {"config": NONE},
        "study": {"study": {}, "directory": folder},
        "plot": {"value": mho.cost(network, "isaac")},
        **records(network),
    }


def public_functions():
    return [name for name in mho.__all__ if callable(getattr(mho, name)) and name not in ONLY_RESULTS]


ONLY_RESULTS = {
    "MhoError", "Progress", "SearchProgress", "Network", "Accelerator", "Program", "Cost", "NetworkMap", "Schedule",
    "SearchResult", "Outputs",
}  # fmt: skip
"""What functions return or call with, made by mho alone."""


@pytest.mark.parametrize("name", public_functions())
def test_wrong_arguments_are_errors_of_mho(calls, name):
    function = getattr(mho, name)
    for argument in inspect.signature(function).parameters:
        for number, value in enumerate(BAD):
            try:
                function(**{**calls[name], argument: value})
            except mho.MhoError:
                continue
            except Exception as error:
                shown = f"mho.{name}({argument}={value!r:.60}), value {number}"
                pytest.fail(f"{shown}: {type(error).__name__}: {error!s:.200}")


@pytest.mark.parametrize("name", ["run", "search_config", "mix", "study", "compare"])
def test_what_takes_progress_is_a_function(calls, name):
    with pytest.raises(mho.MhoError, match="on_progress is 3") as caught:
        getattr(mho, name)(**{**calls[name], "on_progress": 3})
    assert "a function" in str(caught.value)


def test_wrong_arguments_of_methods_are_errors_of_mho(calls):
    network, policy = calls["cost"]["network"], mho.Policy.of(calls["Policy"]["layers"])
    found, module = mho.map(network, "isaac"), mho.TrainableNetwork(network)
    methods = [
        network.node, found.layer, found.neighbours, found.only, found.plot, policy.__getitem__, policy.replace,
        mho.Policy.of, mho.Policy.load, mho.Policy.from_json, mho.BitWidths.parse, module.set_policy, module.save,
        module.load, lambda value: mho.Policy.uniform(value, "4/4"), lambda value: mho.Policy.uniform(["a"], value),
    ]  # fmt: skip
    for method in methods:
        for value in BAD:
            try:
                method(value)
            except mho.MhoError:
                continue
            except Exception as error:
                pytest.fail(f"{method}({value!r:.60}): {type(error).__name__}: {error!s:.200}")


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("cost", {"network": torch.nn.Linear(4, 2)}, "mho.load(model, torch.zeros("),
        ("compile", {"quantized": "a.onnx"}, "mho.load('a.onnx')"),
        ("load", {"model": "net.pt", "example_input": None, "input_shape": None}, "load the weights into your module"),
        ("load", {"model": "torchvision:resnet18", "example_input": None, "input_shape": (1, 3, 8, 8)}, "batch axis"),
        ("search", {"network": "quantized"}, "the network is quantized"),
        ("search", {"method": "exat"}, "did you mean 'exact'"),
        ("dataset", {"train": (np.zeros((40, 3), np.float32), np.arange(40) % 2 + 1), "classes": 2}, "0: 0..1"),
    ],
)
def test_errors_say_what_helps(calls, name, changed, message):
    if changed.get("network") == "quantized":
        changed = {"network": calls["compile"]["quantized"]}
    with pytest.raises(mho.MhoError) as caught:
        getattr(mho, name)(**{**calls[name], **changed})
    assert message in str(caught.value)
