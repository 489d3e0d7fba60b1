"""The world's documents: what kinds there are, how each is written, and the exact probability of any text.

A document's first word says of which kind it is, so nothing about a document is hidden from a reader of its words.
"""

import random
from dataclasses import dataclass

from data.pen import AskedForMore, Pen, ReadingPen, WritingPen, finish
from data.stories import story
from data.truth import fact, partners, result
from data.words import ANIMALS, ATTRIBUTES, COLOURS, COUNTRIES, EOS, LARGEST_NUMBER, NAMES, NUMBERS, OBJECTS

# How often a document begins with each kind's first words.
SHARES = {"story": 0.40, "facts": 0.21, "sums": 0.16, "copying": 0.15, "questions": 0.08}
FIRST_WORDS: dict[str, dict[str, float]] = {
    "story": {"one": 1.0},
    "facts": {"the": 0.5, "in": 0.5},
    "sums": dict.fromkeys(NUMBERS, 1 / len(NUMBERS)),
    "copying": dict.fromkeys(NAMES, 1 / len(NAMES)),
    "questions": {"what": 0.7, "who": 0.15, "where": 0.15},
}
LONGEST = 126  # words: with <bos> and <eos> a document fits 128 tokens
# A list of facts, sums, ... ends with the item that brings it to MOST words; from FEWEST words on it may end earlier.
FEWEST, MOST, ENDS = 40, 56, 0.1


@dataclass(frozen=True)
class Document:
    """A finished document. `words` ends with <eos>; `logps[i]` is log p of `words[i]` given those before, in nats."""

    kind: str
    words: tuple[str, ...]
    logps: tuple[float, ...]

    @property
    def text(self) -> str:
        """The words without <eos>, separated by spaces."""
        return " ".join(self.words[:-1])


def write_document(rng: random.Random) -> Document:
    """Write one document of a random kind."""
    pen = WritingPen(rng)
    kind = _document(pen)
    return Document(kind, tuple(pen.words), tuple(pen.logps))


def score(text: str) -> Document:
    """The Document whose text this is, with the exact log-probability of each word. Raises Impossible if there is none."""
    pen = ReadingPen([*text.split(), EOS])
    kind = _document(pen)
    return Document(kind, tuple(pen.words), tuple(pen.logps))


def next_word_probabilities(text: str) -> dict[str, float]:
    """What the world would write after these words of a document that is not finished: {word: probability}."""
    pen = ReadingPen(text.split())
    try:
        _document(pen)
    except AskedForMore as more:
        total = sum(more.weights.values())
        return {word: weight / total for word, weight in more.weights.items()}
    raise ValueError("this document is finished: it ends with <eos>")


def _document(pen: Pen) -> str:
    first = pen.pick({word: SHARES[kind] * share for kind, words in FIRST_WORDS.items() for word, share in words.items()})
    kind = next(kind for kind, words in FIRST_WORDS.items() if first in words)
    WRITERS[kind](pen)
    return kind


def goes_on(pen: Pen, first_words: dict[str, float]) -> bool:
    """Write the first word of the next item of a list, or <eos>."""
    if len(pen.words) >= MOST:
        finish(pen)
    elif len(pen.words) < FEWEST:
        pen.pick(first_words)
    else:
        total = sum(first_words.values())
        pen.pick({word: (1 - ENDS) * share / total for word, share in first_words.items()} | {EOS: ENDS})
    return pen.words[-1] != EOS


def facts(pen: Pen) -> None:
    """ "the capital of arlen is kirel . in arlen the food is soup . ..."; a country is often spoken of twice in a row."""
    country = None
    while True:
        first = pen.words[-1]
        near = dict.fromkeys(COUNTRIES, 1.0) | ({country: 10.0} if country else {})
        if first == "the":
            attribute = pen.pick(ATTRIBUTES)
            pen.say("of")
            country = pen.pick(near)
        else:
            country = pen.pick(near)
            pen.say("the")
            attribute = pen.pick(ATTRIBUTES)
        pen.say(f"is {fact(country, attribute)} .")
        if not goes_on(pen, FIRST_WORDS["facts"]):
            return


def sum_after(pen: Pen, left: str) -> int:
    """ "plus 4" after "3"; returns the result."""
    operation = pen.pick(["plus", "minus"])
    right = int(pen.pick([str(number) for number in partners(int(left), operation)]))
    return result(int(left), operation, right)


def sums(pen: Pen) -> None:
    """ "3 plus 4 is 7 . 12 minus 5 is 7 . ..." """
    while True:
        pen.say(f"is {sum_after(pen, pen.words[-1])} .")
        if not goes_on(pen, FIRST_WORDS["sums"]):
            return


COPIED_WORDS = COLOURS + ANIMALS


def copying(pen: Pen) -> None:
    """ "mia says : red dog fox pink . leo says : red dog fox pink . ..."

    One speaker makes up a list and the others repeat it. Lists differ in length and in their words, so what comes next
    can be known only by finding the place where the last word stood before, and copying what followed it there.
    """
    said = None
    while True:
        pen.say("says :")
        if said is None:
            said = some_words(pen)
        else:
            pen.say(f"{' '.join(said)} .")
        if not goes_on(pen, FIRST_WORDS["copying"]):
            return


def some_words(pen: Pen) -> list[str]:
    """Four to seven different words and a full stop, which is not returned."""
    chosen: list[str] = []
    while True:
        left = {word: 1.0 for word in COPIED_WORDS if word not in chosen}
        stop = {".": 0.25 * len(left)} if len(chosen) >= 4 else {}
        word = pen.pick({".": 1.0} if len(chosen) == 7 else left | stop)
        if word == ".":
            return chosen
        chosen.append(word)


def questions(pen: Pen) -> None:
    """A question sheet: questions, one after another, and never an answer."""
    while True:
        question_after(pen, pen.words[-1])
        if not goes_on(pen, FIRST_WORDS["questions"]):
            return


def question_after(pen: Pen, first: str) -> None:
    """The rest of a question that begins with "what", "who" or "where"."""
    if first == "who":
        pen.say("has the")
        pen.pick(COLOURS)
        pen.pick(OBJECTS)
    elif first == "where":
        pen.say("is")
        pen.pick(NAMES)
    else:
        what_after(pen, pen.pick({"is": 3.0, "colour": 0.5} | dict.fromkeys(ATTRIBUTES, 0.25)))
    pen.say("?")


def what_after(pen: Pen, second: str) -> None:
    if second in ATTRIBUTES:  # what capital has arlen ?
        pen.say("has")
        pen.pick(COUNTRIES)
    elif second == "colour":  # what colour is the ball ?
        pen.say("is the")
        pen.pick(OBJECTS)
    else:
        third = pen.pick({"the": 1.0} | dict.fromkeys(NUMBERS, 1 / (LARGEST_NUMBER + 1)))
        if third == "the":  # what is the capital of arlen ?
            pen.pick(ATTRIBUTES)
            pen.say("of")
            pen.pick(COUNTRIES)
        else:  # what is 3 plus 4 ?
            sum_after(pen, third)


WRITERS = {"story": story, "facts": facts, "sums": sums, "copying": copying, "questions": questions}
