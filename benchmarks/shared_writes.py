"""What layers gain that are written into one crossbar together: a small network on small images, one sample, us.

    python benchmarks/shared_writes.py [--accelerator pelke2026-4bit] [--shape 1 8 8] [--widths 8/8 4/4 2/2]

The best mapping with and without shared writes (`mapping.allowed.shared_writes`), for the same widths in all layers.
"""

from __future__ import annotations

import argparse

import mho
from mho.hardware.loading import accelerator_from_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet8")
    parser.add_argument("--accelerator", default="pelke2026-4bit")
    parser.add_argument("--shape", type=int, nargs="+", default=[1, 8, 8], help="of one sample (1 8 8)")
    parser.add_argument("--widths", nargs="+", default=["8/8", "4/4", "2/2"], help="weight/activation")
    options = parser.parse_args()
    network = mho.load(options.network, input_shape=tuple(options.shape))
    shared = mho.accelerator(options.accelerator)
    content = shared.to_json()
    content["mapping"].setdefault("allowed", {})["shared_writes"] = False
    alone = accelerator_from_json(content, where="without shared writes")
    print("| widths | without | with | writes | gain |\n|---|---|---|---|---|")
    for widths in options.widths:
        before, after = (mho.cost(network, hardware, widths) for hardware in (alone, shared))
        writes = f"{before.writes} to {after.writes}" if after.writes < before.writes else str(before.writes)
        gain = before.latency_ps / after.latency_ps
        print(f"| {widths} | {before.latency_ps / 1e6:.1f} | {after.latency_ps / 1e6:.1f} | {writes} | {gain:.2f}x |")


if __name__ == "__main__":
    main()
