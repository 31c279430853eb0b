"""How many examples property tests try."""

import os

from hypothesis import HealthCheck

ALL_EXAMPLES = "MHO_ALL_EXAMPLES"
"""Where the environment has it, expensive property tests try all of their examples, as `make test-slow` does."""
SHARE = 0.2

RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
"""Settings of property tests whose examples are drawn and run slowly."""


def examples(count: int, *, share: float = SHARE) -> int:
    """Return how many of `count` examples are tried now: each costs much; `share` of them by `make test`."""
    return count if ALL_EXAMPLES in os.environ else max(1, round(share * count))
