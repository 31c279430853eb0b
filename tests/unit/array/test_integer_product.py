from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.arithmetic.exactness import exact_products
from mho.array import integer_product
from mho.array.integer_product import IntegerProduct, ProductKernel, has_fast_bytes, split_digits
from mho.errors import DataError

numbers = st.integers(-(1 << 40), 1 << 40)


@contextmanager
def right_bytes():
    """Within it products of bytes are exact: where the processor's are not, and so never used, plain ones stand in."""
    with pytest.MonkeyPatch.context() as patch:
        if not has_fast_bytes():
            patch.setattr(torch, "_int_mm", lambda one, other: (one.long() @ other.long()).int())
        yield


def saturating(one, other):
    """Products of bytes as instructions without VNNI give them: sums of two products end at 16 bits."""
    products = (one.long() + 128).unsqueeze(2) * other.long()
    pairs = products.unflatten(1, (-1, 2)).sum(dim=2).clamp(-(1 << 15), (1 << 15) - 1)
    return (pairs.sum(dim=1) - 128 * other.long().sum(dim=0)).int()


def halving(one, other):
    """Products of bytes as oneDNN gives them without VNNI: it halves one factor to keep sums within 16 bits."""
    return 2 * (one.long() @ (other / 2).round().long()).int()


@pytest.mark.parametrize("product", [saturating, halving])
def test_products_of_bytes_that_are_not_exact_are_not_used(product, monkeypatch):
    """Such as with ONEDNN_MAX_CPU_ISA=AVX512_CORE on a processor with VNNI."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: (one.long() @ other.long()).int())
    assert has_fast_bytes.__wrapped__()
    monkeypatch.setattr(torch, "_int_mm", product)
    assert not has_fast_bytes.__wrapped__()


@given(st.lists(numbers, min_size=1, max_size=6))
def test_digits_are_signed_bytes_that_add_up(values):
    array = np.array([values])
    digits = split_digits(array)
    assert all(digit.dtype == np.int8 for digit in digits)
    assert (sum(digit.astype(np.int64) << 8 * place for place, digit in enumerate(digits)) == array).all()


@pytest.mark.parametrize(("value", "count"), [(0, 1), (127, 1), (-128, 1), (128, 2), (-129, 2), (32639, 2), (32640, 3)])
def test_there_are_no_more_digits_than_needed(value, count):
    assert len(split_digits(np.array([[value]]))) == count


@given(st.data(), st.sampled_from(ProductKernel), st.sampled_from([1, 3, 127, 128, 255, 256, 4095, 1 << 20]))
@settings(deadline=None)
def test_every_kernel_is_exact(data, kernel, largest):
    rows, cols, batch = (data.draw(st.integers(1, 9)) for _ in range(3))
    bits = data.draw(st.integers(1, 28 if kernel not in (ProductKernel.FLOAT32, ProductKernel.PAIRS) else 3))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    if kernel is ProductKernel.FLOAT32:
        largest = min(largest, 1 << 17)
    if kernel is ProductKernel.PAIRS:  # 9 rows of 8 times 28 are below 2^11
        largest = min(largest, 28)
    matrix = generator.integers(-(1 << bits), (1 << bits) + 1, (rows, cols))
    inputs = generator.integers(0, largest + 1, (batch, rows))
    inputs[0], matrix[:, 0] = largest, 1 << bits
    given_type = torch.uint8 if largest <= 255 else torch.int64
    with exact_products(), right_bytes():
        found = IntegerProduct(matrix, largest, kernel).multiply(torch.from_numpy(inputs).to(given_type))
    assert (found.to(torch.int64).numpy() == inputs @ matrix).all()
    by_rows = torch.from_numpy(np.ascontiguousarray(inputs.T)).to(given_type).t()
    with exact_products(), right_bytes():
        turned = IntegerProduct(matrix, largest, kernel).multiply(by_rows)
    assert torch.equal(turned, found)
    assert turned.is_contiguous() == by_rows.is_contiguous() or 1 in turned.shape


@pytest.mark.parametrize(
    ("kernel", "limit"), [(ProductKernel.FLOAT32, 24), (ProductKernel.FLOAT64, 53), (ProductKernel.BYTES, 53)]
)
def test_sums_that_a_kernel_does_not_hold_are_errors(kernel, limit):
    matrix = np.full((4, 1), 1 << (limit - 12))
    with pytest.raises(DataError, match=rf"2\^{limit}"):
        IntegerProduct(matrix, 1 << 10, kernel)
    IntegerProduct(matrix[:3], 1 << 10, kernel)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("columns", [2, 3, 8])
def test_pairs_hold_the_largest_sums_of_both_columns_and_refuse_larger_ones(signs, columns):
    matrix = np.resize(signs, columns) * np.full((2047, 1), 1)
    inputs = torch.ones(2, 2047, dtype=torch.uint8)
    with exact_products():
        found = IntegerProduct(matrix, 1, ProductKernel.PAIRS).multiply(inputs)
    assert (found.numpy() == 2047 * np.resize(signs, columns)).all()
    with pytest.raises(DataError, match=r"2\^11"):
        IntegerProduct(matrix, 2, ProductKernel.PAIRS)


def test_pairs_are_chosen_where_sums_are_small_and_there_are_many(monkeypatch):
    monkeypatch.setattr(integer_product, "has_fast_bytes", lambda: False)
    ones = np.ones((128, 128), dtype=np.int64)
    assert IntegerProduct(ones, 15).kernel is ProductKernel.PAIRS
    assert IntegerProduct(ones, 16).kernel is ProductKernel.FLOAT32
    assert IntegerProduct(ones[:127], 1).kernel is IntegerProduct(ones[:, :127], 1).kernel is ProductKernel.FLOAT32


def test_positive_and_negative_terms_do_not_hide_each_other():
    with pytest.raises(DataError):
        IntegerProduct(np.array([[1 << 52], [-(1 << 52)]]), 2)
