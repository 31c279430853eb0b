"""Attention and Einsum: products of activations, with what lies between them."""

from __future__ import annotations

import math

import numpy as np

from mho.network.draft import Unsupported
from mho.network.onnx_composites import composed
from mho.network.onnx_graph import Converter
from mho.network.onnx_steps import Steps

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _attention(steps: Steps) -> str:
    node = steps.node
    if any(node.has_input(index) for index in (4, 5, 6)):
        raise Unsupported("takes keys and values of earlier tokens")
    flat = len(steps.shape(steps.operand(0))) == 3
    heads = [node.integer("q_num_heads", 0), *[node.integer("kv_num_heads", 0)] * 2]
    q, k, v = (_heads(steps, steps.operand(i), heads[i]) if flat else steps.operand(i) for i in range(3))
    batch, count, tokens, size = steps.shape(q)
    keys = steps.shape(k)[2]
    k, v = (_repeat_heads(steps, name, count) for name in (k, v))
    scores = steps("MatMul", q, steps("Transpose", k, perm=(0, 1, 3, 2)))
    scores = steps("Mul", scores, steps.number(node.number("scale", 1 / math.sqrt(size))))
    if cap := node.number("softcap", 0.0):
        bounded = steps("Tanh", steps("Div", scores, steps.number(cap)))
        scores = steps("Mul", bounded, steps.number(cap))
    if mask := steps.operand(3):
        scores = _mask(steps, scores, mask)
    if node.flag("is_causal", 0):
        scores = _mask(steps, scores, steps.constant(np.tri(tokens, keys, dtype=np.bool_)))
    mixed = steps("MatMul", steps("Softmax", scores, axis=-1), v)
    if not flat:
        return mixed
    return steps.reshape(steps("Transpose", mixed, perm=(0, 2, 1, 3)), batch, tokens, -1)


def _heads(steps: Steps, name: str, heads: int) -> str:
    batch, tokens, size = steps.shape(name)
    if heads < 1 or size % heads:
        raise Unsupported(f"has {heads} heads of {size} numbers")
    return steps("Transpose", steps.reshape(name, batch, tokens, heads, size // heads), perm=(0, 2, 1, 3))


def _repeat_heads(steps: Steps, name: str, heads: int) -> str:
    batch, own, tokens, size = steps.shape(name)
    if own == heads:
        return name
    if heads % own:
        raise Unsupported(f"has {heads} heads of queries and {own} of keys")
    apart = steps.reshape(name, batch, own, 1, tokens, size)
    grown = steps("Expand", apart, steps.whole(batch, own, heads // own, tokens, size))
    return steps.reshape(grown, batch, heads, tokens, size)


def _mask(steps: Steps, scores: str, mask: str) -> str:
    if steps.reader.type_of(mask) == "bool":
        return steps("Where", mask, scores, steps.number(-math.inf))
    return steps("Add", scores, mask)


def _einsum(steps: Steps) -> str:
    equation = steps.node.text("equation", "").replace(" ", "")
    names = list(steps.node.inputs)
    terms, result = _read_equation(equation, [len(steps.shape(name)) for name in names])
    sizes: dict[str, int] = {}
    for name, term in zip(names, terms, strict=True):
        for letter, size in zip(term, steps.shape(name), strict=True):
            if sizes.setdefault(letter, size) != size:
                raise Unsupported(f"sums {equation}: {letter} has two sizes")
    name, term = names[0], terms[0]
    for index in range(1, len(names)):
        kept = set(result).union(*terms[index + 1 :])
        name, term = _contract(steps, (name, term), (names[index], terms[index]), kept, sizes)
    name, term = _sum_out(steps, name, term, set(result))
    return _order(steps, name, term, result)


def _read_equation(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, with letters of their own for "..."."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise Unsupported(f"sums {equation} of {len(ranks)} operands")
    spare = [letter for letter in _LETTERS if letter not in equation]
    widths = [
        rank - len(term.replace("...", "")) if "..." in term else 0 for rank, term in zip(ranks, terms, strict=True)
    ]
    most = max(widths)
    if len(set(filter(None, widths))) > 1:
        raise Unsupported(f"sums {equation} with axes of different number for '...'")
    dots = "".join(spare[:most])
    terms = [term.replace("...", dots) for term in terms]
    if not arrow:
        letters = "".join(terms)
        right = dots + "".join(
            sorted(letter for letter in set(letters) if letters.count(letter) == 1 and letter not in dots)
        )
    result = right.replace("...", dots)
    for rank, term in zip(ranks, terms, strict=True):
        if len(term) != rank or len(set(term)) < len(term) or not term.isalpha() * (rank > 0):
            raise Unsupported(f"sums {equation}")
    if not set(result) <= set("".join(terms)) or len(set(result)) < len(result):
        raise Unsupported(f"sums {equation}")
    return terms, result


def _sum_out(steps: Steps, name: str, term: str, kept: set[str]) -> tuple[str, str]:
    """Sum over the letters that nothing else has."""
    axes = tuple(axis for axis, letter in enumerate(term) if letter not in kept)
    if axes:
        name = steps("ReduceSum", name, steps.whole(*axes), keepdims=0)
    return name, "".join(letter for letter in term if letter in kept)


def _order(steps: Steps, name: str, term: str, wanted: str) -> str:
    perm = tuple(term.index(letter) for letter in wanted)
    return name if perm == tuple(range(len(perm))) else steps("Transpose", name, perm=perm)


def _contract(
    steps: Steps, first: tuple[str, str], second: tuple[str, str], kept: set[str], sizes: dict[str, int]
) -> tuple[str, str]:
    """Multiply two operands, and sum over the letters that both have and nothing else needs."""
    (a, left), (b, right) = (
        _sum_out(steps, *one, kept | set(other[1])) for one, other in ((first, second), (second, first))
    )
    if steps.reader.is_fixed(a) and not steps.reader.is_fixed(b):
        (a, left), (b, right) = (b, right), (a, left)
    shared = [letter for letter in left if letter in right]
    batch = "".join(letter for letter in shared if letter in kept)
    summed = "".join(letter for letter in shared if letter not in kept)
    rows, columns = ("".join(letter for letter in term if letter not in shared) for term in (left, right))

    def count(letters: str) -> int:
        return math.prod(sizes[letter] for letter in letters)

    def shape(letters: str) -> tuple[int, ...]:
        return tuple(sizes[letter] for letter in letters)

    if not summed:
        a = steps.reshape(_order(steps, a, left, batch + rows), *shape(batch + rows), *(1,) * len(columns))
        b = steps.reshape(_order(steps, b, right, batch + columns), *shape(batch), *(1,) * len(rows), *shape(columns))
        return steps("Mul", a, b), batch + rows + columns
    leading = (count(batch),) if batch else ()
    a = steps.reshape(_order(steps, a, left, batch + rows + summed), *leading, count(rows), count(summed))
    b = steps.reshape(_order(steps, b, right, batch + summed + columns), *leading, count(summed), count(columns))
    return steps.reshape(steps("MatMul", a, b), *shape(batch + rows + columns)), batch + rows + columns


CONVERTERS: dict[str, Converter] = {"Attention": composed(_attention), "Einsum": composed(_einsum)}
