"""How a document is written so that its probability is known exactly.

A document generator is a function of a *pen*. It may choose only through `pen.pick`, and a pick writes the chosen
word at once. So what the generator knows is always what a reader of the same words knows, and the probability it gives
to each word is the true probability of that word given all those before it: no language model does better on average.

Two pens share the generators' code: one writes at random; one reads a given text, scores it, and where the text ends
says what may come next.
"""

import math
import random
from collections.abc import Iterable, Mapping

from data.words import EOS

Weights = Mapping[str, float]


class Impossible(ValueError):
    """The generator could never have written this text."""


class Pen:
    """Writes words and remembers the natural logarithm of each word's probability."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.logps: list[float] = []

    def pick(self, options: Weights | Iterable[str]) -> str:
        """Write one word: of a list (all equally likely) or of {word: weight} (any positive scale). Returns it."""
        weights = options if isinstance(options, Mapping) else dict.fromkeys(options, 1.0)
        word = self.choose(weights)
        self.words.append(word)
        self.logps.append(math.log(weights[word] / sum(weights.values())))
        return word

    def say(self, text: str) -> None:
        """Write words that could not have been others: each has probability 1."""
        for word in text.split():
            self.pick([word])

    def choose(self, weights: Weights) -> str:
        raise NotImplementedError


class WritingPen(Pen):
    """Chooses at random. The same seed writes the same document on every machine."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng

    def choose(self, weights: Weights) -> str:
        if len(weights) == 1:  # a certain word costs no random number
            return next(iter(weights))
        left = self.rng.random() * sum(weights.values())
        for word, weight in weights.items():
            left -= weight
            if left < 0:
                return word
        return word  # rounding may leave a sliver behind the last word


class AskedForMore(Exception):
    """A reading pen came to the end of its text. `weights` says what the generator would choose from."""

    def __init__(self, weights: Weights) -> None:
        super().__init__("the text ended")
        self.weights = weights


class ReadingPen(Pen):
    """Follows a given text, and raises Impossible at a word that the generator cannot write there."""

    def __init__(self, text: list[str]) -> None:
        super().__init__()
        self.text = text

    def choose(self, weights: Weights) -> str:
        place = len(self.words)
        if place == len(self.text):
            raise AskedForMore(weights)
        word = self.text[place]
        if word not in weights:
            before = " ".join(self.text[:place][-6:])
            raise Impossible(f"'{word}' (word {place}) cannot follow '... {before}'; possible: {', '.join(weights)}.")
        return word


def finish(pen: Pen) -> None:
    """End the document."""
    pen.say(EOS)
