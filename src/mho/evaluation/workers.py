"""Many sampled chips, each evaluated by this process, by several beside it, or on the machines of a Ray cluster.

Workers only compute; the process that started them keeps the results.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mho.array.conductances import Conditions
from mho.errors import MhoError
from mho.evaluation.chip import ChipPreparation, run_prepared_chip
from mho.evaluation.samples import LabelledSamples
from mho.hardware.spec import Accelerator
from mho.program.container import read_program
from mho.program.program import Program
from mho.ray_pool import RayPool
from mho.worker_pool import GivenUp, ProcessPool

ATTEMPTS = 3
"""How many worker processes may die of a chip before that is an error."""


@dataclass(frozen=True, eq=False)
class SharedMaterial:
    """What all chips of an evaluation have in common.

    Attributes:
        program_file: what they run.
        samples: what they classify.
        preparation: how those chips are prepared that need it; None where none does.
        batch_size: samples at once.
    """

    program_file: Path
    samples: LabelledSamples
    preparation: ChipPreparation | None
    batch_size: int


@dataclass(frozen=True)
class ChipTask:
    """A chip to be evaluated.

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
class ChipResult:
    """How a chip did.

    Attributes:
        key: of the task.
        correct: samples classified correctly.
        seconds: that it took.
    """

    key: str
    correct: int
    seconds: float


def evaluate_chip(material: SharedMaterial, program: Program, task: ChipTask) -> ChipResult:
    """Write the program into a chip and run it on all samples.

    Raises:
        MhoError: the chip cannot run the program, or samples do not suit it; names the point and the seed.
    """
    start, preparation = time.perf_counter(), None
    if task.is_calibrated or task.is_recalibrated:
        assert material.preparation is not None, "chips that are calibrated have calibration inputs"
        preparation = replace(material.preparation, recalibrates=task.is_recalibrated)
    try:
        outputs = run_prepared_chip(
            program,
            task.seed,
            material.samples.inputs,
            hardware=task.hardware,
            conditions=task.conditions,
            preparation=preparation,
            batch_size=material.batch_size,
        )
        correct = material.samples.count_correct(outputs)
    except MhoError as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise MhoError(what, where=task.place, expected=error.expected, hint=error.hint) from error
    return ChipResult(task.key, correct, time.perf_counter() - start)


@dataclass(frozen=True, eq=False)
class MakeWork:
    """Makes, in a worker, what evaluates chips with one thread.

    Attributes:
        material: what chips have in common.
        program: content of the program's file, for workers that may not see the file; None: they read it.
    """

    material: SharedMaterial
    program: bytes | None = None

    def __call__(self) -> Callable[[ChipTask], ChipResult]:
        """Read the program. Raises `MhoError`."""
        from mho.models.runtime import use_threads

        use_threads(1)
        if self.program is None:
            program = read_program(self.material.program_file)
        else:
            with tempfile.TemporaryDirectory(prefix="mho-study-") as folder:  # mapped into memory, it may go
                path = Path(folder) / self.material.program_file.name
                path.write_bytes(self.program)
                program = read_program(path)
        return lambda task: evaluate_chip(self.material, program, task)


def evaluate_chips(
    material: SharedMaterial, tasks: Sequence[ChipTask], processes: int | None = None, ray: str | None = None
) -> Iterator[ChipResult]:
    """Yield the results of all chips, in the order in which they come.

    Args:
        material: what chips have in common.
        tasks: all with keys of their own.
        processes: with one thread each; one that dies is replaced. None or 1: this process; on a cluster, None is one a
            processor.
        ray: address of a Ray cluster that evaluates, see `mho.ray_pool.RayPool`; its machines need none of this one's
            files. None: this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        MhoError: a chip cannot be evaluated, processes die of one, or there is no such cluster.
    """
    if ray is None and (processes is None or processes == 1 or len(tasks) < 2):
        program = read_program(material.program_file)
        yield from (evaluate_chip(material, program, task) for task in tasks)
    elif ray is None:
        assert processes is not None, "None is one process"
        with ProcessPool(MakeWork(material), processes, attempts=ATTEMPTS) as pool:
            yield from _take(pool.answers(tasks), tasks, "is there enough memory for so many processes?")
    elif tasks:
        make = MakeWork(material, material.program_file.read_bytes())
        with RayPool(ray, make, processes, attempts=ATTEMPTS) as cluster:
            hint = "is mho installed on all machines, in one version, with enough memory?"
            yield from _take(cluster.answers(tasks), tasks, hint)


def _take(
    answers: Iterable[tuple[int, ChipResult | GivenUp]], tasks: Sequence[ChipTask], hint: str
) -> Iterator[ChipResult]:
    """Yield the results of workers. Raises `MhoError` for a chip that they die of."""
    for number, answer in answers:
        if isinstance(answer, GivenUp):
            raise MhoError(
                f"{answer.reason}, {ATTEMPTS} times",
                where=tasks[number].place,
                hint=f"finished results are kept; {hint}",
            )
        yield answer
