"""Train a quantized network on for calibrated ADCs of few bits, with these in the forward pass.

    python benchmarks/adc_training.py RUN.toml NETWORK.onnx --out TRAINED.onnx [--layers NAME ...] [--steps 600]

RUN.toml names the data and the accelerator, whose cells are taken for ideal here: what is lost is lost by ADCs alone.
NETWORK.onnx is quantized, and keeps its widths. Layers lie in differential columns (the paper's mapping); those of
--layers meet ADCs of --adc-bits with a range each, found anew every 100 steps, all others exact sums; without --layers
all run with ADCs, which takes many times as long. Evaluate the result with `adc_ranges.py` on TRAINED.onnx.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from adc_ranges import with_values

import mho
from mho.hardware.array import Array
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.onnx_reader import read_onnx
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import TrainingProgress, train
from mho.quantization.training_options import TrainingOptions
from mho.workflow.config import load_config
from mho.workflow.material import load_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the trained network; beside it goes a checkpoint")
    parser.add_argument("--layers", nargs="+", help="that meet ADCs; all without")
    parser.add_argument("--adc-bits", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0002)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.run, data_root=options.data_root)
    network = read_onnx(options.network)
    dataset = load_for(network, config)
    trainable = TrainableNetwork(network)
    if trainable.policy is None:
        parser.error(f"{options.network} is not quantized")
    accelerator = mho.accelerator(config.accelerator.name)
    ideal = accelerator.model_copy(update={"array": Array()})
    hardware = with_values(ideal, 0, adc_bits=options.adc_bits, adc_range="calibrated-columns")
    arrays = arrays_of_network(trainable.network, trainable.policy, hardware, MappingModel.PAPER)
    if unknown := [name for name in options.layers or () if name not in arrays]:
        parser.error(f"there is no layer {unknown[0]}; there are {', '.join(arrays)}")
    training = TrainingOptions(
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.rate,
        optimizer="adamw",
        warmup_steps=min(20, options.steps // 4),
        weight_decay=0.05,
        label_smoothing=0.05,
        augmentation=config.data.augmentation,
    )
    start = time.process_time()

    def tell(progress: TrainingProgress) -> None:
        if progress.step % 10 == 0:
            seconds = (time.process_time() - start) / progress.step
            print(f"{progress.step}: loss {progress.loss:.4f}, {seconds:.2f} s a step", flush=True)

    train(
        trainable,
        dataset.train,
        training,
        torch.Generator().manual_seed(options.seed),
        options.out.with_suffix(".checkpoint"),
        tell,
        ArrayNoise(hardware, {name: arrays[name] for name in options.layers or arrays}, method="tiles"),
    )
    mho.save(trainable.to_quantized_network(), options.out)


if __name__ == "__main__":
    main()
