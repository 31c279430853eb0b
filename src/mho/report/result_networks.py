"""What a result tells of each network beside accuracy and time: its classes, where time and energy go, size, layers.

Losses are natural logarithms (cross entropy).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mho.cost_model.energy import Component
from mho.cost_model.time_components import TimeComponent
from mho.display import Table, Tabular
from mho.formats import plural
from mho.frozen_model import FrozenModel
from mho.report.result_figures import Count


class ClassFigures(FrozenModel):
    """How well the test samples of one class are classified."""

    count: Count
    """Its samples."""
    correct: Count
    """Those classified correctly."""
    loss: float | None
    """Mean cross entropy of its samples; null where there are none."""


class ConfusedClasses(FrozenModel):
    """Two classes of which one is taken for the other; numbers of classes are places in `data.classes`."""

    actual: Count
    """Class of the samples."""
    predicted: Count
    """Class that is predicted instead."""
    count: Annotated[int, Field(ge=1)]
    """How many samples."""


class ClassErrors(FrozenModel, Tabular):
    """How a network errs on test data, class by class."""

    name: str
    """`float`, `reference` or `found`; of the latter two the integer reference, with every sum exact."""
    label: str
    """For people."""
    classes: tuple[ClassFigures, ...]
    """In the order of `data.classes`."""
    confusions: tuple[ConfusedClasses, ...]
    """Classes that are confused, the most frequent first: with `classes`, the confusion matrix. All of up to 32
    classes, else the 1,000 most frequent."""
    other_errors: Count = 0
    """Samples classified incorrectly that `confusions` leaves out."""

    def __repr__(self) -> str:
        return f"ClassErrors({self._summary})"

    @property
    def _summary(self) -> str:
        samples, correct = (sum(getattr(one, key) for one in self.classes) for key in ("count", "correct"))
        return f"{self.label}: {correct:,} of {samples:,} samples of {len(self.classes):,} classes correct"

    def matrix(self) -> list[list[int]]:
        """Return the confusion matrix: samples by class (rows) and predicted class (columns), as far as listed."""
        matrix = [[0] * len(self.classes) for _ in self.classes]
        for number, one in enumerate(self.classes):
            matrix[number][number] = one.correct
        for confused in self.confusions:
            matrix[confused.actual][confused.predicted] = confused.count
        return matrix

    def table(self) -> Table:
        """Return one row a class, by its place in `data.classes`; accuracy in 0..1."""
        return Table(
            self._summary,
            ("class", "samples", "correct", "accuracy", "loss"),
            tuple(
                (number, one.count, one.correct, one.correct / one.count if one.count else None, one.loss)
                for number, one in enumerate(self.classes)
            ),
        )


class CostSplit(FrozenModel):
    """Where time and energy of one inference go, on the machine that the program is for."""

    name: str
    """`reference` or `found`."""
    label: str
    """For people."""
    time_us: dict[TimeComponent, float]
    """Time by component, us; all of it. What the accelerator does not charge for takes none. Empty on several
    crossbars, where writes, reads and layers overlap."""
    energy_pj: dict[Component, float] | None = None
    """Energy of each component that does something and is specified, pJ; null where the accelerator specifies none."""
    total_energy_pj: float | None = None
    """Their sum, pJ."""
    energy_untold: tuple[Component, ...] = ()
    """Components that do something and have no unit energy in the accelerator."""


class DeployedSize(FrozenModel):
    """How large a network is where it is deployed."""

    name: str
    """`float`, `reference` or `found`."""
    label: str
    """For people."""
    weights: Count
    """Weights of MVM layers."""
    weight_bits: Count
    """Bits that they take together."""
    network_bytes: Count
    """Size of the network's ONNX file."""
    program_bytes: Count | None = None
    """Size of the program file, cells included; null for the float network, which has none."""
    flash_bytes: Count | None = None
    """What `mho deploy` puts into flash for the program, cells included; null for the float network, for programs of
    more than 64 MiB, and where an operation has no form in C."""
    ram_bytes: Count | None = None
    """What all its buffers take in RAM there; null where flash_bytes is."""
    tiles: Count | None = None
    """Tiles under this run's mapping: those that one crossbar is written with for an inference, or those of all copies
    on several; null for the float network."""
    cells: Count | None = None
    """All cells of these crossbars; null for the float network."""
    digit_cells: Count | None = None
    """Those that hold digits of weights; null for the float network."""


_LEAST_COST = 1e-6
"""Share of the cost that counts as none."""


class MeasuredStep(FrozenModel):
    """What other bits of one operand of one layer do to the network as it was trained, without training it again."""

    bits: int
    """Instead of those it has."""
    loss: float
    """Loss then less the loss now: positive where the network gets worse."""
    cost: float | None = None
    """Change of what the search makes least, as a share of the found policy's: 0.02 is 2 % more. Null: unknown."""


class OperandSensitivity(FrozenModel):
    """How one operand of one layer affects the loss of the found policy's network."""

    layer: str
    """Layer name."""
    operand: str
    """`weight` or `activation`."""
    bits: int
    """Under the found policy."""
    less: MeasuredStep | None
    """With one bit less; null where there are none."""
    more: MeasuredStep | None
    """With one bit more; null where there are none."""


class Sensitivities(FrozenModel, Tabular):
    """Measured changes of loss where one operand of one layer gets a bit less or more, all else as it is."""

    samples: Annotated[int, Field(ge=1)]
    """Samples of the calibration split on which they were measured, spread over it."""
    loss: float
    """Mean cross entropy of the found policy's network on them."""
    operands: tuple[OperandSensitivity, ...]
    """Weights and activations of every MVM layer, in execution order."""

    def best_raises(self, most: int) -> tuple[OperandSensitivity, ...]:
        """Return the operands of which one bit more wins loss, those that win most for their cost first.

        Those that cost nothing come first of all; unknown costs are left out.
        """
        worths = [
            (-one.more.loss / max(one.more.cost, _LEAST_COST), one)
            for one in self.operands
            if one.more is not None and one.more.loss < 0 and one.more.cost is not None
        ]
        return tuple(one for _, one in sorted(worths, key=lambda pair: -pair[0])[:most])

    def __repr__(self) -> str:
        return f"Sensitivities({self._summary})"

    @property
    def _summary(self) -> str:
        return f"{plural(len(self.operands), 'operand')} of layers, loss {self.loss:.4f} on {self.samples:,} samples"

    def table(self) -> Table:
        """Return one row an operand of a layer: its bits, and what one less and one more changes, loss and cost."""
        return Table(
            self._summary,
            (
                "layer",
                "operand",
                "bits",
                "loss_with_a_bit_less",
                "loss_with_a_bit_more",
                "cost_with_a_bit_less",
                "cost_with_a_bit_more",
            ),
            tuple(
                (
                    one.layer,
                    one.operand,
                    one.bits,
                    *(None if step is None else step.loss for step in (one.less, one.more)),
                    *(None if step is None else step.cost for step in (one.less, one.more)),
                )
                for one in self.operands
            ),
        )
