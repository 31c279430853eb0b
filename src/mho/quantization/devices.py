"""On which devices networks are trained, and in which numbers: the processor, a GPU, or several of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mho.errors import ConfigError
from mho.worker_pool import worker_number

if TYPE_CHECKING:
    from torch import nn

PROCESSOR, GPUS, AUTO = "cpu", "cuda", "auto"
PATTERN = r"^(auto|cuda|(cpu|cuda:\d{1,3})(,(cpu|cuda:\d{1,3}))*)$"
"""What users may specify."""


class Precision(StrEnum):
    """In which numbers the products of layers are computed while training; everything else is float32.

    `BF16` has eight significant bits: operands of up to eight bits keep theirs, sums are rounded.
    """

    FLOAT32 = "float32"
    BF16 = "bf16"


def list_gpus() -> tuple[str, ...]:
    """Return the CUDA GPUs that torch sees, each with its name and memory."""
    import torch

    if not torch.cuda.is_available():
        return ()
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return tuple(f"cuda:{number} {one.name}, {one.total_memory / 2**30:.0f} GiB" for number, one in enumerate(found))


@dataclass(frozen=True)
class Devices:
    """Where trainings run.

    Attributes:
        names: of torch's devices; a training in full uses them all, with one process each.
        precision: of products while training.
    """

    names: tuple[str, ...] = (PROCESSOR,)
    precision: Precision = Precision.FLOAT32

    def to_json(self) -> dict[str, Any]:
        """Return what figures depend on: kinds of devices and precision; nothing for one processor in float32."""
        if self == Devices():
            return {}
        return {"devices": [name.split(":")[0] for name in self.names], "precision": str(self.precision)}

    @property
    def has_gpus(self) -> bool:
        """Whether these are GPUs."""
        return self.names[0] != PROCESSOR

    def own(self) -> Devices:
        """Return the one of this process: worker k of a pool has the k-th, and so on in turns.

        Where a cluster shows a process fewer GPUs than there were, it takes one of those.
        """
        name = self.names[worker_number() % len(self.names)]
        if self.has_gpus:
            import torch

            name = f"{GPUS}:{int(name.split(':')[1]) % max(1, torch.cuda.device_count())}"
        return Devices((name,), self.precision)


def find_devices(wanted: str, precision: Precision | str = Precision.FLOAT32) -> Devices:
    """Return the devices that a user specifies.

    Args:
        wanted: "auto": every GPU, or the processor where there is none; "cuda": every GPU; or names with commas
            between, such as "cuda:0,cuda:2". "cpu,cpu" are two processes on the processor.
        precision: of products while training.

    Raises:
        ConfigError: no such devices here.
    """
    import torch

    if not re.fullmatch(PATTERN, wanted):
        raise ConfigError(f"devices {wanted!r}", expected="auto, cpu, cuda, or names such as cuda:0,cuda:1")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = tuple(f"{GPUS}:{k}" for k in range(count))
    if wanted == AUTO:
        return Devices(gpus or (PROCESSOR,), Precision(precision))
    if wanted == GPUS and not gpus:
        raise ConfigError("no GPU was found", where="devices", expected="a CUDA device that torch sees", hint=_HINT)
    names = gpus if wanted == GPUS else tuple(wanted.split(","))
    if missing := [name for name in names if name != PROCESSOR and name not in gpus]:
        raise ConfigError(
            f"no device {missing[0]}", where="devices", expected=", ".join((PROCESSOR, *gpus)), hint=_HINT
        )
    if len({name.split(":")[0] for name in names}) > 1:
        raise ConfigError(f"devices {wanted!r}", expected="the processor or GPUs, not both: their results differ")
    return Devices(names, Precision(precision))


_HINT = 'use "cpu", or install a torch that was built for the GPU'


@contextmanager
def placed(module: nn.Module, device: str, precision: Precision) -> Iterator[None]:
    """Have `module` on `device` meanwhile, with products of that precision in training; afterwards on the processor."""
    place(module, device, precision)
    try:
        yield
    finally:
        place(module, PROCESSOR, Precision.FLOAT32)


def place(module: nn.Module, device: str, precision: Precision) -> None:
    """Put `module` on `device`, with products of that precision in training."""
    import torch

    from mho.quantization.modules import set_product_type

    module.to(device)
    set_product_type(module, torch.bfloat16 if precision is Precision.BF16 else None)


def device_of(module: nn.Module) -> Any:
    """Return the torch.device of a module's parameters or buffers; the processor where it has none."""
    import torch

    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device(PROCESSOR) if first is None else first.device
