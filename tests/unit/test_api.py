"""The public API is reachable by the names that the documentation gives, whatever was imported before."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

import mho


@pytest.fixture(scope="module")
def network():
    return mho.load("resnet8", input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)


def test_every_public_name_can_be_had():
    for name in mho.__all__:
        assert getattr(mho, name) is not None
    assert set(mho.__all__) <= set(dir(mho))


def test_public_functions_have_signatures_and_docstrings():
    for name in mho.__all__:
        if inspect.isfunction(value := getattr(mho, name)):
            parameters = inspect.signature(value).parameters.values()
            assert all(one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters), name
            assert value.__doc__, name


def test_type_checkers_see_every_public_name():
    named = re.findall(r"import (\w+) as \1\n", Path(mho.__file__).read_text(encoding="utf-8"))
    assert sorted(named) == sorted(mho.__all__)


def test_the_script_that_type_checkers_see_runs(tmp_path):
    path = Path(__file__).parents[1] / "typing" / "public_api.py"
    spec = importlib.util.spec_from_file_location("public_api", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    facts = script.main(tmp_path)
    assert facts[4] == "stopped"
    assert "pelke2026-4bit" in facts
    assert all(isinstance(fact, str) for fact in facts)


def test_fewer_bits_cost_less(network):
    accelerator = mho.accelerator("pelke2026-4bit")
    policy = mho.Policy.uniform(network.layer_names, mho.BitWidths(4, 4))
    assert mho.cost(network, accelerator, policy).latency_ps == mho.cost(network, accelerator, "4/4").latency_ps
    assert mho.cost(network, accelerator, "4/4").latency_ps < mho.cost(network, accelerator).latency_ps


def test_policies_are_taken_in_every_form(network, tmp_path):
    policy = mho.Policy.uniform(network.layer_names, (4, 6)).replace({network.layer_names[0]: "8/8"})
    (tmp_path / "p.json").write_text(json.dumps(policy.to_json()), encoding="utf-8")
    forms = [
        dict.fromkeys(network.layer_names, (4, 6)) | {network.layer_names[0]: mho.BitWidths(8, 8)},
        {name: str(policy[name]) for name in network.layer_names},
        {name: policy[name].to_json() for name in network.layer_names},
        policy.to_json(),
        tmp_path / "p.json",
        str(tmp_path / "p.json"),
    ]
    latency_ps = mho.cost(network, "pelke2026-4bit", policy).latency_ps
    assert [mho.cost(network, "pelke2026-4bit", form).latency_ps for form in forms] == [latency_ps] * len(forms)
    uniform = [mho.cost(network, "pelke2026-4bit", one).latency_ps for one in ("4/6", (4, 6), mho.BitWidths(4, 6))]
    assert len(set(uniform)) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (5, "not a pair"),
        ((4,), "not a pair"),
        ((4, 8, 6, 2), "not a pair"),
        ((4, True), "not a pair"),
        ((4.0, 8), "not a pair"),
        ((4, 99), "act_bits is 99"),
        ("4x8", "WEIGHT/ACTIVATION"),
        ({}, "layers without bit widths"),
        ({"stem.cnv": "4/8"}, "did you mean"),
        ({3: "4/8"}, "not the name of a layer"),
        ({"fc": None}, "fc: None is not a pair"),
        ("none.json", "none.json"),
        (object(), "not a pair"),
    ],
)
def test_what_is_no_policy_is_an_error_that_says_what_one_is(network, wrong, message):
    if wrong == {"stem.cnv": "4/8"}:
        wrong = {network.layer_names[0][:-1] + "x": "4/8"}
    with pytest.raises(mho.MhoError, match=message):
        mho.cost(network, "pelke2026-4bit", wrong)


@pytest.mark.parametrize("mapping", ["best", "paper"])
def test_a_map_has_the_times_of_the_cost(network, mapping):
    found = mho.map(network, "pelke2026-4bit", "4/6", mapping=mapping, batch=3)
    cost = mho.cost(network, "pelke2026-4bit", "4/6", mapping=mapping, batch=3)
    assert found.latency_ps == cost.latency_ps
    assert [layer.name for layer in found.layers] == list(network.layer_names)


def test_layers_alone_cost_what_their_network_costs(network, tmp_path, monkeypatch):
    monkeypatch.setenv("MHO_CACHE_DIR", str(tmp_path))
    mho.save(network, tmp_path / "m.onnx")
    layers = mho.load_layers(tmp_path / "m.onnx")
    monkeypatch.setattr("mho.network.loading.load_network", None)  # the second time they come from the cache
    assert mho.load_layers(tmp_path / "m.onnx") == layers
    hardware = mho.accelerator("pelke2026-4bit", cell_bits=2, encoding="offset")
    assert mho.cost(layers, hardware).latency_ps == mho.cost(network, hardware, "8/8").latency_ps
    assert mho.map(layers, hardware, "4/4").latency_ps == mho.map(network, hardware, "4/4").latency_ps


def test_a_quantized_network_is_costed_at_its_own_widths(network, samples):
    quantized = mho.quantize(network, "4/6", samples)
    assert mho.cost(quantized, "pelke2026-4bit").latency_ps == mho.cost(quantized, "pelke2026-4bit", "4/6").latency_ps


def test_values_do_not_change(network):
    found = mho.map(network, "pelke2026-4bit")
    with pytest.raises(AttributeError):
        found.layers[0].cost = None  # type: ignore[misc]


def test_both_engines_answer_alike_from_value_and_file(network, samples, tmp_path):
    from mho.program.container import write_program

    program = mho.compile(mho.quantize(network, "4/8", samples), "pelke2026-4bit")
    write_program(program, tmp_path / "p.mho")
    fast = mho.simulate(program, samples)
    slow = mho.simulate(tmp_path / "p.mho", samples[:4], engine="interpreter")
    for name, array in slow.items():
        np.testing.assert_array_equal(fast[name][:4], array)


def test_zero_slices_are_counted_from_value_and_file(network, samples, tmp_path):
    program = mho.compile(mho.quantize(network, "4/8", samples), "pelke2026-4bit")
    mho.save(program, tmp_path / "p.mho")
    found, again = (mho.count_zero_slices(given, samples) for given in (program, tmp_path / "p.mho"))
    assert [layer.name for layer in found.layers] == list(network.layer_names)
    np.testing.assert_array_equal(found.latencies_ps, again.latencies_ps)
    assert (mho.count_zero_slices(program, samples * 0).skipped > found.skipped).all()


def test_wrong_calls_are_explained(network, samples):
    with pytest.raises(mho.MhoError, match="quantize"):
        mho.compile(network, "pelke2026-4bit")
    with pytest.raises(mho.MhoError, match="WEIGHT/ACTIVATION"):
        mho.cost(network, "pelke2026-4bit", "8x8")
    with pytest.raises(mho.MhoError, match="example"):
        mho.load(object())
    with pytest.raises(mho.MhoError, match=r"mapping is 'bset'(.|\n)*did you mean 'best'"):
        mho.map(network, "pelke2026-4bit", mapping="bset")  # type: ignore[arg-type]
    with pytest.raises(mho.MhoError, match="no MVM layer 'conv'"):
        mho.map(network, "pelke2026-4bit").layer("conv")
    quantized = mho.quantize(network, "4/4", samples)
    with pytest.raises(mho.MhoError, match="tiles are rewritten"):
        mho.compile(quantized, "pelke2026-4bit", objective="interval")
    with pytest.raises(mho.MhoError, match="a batch of 2"):
        mho.compile(quantized, "clsa-256", batch=2)
    program = mho.compile(quantized, "pelke2026-4bit")
    with pytest.raises(mho.MhoError, match="engine"):
        mho.simulate(program, samples, engine="guess")
    with pytest.raises(AttributeError):
        mho.no_such_name  # noqa: B018
