"""Which networks mho reads: torchvision, Hugging Face, timm, single layers of torch, ONNX files of packages.

    python benchmarks/networks_read.py                       # all groups; what is not installed is skipped, and said
    python benchmarks/networks_read.py --groups layers hub   # some
    python benchmarks/networks_read.py --only lstm gpt2      # cases whose name holds one of these words
    python benchmarks/networks_read.py --integers            # 8/8 too: the executor gives the bits of the reference

Networks have random weights and few layers; files have the weights that their packages ship. Each network that is read
is computed in float and compared with torch or ONNX Runtime. `pip install torchvision timm transformers` and
`pip install rapidocr-onnxruntime ddddocr magika silero-vad nudenet --no-deps` bring what the groups need.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from networks_read_cases import GROUPS, Case, MissingPackageError

import mho
from mho.network.graph import Network
from mho.network.reference import run_float, run_quantized

_TOLERANCE = 1e-3
"""Of the largest output: float32 rounds in another order elsewhere."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `result` is "read", or why not."""

    result: str
    layers: int = 0
    difference: float = 0.0
    is_read: bool = False
    has_equal_integers: bool = False


def try_case(case: Case, *, integers: bool) -> Outcome:
    """Read a network, compare it with its origin, and with `integers` its program with the reference."""
    torch.manual_seed(0)
    try:
        model, example = case.make()
        network = mho.load(model, example) if example is not None else mho.load(model, **case.options)
    except mho.MhoError as error:
        return Outcome(" ".join(str(error).split())[:160])
    samples = _samples(network, example, case)
    try:
        if network.mvm_nodes and network.is_quantized:
            found = run_quantized(network, samples)
        else:
            found = run_float(network, samples)
        difference = _compare(found, _expected(model, example, samples, network))
        result = "read" if difference <= _TOLERANCE else "read, other numbers"
        is_equal = False
        if integers and network.mvm_nodes:
            is_equal = _has_equal_integers(network, samples)
            result += ", 8/8 equal" if is_equal else ", 8/8 DIFFERS"
    except mho.MhoError as error:
        return Outcome(" ".join(str(error).split())[:160], len(network.mvm_nodes))
    return Outcome(result, len(network.mvm_nodes), difference, difference <= _TOLERANCE, is_equal)


def _samples(network: Network, example: Any, case: Case) -> dict[str, np.ndarray]:
    """Return one sample of each input, [1, *S]: the example that the network was read with."""
    if example is not None:
        tensors = example.values() if isinstance(example, Mapping) else example
        given = dict(example.items()) if isinstance(example, Mapping) else None
        names = [tensor.name for tensor in network.inputs]
        by_name = given or dict(zip(names, tensors, strict=True))
        return {t.name: by_name[t.name].numpy().reshape(1, *t.shape) for t in network.inputs}
    generator = np.random.default_rng(0)
    return {
        t.name: (generator.integers(0, case.most, (1, *t.shape)) if t.dtype != "float32"
                 else generator.normal(0, 1, (1, *t.shape))).astype(t.dtype)
        for t in network.inputs
    }  # fmt: skip


def _expected(model: Any, example: Any, samples: dict[str, np.ndarray], network: Network) -> list[np.ndarray]:
    if example is not None:
        with torch.no_grad():
            given = model.eval()(**example) if isinstance(example, Mapping) else model.eval()(*example)
        return [one.numpy() for one in _flatten(given)]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    types = {
        held.name: {"tensor(double)": "float64", "tensor(float16)": "float16"}.get(held.type)
        for held in session.get_inputs()
    }
    feeds = {name: np.asarray(one[0], types.get(name) or one.dtype) for name, one in samples.items()}
    return list(session.run([tensor.name for tensor in network.outputs], feeds))


def _flatten(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _flatten(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _flatten(one)


def _compare(found: Mapping[str, np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference, of the largest number (at least 1e-3); infinite where outputs do not match."""
    largest = 0.0
    arrays = list(found.values())
    sizes = [one.size for one in arrays]
    expected = [one for one in expected if one.size in sizes][: len(arrays)]
    if len(expected) < len(arrays):
        return float("inf")
    for ours, theirs in zip(arrays, expected, strict=True):
        if ours.size != theirs.size:
            return float("inf")
        scale = max(_TOLERANCE, float(np.abs(theirs.astype(np.float64)).max(initial=0, where=np.isfinite(theirs))))
        apart = np.abs(ours.astype(np.float64).ravel() - theirs.astype(np.float64).ravel())
        largest = max(largest, float(apart.max(initial=0, where=np.isfinite(theirs).ravel())) / scale)
    return largest


def _has_equal_integers(network: Network, samples: dict[str, np.ndarray]) -> bool:
    quantized = network if network.is_quantized else mho.quantize(network, "8/8", samples)
    expected = run_quantized(quantized, samples)
    found = mho.simulate(mho.compile(quantized, "pelke2026-4bit"), samples)
    return all(np.array_equal(found[name], expected[name], equal_nan=True) for name in expected)


def main() -> None:
    """Try the cases of each group and print a line for each, then how many of each group were read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", nargs="+", choices=sorted(GROUPS), default=list(GROUPS))
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD")
    parser.add_argument("--integers", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    totals = []
    for group in arguments.groups:
        read = equal = count = 0
        for case in GROUPS[group]:
            if not any(word in case.name for word in arguments.only):
                continue
            begun = time.perf_counter()
            try:
                outcome = try_case(case, integers=arguments.integers)
            except MissingPackageError as missing:
                print(f"{group}  {case.name}  skipped: {missing}", flush=True)
                continue
            count += 1
            read += outcome.is_read
            equal += outcome.has_equal_integers
            seconds = time.perf_counter() - begun
            figures = f"{outcome.layers} layers  {outcome.difference:.1e}  {seconds:.1f} s"
            print(f"{group}  {case.name}  {outcome.result}  {figures}", flush=True)
        totals.append(f"{group}: {read} of {count}" + (f", {equal} equal at 8/8" if arguments.integers else ""))
    print(*totals, sep="\n")


if __name__ == "__main__":
    main()
