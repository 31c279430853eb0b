"""Stored operands as matrices and back."""

from __future__ import annotations

import numpy as np
import torch

from mho.mapping.layer_arrays import LayerArrays
from mho.quantization.stored_matrices import (
    constants_to_product,
    matrices_to_operand,
    operand_to_matrices,
    results_to_product,
)

HEADS, TOKENS, INPUTS, OUTPUTS = 2, 3, 5, 4


def layout(*, is_stored: bool) -> LayerArrays:
    sizes = {"groups": HEADS, "outputs": OUTPUTS, "inputs": INPUTS, "positions": TOKENS, "pixels": (1, TOKENS)}
    return LayerArrays(**sizes, weight_offset=0, input_bits=4, parts=(), is_stored=is_stored)


def test_products_of_matrices_are_those_of_operands() -> None:
    torch.manual_seed(1)
    x, stored = (torch.randint(-7, 8, (3, HEADS, *size)).float() for size in ((TOKENS, INPUTS), (INPUTS, OUTPUTS)))
    arrays = layout(is_stored=True)
    matrices = operand_to_matrices(stored, arrays)
    assert matrices.shape == (3, HEADS, OUTPUTS, INPUTS)
    assert torch.equal(matrices_to_operand(matrices, arrays, stored), stored)
    ones = matrices_to_operand(np.ones((3, HEADS, 1, INPUTS)), arrays, stored)
    assert torch.equal(x @ ones, x.sum(dim=-1, keepdim=True))
    results = torch.from_numpy(matrices) @ x.to(torch.int64).transpose(2, 3)  # [samples, groups, outputs, positions]
    assert torch.equal(results_to_product(results, x @ stored, ("matmul",)), x @ stored)
    constants = np.arange(3 * HEADS * OUTPUTS).reshape(3, HEADS, OUTPUTS)
    added = constants_to_product(constants, stored, ("matmul",))
    assert torch.equal(added.expand(3, HEADS, TOKENS, OUTPUTS)[:, :, 0], torch.from_numpy(constants).float())


def test_weights_are_those_of_one_sample() -> None:
    weights = torch.randint(-7, 8, (HEADS * OUTPUTS, INPUTS)).float()
    arrays = layout(is_stored=False)
    matrices = operand_to_matrices(weights, arrays)
    assert matrices.shape == (1, HEADS, OUTPUTS, INPUTS)
    assert torch.equal(matrices_to_operand(matrices, arrays, weights), weights)
    assert constants_to_product(np.ones((1, HEADS, OUTPUTS)), weights, ("linear",)).shape == (HEADS * OUTPUTS,)
