"""Who asks the chips of a study: this process, or several beside it.

Workers only compute; the process that started them keeps what they answer. A worker ends when its pipe does, so none
outlives a killed study for longer than the chip that it is at.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mho.accelerator.spec import Accelerator
from mho.array.calibration import RangeRule
from mho.array.conductances import Conditions
from mho.errors import MhoError
from mho.report.comparison_accuracy import LabelledSamples

if TYPE_CHECKING:
    from mho.program.program import Program

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


def ask_chips(
    material: StudyMaterial, tasks: Sequence[ChipTask], processes: int | None = None
) -> Iterator[ChipAnswers]:
    """Yield the answers of all chips, in the order in which they come.

    Args:
        material: what chips have in common.
        tasks: all with keys of their own.
        processes: None or 1: this one; more: so many beside it, each with one thread.

    Raises:
        MhoError: a chip cannot be asked, or a process died.
    """
    if processes is None or processes == 1 or len(tasks) < 2:
        examiner = ChipExaminer(material)
        for task in tasks:
            yield examiner.ask(task)
        return
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(min(processes, len(tasks))):
            ours, process = _start_worker(material)
            workers[ours] = process
        yield from _hand_out(workers, tasks)
    finally:
        for ours, process in workers.items():
            ours.close()
            process.terminate()
        for process in workers.values():
            process.join()


def _start_worker(material: StudyMaterial) -> tuple[Connection, BaseProcess]:
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, material), daemon=True)
    process.start()
    theirs.close()  # so that ours ends when the worker does
    return ours, process


def _hand_out(workers: Mapping[Connection, BaseProcess], tasks: Sequence[ChipTask]) -> Iterator[ChipAnswers]:
    waiting, at_work = iter(tasks), dict.fromkeys(workers, "")
    for ours in list(at_work):
        _give_next(ours, waiting, at_work)
    while at_work:
        ready = wait(list(at_work))
        for ours in [one for one in at_work if one in ready]:
            try:
                outcome = ours.recv()
            except (EOFError, OSError) as error:
                process = workers[ours]
                process.join()
                raise MhoError(
                    f"a process ended with code {process.exitcode}",
                    where=at_work[ours],
                    hint="what was answered is kept; is there enough memory for so many processes?",
                ) from error
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
            _give_next(ours, waiting, at_work)


def _give_next(ours: Connection, waiting: Iterator[ChipTask], at_work: dict[Connection, str]) -> None:
    """Give a worker the next chip, or let it rest."""
    task = next(waiting, None)
    if task is None:
        del at_work[ours]
        return
    at_work[ours] = task.place
    try:
        ours.send(task)
    except OSError:  # it died; what it is waited for tells so
        return


def _work(theirs: Connection, material: StudyMaterial) -> None:
    """Ask the chips that come through a pipe, until it ends."""
    from mho.models.runtime import use_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this process ends it
    use_threads(1)
    try:
        examiner: ChipExaminer | None = None
        while True:
            task = theirs.recv()
            try:
                examiner = examiner or ChipExaminer(material)
                theirs.send(examiner.ask(task))
            except MhoError as error:
                theirs.send(MhoError(str(error)))
            except Exception:
                theirs.send(RuntimeError(traceback.format_exc()))
    except (EOFError, OSError):
        return
