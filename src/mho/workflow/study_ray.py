"""Chips of a study asked on a Ray cluster (`mho.ray_pool`). Its machines need nothing of this one's files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mho.ray_pool import RayPool
from mho.workflow.study_workers import (
    ATTEMPTS,
    ChipAnswers,
    ChipTask,
    MakeExaminer,
    StudyMaterial,
    take_answers,
)


@dataclass(frozen=True, eq=False)
class MakeRayExaminer:
    """Makes what asks chips on a machine of the cluster.

    Attributes:
        material: its program file is one of the machine that started the study.
        program: content of that file.
    """

    material: StudyMaterial
    program: bytes

    def __call__(self) -> Callable[[ChipTask], ChipAnswers]:
        """Read the program. Raises `MhoError`."""
        with tempfile.TemporaryDirectory(prefix="mho-study-") as folder:  # mapped into memory, it may go
            path = Path(folder) / self.material.program_file.name
            path.write_bytes(self.program)
            return MakeExaminer(replace(self.material, program_file=path))()


def ask_chips_on_ray(
    address: str, material: StudyMaterial, tasks: Sequence[ChipTask], processes: int | None = None
) -> Iterator[ChipAnswers]:
    """Yield the answers of all chips, in the order in which they come.

    Args:
        address: of the cluster, see `mho.ray_pool.RayPool`.
        material: what chips have in common.
        tasks: all with keys of their own.
        processes: that ask chips, one processor each; None: one a processor of the cluster. One that is lost, with its
            machine or alone, is replaced.

    Raises:
        MissingExtraError: Ray is not installed.
        MhoError: there is no such cluster, it lost all its processors, processes die of a chip, or it cannot be asked.
    """
    if not tasks:
        return
    make = MakeRayExaminer(material, material.program_file.read_bytes())
    with RayPool(address, make, processes, attempts=ATTEMPTS) as pool:
        hint = "is mho installed on all machines, in one version, with enough memory?"
        yield from take_answers(pool.answers(tasks), tasks, hint)
