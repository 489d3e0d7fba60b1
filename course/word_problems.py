"""Small word problems with their steps, and GSM8K for those who have a model hub and a GPU. Given to chapter 09."""

import random
import re
from typing import NamedTuple

NAMES = ("Anna", "Bob", "Mira", "Tom", "Ines", "Karl", "Lena", "Paul")
THINGS = ("apples", "pens", "shells", "books", "coins", "cards")


class Problem(NamedTuple):
    """A question, the steps to its answer, and the answer."""

    question: str
    steps: tuple[str, ...]
    answer: float

    def as_example(self) -> dict:
        """As cot_prompt wants its examples."""
        return {"question": self.question, "steps": list(self.steps), "answer": f"{self.answer:g}"}


def apples(first: str = "Anna", second: str = "Bob", things: str = "apples", a: int = 3, b: int = 2) -> Problem:
    """The example with which chains of thought are often explained."""
    return Problem(
        f"{first} has {a} {things}, and {second} has {b} {things} more. How many {things} do they have together?",
        (f"{second} has {a} + {b} = {a + b} {things}.", f"Together they have {a} + {a + b} = {2 * a + b} {things}."),
        2 * a + b,
    )


def _given_away(first: str, second: str, things: str, rng: random.Random) -> Problem:
    boxes, each = rng.randrange(2, 7), rng.randrange(3, 10)
    given = rng.randrange(2, boxes * each - 1)
    return Problem(
        f"{first} buys {boxes} boxes with {each} {things} in each, and gives {given} {things} to {second}. How many {things} "
        f"does {first} have left?",
        (f"In the boxes are {boxes} * {each} = {boxes * each} {things}.",
         f"After the gift there are {boxes * each} - {given} = {boxes * each - given} {things}."),
        boxes * each - given,
    )  # fmt: skip


def _change(first: str, second: str, things: str, rng: random.Random) -> Problem:
    count, price = rng.randrange(2, 6), rng.randrange(2, 9)
    note = next(n for n in (20, 50) if n > count * price)
    return Problem(
        f"One of the {things} costs {price} euros. {first} buys {count} of them and pays with a note of {note} euros. "
        f"How many euros does {first} get back?",
        (f"The {things} cost {count} * {price} = {count * price} euros.",
         f"{first} gets back {note} - {count * price} = {note - count * price} euros."),
        note - count * price,
    )  # fmt: skip


def _twice(first: str, second: str, things: str, rng: random.Random) -> Problem:
    a, c = rng.randrange(2, 12), rng.randrange(2, 12)
    return Problem(
        f"{first} finds {a} {things} on Monday, twice as many on Tuesday, and {c} on Wednesday. How many {things} does "
        f"{first} find in all?",
        (f"On Tuesday it is 2 * {a} = {2 * a} {things}.", f"In all it is {a} + {2 * a} + {c} = {3 * a + c} {things}."),
        3 * a + c,
    )  # fmt: skip


def _more(first: str, second: str, things: str, rng: random.Random) -> Problem:
    return apples(first, second, things, rng.randrange(2, 30), rng.randrange(2, 20))


KINDS = (_more, _given_away, _change, _twice)


def problems(count: int, seed: int) -> list[Problem]:
    """Random problems, the kinds in turn."""
    rng = random.Random(seed)
    return [KINDS[i % len(KINDS)](*rng.sample(NAMES, 2), rng.choice(THINGS), rng) for i in range(count)]


def sums_in(texts: list[str]) -> list[bool]:
    """Of every sum "a + b = c" (or with - or *) in what a model wrote before its next question: whether it is right."""
    found = []
    for text in texts:
        for a, sign, b, c in re.findall(r"(\d+) ([+*-]) (\d+) = (-?\d+)", text.split("\nQuestion:")[0]):
            truth = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
            found.append(truth == int(c))
    return found


def gsm8k(count: int) -> tuple[list[Problem], list[Problem]]:
    """Eight problems of GSM8K's training part, and the first `count` of its test part (Cobbe et al. 2021). Needs the hub."""
    from datasets import load_dataset

    parts = load_dataset("openai/gsm8k", "main")
    shown, asked = parts["train"].select(range(8)), parts["test"].select(range(count))
    return [from_gsm8k(row) for row in shown], [from_gsm8k(row) for row in asked]


def from_gsm8k(row: dict[str, str]) -> Problem:
    """A row of GSM8K: its solution is lines with <<2*3=6>> notes in them, and the answer stands behind ####."""
    solution, _, answer = row["answer"].partition("####")
    lines = re.sub(r"<<.*?>>", "", solution).strip().splitlines()
    steps = tuple(line.strip() if line.strip().endswith(".") else f"{line.strip()}." for line in lines)
    return Problem(" ".join(row["question"].split()), steps, float(answer.strip().replace(",", "")))
