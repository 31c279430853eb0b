"""From the name of a network to a torch module with seeded initial weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from mho.errors import ConfigError, suggest
from mho.input_files import check_memory
from mho.models.own import OWN_NETWORKS
from mho.user_code import load_function, user_errors

TORCHVISION = "torchvision:"
TORCHVISION_SIZES = ((3, 224, 224), 1000)
FACTORY_SIZES = ((3, 32, 32), 10)


def model_names() -> tuple[str, ...]:
    """Return the names of mho's own networks."""
    return tuple(OWN_NETWORKS)


def usual_sizes(name: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of one sample and the classes that a network gets where nothing else is given.

    Unknown names get those of a user's function; `build_model` refuses them.
    """
    if name.startswith(TORCHVISION):
        return TORCHVISION_SIZES
    own = OWN_NETWORKS.get(name)
    return FACTORY_SIZES if own is None else (own.input_shape, own.classes)


def build_model(name: str, classes: int, input_shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    """Build a float network with random weights drawn from `generator`.

    Args:
        name: one of `model_names`, `torchvision:NAME` (architecture only, no weights are fetched), or a function of
            the user's, `package.module:function` or `path/file.py:function`, called as
            ``function(classes, input_shape)``. Naming a function runs the user's code.
        classes: number of outputs; of a detector, classes of objects.
        input_shape: [C, H, W] of one sample (or [features], for a user's function).
        generator: source of the initial weights.

    Raises:
        ConfigError: an unknown name, a function that cannot be had or does not return a module, a shape that does not
            suit the network.
        InputFileError: the user's file is missing.
        MemoryBudgetError: a sample, or the weights of a network of mho's, would take more memory than the budget.
    """
    check_memory(4 * math.prod(input_shape), f"a sample of shape {list(input_shape)}", where=name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        if name.startswith(TORCHVISION):
            if len(input_shape) != 3:
                raise ConfigError(
                    f"an input of shape {list(input_shape)}", where=name, expected="[C, H, W] of one sample",
                    hint="without the batch axis: 3,224,224",
                )  # fmt: skip
            return _build_torchvision(name.removeprefix(TORCHVISION), classes)
        if ":" in name:
            return _build_by_factory(name, classes, input_shape)
        if name not in OWN_NETWORKS:
            raise ConfigError(
                "unknown network",
                where=name,
                expected=f"{', '.join(OWN_NETWORKS)}, torchvision:NAME, package.module:function or "
                "path/file.py:function",
                hint=_hint(name),
            )
        OWN_NETWORKS[name].check_shape(input_shape, where=name)
        with torch.device("meta"):  # takes neither memory for weights nor random numbers
            weights = OWN_NETWORKS[name].make(input_shape[0], classes).parameters()
        check_memory(sum(weight.nbytes for weight in weights), "its weights", where=name)
        return OWN_NETWORKS[name].make(input_shape[0], classes)


def _hint(name: str) -> str:
    """Name what an unknown network may mean: one of torchvision, or the nearest one."""
    from torchvision import models

    if name in models.list_models(module=models):
        return f"did you mean {TORCHVISION + name!r}?"
    return suggest(name, OWN_NETWORKS)


def _build_torchvision(name: str, classes: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ConfigError("torchvision has no such classifier", where=TORCHVISION + name, hint=suggest(name, known))
    options: dict[str, Any] = {"weights": None, "num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    return models.get_model(name, **options)


def _build_by_factory(name: str, classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    function = load_function(name, "classes, input_shape")
    with user_errors(name):
        model = function(classes, input_shape)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"returned {type(model).__name__}", where=name, expected="a torch.nn.Module")
    return model
