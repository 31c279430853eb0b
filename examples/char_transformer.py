"""A character-level language model: a small transformer decoder, on any text file.

mho run examples/char_transformer.toml --data-root TEXT.txt
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CONTEXT = 64
"""Characters that the network sees at a time."""
WIDTH, LAYERS, HEADS = 64, 3, 4
TEST_SHARE = 0.1
"""Of the text, its end."""


def make_data(root):
    """Return (characters, next characters), [N, CONTEXT] each, to train and to test on: pieces of a text in UTF-8.

    A character's number is its place among all characters of the text.
    """
    if root is None:
        raise ValueError("no text; give the path of a text file: --data-root TEXT.txt")
    text = np.frombuffer(Path(root).read_text(encoding="utf-8").encode("utf-32-le"), dtype=np.uint32)
    _, tokens = np.unique(text, return_inverse=True)
    cut = round((1 - TEST_SHARE) * len(tokens))
    return _pieces(tokens[:cut]), _pieces(tokens[cut:])


def _pieces(tokens):
    count = (len(tokens) - 1) // CONTEXT
    return tuple(tokens[shift : shift + count * CONTEXT].reshape(count, CONTEXT) for shift in (0, 1))


def make_network(tokens, input_shape):
    """Return it untrained: embeddings of characters and positions, blocks before whose parts values are normalized."""
    (context,) = input_shape
    return nn.Sequential(
        Embedding(tokens, context),
        *(Block(context) for _ in range(LAYERS)),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, tokens),
    )


class Embedding(nn.Module):
    """The sum of a vector for each character and one for each position."""

    def __init__(self, tokens, context):
        super().__init__()
        self.tokens = nn.Embedding(tokens, WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(context, WIDTH))
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens):
        """Take [N, T] integers; return [N, T, WIDTH]."""
        return self.tokens(tokens) + self.positions


class Block(nn.Module):
    """Causal attention, and two layers for each position."""

    def __init__(self, context):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.register_buffer("mask", torch.full((context, context), -math.inf).triu(1), persistent=False)

    def forward(self, x):
        """Take and return [N, T, WIDTH]."""
        x = x + self._attend(self.norm1(x))
        return x + self.down(functional.relu(self.up(self.norm2(x))))

    def _attend(self, x):
        count, context, _ = x.shape
        query, key, value = (
            part.reshape(count, context, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.query_key_value(x).chunk(3, dim=-1)
        )
        scores = query @ key.transpose(-2, -1) / math.sqrt(WIDTH // HEADS) + self.mask
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(count, context, WIDTH))
