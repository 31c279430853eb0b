"""`mho simulate --skip-zero-slices`."""

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import grid, linear_network

from mho.array_files import write_arrays
from mho.cli.main import main
from mho.mapping.layer_mapping import MappingModel
from mho.program.container import write_program
from mho.program.lowering import compile_network


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A program of one dense layer in six tiles of three slices, and inputs: half zero slices, all, none."""
    monkeypatch.chdir(tmp_path)
    network = linear_network(np.ones((2, 3), np.int64), grid(3))
    write_program(compile_network(network, make_accelerator(rows=2, cols=3), model=MappingModel.PAPER), "p.mho")
    write_arrays("x.npz", {"x": np.array([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0], [1.75, 1.75, 1.75]])})
    return tmp_path


@pytest.mark.parametrize("engine", ["executor", "interpreter"])
def test_skipped_mvms_and_times_are_reported(folder, capsys, engine):
    assert main(["simulate", "p.mho", "--inputs", "x.npz", "--skip-zero-slices", "--engine", engine]) == 0
    out = capsys.readouterr().out
    assert "latency 341.4 us a sample" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["fc", "18", "50.00", "%"] in lines
    assert ["all", "18", "50.00", "%"] in lines
    # Six writes of 53 us, and 9, 0 or 18 MVMs of 1.3 us.
    assert "329.7 us a sample on average, 318.0 us at least, 341.4 us at most (341.4 us without skipping)" in out


def test_nothing_is_counted_unless_it_is_asked_for(folder, capsys):
    assert main(["simulate", "p.mho", "--inputs", "x.npz"]) == 0
    assert "skipp" not in capsys.readouterr().out
