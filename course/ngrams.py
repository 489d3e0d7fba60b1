"""Of what the loss of an n-gram model consists, and documents cut into single characters."""

import math
from collections.abc import Mapping, Sequence

CASES = ("seen", "token unseen", "context unseen")


def where_the_loss_is(
    counts: Mapping[tuple, Mapping[int, int]], documents: Sequence[Sequence[int]], n: int, vocab_size: int, alpha: float
) -> dict[str, dict[str, float]]:
    """The loss of an n-gram model in three parts: {case: {"share": of the tokens, "cost": what they add to the mean loss}}.

    A held-out token was "seen" after its context in the training text; or the context was seen, but never with this token
    ("token unseen"); or the context itself was never seen ("context unseen"). The three costs sum to the loss.
    """
    found = {case: {"share": 0.0, "cost": 0.0} for case in CASES}
    predicted = sum(len(document) - 1 for document in documents)
    for document in documents:
        for i in range(1, len(document)):
            seen = counts.get(tuple(document[max(0, i - n + 1) : i]), {})
            count, total = seen.get(document[i], 0), sum(seen.values())
            case = found["seen" if count else "token unseen" if total else "context unseen"]
            case["share"] += 1 / predicted
            case["cost"] -= math.log((count + alpha) / (total + alpha * vocab_size)) / predicted
    return found


def as_characters(texts: Sequence[str]) -> tuple[list[list[int]], int]:
    """Documents cut into characters instead of words, from a 0 for <bos> to a 1 for <eos>; and the size of that vocabulary."""
    letters = sorted(set("".join(texts)))
    ids = {letter: i for i, letter in enumerate(letters, start=2)}
    return [[0, *(ids[letter] for letter in text), 1] for text in texts], len(letters) + 2
