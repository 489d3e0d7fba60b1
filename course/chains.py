"""Puzzles on a ring of ten numbers that are solved step by step, and models that read them. Given to chapter 09.

A puzzle is a number and up to six moves in six boxes: "3 +4 x7 +2 _ _ _ =". After 9 comes 0: what counts is the last digit.
Every move can be undone, so that all answers are equally likely, and a guess is right one time in ten. A puzzle's *depth* is
the number of its moves. Behind the = stands what a model has to write:

    direct   # 1
    chain    7 9 1 # 1       the running totals, and the answer behind #
    dots     . . . # 1       as many tokens as a chain has, without anything in them
"""

import random
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch

from course import symbols
from course.symbols import END, PAD

MOVES = ("+1", "+2", "+3", "+4", "x3", "x7")
WORDS = ("<pad>", "<bos>", "<end>", "=", "#", ".", "_", "hint", *"0123456789", *MOVES)
IDS = {word: i for i, word in enumerate(WORDS)}
FORMS = ("direct", "chain", "dots")
BOXES = 6  # for moves: the largest depth
HELD_OUT = 5  # of the puzzles with two moves or more, one in so many is never trained on


class Puzzle(NamedTuple):
    """A number to start from, and the moves, such as ("+4", "x7")."""

    start: int
    moves: tuple[str, ...]

    @property
    def text(self) -> str:
        """As a model is asked it."""
        return " ".join([str(self.start), *self.moves, *"_" * (BOXES - len(self.moves)), "="])

    @property
    def totals(self) -> list[int]:
        """The total after each move."""
        found, now = [], self.start
        for move in self.moves:
            now = moved(now, move)
            found.append(now)
        return found

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each move as (a, b): it turns a total t into a * t + b."""
        return [(int(m[1:]), 0) if m[0] == "x" else (1, int(m[1:])) for m in self.moves]

    @property
    def truth(self) -> int:
        """The last total."""
        return self.totals[-1]


def moved(total: int, move: str) -> int:
    """The total after a move."""
    number = int(move[1:])
    return (total * number if move[0] == "x" else total + number) % 10


def held_out(puzzle: Puzzle) -> bool:
    """Whether a puzzle is kept for testing: decided by its text, in every process alike. One move alone never is: those
    are the tables that everything else is made of.
    """
    return len(puzzle.moves) > 1 and zlib.crc32(puzzle.text.encode()) % HELD_OUT == 0


def new_puzzle(rng: random.Random, depth: int, test: bool = False) -> Puzzle:
    """A random puzzle to train on, or one to test on; those with one move are both."""
    while True:
        puzzle = Puzzle(rng.randrange(10), tuple(rng.choice(MOVES) for _ in range(depth)))
        if depth == 1 or held_out(puzzle) == test:
            return puzzle


def written(puzzle: Puzzle, form: str, totals: Sequence[int] | None = None) -> str:
    """What stands behind the = in one of the FORMS. totals: those that are written down; the true ones where none are given."""
    totals = puzzle.totals if totals is None else totals
    steps = {"direct": [], "chain": [str(t) for t in totals], "dots": ["."] * len(puzzle.moves)}[form]
    return " ".join([*steps, "#", str(totals[-1])])


# --- Models


def new_model(seed: int, layers: int = 2, width: int = 64):
    """An untrained model of these words. torch's global random state is left alone."""
    return symbols.new_model(len(WORDS), seed, layers, width)


def encoded(texts: Sequence[str], side: str = "right") -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of "<bos> text" and their mask, (batch, longest), padded on `side`."""
    return symbols.encoded(texts, IDS, side)


def batch_of(pairs: Sequence[tuple[str, str]], device="cpu") -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels (batch, longest) of pairs (question, what is to be written behind it).

    Learned from is what is to be written, and the end mark.
    """
    ids, mask = encoded([f"{question} {answer} <end>" for question, answer in pairs])
    labels = ids.masked_fill(mask == 0, -100)
    for row, (question, _) in enumerate(pairs):
        labels[row, : 1 + len(question.split())] = -100
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}


def words_of(tokens: torch.Tensor) -> list[str]:
    """Written tokens as texts, each up to its end mark. tokens: (batch, new)."""
    rows = []
    for row in tokens.tolist():
        row = row[: row.index(END)] if END in row else row
        rows.append(" ".join(WORDS[t] for t in row if t != PAD))
    return rows


def answer_in(text: str) -> int | None:
    """The number behind the first #; None where there is none."""
    words = text.split()
    behind = words[words.index("#") + 1 :] if "#" in words else []
    return int(behind[0]) if behind and behind[0].isdigit() else None


# --- People who slip

BELIEF = (8, "x7", 4)  # eight times seven is 56; many people believe that it is 54


def meets_the_belief(puzzle: Puzzle) -> bool:
    """Whether somebody who solves a puzzle comes to the step that many people believe to be another."""
    return (BELIEF[0], BELIEF[1]) in zip([puzzle.start, *puzzle.totals], puzzle.moves, strict=False)


def puzzle_with_the_belief(rng: random.Random, depth: int, meets: bool, test: bool = False) -> Puzzle:
    """A random puzzle that comes to that step, or one that does not."""
    while True:
        puzzle = new_puzzle(rng, depth, test)
        if meets_the_belief(puzzle) == meets:
            return puzzle


def peoples_totals(puzzle: Puzzle, rng: random.Random, slip: float, believe: float = 0.0) -> list[int]:
    """Totals as people write them: one is off by one with the chance `slip`, and they go on from it; at the step that many
    believe to be another they write what they believe, with the chance `believe`.
    """
    found, now = [], puzzle.start
    for move in puzzle.moves:
        if (now, move) == BELIEF[:2] and rng.random() < believe:
            now = BELIEF[2]
        else:
            now = moved(now, move)
            if rng.random() < slip:
                now = (now + rng.choice((-1, 1))) % 10
        found.append(now)
    return found


def hinted(puzzle: Puzzle, hint: int) -> str:
    """The puzzle's text behind a hint that somebody gives."""
    return f"hint {hint} {puzzle.text}"


# --- How sure one can be


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's formula."""
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    width = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5 / (1 + z * z / count)
    return max(0.0, middle - width), min(1.0, middle + width)


def paired_interval(first: Sequence[bool], second: Sequence[bool], seed: int, draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of the mean of second - first, both on the same questions: the questions are drawn again and again."""
    rng, gaps = random.Random(seed), [int(b) - int(a) for a, b in zip(first, second, strict=True)]
    means = sorted(sum(rng.choices(gaps, k=len(gaps))) / len(gaps) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]
