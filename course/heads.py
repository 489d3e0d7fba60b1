"""Looking into the attention of a Llama, and switching heads of it off. Given to chapter 08, not taught there."""

from collections.abc import Iterable
from contextlib import ExitStack, contextmanager

import torch


@torch.no_grad()
def attentions(model, ids: torch.Tensor) -> torch.Tensor:
    """Who looks where: (layers, rows, heads, seq, seq), each row of the last axis a distribution. ids: (rows, seq)."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")  # other ways to compute attention keep no weights
    try:
        out = model(ids.to(next(model.parameters()).device), output_attentions=True)
    finally:
        model.set_attn_implementation(before)
    return torch.stack(out.attentions).float().cpu()


@contextmanager
def switched_off(model, heads: Iterable[tuple[int, int]]):
    """Within this context, what the given heads (layer, head) write is zero. No weight changes."""
    with ExitStack() as stack:
        for layer, head in heads:
            attention = model.model.layers[layer].self_attn
            part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            hook = attention.o_proj.register_forward_pre_hook(_silencing(part))
            stack.callback(hook.remove)
        yield


def _silencing(part: slice):
    def silence(module, inputs):
        heads = inputs[0].clone()  # (rows, seq, heads * head_dim): what all heads found, side by side
        heads[..., part] = 0
        return (heads, *inputs[1:])

    return silence
