"""The kinds of files that the fuzzer makes, by name; imports nothing until one is asked for."""

from __future__ import annotations

import importlib
from typing import Any

HOMES = {
    "accelerator": "fuzz_settings:AcceleratorKind",
    "run-settings": "fuzz_settings:RunKind",
    "study": "fuzz_settings:StudyKind",
    "mix": "fuzz_settings:MixKind",
    "policy": "fuzz_settings:PolicyKind",
    "result": "fuzz_settings:ResultKind",
    "inputs": "fuzz_arrays:InputsKind",
    "data-npz": "fuzz_arrays:DataKind",
    "ranges": "fuzz_arrays:RangesKind",
    "corrections": "fuzz_arrays:CorrectionsKind",
    "program": "fuzz_programs:ProgramKind",
    "graph": "fuzz_onnx:GraphKind",
    "onnx-float": "fuzz_onnx:OnnxKind",
    "onnx-quantized": "fuzz_onnx:QuantizedKind",
    "onnx-external": "fuzz_onnx:ExternalKind",
    "image-folder": "fuzz_images:ImageFolderKind",
    "image-archive": "fuzz_images:ImageArchiveKind",
    "idx": "fuzz_images:IdxKind",
    "cifar10": "fuzz_images:CifarKind",
    "agent": "fuzz_tensors:AgentKind",
    "weights": "fuzz_tensors:WeightsKind",
    "calibration": "fuzz_tensors:CalibrationKind",
    "training-state": "fuzz_tensors:StateKind",
    "checkpoint": "fuzz_tensors:CheckpointKind",
    "evaluation-log": "fuzz_folders:LogKind",
    "study-log": "fuzz_folders:StudyLogKind",
    "search-result": "fuzz_folders:SearchKind",
    "probes": "fuzz_folders:ProbesKind",
    "run-directory": "fuzz_folders:StageKind",
    "layer-table": "fuzz_folders:TableKind",
}

_SHARED = ("onnx_ir", "mho.cli.main", "typer.main", "rich.markup")
"""Imported once, before processes are forked: nearly all of these would load it anew for their first case."""


def make_kind(name: str) -> Any:
    """Return the kind of that name, prepared."""
    for name_of_module in _SHARED:
        importlib.import_module(name_of_module)
    module, _, cls = HOMES[name].partition(":")
    kind = getattr(importlib.import_module(module), cls)()
    kind.prepare()
    return kind
