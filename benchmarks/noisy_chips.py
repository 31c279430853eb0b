"""What the default flow reaches on chips of four technologies, an hour after their cells were written.

    python benchmarks/noisy_chips.py --runs runs/digits runs/cifar10_resnet20 runs/fashion_mnist runs/spoken_digits
    python benchmarks/noisy_chips.py --runs runs/digits --quick

Each run is the directory of an `mho run`, whose float network is taken: nothing is trained here. On every accelerator
bit widths are searched with the defaults of `mho.search`, by calibration, for one point of loss against uniform 8/8;
what is found is compiled with defaults and simulated on sampled chips. A row gives accuracy on these chips beside that
of exact integers, time and energy of one input on the whole chip (`mho.compare`), and how many inputs its cells last.
With --uniform, uniform 8/8 as the paper maps it stands there instead of what the search finds; with --ignore-errors,
what a flow finds that does not see errors: the fastest mapping, bits searched on exact integers, calibration alone.
With --steps, what was found is trained on arrays, as a run does by default. With --latency-us the most accurate policy
within that latency is searched, under mappings of every bound on errors of --bounds, as
`mho search --cost-budget "80 us" --max-error 0.3` does under one; what would take longer on the whole chip is left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import mho
from mho.array.conductances import Conditions
from mho.array.nonidealities import is_ideal
from mho.data import DataSpec, load_dataset
from mho.data.dataset import Dataset, Split
from mho.errors import ConfigError
from mho.evaluation.machine_arrays import MachineArrays
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import Policy
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import train
from mho.report.schedule_text import format_energy, format_time
from mho.seeds import derive_seed

TECHNOLOGIES = ("neurram", "hermes-pcm", "rram-hfo2", "sram-digital")
EVERY = slice(None)


@dataclass(frozen=True)
class Sizes:
    """How much of everything is used: samples of each split, chips, evaluations of a search, steps of a training."""

    calibration: int
    validation: int
    test: int
    chips: int
    budget: int
    steps: int = 0
    rate: float = 0.01
    ignores_errors: bool = False
    latency_us: float | None = None
    bounds: tuple[str, ...] = ()


QUICK = Sizes(calibration=64, validation=64, test=50, chips=2, budget=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--data-root", nargs="+", default=[], metavar="RUN=PATH", help="where data lies now")
    parser.add_argument("--accelerators", default=",".join(TECHNOLOGIES))
    parser.add_argument("--uniform", action="store_true", help="8/8 as the paper maps it, instead of a search")
    parser.add_argument("--calibration", type=int, default=128, help="samples (128)")
    parser.add_argument("--validation", type=int, default=200, help="samples that a search judges by (200)")
    parser.add_argument("--test", type=int, default=200, help="samples for each chip (200)")
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--budget", type=int, default=12, help="evaluations of a search (12)")
    parser.add_argument("--steps", type=int, default=0, help="of training on arrays, 32 samples each (0: calibration)")
    parser.add_argument("--rate", type=float, default=0.01, help="highest learning rate of the training (0.01)")
    parser.add_argument("--ignore-errors", action="store_true", help="fastest mapping, exact search, no training")
    parser.add_argument("--latency-us", type=float, help="of one input, at most; the most accurate policy within it")
    parser.add_argument("--bounds", nargs="+", default=["0.1", "0.3", "none"], help="on errors of mappings, within it")
    parser.add_argument("--elapsed-s", type=float, default=3600.0, help="since cells were written (3600)")
    parser.add_argument("--quick", action="store_true", help="few samples, two chips, a search of three evaluations")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = Sizes(
        options.calibration,
        options.validation,
        options.test,
        options.chips,
        options.budget,
        0 if options.ignore_errors else options.steps,
        options.rate,
        options.ignore_errors,
        options.latency_us,
        tuple(options.bounds),
    )
    roots = dict(text.split("=", 1) for text in options.data_root)
    print("| network | accelerator | widths | chips, mean (worst) | exact integers | latency | energy | lasts |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    try:
        for run in options.runs:
            subject = Subject.read(run, roots.get(run.name), QUICK if options.quick else sizes)
            for name in options.accelerators.split(","):
                start = time.process_time()
                cells = subject.measure(mho.accelerator(name), options.elapsed_s, uniform=options.uniform)
                print(f"| {run.name} | `{name}` | {' | '.join(cells)} |", flush=True)
                print(f"{run.name}, {name}: {time.process_time() - start:.0f} s of processor time", file=sys.stderr)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


@dataclass(frozen=True)
class Subject:
    """A float network and its data, raw: the network's file normalizes."""

    network: Network
    dataset: Dataset
    sizes: Sizes

    @classmethod
    def read(cls, run: Path, root: str | None, sizes: Sizes) -> Subject:
        """Read a run's float network, and cut its data as the run did."""
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        spec = DataSpec(**{**config["data"], "augmentation": "none", **({} if root is None else {"root": root})})
        data = load_dataset(spec, np.random.default_rng(derive_seed(config["run"]["seed"], "splits")))
        cut = {
            "train": data.train.spread(min(len(data.train), 10_000)),
            "calibration": data.calibration.spread(sizes.calibration),
            "validation": data.validation.spread(sizes.validation),
            "test": data.test.spread(sizes.test),
        }
        raw = {name: dataclasses.replace(split, mean=None, std=None) for name, split in cut.items()}
        network = mho.load(run / "stages" / "float" / "float.onnx")
        return cls(network, dataclasses.replace(data, **raw), sizes)

    def measure(self, hardware: Accelerator, elapsed_s: float, *, uniform: bool) -> list[str]:
        """Return the cells of one row."""
        conditions = Conditions(elapsed_s=elapsed_s)
        mapping = "paper" if uniform and hardware.mapping.allows_paper else "best"
        policy = Policy.uniform(self.network.layer_names, mho.BitWidths(8, 8))
        if self.sizes.ignores_errors:
            hardware = hardware.with_max_error("none")
        if self.sizes.latency_us is not None:
            policy, hardware = self.search_within(self.sizes.latency_us, hardware, conditions)
        elif not uniform:
            policy = self.search(hardware, conditions)
        quantized = self.quantize(policy, hardware, conditions, mapping)
        exact, chips = self.simulate(quantized, hardware, conditions, mapping)
        run = mho.compare(quantized, [hardware], mapping=mapping).accelerators[0].run
        assert run is not None, "what compiles runs"
        widths = [
            np.mean([getattr(bits, kind) for bits in policy.layers.values()]) for kind in ("weight_bits", "act_bits")
        ]
        energy = "unspecified" if run.energy_pj is None else format_energy(run.energy_pj)
        endures = "does not wear" if run.lifetime_inputs is None else f"{run.lifetime_inputs:,}"
        return [
            f"{widths[0]:.1f}/{widths[1]:.1f}, {mapping}",
            f"{100 * np.mean(chips):.1f} % ({100 * min(chips):.1f} %)",
            f"{100 * exact:.1f} %",
            format_time(run.latency_us),
            energy + "*" * bool(run.energy_untold),
            endures,
        ]

    def search(self, hardware: Accelerator, conditions: Conditions) -> Policy:
        """Return the best policy of a search with defaults; where none keeps the goal, the most accurate."""
        found = mho.search(
            self.network,
            self.dataset,
            hardware,
            method="exact",
            budget=self.sizes.budget,
            options=mho.SearchOptions(
                accuracy_of="exact" if self.sizes.ignores_errors else "auto", conditions=conditions
            ),
        )
        return (found.best or max(found.records, key=lambda record: record.accuracy)).policy

    def search_within(
        self, latency_us: float, hardware: Accelerator, conditions: Conditions
    ) -> tuple[Policy, Accelerator]:
        """Return the policy of the highest accuracy on chips within a latency, and the hardware with its bound."""
        found: list[tuple[float, Policy, Accelerator]] = []
        for bound in self.sizes.bounds:
            bounded = hardware.with_max_error(bound if bound == "none" else float(bound))
            options = mho.SearchOptions(conditions=conditions, cost_budget=f"{latency_us} us")
            try:
                result = mho.search(
                    self.network, self.dataset, bounded, method="exact", budget=self.sizes.budget, options=options
                )
            except ConfigError as error:  # no policy is as fast under this bound
                print(f"bound {bound}: {error}", file=sys.stderr)
                continue
            for record in sorted(result.records, key=lambda one: -one.accuracy):
                if result.goal.allows(record.cost) and self.time(record.policy, bounded) <= latency_us:
                    found.append((record.accuracy, record.policy, bounded))
                    break
        if not found:
            sys.exit(f"error: no policy answers within {latency_us} us on {hardware.name}")
        _, policy, bounded = max(found, key=lambda one: one[0])
        return policy, bounded

    def time(self, policy: Policy, hardware: Accelerator) -> float:
        """Return the latency of one input on the whole chip, us."""
        run = mho.compare(self.network, [hardware], policy=policy).accelerators[0].run
        return float("inf") if run is None else run.latency_us

    def quantize(self, policy: Policy, hardware: Accelerator, conditions: Conditions, mapping: str) -> Network:
        """Return the network at the policy's widths, calibrated and, with steps, trained on arrays."""
        trainable = TrainableNetwork(self.network)
        calibrate(trainable, torch.from_numpy(self.dataset.calibration.inputs(EVERY)))
        trainable.set_policy(policy)
        if self.sizes.steps and not is_ideal(hardware, conditions):
            arrays = MachineArrays(hardware, MappingModel(mapping)).find(trainable.network, policy)
            noise = ArrayNoise(hardware, arrays, conditions=conditions)
            training = mho.TrainingOptions(
                steps=self.sizes.steps,
                batch_size=32,
                learning_rate=self.sizes.rate,
                fixed_norm_share=1.0,
                max_gradient_norm=1.0,
            )
            train(trainable, self.dataset.train, training, torch.Generator().manual_seed(1), noise=noise)
        return trainable.to_quantized_network()

    def simulate(
        self, quantized: Network, hardware: Accelerator, conditions: Conditions, mapping: str
    ) -> tuple[float, list[float]]:
        """Return the accuracy of exact integers and of each chip; where all are alike and ideal, of one."""
        program = mho.compile(quantized, hardware, mapping=mapping)
        test, inputs = self.dataset.test, self.dataset.calibration.spread(32).inputs(EVERY)
        exact = accuracy(mho.simulate(program, test.inputs(EVERY)), test)
        if is_ideal(hardware, conditions):
            return exact, [exact]
        chips = []
        for seed in range(self.sizes.chips):
            needs_ranges = not hardware.converters.has_ideal_adc and hardware.converters.adc_range != "full-scale"
            ranges = mho.calibrate(program, inputs, seed=seed, conditions=conditions) if needs_ranges else None
            outputs = mho.simulate(program, test.inputs(EVERY), seed=seed, conditions=conditions, ranges=ranges)
            chips.append(accuracy(outputs, test))
        return exact, chips


def accuracy(outputs: mho.Outputs, test: Split) -> float:
    """Return the share of samples whose class is right."""
    (logits,) = outputs.values()
    return float((logits.argmax(axis=1) == test.labels).mean())


if __name__ == "__main__":
    main()
