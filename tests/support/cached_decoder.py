"""A tiny decoder as `mho.load_decoder` takes it: called as those of transformers are, with a cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Layer(nn.Module):
    def __init__(self, size: int, heads: int, number: int) -> None:
        super().__init__()
        self.size, self.number = size // heads, number
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.q_proj = nn.Linear(size, size, bias=False)
        self.k_proj = nn.Linear(size, size // 2, bias=False)
        self.v_proj = nn.Linear(size, size // 2, bias=False)
        self.o_proj = nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: Tensor, angles: Tensor, mask: Tensor, cache: Any) -> Tensor:
        y = self.norms[0](x)
        q, k, v = (
            proj(y).unflatten(-1, (-1, self.size)).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        k, v = cache.update(_rotate(k, angles), v, self.number)
        k, v = (part.repeat_interleave(2, dim=1) for part in (k, v))
        mixed = functional.scaled_dot_product_attention(_rotate(q, angles), k, v, attn_mask=mask)
        x = x + self.o_proj(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.silu(self.up(self.norms[1](x))))


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    cos, sin = angles.chunk(2, -1)
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class CachedDecoder(nn.Module):
    """Token ids [1, T] -> scores [1, T, tokens]; the table of embeddings is the last layer's too."""

    def __init__(self, tokens: int = 29, size: int = 16, layers: int = 2, heads: int = 4, places: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, size)
        self.layers = nn.ModuleList(_Layer(size, heads, number) for number in range(layers))
        angles = torch.arange(places)[:, None] / 100.0 ** torch.linspace(0, 1, size // heads // 2)
        self.register_buffer("angles", torch.cat((angles.cos(), angles.sin()), -1))
        self.norm = nn.LayerNorm(size)
        self.lm_head = nn.Linear(size, tokens, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past_key_values: Any) -> Tensor:
        x, angles = self.embed(input_ids), functional.embedding(position_ids, self.angles)[:, None]
        for layer in self.layers:
            x = layer(x, angles, attention_mask, past_key_values)
        return self.lm_head(self.norm(x))
