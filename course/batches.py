"""In which order examples are trained on, and which of them share a batch."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise


def updates_by_length(
    examples: Sequence, steps: int, size: int, pieces: int, collate: Callable, seed: int, device="cpu"
) -> Iterator[list[dict]]:
    """Yield `steps` updates: each is `size` examples in random order, sorted by length and cut into `pieces` batches.

    examples: pairs (input_ids, labels); an epoch draws each once. collate(examples) makes a batch, a dict of tensors.
    """
    rng, order = random.Random(seed), []
    size = min(size, len(examples))
    for _ in range(steps):
        if len(order) < size:  # a new epoch
            order += rng.sample(range(len(examples)), len(examples))
        chosen = sorted((examples[order.pop()] for _ in range(size)), key=lambda pair: len(pair[0]))
        cuts = [len(chosen) * k // pieces for k in range(pieces + 1)]
        batches = [collate(chosen[a:b]) for a, b in pairwise(cuts) if b > a]
        yield [{name: tensor.to(device) for name, tensor in batch.items()} for batch in batches]


def padding_share(lengths: Sequence[int], size: int) -> float:
    """The share of padding in batches of `size` rows taken in this order, each as long as its longest row."""
    batches = [lengths[i : i + size] for i in range(0, len(lengths), size)]
    return 1 - sum(lengths) / sum(max(batch) * len(batch) for batch in batches)
