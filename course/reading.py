"""How surprised a nano model is by each word of a text, for chapter 00, which has explained nothing yet."""

from typing import TYPE_CHECKING

from course import data, models

if TYPE_CHECKING:
    import torch


def losses_of(text: str, model: str = "nano-base") -> "torch.Tensor":
    """The loss of a model of the course on each word of a text, in nats, (words,): -log p(word | all words before it)."""
    import torch

    ids = torch.tensor(data.encode_documents([text], data.load_tokenizer()))  # (1, 1 + words + 1): <bos>, words, <eos>
    with torch.no_grad():
        logits = models.load_model(model)(ids).logits[0]  # (1 + words + 1, vocab)
    return torch.nn.functional.cross_entropy(logits[:-2], ids[0, 1:-1], reduction="none")
