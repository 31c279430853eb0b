"""One file that holds all that the next epoch depends on: parameters, momenta, the generator, the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.errors import ConfigError, InputFileError
from mho.quantization.optimizers import Optimizers
from mho.quantization.tensor_files import copy_tensors, read_tensors, tensors_of, write_tensors

_MODULE, _OPTIMIZERS, _GENERATOR = "module:", "optimizers:", "generator"


@dataclass(frozen=True)
class EpochResult:
    """Mean training loss of one epoch, on augmented batches, and of classifications the accuracy, 0..1; else None."""

    loss: float
    accuracy: float | None


class Checkpoint:
    """Writes and restores the state of one training.

    Args:
        path: the file, or None to keep nothing.
        module, optimizers, generator: what is saved.
        identity: plain values that a checkpoint must share with the training that resumes from it.
        writes: False for one that only restores, as another process writes.
    """

    def __init__(
        self,
        path: Path | None,
        module: nn.Module,
        optimizers: Optimizers,
        generator: torch.Generator,
        identity: Mapping[str, Any],
        *,
        writes: bool = True,
    ) -> None:
        self._path, self._module, self._optimizers, self._generator = path, module, optimizers, generator
        self._identity, self._writes = dict(identity), writes

    def write(self, steps: int, history: Sequence[EpochResult]) -> None:
        """Save the state after `steps` steps and the epochs of `history`, atomically."""
        if self._path is None or not self._writes:
            return
        tensors = {_MODULE + name: tensor for name, tensor in tensors_of(self._module).items()}
        tensors |= {_OPTIMIZERS + name: tensor for name, tensor in self._optimizers.state_tensors().items()}
        tensors[_GENERATOR] = self._generator.get_state()
        epochs = [asdict(result) for result in history]
        write_tensors(self._path, tensors, {"identity": self._identity, "steps": steps, "history": epochs})

    def restore(self) -> tuple[int, list[EpochResult]]:
        """Load the state where the file exists, and return the steps made and the finished epochs; else 0 and none.

        Raises:
            ConfigError: the file is of another training.
            InputFileError: torn, or not a checkpoint.
        """
        if self._path is None or not self._path.exists():
            return 0, []
        tensors, description = read_tensors(self._path)
        identity, steps, epochs = (description.get(key) for key in ("identity", "steps", "history"))
        if not (isinstance(identity, dict) and isinstance(steps, int) and isinstance(epochs, list)):
            raise InputFileError("not a checkpoint of a training", where=str(self._path))
        self._check(identity)
        copy_tensors(_with_prefix(_MODULE, tensors), self._module, where=str(self._path))
        try:
            self._optimizers.load_state_tensors(_with_prefix(_OPTIMIZERS, tensors))
            self._generator.set_state(tensors[_GENERATOR])
            return steps, [EpochResult(**entry) for entry in epochs]
        except (ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:  # of torch, for damaged states
            raise InputFileError(f"damaged checkpoint: {error}", where=str(self._path), hint="remove it") from error

    def _check(self, identity: Mapping[str, Any]) -> None:
        different = [key for key, value in self._identity.items() if identity.get(key) != value]
        if different:
            raise ConfigError(
                f"the checkpoint is of a training with other {', '.join(different)}",
                where=str(self._path),
                hint="remove it, or use the options it was made with",
            )


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
