"""The optimizers of a training: one for weights, one for quantization steps, and their common schedule."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mho.quantization.quantizers import Quantizer
from mho.quantization.training_options import TrainingOptions

MOMENTUM = 0.9
SCALE_BETAS = (0.9, 0.99)


class Optimizers:
    """Steps all parameters of `module` by the options' rules; rates depend on the step's number alone."""

    def __init__(self, module: nn.Module, options: TrainingOptions, total_steps: int) -> None:
        self._options, self._total = options, total_steps
        scales, decayed, plain = _sort_parameters(module)
        groups = [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self._weights = [*decayed, *plain]
        groups = [group for group in groups if group["params"]]
        rate = options.learning_rate
        self._all: list[tuple[torch.optim.Optimizer, float]] = []
        if groups and options.optimizer == "adamw":
            self._all.append((torch.optim.AdamW(groups, lr=rate, foreach=True), rate))
        elif groups:
            nesterov = options.optimizer == "nesterov"
            sgd = torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=nesterov, foreach=True)
            self._all.append((sgd, rate))
        if scales:
            rate = options.scale_learning_rate
            self._all.append((torch.optim.Adam(scales, lr=rate, betas=SCALE_BETAS, eps=1e-12, foreach=True), rate))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer, _ in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self, number: int) -> None:
        """Make step `number` (from 0)."""
        if self._options.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self._weights, self._options.max_gradient_norm, foreach=True)
        share = self.rate_share(number)
        for optimizer, rate in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()

    def rate_share(self, number: int) -> float:
        """Return the share of the highest rate that step `number` has."""
        warmup = min(self._options.warmup_steps, self._total)
        if number < warmup:
            return (number + 1) / (warmup + 1)
        if self._options.schedule == "constant":
            return 1.0
        return 0.5 * (1.0 + math.cos(math.pi * (number - warmup) / max(1, self._total - warmup)))

    def state_tensors(self) -> dict[str, Tensor]:
        """Return momenta and counters by name; they alias the optimizers'."""
        found: dict[str, Tensor] = {}
        for index, (optimizer, _) in enumerate(self._all):
            for parameter, entries in optimizer.state_dict()["state"].items():
                for key, value in entries.items():
                    if isinstance(value, Tensor):
                        found[f"{index}/{parameter}/{key}"] = value
        return found

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state_tensors` gave."""
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._all]
        for name, tensor in tensors.items():
            index, parameter, key = name.split("/")
            states[int(index)].setdefault(int(parameter), {})[key] = tensor
        for (optimizer, _), state in zip(self._all, states, strict=True):
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sort_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Return the quantization steps, the weights that decay, and the rest, all in the module's order."""
    scale_ids = {id(m.log_ratio) for m in module.modules() if isinstance(m, Quantizer)}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    scales = [p for p in trained if id(p) in scale_ids]
    others = [p for p in trained if id(p) not in scale_ids]
    return scales, [p for p in others if p.dim() > 1], [p for p in others if p.dim() <= 1]
