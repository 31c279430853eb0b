"""A result of a run, made by hand."""

from typing import Any

import numpy as np

from mho.report.result import RunResult

LAYERS = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "layer2.0.conv2", "fc")


def judgement(correct: int, count: int = 500) -> dict:
    return {"correct": correct, "count": count, "accuracy": correct / count, "loss": 0.1}


def cost(weight_bits: int, act_bits: int, scale: int) -> dict:
    tiles = scale * (1 + (weight_bits > 4))
    mvms = 64 * tiles * act_bits
    return {
        "weight_bits": weight_bits, "act_bits": act_bits, "rows": 144, "cols": 128, "layout": "im2col",
        "tiles": tiles, "mvms": mvms,
        "latency_us": 56.0 * tiles + 1.4 * mvms,
    }  # fmt: skip


def candidate(name: str, label: str, correct: int, latency_us: float | None, bits: tuple[float, float]) -> dict:
    return {
        "name": name, "label": label, "validation": judgement(correct - 2), "test": judgement(correct),
        "latency_us": latency_us, "speedup": None if latency_us is None else 20_000 / latency_us,
        "tiles": None if latency_us is None else 12, "mvms": None if latency_us is None else 34_567,
        "weight_bits": bits[0], "act_bits": bits[1],
    }  # fmt: skip


def evaluations(count: int = 40) -> list[dict]:
    generator = np.random.default_rng(3)
    entries = []
    for index in range(count):
        bits = [[8] * len(LAYERS)] * 2 if index == 0 else generator.integers(2, 9, (2, len(LAYERS))).tolist()
        mean = float(np.mean(bits))
        accuracy = (
            None if index == 7 else float(np.clip(0.985 - 0.003 * (8 - mean) ** 2 - generator.random() * 0.02, 0, 1))
        )
        entries.append(
            {
                "index": index, "method": "rl", "weight_bits": bits[0], "act_bits": bits[1],
                "cost": 20_000 * mean / 8 * 1e6, "gain": 8 / mean, "score": None if index == 7 else 0.2,
                "accuracy": accuracy, "seconds": 1.5, "on_front": False,
                "note": "training diverged" if index == 7 else "",
            }
        )  # fmt: skip
    best = 0.0
    for entry in sorted(entries, key=lambda entry: entry["cost"]):
        if entry["accuracy"] is not None and entry["accuracy"] > best:
            best, entry["on_front"] = entry["accuracy"], True
    return entries


def make_search_and_checks() -> dict[str, Any]:
    """The search, the trainings and the checks of that run."""
    return {
        "search": {
            "method": "rl", "objective": "latency", "objective_words": "latency on one crossbar", "unit": "ps",
 "fidelity": "20 steps of training", "budget": 40, "space": str(7 ** 12),
            "allowed_drop": 1.0, "target_accuracy": 0.955, "best": 11, "finalists": [11],
            "evaluations": evaluations(),
        },
        "trainings": [
            {
                "name": name, "label": label,
                "points": [{"epoch": epoch, "loss": start / epoch} for epoch in range(1, 11)],
            }
            for name, label, start in (
                ("float", "float32", 2.0), ("reference", "uniform 8/8", 0.4), ("found", "found policy", 0.6)
            )
        ],
        "checks": [
            {
                "name": "executor = reference", "claim": "Every output equals the reference's.",
                "images": 500, "differing": 0, "passed": True, "detail": "5 000 numbers compared",
            },
            {
                "name": "ONNX Runtime", "claim": "The exported file gives the same predictions.", "images": 500,
                "differing": 1, "passed": False, "detail": "image 17: 4 instead of 9",
            },
        ],
    }  # fmt: skip


def make_result() -> RunResult:
    """A result of a run on digits, of six layers and forty evaluations."""
    layers = [
        {
            "name": name, "kind": "linear" if name == "fc" else "conv", "outputs": 16 * scale, "inputs": 144,
            "positions": 64, "repeat": 1, "macs": 16 * scale * 144 * 64,
            "reference": cost(8, 8, scale), "found": cost(4 if scale > 1 else 8, 3 + scale, scale),
        }
        for scale, name in enumerate(LAYERS, start=1)
    ]  # fmt: skip
    content = {
        "name": "sample", "sentence": "A sentence with <brackets> & an ampersand.", "seed": 1, "seconds": 199.0,
        "network": {
            "source": "resnet8", "parameters": 78_042, "macs": 2_000_000, "mvm_layers": 6, "input_shape": [1, 8, 8]
        },
        "data": {
            "name": "digits", "classes": [str(digit) for digit in range(10)], "train": 897, "calibration": 200,
            "validation": 200, "test": 500, "sha256": "ab" * 32, "samples": "float32",
            "normalization": [{"operation": "sub", "numbers": [0.3053]}, {"operation": "mul", "numbers": [2.6596]}],
        },
        "candidates": [
            candidate("float", "float32", 492, None, (32, 32)),
            candidate("reference", "uniform 8/8", 491, 20_000.0, (8, 8)),
            candidate("found", "found policy", 489, 9_000.0, (4.4, 5.1)),
        ],
        "drop": 0.4, "layers": layers,
        **make_search_and_checks(),
        "instructions": {"mvm": 34_567, "write_tile": 12},
        "mapping": "best",
        "mappings": [
            {"mapping": "best", "reference_latency_us": 20_000.0, "found_latency_us": 9_000.0, "speedup": 20 / 9},
            {"mapping": "paper", "reference_latency_us": 52_000.0, "found_latency_us": 26_000.0, "speedup": 2.0},
        ],
        "accelerator": {
            "name": "pelke2026-4bit", "crossbar": {"rows": 256, "cols": 256}, "sources": {"crossbar.rows": "the paper"}
        },
        "settings": {"run": {"name": "sample", "seed": 1}, "search": {"method": "rl"}},
        "notes": ["torch.compile is off: no compiler was found."],
        "versions": {"mho": "0.1.0", "torch": "2.13"}, "machine": {"threads": "2"},
        "stages": [
            {"name": "float", "title": "Train the network", "seconds": 33.0, "key": "01" * 32, "digest": "02" * 32}
        ],
        "files": [
            {"path": "network.onnx", "what": "quantized network", "bytes": 123_456, "sha256": "cd" * 32}
        ],
    }  # fmt: skip
    return RunResult.model_validate(content)
