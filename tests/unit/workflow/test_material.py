"""Compilation is asked for where it pays, and its absence is noted."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mho
from mho.data import DataSpec, load_dataset
from mho.evaluation.networks import evaluate_network
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.quantization.qat import TrainableNetwork
from mho.workflow.material import COMPILING_PAYS_MACS, Material, compiled, hash_dataset, training_options
from mho.workflow.training_settings import QatSettings, TrainingSettings


@pytest.fixture(scope="module")
def material():
    dataset = load_dataset(DataSpec(name="digits", calibration=100, validation=100), np.random.default_rng(0))
    return Material(dataset, hash_dataset(dataset), mho.accelerator("pelke2026-4bit"), DEFAULT_MODEL, "none", "auto", 1)


@pytest.fixture(scope="module")
def module():
    return TrainableNetwork(mho.load("resnet8", input_shape=(1, 8, 8)))


def test_a_short_training_is_not_compiled(material, module):
    assert compiled(module, material, 100.0) == (module, [])


def test_a_long_training_is_compiled_where_there_is_a_compiler(material, module, monkeypatch):
    monkeypatch.setattr(
        "mho.quantization.compilation.compile_if_possible", lambda found: (torch.nn.Sequential(found), "")
    )
    assert compiled(module, material, COMPILING_PAYS_MACS)[0] is not module


def test_without_a_compiler_the_report_gets_a_note(material, module, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_: None)
    monkeypatch.delenv("CXX", raising=False)
    always = dataclasses.replace(material, compile=True)
    runnable, notes = compiled(module, always, 1.0)
    assert runnable is module
    assert "no C++ compiler" in notes[0]


def test_compiling_can_be_forbidden(material, module):
    never = dataclasses.replace(material, compile=False)
    assert compiled(module, never, COMPILING_PAYS_MACS) == (module, [])


def test_a_network_that_diverged_in_the_end_is_an_error_for_people(material, module, monkeypatch):
    found = SimpleNamespace(loss=float("nan"), correct=0, count=1)
    monkeypatch.setattr("mho.quantization.training.evaluate", lambda *_: found)
    with pytest.raises(mho.MhoError, match="learning_rate"):
        evaluate_network(module, material.dataset.test)


def test_what_settings_leave_out_of_a_full_training_depends_on_whether_it_is_on_arrays(material):
    settings = QatSettings(steps=1)
    found = [training_options(settings, material, is_on_arrays=is_on_arrays) for is_on_arrays in (False, True)]
    recipes = [(one.learning_rate, one.fixed_norm_share, one.max_gradient_norm) for one in found]
    assert recipes == [(0.005, 0.0, None), (0.01, 1.0, 1.0)]


@pytest.mark.parametrize("is_on_arrays", [False, True])
def test_what_settings_say_goes_before(material, is_on_arrays):
    for kind in (QatSettings, TrainingSettings):
        settings = kind(steps=1, learning_rate=0.1, fixed_norm_share=0.3)
        options = training_options(settings, material, is_on_arrays=is_on_arrays)
        assert (options.learning_rate, options.fixed_norm_share) == (0.1, 0.3)
