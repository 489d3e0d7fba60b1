"""Ways to change a model by few numbers, as modules. What they compute, the reader has written: it is handed in as functions.

Each is equal to the model as it was until something is learned, but for WithPrefix, which cannot be.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")  # of a Llama's layers


class DoRALinear(nn.Module):
    """A linear layer with DoRA's weight: factors, and a length for each row. dora_weight: the reader's function."""

    def __init__(self, linear: nn.Linear, A: nn.Parameter, B: nn.Parameter, alpha: float, dora_weight: Callable):
        super().__init__()
        self.weight, self.bias, self.A, self.B = linear.weight, linear.bias, A, B
        self.alpha, self.dora_weight = alpha, dora_weight
        self.magnitude = nn.Parameter(linear.weight.detach().norm(dim=1))

    def forward(self, x):
        weight = self.dora_weight(self.weight, self.A, self.B, self.alpha, self.magnitude)
        return F.linear(x, weight, self.bias)


class RotatedLinear(nn.Module):
    """A linear layer whose outputs are turned: W = Q W₀, with a Q of one or more factors of small blocks.

    plan: for each factor, the first to be applied first, its distance and its chunk, as in rotate(x, blocks, distance, chunk).
    cayley, rotate: the reader's functions.
    """

    def __init__(self, linear: nn.Linear, block: int, plan: Sequence[tuple[int, int]], cayley: Callable, rotate: Callable):
        super().__init__()
        self.weight, self.bias, self.plan = linear.weight, linear.bias, list(plan)
        self.cayley, self.rotate = cayley, rotate
        shape = (linear.out_features // block, block * (block - 1) // 2)
        like = linear.weight.detach()
        self.entries = nn.ParameterList(nn.Parameter(like.new_zeros(shape)) for _ in self.plan)

    def forward(self, x):
        turned = F.linear(x, self.weight)
        for entries, (distance, chunk) in zip(self.entries, self.plan, strict=True):
            turned = self.rotate(turned, self.cayley(entries), distance, chunk)
        return turned if self.bias is None else turned + self.bias


class WithPrefix(nn.Module):
    """A model whose parameters are frozen, with learned keys and values before each row. prefix_logits: the reader's function."""

    def __init__(self, model, prefix: torch.Tensor, prefix_logits: Callable):
        super().__init__()
        self.model, self.prefix = model.requires_grad_(False), nn.Parameter(prefix)
        self.prefix_logits = prefix_logits

    def forward(self, input_ids, attention_mask):
        from transformers.modeling_outputs import CausalLMOutput

        return CausalLMOutput(logits=self.prefix_logits(self.model, self.prefix, input_ids, attention_mask))


def rotation_plan(kind: str, width: int, block: int, factors: int = 2) -> list[tuple[int, int]]:
    """(distance, chunk) of each factor, the first to be applied first, for a matrix of so many rows.

    kind: "OFT" (blocks of neighbours), "BOFT" (a butterfly: pieces of half a block, with distances 1, 2, 4, …; the last factor
    is applied first, as in peft) or "GSOFT" (neighbours, and then numbers as far apart as there are blocks).
    """
    if kind == "OFT":
        return [(1, 1)]
    if kind == "BOFT":
        return [(2**i, block // 2) for i in reversed(range(factors))]
    if kind == "GSOFT":
        return [(1, 1), (width // block, 1)]
    raise ValueError(f"There is no plan for {kind}.")


def turn_layers(model, targets: Sequence[str], block: int, kind: str, cayley: Callable, rotate: Callable) -> list[str]:
    """Put a RotatedLinear in the place of each linear layer so called; all else is frozen. Returns the layers' names."""
    chosen = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.rpartition(".")[2] in targets]
    model.requires_grad_(False)
    for name, linear in chosen:
        plan = rotation_plan(kind, linear.out_features, block)
        model.set_submodule(name, RotatedLinear(linear, block, plan, cayley, rotate))
    return list(dict(chosen))


def new_prefix(model, places: int, seed: int, scale: float = 0.5) -> torch.Tensor:
    """Random keys and values, (layers, 2, heads, places, head_dim), for a Llama."""
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    shape = (config.num_hidden_layers, 2, config.num_key_value_heads, places, size)
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def read_prefix(model, ids: Sequence[int]) -> torch.Tensor:
    """The keys and values that a Llama makes of these tokens, (layers, 2, heads, places, head_dim)."""
    kept = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=True).past_key_values
    return torch.stack([torch.stack([layer.keys[0], layer.values[0]]) for layer in kept.layers])
