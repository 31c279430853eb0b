"""What policies lose over seeds is measured as the run itself makes and tests its networks."""

import re
import sys
from pathlib import Path

import pytest
from tiny_run import write_tiny_run

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

import run_losses

import mho
from mho.workflow.config import load_config
from mho.workflow.run import run


def test_with_its_own_seed_a_run_has_its_own_accuracies_and_another_seed_has_others(tmp_path, capsys):
    file = write_tiny_run(tmp_path)
    file.write_text(file.read_text().replace('name = "pelke2026-4bit"', 'name = "pelke2026-4bit"\ncell_bits = 2'))
    config = load_config(file, directory=tmp_path / "out")
    result = run(config).result
    capsys.readouterr()
    run_losses.run(config, None, [config.run.seed, config.run.seed + 1])
    said = capsys.readouterr().out
    accuracies = {one.name: 100 * one.test.accuracy for one in result.candidates}
    assert f"float: {accuracies['float']:.2f} % of 100 test images" in said
    seeds = {}
    for name, mine in (("8/8", "reference"), ("found", "found")):
        (own, other), mean = (
            tuple(map(float, re.search(rf"{name}: [\d.]+ % \(([\d.]+) ([\d.]+)\)", said).groups())),
            float(re.search(rf"{name}: ([\d.]+) %", said).group(1)),
        )
        assert own == pytest.approx(accuracies[mine])
        assert mean == pytest.approx((own + other) / 2)
        seeds[name] = mean
    lost, low, high = map(float, re.search(r"lost to 8/8 (-?[\d.]+) \((-?[\d.]+) \.\. (-?[\d.]+)\)", said).groups())
    assert lost == pytest.approx(seeds["8/8"] - seeds["found"], abs=0.011)
    assert low <= lost <= high
    best = next(one.speedup for one in result.candidates if one.name == "found")
    assert f"{best:.2f}x over 8/8 in the best mapping" in said
    hardware = mho.accelerator("pelke2026-4bit", cell_bits=2)
    network = mho.load(next(config.directory.rglob("float.onnx")))
    ms = mho.cost(network, hardware, "8/8").latency_ps / 1e9
    assert f"8/8: {ms:.2f} ms, " in said
