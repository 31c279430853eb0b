"""`torch.compile` where it works, eager execution where it does not."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from torch import nn


class CompiledModule(nn.Module):
    """Runs `original` compiled, or as it is once compilation turns out to fail.

    Attributes:
        original: the module; parameters and state are its own.
        note: why it does not run compiled; empty while it does.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.original = original
        self.note = ""
        # Kept out of torch's registry: it would list every parameter twice.
        self._compiled = [torch.compile(original, dynamic=False)]

    def forward(self, *inputs: Any) -> Any:
        """Run the module."""
        if self.note:
            return self.original(*inputs)
        try:
            return self._compiled[0](*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            self.note = f"torch.compile failed, running uncompiled: {str(error).splitlines()[0]}"
            return self.original(*inputs)
        except RuntimeError:  # of a kernel, such as a place outside of a table
            self.original(*inputs)  # says in its own words what is wrong with the inputs
            raise


def find_compiler() -> str | None:
    """Return the path of the C++ compiler that `torch.compile` uses: $CXX, or the first of the usual ones, if any."""
    candidates = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for name in candidates if name and (path := shutil.which(name))), None)


def compile_if_possible(module: nn.Module) -> tuple[nn.Module, str]:
    """Return `module` compiled for training, and an empty note; or itself and the reason why not.

    Compiling happens at the first call (half a minute). Changing a policy does not compile anew; changing the batch
    size does. Evaluation uses the original: see `unwrap`.
    """
    if find_compiler() is None:
        return module, "no C++ compiler found, running uncompiled"
    return CompiledModule(module), ""


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module itself where it was compiled, or is shared between processes."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return unwrap(module.module)
    if isinstance(module, CompiledModule):
        return module.original
    original = getattr(module, "_orig_mod", module)  # torch.compile's own wrapper
    return original if isinstance(original, nn.Module) else module
