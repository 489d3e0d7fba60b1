"""Sentences and pairs of sentences, as BERT reads them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast


class Pairs(NamedTuple):
    """Pairs `<cls> first <sep> second <sep>`. All int64, (pairs, seq) but the last, which is (pairs,).

    attention_mask is 0 on padding; token_type_ids is 1 on the second sentence and its <sep>; is_next is 0 or 1.
    """

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    token_type_ids: "torch.Tensor"
    is_next: "torch.Tensor"


def sentences(text: str) -> list[str]:
    """The sentences of a document of the world, each with its full stop."""
    return [f"{sentence} ." for sentence in text.removesuffix(" .").split(" . ")]


def encode_pairs(pairs: Sequence[tuple[str, str, bool]], tokenizer: "PreTrainedTokenizerFast") -> Pairs:
    """The tensors of pairs (first, second, is_next), padded on the right to the longest."""
    import torch

    texts = [f"{tokenizer.cls_token} {a} {tokenizer.sep_token} {b} {tokenizer.sep_token}" for a, b, _ in pairs]
    encoded = tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
    seps = (encoded["input_ids"] == tokenizer.sep_token_id).long().cumsum(-1)  # (pairs, seq)
    second = (seps.roll(1, dims=-1) > 0).long()  # what stands after the first <sep>
    second[:, 0] = 0
    is_next = torch.tensor([int(is_next) for *_, is_next in pairs])
    return Pairs(encoded["input_ids"], encoded["attention_mask"], second * encoded["attention_mask"], is_next)
