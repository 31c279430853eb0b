"""Small networks for chips: a chain, a residual block, an attention head."""

from __future__ import annotations

import torch

from mho.network.graph import Network
from mho.network.torch_reader import read_torch


class _Chain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 3, 3, padding=1)
        self.second = torch.nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


class _Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.pool = torch.nn.MaxPool2d(2)
        self.third = torch.nn.Conv2d(4, 3, 1)
        self.head = torch.nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = self.third(self.pool(x + self.second(x)))
        return self.head(x.mean((2, 3)))


class _Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.head = (torch.nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.softmax(self.queries(x) @ self.keys(x).transpose(-1, -2), -1) @ x)


def make_chain() -> Network:
    """Return two convolutions, 6 x 6 and 4 x 4 positions."""
    return read_torch(_Chain(), (1, 1, 6, 6))


def make_residual() -> Network:
    """Return a residual block with pooling and a head."""
    return read_torch(_Residual(), (1, 2, 8, 8))


def make_attention() -> Network:
    """Return five tokens that attend to each other: two products of activations, each stored for every input."""
    return read_torch(_Attention(), (1, 5, 4))
