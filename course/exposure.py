"""What a mistake of its own does to the rest of a model's answer, with controls."""

from collections.abc import Sequence

import torch


@torch.no_grad()
def after_the_first_mistake(model, examples: Sequence[tuple[list[int], list[int]]], said: Sequence[list[int]]) -> dict:
    """How often the words behind a model's first mistake are right, over the examples in which it makes one.

    examples: (input_ids, labels) with the true answer behind the prompt; said: what the model says to the same prompts,
    greedily. Returns the number of "answers" with a mistake and words behind it, and the share of these words that are right
    after the "true words", after true words with its "one wrong word", and in its "own words", by place; and how many of the
    true words are found in the same order "at any place" of its own.
    """
    right = {"true words": 0, "one wrong word": 0, "own words": 0, "at any place": 0}
    answers = words = 0
    for (ids, labels), own in zip(examples, said, strict=True):
        begin = next(i for i, label in enumerate(labels) if label != -100)
        truth = ids[begin:]
        guesses = _guesses(model, ids, begin)
        wrong = [t for t, (guess, word) in enumerate(zip(guesses, truth, strict=True)) if guess != word]
        if not wrong or wrong[0] + 1 >= len(truth):
            continue
        t = wrong[0]  # up to here, greedy words and true words are the same
        rest = truth[t + 1 :]
        changed = _guesses(model, [*ids[: begin + t], guesses[t], *ids[begin + t + 1 :]], begin)
        answers, words = answers + 1, words + len(rest)
        right["true words"] += _same(guesses[t + 1 :], rest)
        right["one wrong word"] += _same(changed[t + 1 :], rest)
        right["own words"] += _same(own[t + 1 :], rest)
        right["at any place"] += _common(own[t + 1 :], rest)
    return {"answers": answers} | {name: count / max(1, words) for name, count in right.items()}


def _guesses(model, ids: list[int], begin: int) -> list[int]:
    """The likeliest token at each place of the answer, after the tokens before it."""
    logits = model(torch.tensor([ids], device=model.device)).logits[0]  # (seq, vocab)
    return logits[begin - 1 : -1].argmax(-1).tolist()


def _same(found: Sequence[int], wanted: Sequence[int]) -> int:
    return sum(a == b for a, b in zip(found, wanted, strict=False))


def _common(found: Sequence[int], wanted: Sequence[int]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(wanted) + 1)
    for token in found:
        before = 0
        for i, other in enumerate(wanted):
            row[i + 1], before = (before + 1 if token == other else max(row[i + 1], row[i])), row[i + 1]
    return row[-1]
