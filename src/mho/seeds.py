"""Seeds for the purposes of a run, all from the one seed that a user gives."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str) -> int:
    """Return a seed, 0..2^63 - 1, for one purpose of a run with `seed`; independent of those for other purposes."""
    digest = hashlib.sha256(repr((seed, purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
