"""Comparing float32 arrays to the last bit, signs of zeros included."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def assert_same_bits(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> None:
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype == np.float32
        assert left[name].shape == right[name].shape
        np.testing.assert_array_equal(left[name].view(np.int32), right[name].view(np.int32), err_msg=name)
