"""Probes of chapter 09's exercises on steps: how few rounds they take, learning on a budget, what follows from a wrong one."""

import random
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from autograder.chapters.probing import as_number, as_pair, mask_of, noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "09_cot"

# ---------------------------------------------------------------------------------------------------------------------
join_moves = Exercise("join_moves", TOPIC, "Exercise 3: how few rounds?")


def _joined(answer, moves: list[tuple[int, int]]) -> dict:
    rounds = answer(moves)
    if not isinstance(rounds, (list, tuple)):
        raise Unexpected(f"A list of rounds is asked for; your function returned {type(rounds).__name__}.")
    if any(not isinstance(moves_left, (list, tuple)) for moves_left in rounds):
        raise Unexpected("Each round should be a list of moves (a, b).")
    try:
        lines = [" ".join(f"({int(a)}, {int(b)})" for a, b in moves) for moves in rounds]
        return {"rounds": "\n".join(f"round {i}: {line}" for i, line in enumerate(lines, 1))}
    except (TypeError, ValueError):
        raise Unexpected("Each move in a round should be a pair (a, b) of whole numbers.") from None


def _moves(seed: int, count: int) -> list[tuple[int, int]]:
    """Moves for which the order matters, and in which neither number is 0."""
    rng = random.Random(seed)
    return [(rng.choice((2, 3, 7, 9)), rng.randrange(1, 10)) for _ in range(count)]


@join_moves.case
def two_moves(answer, seed):
    """Two moves are joined into one, in one round. The order matters."""
    return _joined(answer, _moves(seed, 2))


@join_moves.case
def a_power_of_two(answer, seed):
    """Eight moves: three rounds, with four, two and one move left."""
    return _joined(answer, _moves(seed, 8))


@join_moves.case
def one_left_over(answer, seed):
    """An odd number of moves: the last one stays as it is until it finds a partner."""
    return {f"{name}_of_{n}": text for n in (3, 5, 7) for name, text in _joined(answer, _moves(seed + n, n)).items()}


@join_moves.case
def one_move(answer, seed):
    """One move needs no round; beside it, eleven moves, which need four."""
    alone = _joined(answer, _moves(seed, 1))["rounds"]
    return {"rounds_of_one": alone, "rounds_of_eleven": _joined(answer, _moves(seed, 11))["rounds"]}


@join_moves.case
def moves_that_lose_something(answer, seed):
    """Moves that multiply by 0, 1 or 5, and such that add nothing, are moves like others."""
    rng = random.Random(seed)
    return _joined(answer, [(rng.choice((0, 1, 5, 4)), rng.choice((0, 0, 3, 9))) for _ in range(6)])


# ---------------------------------------------------------------------------------------------------------------------
# The first optimizer in a process imports torch's compiler, which takes seconds.
train_on_budget = Exercise("train_on_budget", TOPIC, "Exercise 4: the same budget for all", needs=("torch._dynamo",), trains=True)

_VOCAB, _SEQ = 7, 6


class _Model(torch.nn.Module):
    """Each token's logits depend on the token and on the mean of what stands before it. In the form of a transformers model."""

    def __init__(self, seed: int, scale: float = 1.0):
        super().__init__()
        g, self.scale = seeded(seed), scale
        self.table = torch.nn.Parameter(0.5 * torch.randn(_VOCAB, _VOCAB, generator=g))
        self.mix = torch.nn.Parameter(0.5 * torch.randn(_VOCAB, _VOCAB, generator=g))

    def forward(self, input_ids, attention_mask=None, labels=None, **_):
        if attention_mask is None:
            raise Unexpected("The model should be called with the batch's attention_mask too.")
        seen = attention_mask.to(self.mix.dtype)[..., None]
        mean = (self.mix[input_ids] * seen).cumsum(1) / seen.cumsum(1).clamp(min=1)
        logits = self.scale * (self.table[input_ids] + mean)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return SimpleNamespace(logits=logits, loss=loss)


def _batches(seed: int, count: int) -> list[dict[str, torch.Tensor]]:
    """Batches of different sizes: rows of 3 to 6 tokens, of which the last two or three are learned from."""
    g, made = seeded(seed), []
    for i in range(count):
        lengths = [3 + (i * 2 + j + seed) % 4 for j in range(3 + i % 2)]
        mask = mask_of(lengths, _SEQ)
        ids = torch.randint(1, _VOCAB, mask.shape, generator=g).masked_fill(mask == 0, 0)
        first = torch.tensor(lengths)[:, None] - 2 - (i % 2)
        labels = ids.masked_fill((mask == 0) | (torch.arange(_SEQ) < first), -100)
        made.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return made


def _cost(batches: list[dict]) -> list[int]:
    return [int(b["attention_mask"].sum()) for b in batches]


def _trained(answer, seed: int, budget: int, batches, scale: float = 1.0, **options) -> dict:
    model = _Model(seed, scale)
    optimizer = noting_sgd([{"params": [model.table]}, {"params": [model.mix], "lr": 0.4}], lr=0.8)
    losses = answer(model, optimizer, batches, budget, **options)
    return {
        "losses": plain_losses(losses, "train_on_budget", "one a step"),
        "steps": len(optimizer.norms),
        "gradient_norms": torch.tensor(optimizer.norms),
        "weights": torch.cat([model.table.detach().flatten(), model.mix.detach().flatten()]),
    }


@train_on_budget.case
def within_the_budget(answer, seed):
    """Four batches of many fit into the budget and the fifth does not: four steps, and a loss for each."""
    batches = _batches(seed, 90)
    return _trained(answer, seed, sum(_cost(batches)[:4]) + 3, iter(batches), max_norm=1e9)


@train_on_budget.case
def used_up_exactly(answer, seed):
    """Three batches cost exactly the budget: all three are learned from."""
    batches = _batches(seed, 6)
    return _trained(answer, seed, sum(_cost(batches)[:3]), iter(batches), max_norm=1e9)


@train_on_budget.case
def one_token_short(answer, seed):
    """One token is missing for the third batch: two steps. A smaller batch that comes later is not fetched."""
    batches = _batches(seed, 6)
    batches[3:] = [{name: tensor[:1] for name, tensor in batch.items()} for batch in batches[3:]]
    fetched = []
    found = _trained(answer, seed, sum(_cost(batches)[:3]) - 1, (fetched.append(1) or b for b in batches), max_norm=1e9)
    return found | {"batches_fetched": len(fetched)}


@train_on_budget.case
def no_more_batches(answer, seed):
    """The batches end before the budget does, given as a list: the training ends with them."""
    return _trained(answer, seed, 10_000, _batches(seed, 5), max_norm=1e9)


@train_on_budget.case
def the_gradient_clipped(answer, seed):
    """The gradient of all parameters together is scaled to max_norm where it is longer; max_norm is 1 by default."""
    batches = _batches(seed, 4)
    short = _trained(answer, seed, 10_000, iter(batches), max_norm=0.05)
    default = _trained(answer, seed, 10_000, iter(batches), scale=9.0)
    return short | {f"by_default_{name}": default[name] for name in ("weights", "gradient_norms")}


# ---------------------------------------------------------------------------------------------------------------------
faithfulness = Exercise("faithfulness", TOPIC, "Exercise 7: change a step")


def _asked(seed: int, count: int, factors=(1, 3, 7, 9)) -> list[tuple]:
    """Puzzles as (start, moves), each with a place and a wrong total for it; with what follows and what is true."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        depth = rng.randrange(2, 7)
        puzzle = rng.randrange(10), [(rng.choice(factors), rng.randrange(10)) for _ in range(depth)]
        place = rng.randrange(depth)
        total, true = puzzle[0], []
        for a, b in puzzle[1]:
            total = (a * total + b) % 10
            true.append(total)
        wrong = (true[place] + rng.randrange(1, 10)) % 10
        follows = wrong
        for a, b in puzzle[1][place + 1 :]:
            follows = (a * follows + b) % 10
        made.append((puzzle, place, wrong, follows, true[-1]))
    return made


def _shares(answer, asked: list[tuple], answers: list) -> dict:
    puzzles, places, wrong = ([row[i] for row in asked] for i in range(3))
    pair = as_pair(answer(puzzles, places, wrong, answers), "the share that follows and the share that stays")
    return {name: as_number(x, "Each share") for name, x in zip(("follow", "stay"), pair, strict=True)}


@faithfulness.case
def some_follow_and_some_stay(answer, seed):
    """Some answers follow from the wrong step, some are those of the unchanged puzzle, some are neither."""
    rng, asked = random.Random(seed + 1), _asked(seed, 30)
    answers = [rng.choice((follows, follows, follows, true, true, (true + 1) % 10)) for *_, follows, true in asked]
    return _shares(answer, asked, answers)


@faithfulness.case
def all_follow(answer, seed):
    """All follow, whichever step was changed; then all stay."""
    asked = _asked(seed, 17)
    follow, stay = _shares(answer, asked, [row[3] for row in asked]), _shares(answer, asked, [row[4] for row in asked])
    return follow | {f"{name}_2": value for name, value in stay.items()}


@faithfulness.case
def the_last_step(answer, seed):
    """The last step was changed: the answer that follows is the wrong number itself."""
    asked = [row for row in _asked(seed, 80) if row[1] == len(row[0][1]) - 1][:7]
    return _shares(answer, asked, [row[2] if i % 3 else row[4] for i, row in enumerate(asked)])


@faithfulness.case
def the_first_step(answer, seed):
    """The first step was changed: all later moves are made from the wrong number."""
    asked = [row for row in _asked(seed, 80) if row[1] == 0][:9]
    return _shares(answer, asked, [row[3] if i % 3 else row[4] for i, row in enumerate(asked)])


@faithfulness.case
def no_answer(answer, seed):
    """None neither follows nor stays, and its puzzle counts."""
    asked = _asked(seed, 12)
    return _shares(answer, asked, [None if i % 4 == 0 else row[3] if i % 4 < 3 else row[4] for i, row in enumerate(asked)])


@faithfulness.case
def where_both_are_the_same(answer, seed):
    """Where following and staying give the same number (after a move that multiplies by 0, 2 or 5), the puzzle does not count."""
    asked = _asked(seed, 40, factors=(0, 2, 5, 1, 3))
    answers = [row[3] if i % 5 else row[4] for i, row in enumerate(asked)]
    same = [row for row in _asked(seed, 300, factors=(0,)) if row[3] == row[4]][:4]
    found = _shares(answer, asked, answers)
    alone = _asked(seed + 1, 1)  # one that counts, beside those that do not
    for name, more, place in (("none_counts", [], 3), ("one_follows", alone, 3), ("one_stays", alone, 4)):
        told = _shares(answer, same + more, [row[place] for row in same + more])
        found |= {f"{share}_where_{name}": value for share, value in told.items()}
    return found
