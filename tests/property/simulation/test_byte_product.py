import numpy as np
import pytest
import torch
from examples import RELAXED
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mho.arithmetic.exactness import exact_products
from mho.array.integer_product import has_fast_bytes
from mho.simulation.byte_product import ByteProduct

_sizes = st.integers(1, 9) | st.sampled_from([15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200, 257, 600])


@pytest.mark.skipif(not has_fast_bytes(), reason="no exact and fast products of bytes here")
@settings(max_examples=300, **RELAXED)
@given(_sizes, _sizes, _sizes, st.sampled_from([0, 1, 1 << 20]), st.booleans(), st.integers(0, 2**32 - 1))
@example(1, 4096, 1, 0, True, 0)
@example(1, 25088, 3, 1 << 20, True, 0)
@example(2, 1, 1, 0, True, 0)
def test_every_dense_product_of_bytes_is_exact(samples, inputs, outputs, largest, is_extreme, seed):
    """Beside float64, in which these sums are exact; extreme codes and weights make the largest ones."""
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-128, 128, (outputs, inputs))
    codes = generator.integers(0, 256, (samples, inputs))
    if is_extreme:
        matrix[:], codes[:] = generator.choice([-128, 127], (outputs, 1)), 255
    correction = generator.integers(-largest, largest + 1, outputs)
    product = ByteProduct.find(matrix.astype(np.float32), correction, (0, 255))
    assert product is not None
    with exact_products():
        found = product.run(torch.from_numpy(codes.astype(np.uint8)))
    wanted = codes.astype(np.float64) @ matrix.astype(np.float64).T + correction
    np.testing.assert_array_equal(found.numpy(), wanted)
