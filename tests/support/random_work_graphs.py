"""Random work graphs, chips to put them on, and what a simulation must hold whatever they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from accelerators import make_accelerator
from hypothesis import strategies as st

from mho.hardware.spec import Accelerator
from mho.scheduling.placement import ChipPlan, place_copies
from mho.scheduling.work_graph import LayerWork, Need, WorkGraph


@st.composite
def work_graphs(draw: Any, *, most_layers: int = 5, has_stored: bool = True) -> WorkGraph:
    """Strategy of graphs in which any window may need any windows of any earlier layers, in no order."""
    layers: list[LayerWork] = []
    for number in range(draw(st.integers(1, most_layers))):
        windows = draw(st.integers(1, 9))
        sources = draw(st.lists(st.sampled_from(layers), unique=True, max_size=3)) if layers else []
        stored = draw(st.sampled_from([None, *layers])) if layers and has_stored else None
        crossbars = draw(st.integers(1, 4))
        row_tiles = draw(st.sampled_from([one for one in (1, 2, 3, 4) if crossbars % one == 0]))
        layers.append(
            LayerWork(
                name=f"layer{number}",
                known_mapping=None,
                crossbars=crossbars,
                row_tiles=row_tiles,
                row_blocks=row_tiles
                * draw(st.sampled_from([n for n in (1, 2, 3, 4) if crossbars % (row_tiles * n) == 0])),
                windows=windows,
                window_ps=draw(st.integers(0, 6)),
                needs=tuple(draw(needs(source, windows)) for source in sources),
                stored_needs=((stored.name, draw(st.integers(1, stored.windows))),) if stored else (),
                write_ps=draw(st.integers(0, 5)) if has_stored else 0,
                stored_bytes=(draw(sizes(stored.windows)),) if stored else (),
                sum_bytes=draw(st.integers(0, 20)),
                tile_sum_bytes=draw(st.integers(0, 10)),
            )
        )
    return WorkGraph("random", tuple(layers))


@st.composite
def needs(draw: Any, source: LayerWork, windows: int) -> Need:
    """Strategy of needs: each window reads from some window of the producer on to another, or nothing."""
    ends = st.one_of(st.none(), st.lists(st.integers(1, source.windows), min_size=2, max_size=2).map(sorted))
    read = draw(st.lists(ends, min_size=windows, max_size=windows))
    firsts = [source.windows + 1 if one is None else one[0] for one in read]
    later = [min(firsts[window + 1 :], default=source.windows + 1) - 1 for window in range(windows)]
    return Need(
        source.name,
        np.array([0 if one is None else one[1] for one in read], np.int64),
        draw(st.sampled_from([None, np.array(later, np.int64)])),
        draw(sizes(source.windows)),
    )


def sizes(windows: int) -> st.SearchStrategy[np.ndarray]:
    """Strategy of the bytes that windows send."""
    listed = st.lists(st.integers(0, 9), min_size=windows, max_size=windows)
    return listed.map(lambda values: np.array(values, np.int64))


@st.composite
def plans(draw: Any, graph: WorkGraph) -> ChipPlan:
    """Strategy of plans: some copies of each layer, on a chip with crossbars to spare or without."""
    copies = {layer.name: draw(st.integers(1, 4)) for layer in graph.layers}
    demand = sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
    per_core = draw(st.integers(1, 5))
    cores = -(-demand // per_core) + draw(st.integers(0, 3))
    chip = make_accelerator(chip={"crossbars": per_core * cores, "cores": cores}).chip
    return place_copies(graph, copies, chip)


@st.composite
def interconnects(draw: Any) -> dict[str, Any]:
    """Strategy of interconnects, as sections of an accelerator."""
    kind = draw(st.sampled_from(["ideal", "bus", "mesh"]))
    if kind == "ideal":
        return {"kind": "ideal"}
    return {
        "kind": kind,
        "bytes_per_cycle": draw(st.integers(1, 8)),
        "cycle_ns": draw(st.sampled_from([0.001, 0.002])),
        "hop_latency_cycles": draw(st.integers(0, 3)),
    }


def make_chip(**changes: Any) -> Accelerator:
    """Return an accelerator with an ideal interconnect and unlimited buffers unless given otherwise."""
    return make_accelerator(**changes)
