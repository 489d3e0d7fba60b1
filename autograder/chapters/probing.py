"""What the probes of several chapters share: seeded inputs, tiny models, and sentences for answers of an unusable form."""

import functools
from collections.abc import Callable

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
        raise Unexpected(f"The function should return two things, {what}; it returned {_in_words(value)}.")
    return tuple(value)


def as_number(value, what: str) -> float:
    """The value as a float. Raises Unexpected where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Unexpected(f"{what} should be a number; your function returned {_in_words(value)}.") from None


def _in_words(value) -> str:
    """What came, where something else was expected: its type, and of a tensor or a tuple how large it is."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def coarse(values: torch.Tensor) -> torch.Tensor:
    """The values to eight significant bits, whatever their size, as floats: raw samples that the judge averages travel in a
    third of the room, and a rounding to nearest moves no mean."""
    return values.detach().bfloat16().float()


def in_groups(draws: torch.Tensor, size: int) -> torch.Tensor:
    """(draws, ...) -> (groups, ...): the means of so many draws after one another.

    The mean of all, and the standard error that is estimated for it, stay what they were; what travels to the judge is less.
    """
    return torch.stack([group.mean(0) for group in draws.detach().float().split(size)])


def mask_of(lengths: list[int], seq: int) -> torch.Tensor:
    """(rows, seq) of integers: 1 on the first `length` places of each row."""
    return (torch.arange(seq) < torch.tensor(lengths)[:, None]).long()


def gradients_of(value, *inputs: torch.Tensor, what: str = "The loss", to: str = "logits") -> list[torch.Tensor]:
    """The gradient of a value, summed where it is several numbers, at each input; zeros where no path leads to one.

    Raises Unexpected where the value, which `what` names, is no tensor or cut off from all of them, which `to` names.
    """
    value = as_tensor(value, what)
    found = [None] * len(inputs)
    if value.requires_grad:
        found = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise Unexpected(f"{what} is cut off from the {to}: no gradient flows. Look for .item(), .detach() or .data.")
    return [torch.zeros_like(x) if gradient is None else gradient for x, gradient in zip(inputs, found, strict=True)]


def gradient_at(loss_of, logits: torch.Tensor, labels: torch.Tensor, what: str = "The loss") -> torch.Tensor:
    """The gradient of loss_of(logits, labels), summed where it is several numbers, at the logits."""
    return gradients_of(loss_of(logits.requires_grad_(), labels), logits, what=what)[0]


def gradient_norm(groups: list[dict]) -> float:
    """The norm of all gradients in an optimizer's parameter groups; 0 where there is none."""
    grads = [p.grad.flatten() for group in groups for p in group["params"] if p.grad is not None]
    return float(torch.cat(grads).norm()) if grads else 0.0


def plain_losses(losses, function: str, one: str) -> torch.Tensor:
    """The losses that a training loop kept, as a tensor. Raises Unexpected where they are no list of plain numbers.

    function: who returned them; one: what there should be one of them for, as in "one an update".
    """
    if not isinstance(losses, (list, tuple)):
        raise Unexpected(f"{function} should return a list of losses, {one}; it returned {type(losses).__name__}.")
    if any(isinstance(x, torch.Tensor) and x.requires_grad for x in losses):
        raise Unexpected(
            "A loss in your list still holds its computation graph, so memory grows with each step. Keep loss.item()."
        )
    if any(isinstance(x, torch.Tensor) for x in losses):
        raise Unexpected("The losses in your list are tensors; plain numbers are asked for. Keep loss.item().")
    return torch.tensor([as_number(x, "Each loss in the list") for x in losses])


def noting_sgd(groups: list[dict], lr: float, momentum: float = 0.0):
    """SGD that notes, at every step, the learning rates of its groups (`rates`) and the gradient's norm (`norms`)."""

    class Noting(torch.optim.SGD):
        rates: list[list[float]]
        norms: list[float]

        def step(self, closure=None):
            with torch.enable_grad():
                loss = None if closure is None else closure()
            self.rates.append([float(group["lr"]) for group in self.param_groups])
            self.norms.append(gradient_norm(self.param_groups))
            super().step()
            return loss

    optimizer = Noting(groups, lr=lr, momentum=momentum)
    optimizer.rates, optimizer.norms = [], []
    return optimizer


def asked_once(ask: Callable) -> Callable:
    """Decorator of what all bars of an open task ask an answer for: an answer may take a second, and they ask for one thing.

    ask(answer, seed) -> data. It takes `first` then, which the first bar sets: it asks anew, as what an answer calls may have
    been written anew. The bars behind it take what that has seen.
    """
    kept: dict = {}  # the answer, and by seed what it gave

    @functools.wraps(ask)
    def once(answer: Callable, seed: int, first: bool = False) -> dict:
        written = getattr(answer, "__wrapped__", answer)
        if first:
            if kept.get("answer") is not written:
                kept.clear()
            kept.pop(seed, None)
        if kept.get("answer") is not written or seed not in kept:
            found = ask(answer, seed)
            if not first:
                return found
            kept.update({"answer": written, seed: found})
        return kept[seed]

    return once


TINY_LLAMA = ("transformers.models.llama.modeling_llama",)  # what an exercise with a tiny_llama in its probes needs


def tiny_llama(seed: int, vocab: int, hidden: int, layers: int = 1):
    """A LlamaForCausalLM of one layer, or more, in evaluation mode, on the CPU. Its logits spread widely.

    The weights are drawn here, not by transformers, whose way of initialising may change from version to version.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=hidden + 7,
        num_hidden_layers=layers,
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
