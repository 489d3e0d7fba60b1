"""Probes of chapter 03's last part: what belongs to a sampled answer, and the log-probabilities of its tokens."""

from typing import NamedTuple

import torch
from torch import nn

from autograder.chapters.probing import as_tensor, gradients_of, seeded
from autograder.exercise import Exercise

TOPIC = "03_reinforce"
_VOCAB = 13


# ---------------------------------------------------------------------------------------------------------------------
answer_mask = Exercise("answer_mask", TOPIC, "Exercise 10: where an answer ends")


def _rows(seed: int, rows: int, length: int, end_id: int, first_ends: list[int | None]) -> torch.Tensor:
    """Random tokens; row i has its first end_id at first_ends[i], or none; behind it anything but end_id."""
    g = seeded(seed)
    tokens = torch.randint(0, _VOCAB - 1, (rows, length), generator=g)
    tokens[tokens >= end_id] += 1
    for row, end in enumerate(first_ends):
        if end is not None:
            tokens[row, end] = end_id
    return tokens


def _mask(value) -> dict:
    return {"mask": as_tensor(value, "The mask").float()}


@answer_mask.case
def answers_that_end(answer, seed):
    """Answers of several lengths, then padding of id 0: the first end token belongs to the answer, nothing behind it."""
    end_id, ends = 3 + seed % 7, [2 + seed % 3, 6, 1, 4, 3]
    tokens = _rows(seed, 5, 9, end_id, ends)
    for row, end in enumerate(ends):
        tokens[row, end + 1 :] = 0
    return _mask(answer(tokens, end_id))


@answer_mask.case
def answers_that_never_end(answer, seed):
    """Some answers were cut off before they ended: every token of those counts. The end token has the id 0 here."""
    end_id = 0
    return _mask(answer(_rows(seed, 3, 7, end_id, [None, 4, None]), end_id))


@answer_mask.case
def padding_is_the_end_token(answer, seed):
    """Padding has the id of the end token, as in many models: only the first end token counts."""
    end_id, ends = 2 + seed % 9, [3, 5, 2]
    tokens = _rows(seed, 3, 8, end_id, ends)
    for row, end in enumerate(ends):
        tokens[row, end:] = end_id
    return _mask(answer(tokens, end_id))


@answer_mask.case
def empty_answers(answer, seed):
    """Some answers end with their very first token: that one counts."""
    end_id = 1 + seed % 11
    return _mask(answer(_rows(seed, 4, 5, end_id, [0, 3, 0, 2]), end_id))


@answer_mask.case
def anything_behind_the_end(answer, seed):
    """Rows that go on behind the end with other words, with a second end token, and end with their last token."""
    end_id = 4 + seed % 5
    tokens = _rows(seed, 3, 11, end_id, [3, 2, 10])
    tokens[0, 7], tokens[1, 9] = end_id, end_id
    return _mask(answer(tokens, end_id))


@answer_mask.case
def an_answer_alone(answer, seed):
    """A batch of one answer."""
    end_id = 5 + seed % 7
    return _mask(answer(_rows(seed, 1, 6, end_id, [2 + seed % 3]), end_id))


# ---------------------------------------------------------------------------------------------------------------------
rollout_logps = Exercise("rollout_logps", TOPIC, "Exercise 11: log-probabilities of a rollout")


class _Output(NamedTuple):
    logits: torch.Tensor


class _TinyModel(nn.Module):
    """A causal language model of one attention layer that is called as one of transformers is.

    It knows only how far apart two tokens are, so padding on the left changes nothing where the mask hides it. Importing
    transformers takes seconds, and a check that runs its cases in processes of their own would pay them for each.
    """

    def __init__(self, seed: int, vocab: int = _VOCAB, width: int = 8):
        super().__init__()
        g = seeded(seed)
        self.embed_tokens, self.lm_head = nn.Embedding(vocab, width), nn.Linear(width, vocab, bias=False)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape, generator=g))

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    def forward(self, input_ids=None, attention_mask=None, **others) -> _Output:
        x = self.embed_tokens(input_ids)  # (batch, seq, width)
        place = torch.arange(x.shape[1])
        distance = place[:, None] - place  # (seq, seq)
        scores = self.query(x) @ self.key(x).transpose(1, 2) - 0.3 * distance
        hidden = distance < 0
        if attention_mask is not None:
            hidden = hidden | (attention_mask != 1)[:, None]
        # Finite: a row of padding sees nothing, and must not become NaN.
        weights = scores.masked_fill(hidden, -1e4).softmax(-1)
        return _Output(self.lm_head(x + weights @ self.value(x)))


def _rollout(seed: int, lengths: list[int], answer_lengths: list[int], pad_id: int = 0) -> tuple[torch.Tensor, ...]:
    """Prompts padded on the left with pad_id, sampled tokens padded on the right, and their masks."""
    g = seeded(seed)
    longest, new = max(lengths), max(answer_lengths)
    ids = torch.randint(1, _VOCAB, (len(lengths), longest), generator=g)
    tokens = torch.randint(1, _VOCAB, (len(lengths), new), generator=g)
    attention_mask = (torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]).long()
    mask = (torch.arange(new) < torch.tensor(answer_lengths)[:, None]).long()
    ids[attention_mask == 0], tokens[mask == 0] = pad_id, pad_id
    return ids, attention_mask, tokens, mask


def _logps(answer, seed: int, *rollout: torch.Tensor) -> dict:
    model = _TinyModel(seed)
    logps = as_tensor(answer(model, *rollout), "The log-probabilities")
    return {
        "logps": logps,
        "_sizes": {"the batch size": len(rollout[0]), "the number of new tokens": rollout[3].shape[1]},
    }


@rollout_logps.case
def prompts_of_one_length(answer, seed):
    """Prompts of equal length, answers of different ones: log p of each token of the answer, 0 behind its end."""
    return _logps(answer, seed, *_rollout(seed, [4, 4, 4], [5, 2, 3]))


@rollout_logps.case
def prompts_padded_on_the_left(answer, seed):
    """Prompts of different lengths: the model must not look at their padding."""
    return _logps(answer, seed, *_rollout(seed, [6, 2, 3, 5, 1], [3, 4, 2, 1, 7]))


@rollout_logps.case
def padding_with_an_ordinary_id(answer, seed):
    """The padding id is an ordinary token, which prompts and answers hold as well: only the masks say what counts."""
    ids, attention_mask, tokens, mask = _rollout(seed, [3, 5, 2], [2, 4, 3], pad_id=7)
    ids[0, -1], tokens[1, 1], tokens[2, 0] = 7, 7, 7
    return _logps(answer, seed, ids, attention_mask, tokens, mask.bool())


@rollout_logps.case
def a_single_answer_of_one_token(answer, seed):
    """One prompt, and an answer that is nothing but its end."""
    return _logps(answer, seed, *_rollout(seed, [5], [1]))


@rollout_logps.case
def several_answers_of_one_token(answer, seed):
    """Three prompts of different lengths, and answers that are nothing but their ends."""
    return _logps(answer, seed, *_rollout(seed, [4, 2, 3], [1, 1, 1]))


@rollout_logps.case
def gradient_to_the_model(answer, seed):
    """Gradients flow from the log-probabilities of the answers to the model's weights; nothing comes from padding."""
    model = _TinyModel(seed)
    ids, attention_mask, tokens, mask = _rollout(seed, [4, 2, 3], [3, 5, 2])
    logps = answer(model, ids, attention_mask, tokens, mask)
    weights = (model.lm_head.weight, model.embed_tokens.weight)
    gradients = gradients_of(logps, *weights, what="The log-probabilities", to="model")
    return dict(zip(("unembedding", "embeddings"), gradients, strict=True))
