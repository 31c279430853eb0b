"""Comparisons of accelerators as tests ask for them."""

from __future__ import annotations

from accelerators import make_accelerator

from mho.evaluation.chips import ChipEvaluation
from mho.policy import BitWidths, Policy
from mho.workflow.comparison import ComparisonRequest, compare_accelerators

ONE = make_accelerator(
    rows=16, cols=16, energy={"mvm_pj": 3, "cell_write_pj": 7}, endurance={"cell_writes": 10**6}, area={"adc_um2": 4}
)
"""One crossbar, with all that it says of energy, endurance and area."""
ASKING = ("seed", "chips", "elapsed_s", "calibration", "recalibrates")


def ask(network, *accelerators, bits=(4, 4), samples=None, **keys):
    policy = Policy.uniform(network.layer_names, BitWidths(*bits))
    of_chips = {name: keys.pop(name) for name in ASKING if name in keys}
    if samples is not None:
        keys["evaluation"] = ChipEvaluation(samples, **of_chips)
    return compare_accelerators(ComparisonRequest(network, policy, **keys), accelerators, name="mine")


def run_of(network, accelerator, **keys):
    (line,) = ask(network, accelerator, **keys).accelerators
    assert line.problem is None
    return line.run
