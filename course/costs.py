"""What one training step takes, measured: multiplications, and the numbers that are kept in memory."""

from collections.abc import Callable

import torch
from torch import nn


def measured(module: nn.Module, forward: Callable[[], torch.Tensor]) -> dict[str, int]:
    """What a training step of this module with AdamW takes; forward() gives a loss, or any tensor, which is summed.

    "forward", "backward": multiplications in products of matrices. "weights", "gradients", "optimizer": numbers in memory
    that belong to its parameters. "activations": numbers that the graph keeps, in memory that is no parameter's. The
    module's gradients are gone afterwards, and its parameters changed a little: hand in a copy.
    """
    from torch.utils.flop_counter import FlopCounterMode

    parameters = list(module.parameters())
    own = {p.untyped_storage().data_ptr() for p in parameters}
    kept: dict[int, int] = {}
    alive = []  # a storage that is freed could lend its address to the next one

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
            alive.append(tensor)
        return tensor

    optimizer = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=1e-6)
    optimizer.zero_grad()
    with FlopCounterMode(display=False) as there, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward().sum()
    with FlopCounterMode(display=False) as back:
        result.backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    found = {
        "forward": there.get_total_flops() // 2, "backward": back.get_total_flops() // 2,
        "weights": sum(p.numel() for p in parameters), "gradients": sum(p.grad.numel() for p in parameters if p.grad is not None),
        "optimizer": sum(value.numel() for value in states), "activations": sum(kept.values()),
    }  # fmt: skip
    optimizer.zero_grad()
    return found
