"""Cases that hold every pair of levels of any two factors, instead of all combinations of all factors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np


def pairwise_cases(factors: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return cases, level by factor, few of them, in which every pair of levels of two factors occurs.

    Each case is begun with a pair that is missing; the other factors take, one after the other, the level that brings
    most pairs more, in an order that is drawn of a fixed seed.
    """
    draws, missing, cases = np.random.default_rng(0), _pairs(factors), []
    while missing:
        case = dict(min(missing, key=sorted))
        for name in draws.permutation([name for name in factors if name not in case]).tolist():
            gains = [len(missing & _pairs_of({**case, name: level})) for level in factors[name]]
            case[name] = factors[name][int(np.argmax(gains + draws.random(len(gains)) / 2))]
        missing -= _pairs_of(case)
        cases.append({name: case[name] for name in factors})
    return cases


def _pairs(factors: Mapping[str, Sequence[str]]) -> set[frozenset[tuple[str, str]]]:
    return {
        frozenset(((one, first), (other, second)))
        for one, other in itertools.combinations(factors, 2)
        for first, second in itertools.product(factors[one], factors[other])
    }


def _pairs_of(case: Mapping[str, str]) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(pair) for pair in itertools.combinations(case.items(), 2)}
