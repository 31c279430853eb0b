"""Random tiles to be reloaded: layers of equal or different tiles, shared writes, stored operands, digital work."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mho.scheduling.reload_tiles import LaterRead, NetworkTiles, TileGroup
from mho.scheduling.reload_timing import ReloadPlan


@st.composite
def reload_works(draw: Any, *, is_plain: bool = False, most_tiles: int = 6) -> NetworkTiles:
    """Strategy of works; `is_plain`: equal tiles of weights in each layer, no digital work, an ideal link."""
    count, write_ps = draw(st.integers(1, 4)), draw(st.integers(0, 9))
    has_link = not is_plain and draw(st.booleans())
    groups: list[TileGroup] = []
    for layer in range(count):
        is_stored = not is_plain and draw(st.integers(0, 4)) == 0
        for _ in range(1 if is_plain else draw(st.integers(0, 2))):
            transfer_ps = draw(st.integers(1, 12)) if has_link and not is_stored else 0
            groups.append(
                TileGroup(
                    layer,
                    draw(st.integers(1, most_tiles)),
                    draw(st.integers(1, 6)),
                    draw(st.integers(1, 8)),
                    0 if is_plain else draw(st.sampled_from((0, 0, 1, 2))),
                    max(write_ps, transfer_ps),
                    transfer_ps,
                    is_stored,
                )
            )
    extra = tuple(0 if is_plain else draw(st.sampled_from((0, 0, 3))) for _ in range(count))
    names = [f"layer{number}" for number in range(count)]
    if not is_plain and draw(st.booleans()):  # a tile that two layers share at the end
        later = (LaterRead(count + 1, draw(st.integers(1, 9)), draw(st.integers(0, 2))),)
        groups.append(TileGroup(count, 1, 2, 3, 0, write_ps, 0, False, later))
        names, extra = [*names, "first", "second"], (*extra, 0, 1)
    ordered = sorted(groups, key=lambda group: (group.layer, -group.held_ps))
    return NetworkTiles(tuple(names), tuple(ordered), extra, 1)


@st.composite
def reload_plans(draw: Any, work: NetworkTiles) -> ReloadPlan:
    """Strategy of any plan, good or bad."""
    copies = [draw(st.integers(1, min(3, group.most_copies))) for group in work.groups]
    staying = [
        draw(st.integers(0, group.tiles * one)) if group.can_stay else 0
        for group, one in zip(work.groups, copies, strict=True)
    ]
    return ReloadPlan(draw(st.integers(1, 4)), tuple(copies), tuple(staying))
