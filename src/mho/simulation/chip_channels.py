"""The channels of a simulated chip: what one layer sends to another, and what cores keep of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mho.scheduling.buffer_demand import Share, count_most_kept
from mho.scheduling.work_graph import Integers
from mho.simulation.chip_state import Channel, Lane, LayerState


def add_channel(
    source: LayerState,
    layer: LayerState,
    needed: Integers,
    cores: tuple[int, ...],
    sizes: Integers | None,
    forgotten: Integers,
    is_stored: bool,
) -> Channel:
    """Add a channel to what its producer feeds.

    Args:
        source, layer: producer and consumer.
        needed, forgotten: int64, windows of the producer that each window of the consumer needs, and that it lets go:
            of one input; or of size 1, where they are stored.
        cores, sizes, is_stored: as of `Channel`.
    """
    sizes = np.zeros(source.work.windows, np.int64) if sizes is None else sizes
    before = np.arange(source.total // source.work.windows, dtype=np.int64)[:, None] * source.work.windows
    forgettable = np.append(0, (before + forgotten).reshape(-1)).tolist()
    finished = source.finished
    channel = Channel(source, layer, needed.tolist(), cores, sizes.tolist(), forgettable, finished, finished, is_stored)
    source.outputs.append(channel)
    return channel


def add_lanes(channel: Channel, shares: Mapping[int, Share], first_kept: Integers | None) -> None:
    """Tell a channel what its cores keep.

    Args:
        channel: whose producer's windows are sent.
        shares: of each core of the consumer.
        first_kept: int64 [windows of the producer], the first window that is kept when each takes its room, see
            `find_kept_from`; None where room is not limited.
    """
    groups: dict[Share, list[int]] = {}
    for core, share in shares.items():
        groups.setdefault(share, []).append(core)
    for share, cores in groups.items():
        sizes = share.scale(np.array(channel.sizes, np.int64), channel.consumer.work, is_stored=channel.is_stored)
        least = 0 if first_kept is None else count_most_kept(sizes, first_kept)
        lane = Lane(sizes.tolist(), np.append(0, np.cumsum(sizes)).tolist(), least)
        channel.lanes.append((tuple(cores), lane))
