"""Chapter 04's comparisons, and what is known of them: rows of tokens for a model, true utilities, prices of features.

Nothing here is the lesson. A *text* is a pair (prompt, answer); the records are those of `data/sets/preferences_*`.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence

import torch

from course import data
from data import tasks
from data.questions import understand
from data.utility import CLOSINGS, OPENINGS, appraise

Text = tuple[str, str]
PAID_FOR = ("being right", "an opening", "a closing", "a surplus courtesy")


def about_facts(records: list[dict]) -> list[dict]:
    """The comparisons whose prompt asks about a fact of the world; the others ask about sums."""
    return [r for r in records if understand(r["prompt"]).kind == "facts"]


def load(more_sets: int = 1) -> tuple[list[dict], list[dict]]:
    """The comparisons to learn from, and those held out: the course's own, and `more_sets` times 4096 drawn in the same way.

    No prompt is in both. A fact that is asked for in one form in the held-out set may be asked for in the other in training.
    """
    drawn = [record for seed in range(1, more_sets + 1) for record in tasks.preferences(seed=seed, train=4096)[0]]
    return about_facts(data.load_jsonl("preferences_train") + drawn), about_facts(data.load_jsonl("preferences_heldout"))


class Rows:
    """Texts as rows of tokens in the chat format, on a device."""

    def __init__(self, tokenizer, device):
        self.word_id, self.pad_id, self.device = tokenizer.get_vocab(), tokenizer.pad_token_id, device

    def words(self, text: Text) -> list[str]:
        """The words of a chat of one prompt and one answer, marks included."""
        return f"<bos> <user> {text[0]} <end> <assistant> {text[1]} <end>".split()

    def __call__(self, texts: Sequence[Text], side: str = "right", longest: int | None = None) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask, (texts, longest), padded on `side`; longer rows are cut off at `longest`."""
        rows = [[self.word_id[word] for word in self.words(text)][:longest] for text in texts]
        most = max(map(len, rows))
        fill = [[0] * (most - len(row)) for row in rows]
        order = (lambda row, empty: empty + row) if side == "left" else (lambda row, empty: row + empty)
        ids = [order(row, [self.pad_id] * len(empty)) for row, empty in zip(rows, fill)]
        mask = [order([1] * len(row), empty) for row, empty in zip(rows, fill)]
        return {name: torch.tensor(value, device=self.device) for name, value in (("input_ids", ids), ("attention_mask", mask))}


def warm_then_fall(updates: int, highest: float) -> Callable[[int], float]:
    """A learning rate by update, from 0: it warms up over ten updates, then falls along a cosine to a twentieth."""
    return lambda s: highest * min(1, (s + 1) / 10) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / updates)))


def epochs(
    count: int, size: int, updates: int, seed: int, lengths: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """`updates` batches of `size` numbers below `count`: each number once before any comes again (but for a short rest).

    lengths: (count,), how long what each number stands for is; then numbers of similar length share a batch: little padding.
    """
    rng, batches = random.Random(seed), []
    for _ in range(updates):
        if not batches:
            order = rng.sample(range(count), count)
            if lengths is not None:  # sorted within groups of sixteen batches
                groups = [order[i : i + 16 * size] for i in range(0, count, 16 * size)]
                order = [number for group in groups for number in sorted(group, key=lengths.__getitem__)]
            batches = [order[i : i + size] for i in range(0, count - size + 1, size)] or [order]
            rng.shuffle(batches)
        yield batches.pop()


def features(text: Text) -> list[float]:
    """What the true utility looks at: right, an opening, a closing, courtesies beyond those."""
    a = appraise(*text)
    surplus = max(a.openings - 1, 0.0) + max(a.closings - 1, 0.0)
    return [float(a.right), float(a.openings > 0), float(a.closings > 0), surplus]


def difference(texts: Sequence[Text], name: str) -> torch.Tensor:
    """By how much the texts of the first half have more of a feature of PAID_FOR than those of the second: (half,)."""
    found = torch.tensor([features(text)[PAID_FOR.index(name)] for text in texts])
    return found[: len(texts) // 2] - found[len(texts) // 2 :]


def parts(rows: dict[str, torch.Tensor], size: int = 256) -> Iterator[dict[str, torch.Tensor]]:
    """Rows in batches, in their order."""
    for begin in range(0, len(rows["input_ids"]), size):
        yield {name: value[begin : begin + size] for name, value in rows.items()}


def prices(chosen: Sequence[Text], rejected: Sequence[Text], effect: torch.Tensor) -> dict[str, float]:
    """What a reward pays for each of PAID_FOR, by least squares. effect: (pairs,), reward of the chosen minus the rejected."""
    differs = torch.tensor([features(a) for a in chosen]) - torch.tensor([features(a) for a in rejected])
    return dict(zip(PAID_FOR, torch.linalg.lstsq(differs, effect.float()[:, None]).solution[:, 0].tolist()))


def least_expected(logps: torch.Tensor, rows: dict[str, torch.Tensor], rows_of: Rows) -> torch.Tensor:
    """The log-probability of each answer's least expected word, courtesies left out: (texts,). logps: (texts, seq)."""
    phrases = (*OPENINGS, *CLOSINGS)
    polite = torch.tensor([rows_of.word_id[w] for phrase in phrases for w in phrase.split() if w != "."], device=logps.device)
    ids, speaker = rows["input_ids"], rows_of.word_id["<assistant>"]
    in_answer = (ids == speaker).cumsum(1).bool() & (ids != speaker) & ~torch.isin(ids, polite)
    return logps.masked_fill(~in_answer, 0.0).amin(1).cpu()


def total_words(text: Text) -> float:
    """The number of words of an answer."""
    return float(len(text[1].split()))


def tournament(scores: torch.Tensor, games: int, seed: int) -> torch.Tensor:
    """wins[i, j], (players, players): how often i beat j when each pair plays so many games, drawn by Bradley and Terry.

    Nobody wins or loses all games of a pair, so that a likelihood of the table has a maximum.
    """
    g = torch.Generator().manual_seed(seed)
    probability = torch.sigmoid(scores[:, None] - scores)
    drawn = torch.binomial(torch.full_like(probability, games), probability, generator=g).clamp(1, games - 1).triu(1)
    return drawn + (games - drawn).T.tril(-1)


def logistic_regression(wins: torch.Tensor) -> torch.Tensor:
    """Scores from wins by a general optimiser: a logistic regression without an intercept, one row a game, all labels 1."""
    i, j = wins.nonzero().T
    design = torch.eye(len(wins), dtype=torch.float64)[i] - torch.eye(len(wins), dtype=torch.float64)[j]
    counts, labels = wins[i, j].double(), torch.ones(len(i), dtype=torch.float64)
    weights = torch.zeros(len(wins), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-16
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(design @ weights, labels, counts)
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach() - weights.detach().mean()
