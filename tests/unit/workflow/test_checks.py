import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import grid, linear_network

from mho.data.dataset import Split
from mho.mapping.model import MappingModel
from mho.program.container import write_program
from mho.program.lowering import compile_network
from mho.workflow.checks import judge_logits, measure_zero_slices


def test_zero_slices_are_measured_on_images(tmp_path):
    # Six tiles of 3 slices: 6 writes, and 18 MVMs of which the first image needs none and the second all.
    network = linear_network(np.ones((2, 3), np.int64), grid(3))
    write_program(
        compile_network(network, make_accelerator(rows=2, cols=3), model=MappingModel.PAPER), tmp_path / "p.mho"
    )
    images = np.array([[0, 0, 0], [1.75, 1.75, 1.75]], np.float32)
    found = measure_zero_slices(tmp_path / "p.mho", Split(images, np.zeros(2, np.int64), (0.0,), (1.0,)))
    least, most = 6 * 53_000_007, 6 * 53_000_007 + 18 * 1_300_001
    assert found == {
        "images": 2,
        "share": 0.5,
        "latency_ps": (least + most) / 2,
        "min_latency_ps": least,
        "max_latency_ps": most,
    }


def test_logits_are_judged_by_their_largest_element_and_cross_entropy():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    found = judge_logits(logits + 500.0, np.array([0, 1]))
    assert (found["correct"], found["count"], found["accuracy"]) == (1, 2, 0.5)
    assert found["loss"] == pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2, abs=1e-4)
