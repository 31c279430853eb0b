"""From a causal language model in torch to a network of a block of tokens, whose keys and values are states.

The module is called as decoders of `transformers` are: input_ids, attention_mask, position_ids and past_key_values by
name. Its cache is one of fixed size: new keys and values take their places by position, and a mask keeps each token
from those after it. So a block of tokens is an ordinary network of fixed shapes, and its states are tensors that go in
and come out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mho.errors import UnsupportedOperationError
from mho.network.graph import Network
from mho.network.state import POSITION, SCORES, TOKENS, State
from mho.network.torch_reader import read_torch

_PREFIX = "model."
"""Of what belongs to the module that `_Block` holds."""


def read_decoder(module: nn.Module, context: int, block: int) -> Network:
    """Read a causal language model as the network of `block` tokens with states for `context` tokens.

    Args:
        module: takes input_ids [1, T], attention_mask [1, 1, T, C] (0 or -inf, which is added to scores), position_ids
            [1, T] and past_key_values by name, calls ``past_key_values.update(keys, values, layer)`` in each layer,
            with [1, heads, T, size], and attends to the keys and values that this returns; returns scores [1, T,
            tokens], or a value with these as ``logits``. Decoders of `transformers` do.
        context: C, tokens that the states have room for.
        block: T, tokens of a call; at most `context`.

    Returns:
        A network with the inputs `tokens` [1, T] and `position` [1], of the first of them, and the output `scores`;
        beside them the states.

    Raises:
        UnsupportedOperationError: torch cannot export the module, it does not use the cache, or it holds operations
            that mho does not have.
        InputFileError: parameters that are not finite.
    """
    where = type(module).__name__
    if not isinstance(module, nn.Module):
        raise UnsupportedOperationError(f"a {where} is no module", expected="a causal language model in torch")
    if not 1 <= block <= context:
        raise UnsupportedOperationError(
            f"a block of {block} tokens in a context of {context}", where=where, expected="1 to context tokens"
        )
    with torch.no_grad(), _tabulated_positions(module, context):
        shapes = _find_states(module, context, block)
        form = _Block(module, context, block, len(shapes))
        caches = [torch.zeros(1, heads, context, size) for heads, size in shapes]
        example = (torch.zeros(1, block, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), *caches)
        network = read_torch(form, example)
    return _name_states(replace(network, name=where))


class _FixedCache:
    """The cache as a module sees it: keys and values of all places, new ones put at their positions."""

    is_compileable = True

    def __init__(self, places: Tensor, caches: list[Tensor]) -> None:
        self._places, self._caches = places, caches
        self.made: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put [1, heads, T, size] of a layer at the places; return all of them, [1, heads, C, size]."""
        old = self._caches[2 * layer_idx : 2 * layer_idx + 2]
        self.made[layer_idx] = (self._put(old[0], keys), self._put(old[1], values))
        return self.made[layer_idx]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return that it is empty: positions and mask are given."""
        del layer_idx
        return 0

    def _put(self, old: Tensor, new: Tensor) -> Tensor:
        return old.scatter(2, self._places.reshape(1, 1, -1, 1).expand(new.shape), new)


class _SeenCache(_FixedCache):
    """Finds the sizes of the states: what a module gives the cache."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(0), [])
        self.shapes: dict[int, list[tuple[int, int]]] = {}
        self.context = 0

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Note the sizes; return zeros of the context's size."""
        self.shapes[layer_idx] = [(part.shape[1], part.shape[3]) for part in (keys, values)]
        return tuple(part.new_zeros(1, part.shape[1], self.context, part.shape[3]) for part in (keys, values))  # type: ignore[return-value]


class _Block(nn.Module):
    """The module of one block: tokens, position and caches -> scores and caches."""

    def __init__(self, module: nn.Module, context: int, block: int, states: int) -> None:
        super().__init__()
        self.model, self._context, self._block, self._states = module, context, block, states

    def forward(self, tokens: Tensor, position: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Take [1, T], [1] and caches [1, heads, C, size]; return scores [1, T, tokens] and the new caches."""
        places = position + torch.arange(self._block)
        cache = _FixedCache(places, list(caches))
        scores = _call(self.model, tokens, places, self._context, cache)
        return (scores, *(part for layer in sorted(cache.made) for part in cache.made[layer]))


def _call(module: nn.Module, tokens: Tensor, places: Tensor, context: int, cache: _FixedCache) -> Tensor:
    seen = torch.arange(context)[None] <= places[:, None]
    mask = torch.where(seen, 0.0, float("-inf"))[None, None]
    result = module(input_ids=tokens, attention_mask=mask, position_ids=places[None], past_key_values=cache)
    scores: Tensor = getattr(result, "logits", result)
    return scores


def _find_states(module: nn.Module, context: int, block: int) -> list[tuple[int, int]]:
    """Return heads and size of keys and values of every layer. Raises `UnsupportedOperationError`."""
    cache, where = _SeenCache(), type(module).__name__
    cache.context = context
    was_training = module.training
    module.eval()
    try:
        _call(module, torch.zeros(1, block, dtype=torch.int64), torch.arange(block), context, cache)
    except Exception as error:  # the user's own code
        lines = str(error).strip().splitlines()
        raise UnsupportedOperationError(
            f"it cannot be called as a decoder: {lines[0] if lines else type(error).__name__}", where=where,
            expected="a module that takes input_ids, attention_mask, position_ids and past_key_values by name",
            hint="docs/language-models.md shows one",
        ) from error  # fmt: skip
    finally:
        module.train(was_training)
    if not cache.shapes or sorted(cache.shapes) != list(range(len(cache.shapes))):
        raise UnsupportedOperationError(
            "its layers do not call past_key_values.update(keys, values, layer), layers counted from 0", where=where,
            hint="docs/language-models.md shows a module that does",
        )  # fmt: skip
    return [shape for layer in sorted(cache.shapes) for shape in cache.shapes[layer]]


class _Table(nn.Module):
    """Rotary angles of all positions, looked up instead of computed."""

    def __init__(self, tables: tuple[Tensor, ...]) -> None:
        super().__init__()
        for number, table in enumerate(tables):
            self.register_buffer(f"table_{number}", table)
        self._count = len(tables)

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, ...]:
        """Return the rows of each table, [1, T, size]."""
        tables = (getattr(self, f"table_{number}") for number in range(self._count))
        return tuple(nn.functional.embedding(position_ids, table).to(x.dtype) for table in tables)


@contextlib.contextmanager
def _tabulated_positions(module: nn.Module, context: int) -> Iterator[None]:
    """Let modules that make cosines and sines of positions (`rotary_emb` of `transformers`) look them up."""
    found = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if name == "rotary_emb" and hasattr(child, "inv_freq")
    ]
    try:
        for parent, name, child in found:
            tables = child(torch.zeros(1, 1), torch.arange(context)[None])
            setattr(parent, name, _Table(tuple(table[0] for table in tables)))
        yield
    finally:
        for parent, name, child in found:
            setattr(parent, name, child)


def _name_states(network: Network) -> Network:
    """Return the network with the names of `mho.network.state`, its states, and the module's own names of layers."""
    names = {network.inputs[0].name: TOKENS, network.inputs[1].name: POSITION, network.outputs[0].name: SCORES}
    names |= {name: name.removeprefix(_PREFIX) for name in network.constants}
    states = []
    for number, (before, after) in enumerate(zip(network.inputs[2:], network.outputs[1:], strict=True)):
        name = f"{('keys', 'values')[number % 2]}.{number // 2}"
        names |= {before.name: name, after.name: f"{name}.next"}
        states.append(State(name, name, f"{name}.next"))
    nodes = tuple(
        replace(
            node,
            name=node.name.removeprefix(_PREFIX),
            inputs=tuple(names.get(name, name) for name in node.inputs),
            output=names.get(node.output, node.output),
        )
        for node in network.nodes
    )
    inputs, outputs = (
        tuple(replace(tensor, name=names[tensor.name]) for tensor in tensors)
        for tensors in (network.inputs, network.outputs)
    )
    return replace(
        network,
        inputs=inputs,
        outputs=outputs,
        nodes=nodes,
        constants={names[name]: value for name, value in network.constants.items()},
        shapes={names.get(name, name): shape for name, shape in network.shapes.items()},
        states=tuple(states),
    )
