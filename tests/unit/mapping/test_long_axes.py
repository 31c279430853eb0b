"""Axes and kernels as long as memory allows: windows within a crossbar are listed without walking over them."""

from hypothesis import given
from hypothesis import strategies as st

from mho.mapping.slicing import ceil_divide
from mho.mapping.windows import Axis, Extent, Stationary


def every_extent(axis: Axis, max_positions: int, max_pixels: int) -> list[Extent]:
    """The extents that are the least for some number of windows, by trying all."""
    found = []
    for kind in Stationary:
        size, unit = (axis.positions, 1) if kind is Stationary.POSITIONS else (axis.pixels, axis.stride)
        if kind is Stationary.PIXELS and axis.kernel == 1:
            continue
        counts = {ceil_divide(size, count): count for count in range(ceil_divide(size, unit) * unit, 0, -unit)}
        found += [Extent(kind, count) for count in sorted(counts.values())]
    return [
        extent
        for extent in found
        if extent.count <= max(max_positions, max_pixels)
        and len(axis.position_offsets(extent)) <= max_positions
        and len(axis.pixel_offsets(extent)) <= max_pixels
    ]


@given(
    axis=st.builds(Axis, st.integers(1, 40), st.integers(1, 11), st.integers(1, 4), st.integers(1, 3)),
    max_positions=st.sampled_from([1, 2, 4, 8, 64]),
    max_pixels=st.sampled_from([1, 3, 9, 16, 64]),
)
def test_no_extent_is_missed(axis, max_positions, max_pixels):
    assert axis.extents(max_positions, max_pixels) == every_extent(axis, max_positions, max_pixels)


def test_axes_and_kernels_beyond_any_crossbar_have_the_extents_of_the_crossbar():
    assert max(extent.count for extent in Axis(1 << 40, 1, 1, 1).extents(64, 64)) == 64
    assert Axis(1 << 20, 1 << 14, 1, 1).extents(64, 64) == []
