"""One file that holds all that the next epoch depends on: parameters, momenta, the generator, the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.errors import ConfigError, InputFileError
from mho.quantization.optimizers import Optimizers
from mho.quantization.tensor_files import copy_tensors, read_tensors, tensors_of, write_tensors

_MODULE, _OPTIMIZERS, _GENERATOR = "module:", "optimizers:", "generator"


@dataclass(frozen=True)
class SavedProgress:
    """Steps made, and one entry of plain numbers for each finished epoch."""

    steps: int = 0
    history: tuple[Mapping[str, float], ...] = ()

    def advanced(self, steps: int, entry: Mapping[str, float]) -> SavedProgress:
        """Return the progress after one more epoch of `steps` steps."""
        return replace(self, steps=self.steps + steps, history=(*self.history, entry))


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

    def write(self, progress: SavedProgress) -> None:
        """Save the state, atomically."""
        if self._path is None or not self._writes:
            return
        tensors = {_MODULE + name: tensor for name, tensor in tensors_of(self._module).items()}
        tensors |= {_OPTIMIZERS + name: tensor for name, tensor in self._optimizers.state_tensors().items()}
        tensors[_GENERATOR] = self._generator.get_state()
        description = {"identity": self._identity, "steps": progress.steps, "history": list(progress.history)}
        write_tensors(self._path, tensors, description)

    def restore(self) -> SavedProgress:
        """Load the state where the file exists; else nothing has been done.

        Raises:
            ConfigError: the file is of another training.
            InputFileError: torn, or not a checkpoint.
        """
        if self._path is None or not self._path.exists():
            return SavedProgress()
        tensors, description = read_tensors(self._path)
        identity, steps, history = (description.get(key) for key in ("identity", "steps", "history"))
        is_whole = _GENERATOR in tensors and isinstance(history, list) and all(isinstance(one, dict) for one in history)
        if not is_whole or not isinstance(identity, dict) or not isinstance(steps, int) or history is None:
            raise InputFileError("not a checkpoint of a training", where=str(self._path))
        self._check(identity)
        copy_tensors(_with_prefix(_MODULE, tensors), self._module, where=str(self._path))
        try:
            self._optimizers.load_state_tensors(_with_prefix(_OPTIMIZERS, tensors))
            self._generator.set_state(tensors[_GENERATOR])
        except (ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:  # of torch, for damaged states
            raise InputFileError(f"damaged checkpoint: {error}", where=str(self._path), hint="remove it") from error
        return SavedProgress(steps, tuple(history))

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
