"""Blocks that live at the same time never overlap, and the arena is close to what any arena needs."""

import itertools

import numpy as np
import pytest

from mho.deploy.arena import Lifetime, find_lower_bound, plan_arena


def random_blocks(seed: int, count: int) -> list[Lifetime]:
    """Lifetimes as those of a network: most are short, a few reach far."""
    generator = np.random.default_rng(seed)
    firsts = np.sort(generator.integers(0, count, count))
    lengths = np.where(generator.random(count) < 0.2, generator.integers(4, 12, count), generator.integers(0, 3, count))
    sizes = 8 * generator.integers(1, 200, count)
    return [Lifetime(*map(int, block)) for block in zip(firsts, firsts + lengths, sizes, strict=True)]


@pytest.mark.parametrize("seed", range(10))
def test_blocks_of_one_time_lie_apart_and_close_to_the_bound(seed):
    blocks = random_blocks(seed, 40)
    arena = plan_arena(blocks)
    for (one, at), (other, elsewhere) in itertools.combinations(zip(blocks, arena.offsets, strict=True), 2):
        if one.first <= other.last and other.first <= one.last:
            assert at + one.size <= elsewhere or elsewhere + other.size <= at
    assert arena.size == max(at + block.size for block, at in zip(blocks, arena.offsets, strict=True))
    steps = range(max(block.last for block in blocks) + 1)
    alive = [sum(block.size for block in blocks if block.first <= step <= block.last) for step in steps]
    assert arena.lower_bound == find_lower_bound(blocks) == max(alive)
    assert arena.size <= 1.1 * arena.lower_bound


def test_no_blocks_take_no_memory():
    assert plan_arena([]).size == 0
