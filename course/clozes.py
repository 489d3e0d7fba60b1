"""Cloze questions for a causal model: does the one right token follow a prompt?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from course.data import pad_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def cloze_accuracy(model: "PreTrainedModel", probes: Sequence[dict], tokenizer: "PreTrainedTokenizerFast") -> float:
    """How often the most likely token after probe["prompt"] is probe["answer"]. All prompts run as one padded batch."""
    import torch

    prompts = pad_rows([probe["prompt"] for probe in probes], tokenizer)
    last = prompts.attention_mask.sum(-1) - 2  # (probes,): the last word; after it stands <eos>
    with torch.no_grad():
        output = model.eval()(prompts.input_ids.to(model.device), attention_mask=prompts.attention_mask.to(model.device))
    guesses = output.logits.cpu()[torch.arange(len(last)), last].argmax(-1)  # (probes,)
    answers = torch.tensor(tokenizer.convert_tokens_to_ids([probe["answer"] for probe in probes]))
    return (guesses == answers).float().mean().item()
