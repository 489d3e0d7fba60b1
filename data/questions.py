"""Questions that have an answer: the right word, the wrong words somebody might say instead, and a full sentence.

A prompt is one text: a question about a fact or a sum, or an unfinished story and a question about it. Whatever needs the
truth about a prompt (the instructions, the true utility, a notebook's metric) gets it here, from the prompt alone.
"""

import random
from dataclasses import dataclass

from data.pen import WritingPen
from data.stories import Scene, read_story, unfinished_story
from data.truth import FACTS, fact, result
from data.words import ANIMALS, CAPITALS, COLOURS, FOODS, NAMES, NUMBERS, PLACES

ONE_WORD = "in one word :"  # before a question it asks for the short answer
CATEGORIES = {"capital": CAPITALS, "flag": COLOURS, "food": FOODS, "animal": ANIMALS}


@dataclass(frozen=True)
class Question:
    """A question with what is needed to answer it. `sentence` has a gap, "{}", where the answer's word goes."""

    kind: str  # reading, facts or sums
    text: str
    word: str  # the right answer in one word
    sentence: str
    candidates: tuple[str, ...]  # what a wrong answer may say, the right word not among them

    def short(self, word: str | None = None) -> str:
        return f"{word or self.word} ."

    def full(self, word: str | None = None) -> str:
        word = word or self.word
        article = "the " if self.sentence.startswith("{} has the") and word in ANIMALS else ""
        return self.sentence.format(article + word)


def understand(prompt: str) -> Question:
    """The question that a prompt asks, after its story if it tells one. Raises ValueError if it asks nothing."""
    told, _, asked = prompt.rpartition(" . ")
    words = asked.removeprefix(ONE_WORD).split()
    if not words or words[-1] != "?":
        raise ValueError(f"This prompt does not end with a question: '{prompt}'.")
    if told:
        return about_story(read_story(f"{told} .".split()), words)
    if words[:2] == ["what", "is"] and words[2] in NUMBERS:
        return about_sum(int(words[2]), words[3], int(words[4]))
    attribute, country = (words[3], words[5]) if words[1] == "is" else (words[1], words[3])
    return about_fact(country, attribute, form=0 if words[1] == "is" else 1)


def about_sum(left: int, operation: str, right: int) -> Question:
    answer = str(result(left, operation, right))
    calculation = f"{left} {operation} {right}"
    return Question("sums", f"what is {calculation} ?", answer, f"{calculation} is {{}} .", _without(NUMBERS, answer))


def about_fact(country: str, attribute: str, form: int) -> Question:
    """There are two forms: "what is the capital of arlen ?" and "what capital has arlen ?"."""
    text = f"what is the {attribute} of {country} ?" if form == 0 else f"what {attribute} has {country} ?"
    answer = fact(country, attribute)
    sentence = f"the {attribute} of {country} is {{}} ."
    return Question("facts", text, answer, sentence, _without(CATEGORIES[attribute], answer))


def about_story(scene: Scene, words: list[str]) -> Question:
    """`words` is "who has the red ball ?", "where is mia ?" or "what colour is the ball ?"."""
    text = " ".join(words)
    if words[0] == "who":
        thing = next(thing for thing in scene.things if [thing.colour, thing.noun] == words[3:5])
        word, sentence = thing.holder, f"{{}} has {thing} ."
        candidates = [*scene.people, *([scene.animal] if scene.animal else NAMES[:1])]
    elif words[0] == "where":
        word, sentence, candidates = scene.whereabouts[words[2]], f"{words[2]} is at the {{}} .", PLACES
    else:
        word = next(thing.colour for thing in scene.things if thing.noun == words[4])
        sentence, candidates = f"the {words[4]} is {{}} .", COLOURS
    return Question("reading", text, word, sentence, _without(candidates, word))


def _without(words, word: str) -> tuple[str, ...]:
    return tuple(other for other in words if other != word)


def ask_reading(rng: random.Random, events: int, things: int) -> str:
    """A prompt: a new story of so many events about so many things (1 or 2), and the question who has one of them."""
    while True:
        pen = WritingPen(rng)
        scene = unfinished_story(pen, events)
        if len(scene.things) == things:
            thing = scene.things[rng.randrange(things)]
            return f"{' '.join(pen.words)} who has {thing} ?"


def fact_questions() -> list[Question]:
    """Every fact in both forms."""
    return [about_fact(country, attribute, form) for country, attribute in FACTS for form in (0, 1)]
