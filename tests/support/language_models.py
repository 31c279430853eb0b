"""A decoder as language models have it, written in torch: what exporters make of one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class _RmsNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, size))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class _Attention(nn.Module):
    """Queries in groups that share keys and values, rotated by their positions; no token sees a later one."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size // heads
        self.q_proj = nn.Linear(size, size, bias=False)
        self.k_proj = nn.Linear(size, size // 2, bias=False)
        self.v_proj = nn.Linear(size, size // 2, bias=False)
        self.o_proj = nn.Linear(size, size, bias=False)

    def _rotate(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[2])[:, None] / 100.0 ** torch.linspace(0, 1, self.size // 2)
        cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat((-second, first), -1) * sin

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            proj(x).unflatten(-1, (-1, self.size)).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        k, v = (part.repeat_interleave(2, dim=1) for part in (self._rotate(k), v))
        mixed = functional.scaled_dot_product_attention(self._rotate(q), k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(_RmsNorm(size) for _ in range(2))
        self.attention = _Attention(size, heads)
        self.gate, self.up = nn.Linear(size, 2 * size, bias=False), nn.Linear(size, 2 * size, bias=False)
        self.down = nn.Linear(2 * size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x))
        y = self.norms[1](x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class TinyDecoder(nn.Module):
    """Token ids [N, T] -> scores of the next token, [N, T, tokens]; the table of embeddings is the last layer's too."""

    def __init__(self, tokens: int = 29, size: int = 16, layers: int = 1, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, size)
        self.blocks = nn.ModuleList(_Block(size, heads) for _ in range(layers))
        self.norm = _RmsNorm(size)
        self.lm_head = nn.Linear(size, tokens, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.norm(x))
