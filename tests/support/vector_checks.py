"""Test vectors, computed anew from cells and drives as a core would."""

from __future__ import annotations

import numpy as np

from mho.deploy.vectors import LayerVectors


def values(vectors: LayerVectors) -> dict[str, np.ndarray]:
    return {name: one.values for name, one in vectors.arrays.items()}


def check_reads(vectors: LayerVectors) -> None:
    """Compute each read anew from cells and drives, as a core would."""
    v = values(vectors)
    for number in range(len(v["drives"])):
        write, _, shift, _ = v["reads"][number]
        np.testing.assert_array_equal(v["drives"][number] @ v["cells"][write], v["counts"][number])
        added = v["weights"][number] * v["codes"][number] << shift
        for address in set(v["addresses"][number]) - {-1}:
            mine = v["addresses"][number] == address
            gained = v["sums"][number][mine] - v["starts"][number][mine]
            np.testing.assert_array_equal(gained, added[mine].sum())
