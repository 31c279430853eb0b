"""Chips of a study asked on a Ray cluster. Its machines need mho, the same version, and nothing of this one's files.

Ray moves tasks and answers between processes by pickle, as any of its users must trust it to.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mho.errors import MhoError, MissingExtraError
from mho.workflow.study_workers import ChipAnswers, ChipExaminer, ChipTask, StudyMaterial

_CONNECT_SECONDS = 5.0


class RayExaminer:
    """Asks chips on a machine of the cluster, with one thread."""

    def __init__(self, material: StudyMaterial, program: bytes) -> None:
        """Keep what all chips have in common.

        Args:
            material: its program file is one of the machine that started the study.
            program: content of that file.
        """
        from mho.models.runtime import use_threads

        use_threads(1)
        with tempfile.TemporaryDirectory(prefix="mho-study-") as folder:  # mapped into memory, it may go
            path = Path(folder) / material.program_file.name
            path.write_bytes(program)
            self._examiner = ChipExaminer(replace(material, program_file=path))

    def ask(self, task: ChipTask) -> ChipAnswers | str:
        """Return the answers of a chip, or why it cannot be asked: errors of mho lose their type on the way."""
        try:
            return self._examiner.ask(task)
        except MhoError as error:
            return str(error)


def ask_chips_on_ray(
    address: str, material: StudyMaterial, tasks: Sequence[ChipTask], processes: int | None = None
) -> Iterator[ChipAnswers]:
    """Yield the answers of all chips, in the order in which they come.

    Args:
        address: of the cluster, as `ray.init` takes it: ``host:port``, ``ray://host:port``, ``auto``, or ``local`` for
            one that is started on this machine and ends with the study.
        material: what chips have in common.
        tasks: all with keys of their own.
        processes: that ask chips, one processor each; None: one a processor of the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        MhoError: there is no such cluster, a process of it died, or a chip cannot be asked.
    """
    ray = import_ray()
    if not tasks:
        return
    _connect(ray, address)
    try:
        count = processes or int(ray.cluster_resources().get("CPU", 1))
        make = ray.remote(num_cpus=1)(RayExaminer).remote
        shared = ray.put(material), ray.put(material.program_file.read_bytes())
        idle = [make(*shared) for _ in range(min(count, len(tasks)))]
        waiting, at_work = iter(tasks), {}
        while True:
            for task in waiting if idle else ():
                examiner = idle.pop()
                at_work[examiner.ask.remote(task)] = examiner, task
                if not idle:
                    break
            if not at_work:
                return
            (done,), _ = ray.wait(list(at_work), num_returns=1)
            examiner, task = at_work.pop(done)
            yield _take(ray, done, task)
            idle.append(examiner)
    finally:
        ray.shutdown()


def _take(ray: Any, done: Any, task: ChipTask) -> ChipAnswers:
    try:
        outcome = ray.get(done)
    except ray.exceptions.RayError as error:
        raise MhoError(
            f"a process of the cluster failed: {str(error).splitlines()[0]}",
            where=task.place,
            hint="what was answered is kept; is mho installed on all machines, in one version, with enough memory?",
        ) from error
    if isinstance(outcome, str):
        raise MhoError(outcome)
    answers: ChipAnswers = outcome
    return answers


def _connect(ray: Any, address: str) -> None:
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, OverflowError, AssertionError) as error:
        raise MhoError(
            f"there is no Ray cluster: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=address,
            expected="host:port, ray://host:port, auto, or local for one on this machine alone",
        ) from error


def import_ray() -> Any:
    """Return the module ray. Raises `MissingExtraError`."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "Ray is not installed", expected="the extra ray", hint="pip install 'mho[ray]', or leave --ray out"
        ) from error
    return ray
