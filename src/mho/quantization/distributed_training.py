"""Training on several devices: this process takes the first, and starts one for each of the others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from mho.data.dataset import Split
from mho.errors import MhoError, TrainingError, UnsupportedOperationError
from mho.network.graph import Network
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.compilation import unwrap
from mho.quantization.devices import Devices, placed
from mho.quantization.process_group import ProcessGroup, join_group
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import ProgressCallback, TrainingResult, train
from mho.quantization.training_options import TrainingOptions
from mho.worker_pool import start_process

_STATE, _RENDEZVOUS = "state.safetensors", "rendezvous"


def train_on(
    devices: Devices,
    module: torch.nn.Module,
    split: Split,
    options: TrainingOptions,
    generator: torch.Generator,
    checkpoint: Path | None = None,
    on_progress: ProgressCallback | None = None,
    noise: ArrayNoise | None = None,
    *,
    teacher: Network | None = None,
) -> TrainingResult:
    """Train `module` in place on `devices`; it is on the processor before and after.

    On several devices every batch is divided between them, and the result is that of one device up to rounding.

    Args:
        devices: where. Of several of one processor, each process has its share of this one's threads.
        module: as `mho.quantization.training.train` takes it; a `TrainableNetwork`, not compiled, for several devices.
        split, options, generator, checkpoint, on_progress, noise, teacher: these and errors are those of `train`.

    Raises:
        ConfigError: batches cannot be divided evenly.
        TrainingError: a process of the training ended early.
        UnsupportedOperationError: array noise, or a module that is no `TrainableNetwork`, on other devices than one
            processor.
    """
    original = unwrap(module)
    if noise is not None and devices.names != ("cpu",):
        raise UnsupportedOperationError(
            "training on arrays runs on the processor", where="training", hint='set devices to "cpu"'
        )
    if len(devices.names) == 1:
        with placed(original, devices.names[0], devices.precision):
            return train(module, split, options, generator, checkpoint, on_progress, noise, teacher=teacher)
    if not isinstance(module, TrainableNetwork):
        raise UnsupportedOperationError(
            f"{type(module).__name__} on several devices", where="training", expected="a TrainableNetwork, not compiled"
        )
    group = ProcessGroup(0, len(devices.names))
    group.check(options.batch_size, len(split))
    before = torch.get_num_threads()
    threads = max(1, before // group.count) if devices.names[0] == "cpu" else before
    with tempfile.TemporaryDirectory(prefix="mho-training-") as folder:
        module.save(Path(folder) / _STATE)
        job = _Job(
            devices, module.network, Path(folder), split, options, generator.get_state(), checkpoint, threads, teacher
        )
        torch.set_num_threads(threads)
        try:
            with (
                _start_helpers(job) as helpers,
                placed(module, devices.names[0], devices.precision),
                join_group(group, torch.device(devices.names[0]), job.rendezvous),
            ):
                return _watch(
                    helpers,
                    lambda: train(
                        module, split, options, generator, checkpoint, on_progress, group=group, teacher=teacher
                    ),
                )
        finally:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class _Job:
    """What every process of a training is given."""

    devices: Devices
    network: Network
    folder: Path
    split: Split
    options: TrainingOptions
    generator_state: torch.Tensor
    checkpoint: Path | None
    threads: int
    teacher: Network | None

    @property
    def rendezvous(self) -> Path:
        return self.folder / _RENDEZVOUS


@contextmanager
def _start_helpers(job: _Job) -> Iterator[list[BaseProcess]]:
    """Start a process for every device but the first; they end with this."""
    helpers: list[BaseProcess] = []
    try:
        for rank in range(1, len(job.devices.names)):
            helper, pipe = start_process(_help, f"mho-training-{rank}")
            helpers.append(helper)
            with suppress(OSError):  # one that died at once is found when it does not respond
                pipe.send((job, rank))
        yield helpers
    except BaseException:
        for helper in helpers:
            helper.kill()
        raise
    finally:
        for helper in helpers:
            helper.join()


def _watch(helpers: list[BaseProcess], work: Callable[[], TrainingResult]) -> TrainingResult:
    """Do the work; where it fails because a process ended, say so."""
    try:
        return work()
    except RuntimeError as error:  # of torch, whose peer does not respond
        for helper in helpers:
            helper.join(timeout=1.0)
        if gone := [helper.exitcode for helper in helpers if helper.exitcode]:
            raise TrainingError(
                f"a process of the training ended with code {gone[0]}",
                where="training on several devices",
                hint="its messages are above; the same command resumes from the last checkpoint",
            ) from error
        raise


def _help(pipe: Connection) -> None:
    """Train beside the first process, on one of the other devices; the first one reports what stops all of them."""
    try:
        _train_beside(*pipe.recv())
    except MhoError:
        raise SystemExit(1) from None


def _train_beside(job: _Job, rank: int) -> None:
    torch.set_num_threads(job.threads)
    module = TrainableNetwork(job.network)
    module.load(job.folder / _STATE)
    generator = torch.Generator()
    generator.set_state(job.generator_state)
    device, group = job.devices.names[rank], ProcessGroup(rank, len(job.devices.names))
    with placed(module, device, job.devices.precision), join_group(group, torch.device(device), job.rendezvous):
        train(module, job.split, job.options, generator, job.checkpoint, group=group, teacher=job.teacher)
