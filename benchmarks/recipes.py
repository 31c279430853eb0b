"""Which learning rate of [qat] suits an example: accuracy on validation data after training, beside calibration alone.

    python benchmarks/recipes.py examples/digits.toml --rates 0.01 0.003 --widths 8/8 4/4 [--data-root DATA]

Widths are uniform; first and last layer stay at 8/8 below 8 bits. The float network is trained, and everything
calibrated, in the run's own directory, so that a following `mho run` goes on from there. Test data is not used.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mho.models.runtime import use_threads
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy
from mho.seeds import derive_seed
from mho.workflow.config import load_config
from mho.workflow.policy_stages import CALIBRATED, TRAINED, quantize_policy
from mho.workflow.progress import RunProgress
from mho.workflow.run import load_material, prepare
from mho.workflow.run_directory import open_run_directory
from mho.workflow.stage import StageRunner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--widths", nargs="+", default=["8/8", "4/4"])
    parser.add_argument("--steps", type=int, help="length of trainings, instead of the run's")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    config = load_config(options.run, data_root=options.data_root, weights=options.weights)
    use_threads(config.run.threads)
    material = load_material(config)
    with open_run_directory(config.directory, fresh=False) as opened:
        runner = StageRunner(opened, RunProgress(), material.computing)
        network, prepared = prepare(config, material, runner.get)
        float_share = prepared.float_network.figures["validation"]["accuracy"]
        print(
            f"{config.run.name}, {len(material.dataset.validation)} validation samples: float {100 * float_share:.2f} %"
        )
        layers = network.figures["layers"]
        ends = dict.fromkeys((layers[0], layers[-1]), UNIFORM_REFERENCE)
        for widths in options.widths:
            bits = BitWidths.parse(widths)
            policy = Policy({name: ends.get(name, bits) for name in layers})
            for number, rate in enumerate(options.rates):
                length = {} if options.steps is None else {"steps": options.steps, "epochs": None}
                training = config.qat.model_copy(update={"learning_rate": rate, **length})
                seed = derive_seed(config.run.seed, "qat")
                with tempfile.TemporaryDirectory() as folder:
                    found = quantize_policy(prepared, policy, training, seed, Path(folder), lambda *_: None)
                by = {how: 100 * one["accuracy"] for how, one in found["validation_by"].items()}
                if number == 0:
                    print(f"{widths}: calibration {by[CALIBRATED]:.2f} %", flush=True)
                print(f"{widths}: training at {rate:g} {by[TRAINED]:.2f} %", flush=True)


if __name__ == "__main__":
    main()
