"""Chips of many crossbars: bounds, published figures and mho's, side by side.

    python benchmarks/multicore.py [--parts cross-layer interconnect precision claims] [--quick]

- cross-layer: the networks of CLSA-CIM (arXiv 2401.07671), convolutions only, on its chip: minimal crossbars and steps
  layer by layer, then the cross-layer schedule with duplication, against bounds.
- interconnect: convolutions of ResNet-18 and MobileNetV2, each spread over 16 to 512 cores on a bus.
- precision: what a mixed-precision policy gains over 8/8 on one crossbar, and on a chip of many.
- claims: two claims that are made of such policies, checked: energy of ternary weights, and time against 16/16.

Times and energies are modelled (latencies and energies of the presets); seconds are those of this machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import multicore_claims
import multicore_cross_layer
import multicore_interconnect
import multicore_precision
from rich.console import Console

PARTS: Mapping[str, Callable[[Console, bool], None]] = {
    "cross-layer": multicore_cross_layer.report,
    "interconnect": multicore_interconnect.report,
    "precision": multicore_precision.report,
    "claims": multicore_claims.report,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer networks, chips and cores: under a minute")
    options = parser.parse_args()
    console = Console(width=170)
    for part in options.parts:
        start = time.process_time()
        PARTS[part](console, options.quick)
        console.print(f"({part}: {time.process_time() - start:.0f} s)\n")


if __name__ == "__main__":
    main()
