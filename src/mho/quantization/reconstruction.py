"""Quantization without labels: every layer in turn is fitted to what the float network gives there (`Effort`).

Layers are fitted in order of execution, each on the inputs that the quantized layers before it give. Some samples are
held out: no layer, no block and not the whole network ends with a larger error on these than calibration alone leaves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mho.errors import DataError, PolicyError
from mho.progress import OnProgress, Progress
from mho.quantization.block_fitting import fit_block
from mho.quantization.effort import Effort, steps_of
from mho.quantization.joint_inputs import Inputs
from mho.quantization.layer_fitting import VectorSampler, fit_layer
from mho.quantization.modules import BatchNormModule, MvmModule
from mho.quantization.network_parts import Part, Streams, find_parts, join_blocks, mean_square_error, samples_that_fit
from mho.quantization.qat import Step, TrainableNetwork
from mho.quantization.rounding import Vectors

_HELD_OUT = 8
"""One of so many samples is held out."""

_BLOCK_WORK = 10
"""What fitting a layer within its block takes, in fits of the layer alone; typical."""


@dataclass(frozen=True)
class Reconstruction:
    """What a reconstruction did.

    Attributes:
        effort: how much work it was.
        samples: that layers were fitted on; fewer than were given where memory ends.
        held_out: samples that errors were measured on.
        calibrated_error: of the network by calibration alone: mean square difference of its outputs from the float
            network's on the held-out samples, as a share of their mean square.
        error: the same of the network as it is now; never larger.
    """

    effort: Effort
    samples: int
    held_out: int
    calibrated_error: float
    error: float


@dataclass
class _Clock:
    """Reports how far the work is, in fits of a layer."""

    on_progress: OnProgress | None
    work: int
    start: float = field(default_factory=time.monotonic)
    done: int = 0

    def tell(self, detail: str, work: int) -> None:
        """Count work as done, and report."""
        self.done += work
        if self.on_progress is None:
            return
        share = self.done / max(1, self.work)
        left = (time.monotonic() - self.start) * (1 - share) / share if share else None
        is_finished = self.done == self.work
        self.on_progress(
            Progress("reconstruction", "Fit to the float network", share, detail, share, left, is_finished)
        )


@torch.no_grad()
def reconstruct(
    trainable: TrainableNetwork,
    inputs: Inputs,
    effort: Effort,
    *,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Reconstruction:
    """Fit a network that is quantized by calibration to the float network, without labels.

    Weights of layers become the rounded ones, and their biases, steps and the steps of their inputs follow. A later
    `TrainableNetwork.set_policy` so starts from rounded weights: put the float ones back before.

    Args:
        trainable: with its float weights, a calibration and a policy.
        inputs: float32 [N, *S] or [N, *S[1:]]: a few hundred samples. With fewer than 8, the last one is held out.
        effort: whether layers and blocks are fitted; where neither is, nothing changes.
        seed: of the draws of blocks; fits of layers draw nothing.
        on_progress: called after every layer and every block. Where it raises, the network is as before.

    Raises:
        DataError: no samples.
        PolicyError: the network is not quantized.
    """
    effort_steps = steps_of(effort)
    if not len(inputs):
        raise DataError("no samples", where="reconstruction", expected="a few hundred")
    if trainable.policy is None:
        raise PolicyError("the network is in float", where="reconstruction", hint="set a policy first")
    fitted, held = _divide(inputs[: samples_that_fit(trainable, len(inputs))])
    with _restored_on_error(trainable) as calibrated:
        calibrated_error = _output_error(trainable, held)
        if not effort_steps.fits_layers:
            return Reconstruction(effort, len(fitted), len(held), calibrated_error, calibrated_error)
        streams = Streams(trainable, fitted), Streams(trainable, held)
        of_blocks = _BLOCK_WORK if effort_steps.fits_blocks else 0
        clock = _Clock(on_progress, len(trainable.mvm_modules) * (1 + of_blocks))
        generator = torch.Generator().manual_seed(seed)
        for block in join_blocks(find_parts(trainable, len(fitted) + len(held))):
            start = streams[0].copy(), streams[1].copy()
            for part in block:
                _fit_layers(trainable, part, streams, clock)
            if effort_steps.fits_blocks:
                streams = _fit_block(trainable, block, start, streams, effort_steps.descent_steps, generator)
                names = [name for part in block for _, name, _ in part.layers]
                clock.tell(f"block up to {names[-1]}", of_blocks * len(names))
        error = mean_square_error(streams[1].rounded, streams[1].exact)
        if error > calibrated_error:
            trainable.load_state_tensors(calibrated)
    return Reconstruction(effort, len(fitted), len(held), calibrated_error, min(error, calibrated_error))


def _divide(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """Return the samples to fit on and those held out; a single one serves as both."""
    if len(inputs) == 1:
        return inputs, inputs
    is_held = torch.arange(len(inputs)) % _HELD_OUT == _HELD_OUT - 1
    if len(inputs) < _HELD_OUT:
        is_held[-1] = True
    return inputs[~is_held], inputs[is_held]


@contextmanager
def _restored_on_error(trainable: TrainableNetwork) -> Iterator[dict[str, Tensor]]:
    """Run in evaluation mode; give the tensors of before, and put them back where the block raises."""
    before, was_training = {name: one.clone() for name, one in trainable.state_tensors().items()}, trainable.training
    trainable.eval()
    try:
        yield before
    except BaseException:
        trainable.load_state_tensors(before)
        raise
    finally:
        trainable.train(was_training)


def _output_error(trainable: TrainableNetwork, inputs: Inputs) -> float:
    streams = Streams(trainable, inputs)
    streams.advance_exact(trainable.steps)
    streams.advance_rounded(trainable.steps)
    return mean_square_error(streams.rounded, streams.exact)


def _fit_layers(trainable: TrainableNetwork, part: Part, both: tuple[Streams, Streams], clock: _Clock) -> None:
    """Fit the layers of a part in order, and move both streams, of fitted and of held-out samples, behind it."""
    layers = [(place, name, module) for place, name, module in part.layers if _is_fitted(trainable, module)]
    exact = [_Taken.of(layers, streams) for streams in both]
    for streams, taken in zip(both, exact, strict=True):
        streams.advance_exact(part.steps, taken.look)
    for place, name, module in layers:
        vectors: list[Vectors] = []
        for streams, taken in zip(both, exact, strict=True):
            rounded = _Taken({name: taken.samplers[name]}, {name: []})
            streams.look_rounded(part.steps, place, rounded.look)
            vectors.append(Vectors(taken.pop(name), rounded.pop(name)))
        fit_layer(module, vectors[0], vectors[1], _scales_after(part, place))
        clock.tell(f"layer {name}", 1)
    for streams in both:
        streams.advance_rounded(part.steps)
    if left := len(part.layers) - len(layers):
        clock.tell(f"layer {part.layers[-1][1]}", left)


def _fit_block(
    trainable: TrainableNetwork,
    block: Sequence[Part],
    before: tuple[Streams, Streams],
    behind: tuple[Streams, Streams],
    descent_steps: int,
    generator: torch.Generator,
) -> tuple[Streams, Streams]:
    """Fit a block whose layers are fitted already, and return streams behind it; it stays as it was if that is better.

    Args:
        before, behind: streams of fitted and of held-out samples at the cuts around it.
        descent_steps: of gradient descent.
    """
    steps = [step for part in block for step in part.steps]
    layers = [module for part in block for _, _, module in part.layers]
    layers = [module for module in layers if module.weight is None or _is_fitted(trainable, module)]
    states = [{name: one.clone() for name, one in module.state_dict().items()} for module in layers]
    fit_block(trainable, steps, layers, before[0], behind[0].exact, descent_steps, generator)
    for start, end in zip(before, behind, strict=True):
        start.exact = end.exact
        start.advance_rounded(steps)
    errors = [mean_square_error(streams.rounded, streams.exact) for streams in (before[1], behind[1])]
    if errors[0] < errors[1]:
        return before
    for module, state in zip(layers, states, strict=True):
        module.load_state_dict(state)
    return behind


def _is_fitted(trainable: TrainableNetwork, module: MvmModule) -> bool:
    """Whether a layer has weights, and these are no other layer's too: those stay calibrated."""
    return module.weight is not None and sum(m.weight is module.weight for m in trainable.mvm_modules.values()) == 1


def _scales_after(part: Part, place: int) -> Tensor | None:
    """Return the factors of the batch normalization that follows a layer, [outputs]."""
    for step in part.steps[place + 1 : place + 2]:
        if isinstance(step.module, BatchNormModule) and step.operands == (part.steps[place].output,):
            return step.module.weight * torch.rsqrt(step.module.running_var + step.module.epsilon)
    return None


@dataclass(frozen=True)
class _Taken:
    """Vectors that samplers took of layers' operands, by name."""

    samplers: Mapping[str, VectorSampler]
    batches: dict[str, list[Tensor]]

    @classmethod
    def of(cls, layers: Sequence[tuple[int, str, MvmModule]], streams: Streams) -> _Taken:
        """Return what takes vectors of all the layers."""
        samplers = {name: VectorSampler(module, streams.samples) for _, name, module in layers}
        return cls(samplers, {name: [] for name in samplers})

    def look(self, step: Step, operands: list[Tensor], first: int) -> None:
        """Take vectors of the streamed operand, where the step is one of the layers."""
        if step.name in self.samplers:
            self.batches[step.name].append(self.samplers[step.name].take(operands[0], first))

    def pop(self, name: str) -> Tensor:
        """Return the vectors of a layer, and forget them."""
        return torch.cat(self.batches.pop(name), 2)
