"""The average of a network before and after a training."""

import torch
from quantized_layers import dense

from mho.quantization.weight_average import average_with, copy_state


def test_weights_and_steps_lie_between_both_states_and_grids_stay() -> None:
    trainable, x = dense()
    before, exact = copy_state(trainable), trainable(x)
    with torch.no_grad():
        for parameter in trainable.parameters():
            parameter += 0.2
    after = copy_state(trainable)
    average_with(trainable, before, 0.25)
    for name, tensor in trainable.state_tensors().items():
        wanted = 0.75 * after[name] + 0.25 * before[name] if tensor.is_floating_point() else before[name]
        torch.testing.assert_close(tensor, wanted)
    average_with(trainable, before, 1.0)
    torch.testing.assert_close(trainable(x), exact)
