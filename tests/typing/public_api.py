"""A script as users write it, for type checkers: nothing that `mho` returns is `Any`. A test runs it too.

Checked by mypy with `disallow_any_expr`, see `pyproject.toml`; pyright passes it in strict mode.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import mho


def main(folder: Path) -> list[str]:
    """Take a network from torch to a program, and return what is learned of it."""
    parts = [torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 9), torch.nn.Linear(9, 3)]
    module = torch.nn.Sequential(*parts)
    network: mho.Network = mho.load(module, (1, 16))
    generator = np.random.default_rng(0)
    samples: NDArray[np.float32] = generator.normal(size=(60, 16)).astype(np.float32)
    labels: NDArray[np.int64] = np.arange(60, dtype=np.int64) % 3

    policy = mho.Policy.uniform(network.layer_names, (4, 6)).replace({network.layer_names[0]: "8/8"})
    chip: mho.Accelerator = mho.accelerator("pelke2026-4bit", cell_bits=2)
    cost: mho.Cost = mho.cost(network, chip, policy)
    slowest: str = max((layer.latency_ps, layer.mapping.layer.name) for layer in cost.layers)[1]
    found: mho.NetworkMap = mho.map(network, chip, dict.fromkeys(network.layer_names, "4/6"))
    first, second, third = network.layer_names
    mixed: mho.Cost = mho.cost(network, chip, {first: "4/4", second: (4, 8), third: mho.BitWidths(8, 8)})
    schedule: mho.Schedule = mho.schedule(network, "isaac", "4/6", simulate=False)
    comparison = mho.compare(network, [chip, "isaac"], "4/6", simulate=False)
    names: list[str] = [one.accelerator for one in comparison.accelerators]

    def stop_early(progress: mho.SearchProgress) -> bool:
        return progress.done >= 3

    data = mho.dataset((samples, labels), classes=3)
    options = mho.SearchOptions(batch=1)
    result: mho.SearchResult = mho.search(
        network, data, chip, budget=4, method="random", on_progress=stop_early, options=options
    )
    ended: str = result.ended

    trainable: mho.TrainableNetwork = mho.trainable(network, policy, samples)
    quantized: mho.Network = trainable.to_quantized_network()
    program: mho.Program = mho.compile(quantized, chip)
    mho.save(program, folder / "program.mho")
    outputs: mho.Outputs = mho.simulate(program, samples, seed=None)
    shapes: list[str] = [f"{name} {values.shape}" for name, values in outputs.items()]
    latency_ms: float = mho.timing(folder / "program.mho").latency_ms
    problem: str = ""
    try:
        mho.cost(network, chip, {"nothing": "4/4"})
    except mho.MhoError as error:
        problem = error.what
    energy: float | None = cost.energy_uj
    facts = [
        repr(network),
        repr(found),
        repr(schedule),
        slowest,
        ended,
        problem,
        f"{energy} uJ",
        f"{latency_ms:.3f} ms",
    ]
    return [*facts, *names, *shapes, f"{schedule.interval_ms:.3f} ms", f"{found.bound_ms:.3f} ms", repr(mixed)]
