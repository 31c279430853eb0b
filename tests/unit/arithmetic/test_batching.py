"""The boundary between a user's arrays and tensors [N, *S]."""

from __future__ import annotations

import numpy as np
import pytest

from mho.arithmetic.batching import from_samples, to_samples
from mho.errors import DataError


def test_the_leading_one_of_a_sample_may_be_left_out_and_is_left_out_of_results() -> None:
    x = np.arange(24).reshape(4, 2, 3)
    for given in (x, x[:, None]):
        samples = to_samples(given, (1, 2, 3))
        assert samples.shape == (4, 1, 2, 3)
        assert samples.dtype == np.float32
        assert np.array_equal(from_samples(samples, (1, 2, 3)), x)


def test_other_leading_axes_stay() -> None:
    assert from_samples(to_samples(np.zeros((4, 2, 3)), (2, 3)), (2, 3)).shape == (4, 2, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 3, 2)), r"shape \[4, 3, 2\]"),
        (np.zeros((0, 2, 3)), "no samples"),
        (np.full((1, 2, 3), np.nan), "NaN or infinite values"),
        (np.full((1, 2, 3), -np.inf), "NaN or infinite values"),
        (np.full((1, 2, 3), -1e300), r"numbers as large as 1e\+300\n  expected: at most 3\.4e\+38"),
        (np.full((1, 2, 3), 3.4028235677973366e38), r"numbers as large as 3\.4e\+38"),
        (np.array([[[1e39, np.nan, 0]] * 2]), "numbers as large as"),
        (np.full((1, 2, 3), "a"), "type"),
        (np.float32(3), "shape"),
        (np.zeros((2, 3)), r"one sample\? x\[None\]"),
    ],
)
def test_what_does_not_fit_is_named(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        to_samples(array, (1, 2, 3), where="input 'x'")
    assert "input 'x'" in str(caught.value)


def test_channels_last_is_seen_and_the_usual_shape_comes_first() -> None:
    with pytest.raises(DataError, match=r"transpose\(0, 3, 1, 2\)") as caught:
        to_samples(np.zeros((4, 8, 6, 3)), (1, 3, 8, 6))
    assert caught.value.expected.startswith("[N, 3, 8, 6] or")
