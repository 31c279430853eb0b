"""How well the statistical model of arrays predicts the accuracy on sampled chips, and what both cost.

    python benchmarks/statistical_model.py --data digits --out digits.jsonl
    python benchmarks/statistical_model.py --data CIFAR10 --network resnet20.onnx --images 100 --policies 2 \\
        --out resnet20.jsonl
    python benchmarks/statistical_model.py --report digits.jsonl resnet20.jsonl
    python benchmarks/statistical_model.py --quick

For each technology, error and mapping, some policies (uniform and random widths) are calibrated, and evaluated twice on
the same test samples: on sampled chips (`ChipEvaluator`), and by the statistical model (`StatisticalEvaluator`), once
with nothing kept ("cold") and once more, as a search meets a policy whose layers it has seen ("warm"). Times are
processor time of one process. "search" is what a search pays a policy: the costs of both, by the share of layers that
are new to it. --out keeps a line for each, and goes on where it was left; --estimate-again FILE reads what sampled
chips gave from a file, and estimates it anew.

Data: "digits" (scikit-learn's; a ResNet-8 is trained on it), "fashion-mnist", or where CIFAR-10 lies, with the float
network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

import mho
from mho.array.conductances import Conditions
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset, Split
from mho.errors import ConfigError
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import ChipEvaluator
from mho.evaluation.statistical import StatisticalEvaluator
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.models import build_model
from mho.network.input_normalization import find_normalization
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import evaluate, train
from mho.quantization.training_options import TrainingOptions

Changes = dict[str, dict[str, Any]]
Key = tuple[str, str, float, str, str]


@dataclass(frozen=True)
class Kind:
    """Hardware: a preset with changes, when its cells are read, and the mappings that are tried."""

    name: str
    preset: str
    changes: Changes
    elapsed_s: float | None = None
    mappings: tuple[MappingModel, ...] = (MappingModel.PAPER, MappingModel.BEST)

    def accelerator(self, scale: float) -> Accelerator:
        """Return the hardware with errors of cells `scale` times as large."""
        content = mho.accelerator(self.preset).to_json()
        content.pop("sources", None)
        for section, values in self.changes.items():
            content.setdefault(section, {}).update(values)
        array = content["array"]
        for key in ERRORS:
            value = array.get(key, 0)
            array[key] = [multiply(one, scale) for one in value] if isinstance(value, list) else multiply(value, scale)
        return accelerator_from_json(content, where=self.name)


ERRORS = ("programming_error", "read_noise", "cell_variation", "stuck_on_rate", "stuck_off_rate")


def multiply(value: float, scale: float) -> float:
    """Return a product with as many decimals as errors have."""
    return round(value * scale, 6)


def errors(part: float, read: float = 0.0, **others: Any) -> Changes:
    """Return changes of errors of cells, as parts of the range."""
    noise = {"read_noise": read, "read_noise_of": "range"}
    return {"array": {"programming_error": part, "programming_error_of": "range", **noise, **others}}


def encoding(one: str, changes: Changes) -> Changes:
    """Return changes with one encoding and no other; the paper's mapping has no offset-digital."""
    return {**changes, "mapping": {"encoding": one.removesuffix("-digital"), "allowed": {"encodings": [one]}}}


def adcs(bits: int, kind: str, changes: Changes, **others: Any) -> Changes:
    """Return changes with calibrated ADCs."""
    return {**changes, "converters": {"adc_bits": bits, "adc_range": kind, **others}}


WIRES = {"lrs_siemens": 1e-5, "row_segment_ohm": 2, "col_segment_ohm": 2, "on_off_ratio": 20}
"""Some per cent of the currents are lost in a crossbar of 64 x 64."""
SMALL = {"crossbar": {"rows": 64, "cols": 64, "cell_bits": 2}}

KINDS = (
    Kind("neurram", "neurram", {}),
    Kind("neurram, half the error", "neurram", errors(0.025, 0.005)),
    Kind("hermes-pcm, an hour", "hermes-pcm", {}, 3600.0),
    Kind("hermes-pcm, a day", "hermes-pcm", {}, 86_400.0),
    Kind("rram-hfo2", "rram-hfo2", {}),
    Kind("rram-hfo2, twice the error", "rram-hfo2", errors(0.04)),
    Kind("offset 0.3 %", "pelke2026-2bit", encoding("offset", errors(0.003))),
    Kind(
        "offset-digital 0.5 %",
        "pelke2026-2bit",
        encoding("offset-digital", errors(0.005)),
        mappings=(MappingModel.BEST,),
    ),
    Kind(
        "offset-digital 2 %", "pelke2026-2bit", encoding("offset-digital", errors(0.02)), mappings=(MappingModel.BEST,)
    ),
    Kind("differential rows 4 %", "pelke2026-2bit", encoding("differential-rows", errors(0.04))),
    Kind("differential columns 6 %", "pelke2026-4bit", encoding("differential-columns", errors(0.06))),
    Kind("differential columns, reads 4 %", "pelke2026-4bit", encoding("differential-columns", errors(0, 0.04))),
    Kind("stuck 0.5 %", "pelke2026-2bit", errors(0.01, stuck_on_rate=0.002, stuck_off_rate=0.003)),
    Kind("variation 20 %", "pelke2026-2bit", errors(0, cell_variation=0.2, on_off_ratio=10)),
    Kind("8-bit ADCs", "pelke2026-2bit", adcs(8, "calibrated-columns", encoding("differential-columns", errors(0.03)))),
    Kind("6-bit ADCs", "pelke2026-2bit", adcs(6, "calibrated-columns", encoding("differential-columns", errors(0.01)))),
    Kind("5-bit ADCs", "pelke2026-2bit", adcs(5, "calibrated-slices", encoding("differential-columns", errors(0.01)))),
    Kind("4-bit ADCs", "pelke2026-2bit", adcs(4, "calibrated-columns", encoding("differential-columns", errors(0.01)))),
    Kind(
        "6-bit ADCs, offset",
        "pelke2026-2bit",
        adcs(6, "calibrated-columns", encoding("offset-digital", errors(0.005))),
        mappings=(MappingModel.BEST,),
    ),
    Kind(
        "6-bit ADCs with errors",
        "pelke2026-2bit",
        adcs(
            6,
            "calibrated-layer",
            encoding("differential-columns", errors(0.02, 0.01)),
            adc_offset_lsb=0.5,
            adc_gain_error=0.02,
        ),
    ),
    Kind("wires", "pelke2026-2bit", {**SMALL, **encoding("differential-columns", errors(0.02, **WIRES))}),
    Kind(
        "wires, 6-bit ADCs",
        "pelke2026-2bit",
        {**SMALL, **adcs(6, "calibrated-columns", encoding("differential-columns", errors(0.02, **WIRES)))},
    ),
)
NAMED = ("digits", "fashion-mnist")
NEW_LAYERS = 0.3
"""Share of a search's layers whose widths no policy before had: 26, 26 and 40 % in three searches."""
LEAST_OF_CHANCE = 1.5
"""A float network that is not right so many times as often as chance would be tells nothing."""
QUICK = ("rram-hfo2, twice the error", "offset-digital 2 %", "6-bit ADCs")


@dataclass(frozen=True)
class Line:
    """One policy on one kind of hardware under one mapping: accuracies, 0..1, and processor times, s."""

    network: str
    kind: str
    scale: float
    mapping: str
    policy: str
    samples: int
    chips: int
    exact: float
    sampled: float
    estimated: float
    sampled_s: float
    cold_s: float
    warm_s: float

    @property
    def key(self) -> Key:
        return self.network, self.kind, self.scale, self.mapping, self.policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", metavar="NAME|PATH")
    parser.add_argument("--network", type=Path, help="the float network; left out: a ResNet-8 is trained")
    parser.add_argument("--images", type=int, default=200, help="test images (200)")
    parser.add_argument("--chips", type=int, default=10, help="sampled chips (10)")
    parser.add_argument("--policies", type=int, default=4, help="of each kind and mapping (4)")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 4.0], help="of all errors of cells (1 4)")
    parser.add_argument("--kinds", nargs="+", help="names of kinds (all)")
    parser.add_argument("--out", type=Path, help="file of lines; those that it has are kept")
    parser.add_argument("--report", type=Path, nargs="+", help="files of lines, to report only")
    parser.add_argument("--quick", action="store_true", help="three kinds, two policies, 100 images, 3 chips")
    parser.add_argument(
        "--estimate-again", type=Path, metavar="FILE", help="sample no chips: take their figures from it"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.report:
        report([line for path in options.report for line in read(path)])
        return
    if options.quick:
        options.images, options.chips, options.policies, options.kinds = 100, 3, 2, QUICK
    try:
        report(list(run(options)))
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> Iterator[Line]:
    done = {line.key: line for line in read(options.out)} if options.out is not None and options.out.exists() else {}
    sampled = None if options.estimate_again is None else {line.key: line for line in read(options.estimate_again)}
    trainable, dataset = prepare(load(options.data), options)
    shown: set[Key] = set()
    name = "resnet8" if options.network is None else options.network.stem
    test = dataset.test.spread(options.images)
    kinds = [one for one in KINDS if options.kinds is None or one.name in options.kinds]
    cases = [(scale, kind, mapping) for scale in options.scales for kind in kinds for mapping in kind.mappings]
    for scale, kind, mapping in cases:
        judges = Judges(kind, scale, mapping, dataset.calibration, options.chips)
        for policy in draw_policies(trainable, options.policies, f"{name} {kind.name} {scale}"):
            key = name, kind.name, scale, str(mapping), describe(policy)
            if key in shown or (sampled is not None and key not in sampled):
                continue
            shown.add(key)
            line = done.get(key)
            if line is None:
                trainable.set_policy(policy)
                line = judges.judge(key, trainable, test, None if sampled is None else sampled[key])
                if options.out is not None:
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(line)) + "\n")
            show(line)
            yield line


def show(line: Line) -> None:
    """Print a line."""
    print(
        f"{line.kind:32} x{line.scale:<4g} {line.mapping:6} {line.policy:24} exact {line.exact:6.1%} "
        f"chips {line.sampled:6.1%} model {line.estimated:6.1%}   "
        f"{line.sampled_s:6.1f} s {line.cold_s:6.2f} s {line.warm_s:6.2f} s",
        flush=True,
    )


class Judges:
    """What evaluates networks on one kind of hardware under one mapping."""

    def __init__(self, kind: Kind, scale: float, mapping: MappingModel, calibration: Split, count: int) -> None:
        hardware = kind.accelerator(scale)
        self._chips = SampledChips(count, hardware, Conditions(kind.elapsed_s))
        self._given: Any = (self._chips, hardware, calibration)
        self._mapping = mapping
        self._sampled = ChipEvaluator(*self._given, mapping=mapping, seed=1)

    def judge(self, key: Key, trainable: TrainableNetwork, test: Split, known: Line | None) -> Line:
        model = StatisticalEvaluator(*self._given, mapping=self._mapping, seed=1)
        start = time.process_time()
        (estimated,) = model.evaluate(trainable, (test,))
        cold = time.process_time()
        model.evaluate(trainable, (test,))
        warm = time.process_time()
        if known is not None:
            exact, sampled, sampled_s = known.exact, known.sampled, known.sampled_s
        else:
            (found,) = self._sampled.evaluate(trainable, (test,))
            sampled, sampled_s = found.accuracy, time.process_time() - warm
            exact = evaluate(trainable, test).accuracy
        return Line(
            *key,
            samples=len(test),
            chips=self._chips.count,
            exact=exact,
            sampled=sampled,
            estimated=estimated.accuracy,
            sampled_s=sampled_s,
            cold_s=cold - start,
            warm_s=warm - cold,
        )


def load(data: str) -> Dataset:
    spec = DataSpec(
        name=data if data in NAMED else "cifar10",
        root=None if data in NAMED else Path(data),
        calibration=400,
        validation=100,
        augmentation="none",
    )
    return load_dataset(spec, np.random.default_rng(1))


def prepare(dataset: Dataset, options: argparse.Namespace) -> tuple[TrainableNetwork, Dataset]:
    """Return the float network with its calibration, and the data as it takes them."""
    if options.network is not None:
        network = mho.load(options.network)
        if find_normalization(network):
            dataset = dataset.unnormalized()
        trainable = TrainableNetwork(network)
    else:
        shape = dataset.train.sample_shape
        model = build_model("resnet8", dataset.classes, shape, torch.Generator().manual_seed(1))
        trainable = TrainableNetwork(read_torch(model, (1, *shape)))
        training = TrainingOptions(steps=300, batch_size=64, learning_rate=0.1, optimizer="sgd")
        train(trainable, dataset.train, training, torch.Generator().manual_seed(1))
        trainable = TrainableNetwork(trainable.to_network())
    found = evaluate(trainable, dataset.test.spread(options.images)).accuracy
    print(f"float network: {found:.1%} of {min(options.images, len(dataset.test))} test samples", flush=True)
    if found < LEAST_OF_CHANCE / dataset.classes:
        raise ConfigError(f"the float network is right in {found:.1%}", expected="data that it was trained on")
    calibrate(trainable, torch.from_numpy(dataset.calibration.inputs(slice(None))))
    return trainable, dataset


def draw_policies(trainable: TrainableNetwork, count: int, words: str) -> list[Policy]:
    """Return policies of uniform and of random widths; the same for all mappings of a kind."""
    layers = list(trainable.mvm_modules)
    draws = np.random.default_rng(list(words.encode()))
    found = []
    for number in range(count):
        low, high = ((3, 5), (4, 7), (2, 5), (5, 8))[number % 4]
        if number % 2 == 0:
            found.append(Policy.uniform(layers, BitWidths(*draws.integers(low, high, 2, endpoint=True).tolist())))
        else:
            widths = draws.integers(low, high, (len(layers), 2), endpoint=True).tolist()
            found.append(Policy({name: BitWidths(*pair) for name, pair in zip(layers, widths, strict=True)}))
    return found


def describe(policy: Policy) -> str:
    """Return the widths of all layers in a few letters."""
    pairs = [f"{policy[name].weight_bits}/{policy[name].act_bits}" for name in policy.layers]
    if len(set(pairs)) == 1:
        return pairs[0]
    return "".join(pair.replace("/", "") for pair in pairs)


def read(path: Path) -> list[Line]:
    """Return the lines of a file; of those that it has twice, the last."""
    lines = (Line(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())
    return list({line.key: line for line in lines}.values())


def report(lines: list[Line]) -> None:
    """Print correlations, errors and times: of each kind, of each network, and of all."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        for name in (f"{line.network}: {line.kind}", f"{line.network}: all", "all"):
            groups.setdefault(name, []).append(line)
    spread = [line for line in lines if 0.15 <= line.sampled <= 0.95]
    groups["all, 15 to 95 % on chips"] = spread
    heads = "n", "on chips", "Pearson", "Spearman", "error", "bias", "worst", "cold", "warm", "search"
    print(f"{'':48} {heads[0]:>4} {heads[1]:>11} {heads[2]:>8} {heads[3]:>8}" + "".join(f" {h:>6}" for h in heads[4:]))
    for name, some in sorted(groups.items(), key=lambda item: (item[0].startswith("all"), item[0])):
        if len(some) < 2:
            continue
        sampled, estimated = (np.array([getattr(line, key) for line in some]) for key in ("sampled", "estimated"))
        varies = sampled.std() > 0 and estimated.std() > 0
        both = [float(one(sampled, estimated)[0]) if varies else float("nan") for one in (pearsonr, spearmanr)]
        total_s = sum(line.sampled_s for line in some)
        cold_s, warm_s = (sum(getattr(line, key) for line in some) for key in ("cold_s", "warm_s"))
        search_s = warm_s + NEW_LAYERS * (cold_s - warm_s)
        off = 100 * (estimated - sampled)
        errors = np.abs(off).mean(), off.mean(), np.abs(off).max()
        times = "".join(f" {total_s / one:5.0f}x" for one in (cold_s, warm_s, search_s))
        reach = f"{100 * sampled.min():.0f}..{100 * sampled.max():.0f} %"
        print(
            f"{name:48} {len(some):4} {reach:>11} {both[0]:8.3f} {both[1]:8.3f} "
            f"{errors[0]:6.2f} {errors[1]:+6.2f} {errors[2]:6.1f}{times}"
        )


if __name__ == "__main__":
    main()
