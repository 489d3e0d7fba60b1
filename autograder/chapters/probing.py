"""What the probes of several chapters share: seeded inputs, tiny models, and sentences for answers of an unusable form."""

import torch

from autograder.exercise import Unexpected


def seeded(seed: int) -> torch.Generator:
    """A generator of its own, so that a probe's inputs depend on its seed alone."""
    return torch.Generator().manual_seed(seed)


def as_tensor(value, what: str) -> torch.Tensor:
    """The value, if it is a tensor. Raises Unexpected, which names `what` it should have been."""
    if not isinstance(value, torch.Tensor):
        raise Unexpected(f"{what} should be a tensor; your function returned {type(value).__name__}.")
    return value


def as_pair(value, what: str) -> tuple:
    """The value, if it is two things. Raises Unexpected."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise Unexpected(f"The function should return two things, {what}; it returned {type(value).__name__}.")
    return tuple(value)


def as_number(value, what: str) -> float:
    """The value as a float. Raises Unexpected where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Unexpected(f"{what} should be a number; your function returned {type(value).__name__}.") from None


def gradient_at(loss_of, logits: torch.Tensor, labels: torch.Tensor, what: str = "The loss") -> torch.Tensor:
    """The gradient of loss_of(logits, labels), summed where it is several numbers, at the logits."""
    logits.requires_grad_()
    loss = as_tensor(loss_of(logits, labels), what)
    if not loss.requires_grad:
        raise Unexpected(
            f"{what} is cut off from the logits: no gradient flows. Look for .item(), .detach() or .data."
        )
    loss.sum().backward()
    return logits.grad


TINY_LLAMA = ("transformers.models.llama.modeling_llama",)  # what an exercise with a tiny_llama in its probes needs


def tiny_llama(seed: int, vocab: int, hidden: int):
    """A LlamaForCausalLM of one layer in evaluation mode, on the CPU. Its logits spread widely.

    The weights are drawn here, not by transformers, whose way of initialising may change from version to version.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=hidden + 7,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    g = seeded(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.dim() > 1:  # the others are the gains of the norms: they stay 1
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=g))
    return model.eval()
