"""Who asks the chips of a study: this process, or several beside it.

Workers only compute; the process that started them keeps what they answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mho.array.calibration import RangeRule
from mho.array.conductances import Conditions
from mho.errors import MhoError
from mho.hardware.spec import Accelerator
from mho.report.comparison_accuracy import LabelledSamples
from mho.worker_pool import Lost, ProcessPool

if TYPE_CHECKING:
    from mho.program.program import Program

ATTEMPTS = 3
"""How often a chip may cost the process that asks it its life before that is an error."""

Inputs = Mapping[str, NDArray[Any]] | NDArray[Any]


@dataclass(frozen=True, eq=False)
class StudyMaterial:
    """What all chips of a study have in common.

    Attributes:
        program_file: what they run.
        samples: what they are asked.
        calibration: inputs on which ranges of calibrated ADCs and corrections are found; None where no point needs any.
        rule: how these follow from sums.
        calibrates_when_reading: whether that happens under the conditions of the point, or at once after the write.
        batch_size: samples at once.
    """

    program_file: Path
    samples: LabelledSamples
    calibration: Inputs | None
    rule: RangeRule
    calibrates_when_reading: bool
    batch_size: int


@dataclass(frozen=True)
class ChipTask:
    """A chip to be asked.

    Attributes:
        key: of its line in the log.
        seed: of the chip.
        hardware, conditions: of its point.
        is_calibrated: ADCs have ranges that come from data.
        is_recalibrated: channels are corrected from data, under the conditions of the point.
        words: its point, for messages.
    """

    key: str
    seed: int
    hardware: Accelerator
    conditions: Conditions
    is_calibrated: bool
    is_recalibrated: bool
    words: str

    @property
    def place(self) -> str:
        """The chip, for messages."""
        return f"chip {self.seed} at {self.words}"


@dataclass(frozen=True)
class ChipAnswers:
    """What a chip answered.

    Attributes:
        key: of the task.
        correct: right answers.
        seconds: that it took.
    """

    key: str
    correct: int
    seconds: float


class ChipExaminer:
    """Asks chips, one after the other."""

    def __init__(self, material: StudyMaterial) -> None:
        """Read the program. Raises `MhoError`."""
        from mho.program.container import read_program

        self._material = material
        self._program: Program = read_program(material.program_file)

    def ask(self, task: ChipTask) -> ChipAnswers:
        """Write the program into a chip and ask it all samples.

        Raises:
            MhoError: the chip cannot run the program, or samples do not suit it; names the point and the seed.
        """
        start = time.perf_counter()
        try:
            correct = self._count_right(task)
        except MhoError as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            raise MhoError(what, where=task.place, expected=error.expected, hint=error.hint) from error
        return ChipAnswers(task.key, correct, time.perf_counter() - start)

    def _count_right(self, task: ChipTask) -> int:
        from mho.simulation.chip_trial import ChipCare, ask_chip

        material, care = self._material, None
        if task.is_calibrated or task.is_recalibrated:
            assert material.calibration is not None, "studies that calibrate anything have calibration inputs"
            care = ChipCare(material.calibration, material.rule, material.calibrates_when_reading, task.is_recalibrated)
        outputs = ask_chip(
            self._program,
            task.seed,
            material.samples.inputs,
            hardware=task.hardware,
            conditions=task.conditions,
            care=care,
            batch_size=material.batch_size,
        )
        return round(material.samples.share_right(outputs) * len(material.samples))


@dataclass(frozen=True, eq=False)
class MakeExaminer:
    """Makes, in a worker, what asks chips; with one thread."""

    material: StudyMaterial

    def __call__(self) -> Callable[[ChipTask], ChipAnswers]:
        """Read the program. Raises `MhoError`."""
        from mho.models.runtime import use_threads

        use_threads(1)
        return ChipExaminer(self.material).ask


def ask_chips(
    material: StudyMaterial, tasks: Sequence[ChipTask], processes: int | None = None
) -> Iterator[ChipAnswers]:
    """Yield the answers of all chips, in the order in which they come.

    Args:
        material: what chips have in common.
        tasks: all with keys of their own.
        processes: None or 1: this one; more: so many beside it, each with one thread. One that dies is replaced.

    Raises:
        MhoError: a chip cannot be asked, or processes die of one.
    """
    if processes is None or processes == 1 or len(tasks) < 2:
        examiner = ChipExaminer(material)
        for task in tasks:
            yield examiner.ask(task)
        return
    with ProcessPool(MakeExaminer(material), processes, attempts=ATTEMPTS) as pool:
        yield from take_answers(pool.answers(tasks), tasks, "is there enough memory for so many processes?")


def take_answers(
    answers: Iterable[tuple[int, ChipAnswers | Lost]], tasks: Sequence[ChipTask], hint: str
) -> Iterator[ChipAnswers]:
    """Yield the answers of workers. Raises `MhoError` for a chip that they die of."""
    for number, answer in answers:
        if isinstance(answer, Lost):
            raise MhoError(
                f"{answer.reason}, {ATTEMPTS} times",
                where=tasks[number].place,
                hint=f"what was answered is kept; {hint}",
            )
        yield answer
