"""What torch takes in passing: every tensor is seen when it is made and when it goes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class PeakMemory(TorchFunctionMode):
    """Counts bytes of tensors that are made within it, while they live; arrays of NumPy are not counted.

    Attributes:
        peak: the most at any time; what operations take within themselves is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak, self._live, self._seen = 0, 0, set[int]()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _list_tensors([*args, *(kwargs or {}).values()]):
            self._see(tensor.untyped_storage(), 0)  # what was there before, and views of it, is not counted
        made = function(*args, **(kwargs or {}))
        for tensor in _list_tensors([made]):
            storage = tensor.untyped_storage()
            self._see(storage, 0 if function is torch.from_numpy else storage.nbytes())
        return made

    def _see(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._seen.add(key)
            self._live += size
            self.peak = max(self.peak, self._live)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.remove(key)
        self._live -= size


def _list_tensors(values: list[Any] | tuple[Any, ...]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _list_tensors(value)
