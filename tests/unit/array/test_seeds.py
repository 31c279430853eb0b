import numpy as np
import pytest

from mho.array.seeds import CrossbarSeed, Purpose
from mho.errors import ConfigError


def draw(*, chip=1, crossbar=2, purpose=Purpose.FAULTS, number=0):
    return CrossbarSeed(chip, crossbar).stream(purpose, number).random(4)


def test_a_seed_gives_the_same_numbers_every_time():
    assert (draw() == draw()).all()


@pytest.mark.parametrize("other", [{"chip": 2}, {"crossbar": 1}, {"purpose": Purpose.READS}, {"number": 1}])
def test_chips_crossbars_purposes_and_numbers_have_streams_of_their_own(other):
    assert (draw() != draw(**other)).all()


def test_what_a_seed_means_does_not_change():
    """Streams are part of results that people keep: other numbers here are a break that must be announced."""
    np.testing.assert_allclose(draw(), [0.61711718, 0.1995918, 0.25926545, 0.05500592], rtol=1e-7)


@pytest.mark.parametrize("seed", [(-1, 0), (0, -1)])
def test_negative_seeds_are_errors(seed):
    with pytest.raises(ConfigError, match="whole numbers from 0"):
        CrossbarSeed(*seed)
