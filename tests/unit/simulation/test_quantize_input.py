import numpy as np
import pytest
import torch

from mho.arithmetic.exactness import exact_products
from mho.errors import DataError
from mho.program.instructions import QuantizeInput
from mho.simulation.quantize_input import make_codes, quantize_to_bytes


def item(scale=0.5, zero_point=0, qmin=-128, qmax=127, *, binary=False):
    return QuantizeInput("x", "codes", 0, scale, zero_point, qmin, qmax, binary, -qmin, ())


@pytest.mark.parametrize(
    "codes",
    [
        item(),
        item(0.3, -7),
        item(1e-6, 100),
        item(0.02, 114, 0, 255),
        item(0.5, 1, -3, 4),
        item(1.0, 0, -1, 1, binary=True),
    ],
    ids=str,
)
def test_bytes_are_the_codes_in_the_order_of_the_source(codes):
    """Ties, numbers beyond all codes and more than a block of them."""
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [
            np.arange(-300, 300) * 0.25,
            generator.standard_normal(99_376) * 40,
            generator.standard_normal(20) * 1e9,
            [np.inf, -np.inf, 3e38, -0.0],
        ]
    ).astype(np.float32)
    source = values.reshape(10, 10, 10, 100)
    wanted = make_codes(codes, source, 10_000).T.reshape(source.shape)
    with exact_products():
        assert np.array_equal(quantize_to_bytes(codes, torch.from_numpy(source)).numpy(), wanted)
        last = torch.from_numpy(source).contiguous(memory_format=torch.channels_last)
        found = quantize_to_bytes(codes, last)
    assert found.stride() == last.stride()
    assert np.array_equal(found.numpy(), wanted)


def test_nan_has_no_byte():
    with exact_products(), pytest.raises(DataError, match="NaN"):
        quantize_to_bytes(item(), torch.tensor([0.0, torch.nan]))
