"""A small study for tests: a dense layer on small crossbars, samples that exact integers answer correctly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from accelerators import make_accelerator
from small_programs import compile_small, grid, linear_network

from mho.program.container import write_program
from mho.program.program import Program
from mho.simulation.executor import Executor

STUDY = """
[study]
name = "small"
seeds = [3, 5]

[program]
file = "dense.mho"

[samples]
file = "samples.npz"

[base]
array.on_off_ratio = 20

[sweeps]
array.programming_error = [0, 0.1, 0.3]
converters.adc_bits = [2, 4, "ideal"]
"""


def make_program() -> Program:
    weights = np.random.default_rng(3).integers(-8, 8, (6, 24))
    return compile_small(linear_network(weights, grid(4), weight_bits=4), make_accelerator(16, 16))


def make_samples(program: Program, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(4).uniform(0, 3.75, (count, 24)).astype(np.float32)
    (outputs,) = Executor(program).run(inputs).values()
    return inputs, outputs.argmax(axis=1)


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write program, samples and the study's file into a folder; return the file."""
    program = make_program()
    inputs, labels = make_samples(program)
    write_program(program, folder / "dense.mho")
    np.savez(folder / "samples.npz", x=inputs, labels=labels)
    np.savez(folder / "calibration.npz", x=inputs[::2])
    (folder / "small.toml").write_text(text, encoding="utf-8")
    return folder / "small.toml"


def tables(**changes: Any) -> dict[str, Any]:
    """Return a study as tables, without program and samples, that tests of points change."""
    return {
        "study": {"name": "small", "seeds": 2, **changes.pop("study", {})},
        "sweeps": {"array.programming_error": [0, 0.1]},
        **changes,
    }
