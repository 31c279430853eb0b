"""Learned rounding of one layer's weights: integers and steps of least output error, not of least weight error.

A layer gets input vectors r in the float network, and r' in the quantized one: from quantized layers, and rounded to
its own grid. It is to give W r from r'. Over samples, with centred vectors (the bias takes the means), this is a
quadratic problem for each row of the weights:

    minimize  (V - T) H (V - T)^T  over V = step * integers,
    H = E[r' r'^T] + damping,   T = W + W E[(r - r') r'^T] (E[r' r'^T] + damping)^-1

T makes up for errors of the inputs as far as these are linear in r'. Integers are found column by column, where the
error of each column is made up for by those that follow (GPTQ, Frantar et al. 2022, arXiv 2210.17323, equations 2 and
3), then by coordinate descent: each integer in turn takes its best value given all others. Steps follow in closed form,
step = (q H T^T) / (q H q^T). Rows are independent.

All is batched over the groups of a convolution: weights [groups, outputs, inputs], vectors [groups, inputs, samples].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

DAMPING = 0.01
"""Of rounding, as a share of the mean square of the inputs."""

TARGET_DAMPINGS = (0.01, 0.1, 1.0)
"""Of the change of weights that makes up for errors of the inputs; other samples choose one, or no change."""

_SWEEPS, _ROUNDS = 2, 3
"""Sweeps of coordinate descent between updates of the steps, and rounds of both."""

_COLUMNS = 64
"""Columns whose errors are passed on together."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Integers:
    """Those that weights may have: `lower`..`upper`, or -1 and +1 alone."""

    lower: int
    upper: int
    is_binary: bool = False

    def nearest(self, ratio: Tensor) -> Tensor:
        """Return the nearest ones as whole numbers."""
        if self.is_binary:
            return torch.where(ratio >= 0, 1.0, -1.0)
        return ratio.round().clamp_(self.lower, self.upper)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Input vectors of a layer, [groups, inputs, samples]: in the float network, and in the quantized one."""

    wanted: Tensor
    given: Tensor

    def output_error(self, weight: Tensor, float_weight: Tensor) -> float:
        """Return the mean square of what outputs differ by, but for the differences of their means."""
        lost = weight @ self.given - float_weight @ self.wanted
        return float((lost - lost.mean(2, keepdim=True)).square().mean(dtype=torch.float64))

    def take(self, inputs: slice) -> Vectors:
        """Return some of the inputs."""
        return Vectors(self.wanted[:, inputs], self.given[:, inputs])


@dataclass(frozen=True, eq=False)
class RoundingProblem:
    """Weights to approach, and how much errors of each pair of inputs count together.

    Attributes:
        target: T above, float32 [groups, outputs, inputs].
        hessian: H above, float32 [groups, inputs, inputs].
    """

    target: Tensor
    hessian: Tensor

    @classmethod
    def of(cls, weight: Tensor, fitted: Vectors, held: Vectors) -> RoundingProblem:
        """Make the problem of a layer.

        Args:
            weight: W, [groups, outputs, inputs].
            fitted: samples that the problem is made of.
            held: others, which choose the damping of T.
        """
        given = fitted.given - fitted.given.mean(2, keepdim=True)
        hessian = given @ given.mT / given.shape[2]
        lost = weight @ ((fitted.wanted - fitted.given) @ given.mT / given.shape[2])
        size = hessian.diagonal(dim1=1, dim2=2).mean(1)
        unit = torch.diag_embed(size.clamp_min(_TINY**0.5)[:, None].expand(-1, weight.shape[2]))
        target, least = weight, held.output_error(weight, weight)
        for damping in TARGET_DAMPINGS:
            factor = torch.linalg.cholesky((hessian + damping * unit).to(torch.float64))
            changed = weight + torch.cholesky_solve(lost.mT.to(torch.float64), factor).mT.to(weight.dtype)
            error = held.output_error(changed, weight)
            if error < least:
                target, least = changed, error
        return cls(target, hessian + DAMPING * unit)

    def error(self, weight: Tensor) -> Tensor:
        """Return (V - T) H (V - T)^T of each row, [groups, outputs]."""
        lost = weight - self.target
        return ((lost @ self.hessian) * lost).sum(2)


def learn_rounding(
    problem: RoundingProblem, steps: Tensor, grid: Integers, *, keeps_steps: bool = False
) -> tuple[Tensor, Tensor]:
    """Return integers [groups, outputs, inputs] and steps [groups, outputs] of small error.

    No row has a larger error than its target rounded to nearest with the given steps.

    Args:
        problem: of one layer.
        steps: to start from, positive, [groups, outputs].
        grid: the integers there are.
        keeps_steps: leave the steps as they are.
    """
    best, best_steps = grid.nearest(problem.target / steps[..., None]), steps
    least = problem.error(best * steps[..., None])
    integers = _round_in_order(problem, steps, grid)
    for number in range(1 if keeps_steps else _ROUNDS):
        if number:
            steps = _best_steps(problem, integers, steps)
        integers = _descend(problem, integers, steps, grid)
        error = problem.error(integers * steps[..., None])
        is_better = error < least
        best = torch.where(is_better[..., None], integers, best)
        best_steps, least = torch.where(is_better, steps, best_steps), torch.where(is_better, error, least)
    return best, best_steps


def _round_in_order(problem: RoundingProblem, steps: Tensor, grid: Integers) -> Tensor:
    """Round column by column; those that follow make up for each column's error."""
    weight = problem.target.clone()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.hessian.to(torch.float64)))
    factor = torch.linalg.cholesky(inverse, upper=True).to(weight.dtype)
    integers = torch.empty_like(weight)
    for start, end in _column_blocks(weight):
        errors = torch.empty_like(weight[..., start:end])
        for column in range(start, end):
            integers[..., column] = grid.nearest(weight[..., column] / steps)
            error = (weight[..., column] - integers[..., column] * steps) / factor[:, column, column, None]
            errors[..., column - start] = error
            weight[..., column + 1 : end] -= error[..., None] * factor[:, None, column, column + 1 : end]
        weight[..., end:] -= errors @ factor[:, start:end, end:]
    return integers


def _descend(problem: RoundingProblem, integers: Tensor, steps: Tensor, grid: Integers) -> Tensor:
    """Let each column in turn take its best integers given all others."""
    hessian, integers = problem.hessian, integers.clone()
    curvature = hessian.diagonal(dim1=1, dim2=2)[:, None] * steps[..., None]
    for _ in range(_SWEEPS):
        before = integers.clone()
        slopes = (integers * steps[..., None] - problem.target) @ hessian
        for start, end in _column_blocks(integers):
            changes = torch.empty_like(integers[..., start:end])
            for column in range(start, end):
                wanted = integers[..., column] - slopes[..., column] / curvature[..., column]
                found = grid.nearest(wanted)
                change = (found - integers[..., column]) * steps
                integers[..., column], changes[..., column - start] = found, change
                slopes[..., start:end] += change[..., None] * hessian[:, None, column, start:end]
            slopes[..., end:] += changes @ hessian[:, start:end, end:]
        if torch.equal(before, integers):
            break
    return integers


def _best_steps(problem: RoundingProblem, integers: Tensor, steps: Tensor) -> Tensor:
    """Return the steps of least error for the integers; those of before where none is positive."""
    weighted = integers @ problem.hessian
    products, squares = (weighted * problem.target).sum(2), (weighted * integers).sum(2)
    found = products / squares.clamp_min(_TINY)
    return torch.where((found > _TINY) & torch.isfinite(found), found, steps)


def _column_blocks(values: Tensor) -> Iterator[tuple[int, int]]:
    columns = values.shape[2]
    return ((start, min(start + _COLUMNS, columns)) for start in range(0, columns, _COLUMNS))
