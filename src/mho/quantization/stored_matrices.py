"""The stored operand of a product as the matrices that crossbars hold, and results in the shape of the product's.

Weights are the same for all samples, and count as those of one; an activation has matrices of its own in each sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.mapping.layer_arrays import LayerArrays
from mho.quantization.mvm_products import Geometry


def operand_to_matrices(operand: Tensor, arrays: LayerArrays) -> NDArray[np.int64]:
    """Return whole numbers as int64 [samples, groups, outputs, inputs].

    Args:
        operand: [O, ...] of weights, or [N, ..., K, P] of an activation.
        arrays: which of both it is.
    """
    whole: NDArray[np.int64] = operand.detach().cpu().numpy().astype(np.int64)
    if arrays.is_stored:
        return whole.reshape(-1, arrays.groups, arrays.inputs, arrays.outputs).swapaxes(2, 3)
    return whole.reshape(1, arrays.groups, arrays.outputs, arrays.inputs)


def matrices_to_operand(matrices: NDArray[Any], arrays: LayerArrays, like: Tensor) -> Tensor:
    """Return matrices [samples, groups, outputs, inputs] as an operand, float32; it may have fewer outputs than `like`.

    Args:
        matrices: as of `operand_to_matrices`.
        arrays: of the layer.
        like: the operand that they are of.
    """
    values = torch.from_numpy(matrices.astype(np.float32)).to(like.device)
    if arrays.is_stored:
        return values.transpose(2, 3).reshape(*like.shape[:-1], -1)
    return values.reshape(-1, *like.shape[1:])


def constants_to_product(constants: NDArray[Any], like: Tensor, geometry: Geometry) -> Tensor:
    """Return constants of outputs [samples, groups, outputs] as they are added to a product, float32.

    Args:
        constants: one for each output; of one sample: for all samples.
        like: the stored operand.
        geometry: of the product.
    """
    values = torch.from_numpy(constants.astype(np.float32)).to(like.device)
    if geometry[0] == "matmul":
        return values.reshape(*like.shape[:-2], 1, like.shape[-1])
    flat = values.reshape(-1)
    return flat[:, None, None] if geometry[0] == "conv" else flat


def results_to_product(results: Tensor, like: Tensor, geometry: Geometry) -> Tensor:
    """Return results [samples, groups, outputs, positions] as those of a product, float32 of the shape of `like`."""
    if geometry[0] == "matmul":
        return results.transpose(2, 3).reshape(like.shape).to(like.device, torch.float32)
    flat = results.flatten(1, 2)
    if geometry[0] != "conv":
        flat = flat.transpose(1, 2)
    return flat.reshape(like.shape).to(like.device, torch.float32)
