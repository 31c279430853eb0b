"""The processes that train one network together, each on its share of every batch (torch's distributed data parallel).

All draw the same batches; each takes its own samples of them. Gradients and statistics of batch normalizations are
averaged over the processes, so the result is that of one process on the whole batch, up to rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mho.errors import ConfigError
from mho.quantization.modules import MvmModule, share_norms

TIMEOUT = timedelta(minutes=10)
"""After which a process gives up waiting for the others."""


@dataclass(frozen=True)
class ProcessGroup:
    """One process of a training, and how many there are.

    Attributes:
        rank: of this process, 0..count - 1.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes checkpoints and reports progress."""
        return self.rank == 0

    def check(self, batch_size: int, samples: int) -> None:
        """Check that batches of a split of `samples` divide evenly between the processes. Raises `ConfigError`."""
        taken = min(batch_size, samples)
        if taken % self.count:
            raise ConfigError(
                f"batches of {taken} for {self.count} devices",
                where="training",
                expected=f"a multiple of {self.count}, so that all take as many samples",
                hint="change batch_size, or name fewer devices",
            )

    def share(self, batch: Tensor) -> Tensor:
        """Return this process' samples of a batch."""
        return batch if self.count == 1 else batch[self.rank :: self.count]

    def average(self, *numbers: float) -> list[float]:
        """Return the means of numbers over all processes."""
        if self.count == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        if distributed.get_backend() == distributed.Backend.NCCL:
            sums = sums.cuda()
        distributed.all_reduce(sums)
        return [value / self.count for value in sums.tolist()]

    @contextmanager
    def distribute(self, module: nn.Module) -> Iterator[nn.Module]:
        """Yield what runs `module` with gradients and statistics averaged over all processes."""
        if self.count == 1:
            yield module
            return
        # Statistics are the same everywhere already; steps of layers in float have no gradients.
        in_float = [m for m in module.modules() if isinstance(m, MvmModule) and not m.quantized]
        idle = {id(q.log_ratio) for m in in_float for q in (m.input_quantizer, m.weight_quantizer)}
        quiet = [name for name, parameter in module.named_parameters() if id(parameter) in idle]
        quiet += [name for name, _ in module.named_buffers()]
        share_norms(module, True)
        try:
            with warnings.catch_warnings():
                # Of weights of one channel, whose memory formats torch cannot distinguish.
                warnings.filterwarnings("ignore", message="Grad strides do not match")
                DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, quiet)
                yield DistributedDataParallel(module)
        finally:
            share_norms(module, False)


@contextmanager
def join_group(group: ProcessGroup, device: torch.device, rendezvous: Path) -> Iterator[None]:
    """Be one of the processes within the block.

    Args:
        group: which process this is.
        device: this process' own.
        rendezvous: a file that does not exist yet, the same for all processes.

    Raises:
        ConfigError: this process is part of another group already.
    """
    if distributed.is_initialized():
        raise ConfigError(
            "this process is part of a distributed training already",
            where="training",
            hint="do not start mho by torchrun: it starts its processes itself",
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(
        backend, init_method=f"file://{rendezvous}", rank=group.rank, world_size=group.count, timeout=TIMEOUT
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
