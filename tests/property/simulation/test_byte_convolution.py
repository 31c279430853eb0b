import numpy as np
import pytest
import torch
from examples import RELAXED
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mho.arithmetic.exactness import exact_products
from mho.errors import ProgramError
from mho.program.geometry import ConvGeometry
from mho.simulation.byte_convolution import ByteConvolution, has_byte_convolutions

_pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
_borders = st.tuples(*[st.integers(0, 2)] * 4) | st.tuples(st.integers(0, 2), st.integers(0, 2)).map(
    lambda pads: pads * 2
)


@st.composite
def geometries(draw):
    groups, channels, outputs = (
        draw(st.sampled_from(sizes)) for sizes in ((1, 1, 2, 3, 8, 16), (1, 2, 3, 5, 17), (1, 2, 3, 4, 17))
    )
    height, width = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    try:
        return ConvGeometry(
            1, groups * channels, height, width, groups * outputs,
            draw(_pairs), draw(_pairs), draw(_borders), draw(_pairs), groups,
        )  # fmt: skip
    except ProgramError:
        assume(False)


@pytest.mark.skipif(not has_byte_convolutions(), reason="no exact and fast products of bytes here")
@settings(max_examples=300, **RELAXED)
@given(geometries(), st.integers(1, 4), st.sampled_from([0, 1, 114, 255]), st.integers(0, 2**32 - 1))
# A window that lies in the border alone; only windows of their rows, with strides; a border wider than the kernel; a
# border of which more is in no window than the input is wide.
@example(ConvGeometry(1, 10, 2, 1, 4, (2, 1), (3, 3), (1, 1, 1, 1), (1, 2), 2), 1, 1, 0)
@example(ConvGeometry(1, 3, 3, 1, 6, (1, 2), (1, 2), (0, 1, 0, 0), (1, 1), 3), 2, 1, 0)
@example(ConvGeometry(1, 8, 8, 3, 32, (3, 3), (1, 3), (1, 1, 1, 1), (2, 1), 8), 1, 1, 0)
@example(ConvGeometry(1, 2, 8, 1, 2, (2, 1), (2, 3), (0, 2, 0, 2), (1, 2), 1), 2, 255, 0)
@example(ConvGeometry(1, 1, 6, 1, 4, (1, 2), (2, 3), (2, 2, 2, 2), (1, 1), 1), 3, 114, 0)
@example(ConvGeometry(1, 1, 1, 1, 1, (1, 1), (1, 3), (0, 2, 0, 0), (1, 1), 1), 1, 0, 0)
def test_every_convolution_of_bytes_is_exact(geometry, samples, zero, seed):
    generator = np.random.default_rng(seed)
    kernels = generator.integers(-128, 128, (geometry.outputs, geometry.channels // geometry.groups, *geometry.kernel))
    codes = torch.from_numpy(
        generator.integers(0, 256, (samples, geometry.channels, geometry.height, geometry.width)).astype(np.uint8)
    )
    with exact_products():
        found = ByteConvolution(kernels, geometry, zero).run(codes.contiguous(memory_format=torch.channels_last))
        top, left, bottom, right = geometry.pads
        padded = functional.pad(codes.double() - zero, (left, right, top, bottom))
        wanted = functional.conv2d(
            padded, torch.from_numpy(kernels).double(), None, geometry.strides, 0, geometry.dilations, geometry.groups
        )
    assert torch.equal(found, wanted.to(torch.float32))
