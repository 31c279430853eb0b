"""Which accuracy counts: that of exact integers on ideal hardware, and on any other that on its chips.

The one place where runs, searches and Python decide how quantized networks are evaluated. On hardware that is not
ideal, candidates of a search are evaluated many times and finalists few times, all on the same chips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mho.array.conductances import Conditions
from mho.array.nonidealities import chips_differ, list_deviations
from mho.data.dataset import Split
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import ChipEvaluator, NetworkEvaluator
from mho.evaluation.statistical import StatisticalEvaluator, why_unsupported
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel

CHIPS_PER_COMPARISON = 3
"""Chips on which networks are compared: a single one may be an outlier."""
CHIPS_PER_REPORT = 5
"""Chips on which an accuracy is reported where the user gives no number."""


AccuracyOf = Literal["auto", "exact", "statistical", "sampled-chips"]
"""Whose accuracy counts where policies are compared. "auto": that of exact integers where hardware computes these, else
that on chips: for candidates of a search by the statistical model, or on sampled chips where that leaves out something
that the hardware has; "exact": that of exact integers, on any hardware; "statistical": by the model, which must have
all; "sampled-chips": that on sampled chips, for candidates too."""


@dataclass(frozen=True, eq=False)
class Evaluators:
    """How quantized networks are evaluated.

    Attributes:
        candidates: those of a search; None: by their exact integers.
        finalists: those that are trained in full, and uniform 8/8; None: by their exact integers.
        note: why candidates are evaluated on sampled chips although nobody wanted it; mostly empty.
    """

    candidates: NetworkEvaluator | None = None
    finalists: NetworkEvaluator | None = None
    note: str = ""

    @property
    def has_model(self) -> bool:
        """True where candidates are evaluated by another means than finalists, on the same hardware."""
        return self.candidates is not self.finalists


def sample_chips(
    hardware: Accelerator, conditions: Conditions, accelerator: Accelerator, count: int | None = None
) -> SampledChips | None:
    """Return the chips whose accuracy is meant; None where they compute as exact integers do.

    That is where hardware is ideal, and where it has no other errors than those of ADCs that resolve all sums of every
    program for them.

    Args:
        hardware: cells, wires and converters.
        conditions: when and how they are read.
        accelerator: that programs are compiled for.
        count: how many; None: `CHIPS_PER_REPORT`, or one where all chips are alike.
    """
    deviations = set(list_deviations(hardware, conditions))
    if not deviations or (deviations == {"converters.adc_bits"} and hardware.converters == accelerator.converters):
        return None
    return SampledChips(_count(hardware, CHIPS_PER_REPORT) if count is None else count, hardware, conditions)


def choose_evaluators(
    accuracy_of: AccuracyOf,
    chips: SampledChips | None,
    accelerator: Accelerator,
    calibration: Split,
    *,
    mapping: MappingModel,
    seed: int,
) -> Evaluators:
    """Return what evaluates candidates and finalists.

    Args:
        accuracy_of: whose accuracy is meant.
        chips: hardware and conditions; None where there are none, or where they compute as exact integers do.
        accelerator: that networks are compiled for.
        calibration: what ranges of calibrated ADCs follow from.
        mapping: how layers are laid into crossbars.
        seed: that seeds of chips follow from, the same for all networks.

    Raises:
        UnsupportedOperationError: "statistical" is wanted, and the model leaves out something that the chips have.
    """
    if chips is None or accuracy_of == "exact":
        return Evaluators()
    compared = replace(chips, count=_count(chips.hardware, CHIPS_PER_COMPARISON))
    sampled = ChipEvaluator(compared, accelerator, calibration, mapping=mapping, seed=seed)
    if accuracy_of == "sampled-chips":
        return Evaluators(sampled, sampled)
    reason = why_unsupported(chips.hardware)
    if accuracy_of == "auto" and reason:
        return Evaluators(sampled, sampled, f"Candidates are evaluated {sampled.words}: the model has no {reason}.")
    model = StatisticalEvaluator(compared, accelerator, calibration, mapping=mapping, seed=seed)
    return Evaluators(model, sampled)


def _count(hardware: Accelerator, count: int) -> int:
    """Return `count`, or one where all chips of the hardware are alike."""
    return count if chips_differ(hardware.array, hardware.converters) else 1
