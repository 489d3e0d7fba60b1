"""What the library peft makes of given numbers, to hold the reader's functions against.

Each function puts the numbers into peft's own module and returns what that module computes for x.
"""

import copy
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import nn


def lora(x, linear: nn.Linear, A, B, alpha: float, merged: bool = False) -> torch.Tensor:
    """A linear layer with LoRA's factors beside it, or merged into its weight."""
    from peft import LoraConfig

    layer = _wrapped(linear, LoraConfig(r=len(A), lora_alpha=alpha, target_modules=["0"]))
    _put_factors(layer, A, B)
    if merged:
        layer.merge()
    return layer(x)


def dora(x, linear: nn.Linear, A, B, alpha: float, magnitude) -> torch.Tensor:
    """A linear layer with DoRA's weight."""
    from peft import LoraConfig

    layer = _wrapped(linear, LoraConfig(r=len(A), lora_alpha=alpha, target_modules=["0"], use_dora=True))
    _put_factors(layer, A, B)
    layer.lora_magnitude_vector["default"].weight.data = magnitude.detach().clone()
    return layer(x)


def oft(x, linear: nn.Linear, entries) -> torch.Tensor:
    """A linear layer whose *inputs* are turned by a block-diagonal matrix. entries: (blocks, b (b - 1) / 2)."""
    from peft import OFTConfig

    size = linear.in_features // len(entries)
    layer = _wrapped(linear, OFTConfig(oft_block_size=size, use_cayley_neumann=False, target_modules=["0"]))
    layer.oft_R["default"].weight.data = entries.detach().clone()
    return layer(x)


def boft(x, linear: nn.Linear, entries: list) -> torch.Tensor:
    """The same with a butterfly of several factors; entries: one (blocks, b (b - 1) / 2) for each, that of distance 1 first.

    peft makes more than one factor only where it can compile an operation for a GPU, which puts blocks on a diagonal: here
    torch does that in its place.
    """
    from peft import BOFTConfig
    from peft.tuners.boft import layer as module

    def on_a_diagonal(blocks):
        return torch.stack([torch.block_diag(*factor) for factor in blocks])

    size = linear.in_features // len(entries[0])
    rows, columns = torch.triu_indices(size, size, 1)
    free = torch.zeros(len(entries), len(entries[0]), size, size)
    free[:, :, rows, columns] = 2 * torch.stack([e.detach() for e in entries])  # peft takes half of P - Pᵀ
    config = BOFTConfig(boft_block_size=size, boft_n_butterfly_factor=len(entries), target_modules=["0"])
    several = len(entries) > 1
    compiled = patch.object(module, "get_fbd_cuda", lambda: True) if several else nullcontext()
    with compiled, patch.object(module.FastBlockDiag, "apply", on_a_diagonal):
        layer = _wrapped(linear, config)
        layer.boft_R["default"].data = free
        return layer(x)


def prefix(model, numbers, input_ids, attention_mask) -> torch.Tensor:
    """The logits of a model with prefix tuning. numbers: (layers, 2, heads, places, head_dim)."""
    from peft import PrefixTuningConfig, get_peft_model

    places = numbers.shape[3]
    wrapped = get_peft_model(copy.deepcopy(model), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=places))
    weight = numbers.detach().permute(3, 0, 1, 2, 4).reshape(places, -1)
    wrapped.prompt_encoder["default"].embedding.weight.data = weight.clone()
    return wrapped.eval()(input_ids=input_ids, attention_mask=attention_mask).logits


def _wrapped(linear: nn.Linear, config):
    """peft's module in the place of a copy of the layer."""
    from peft import get_peft_model

    return get_peft_model(nn.Sequential(copy.deepcopy(linear)), config).eval().base_model.model[0]


def _put_factors(layer, A, B) -> None:
    layer.lora_A["default"].weight.data = A.detach().clone()
    layer.lora_B["default"].weight.data = B.detach().clone()
