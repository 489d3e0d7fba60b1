"""Cloze probes: beginnings of documents of which the next word is certain, grouped by what it takes to know it."""

from collections.abc import Sequence

from data.truth import FACTS, UNSEEN_SUMS, fact, result
from data.words import LARGEST_NUMBER, NAMES
from data.world import Document, next_word_probabilities

Probes = dict[str, list[dict[str, str]]]


def probes(heldout: Sequence[Document], most: int = 80) -> Probes:
    """{group: [{"prompt", "answer"}]}; the group "questions" has prompts alone.

    facts        the truth about a country              (memory of the training texts)
    sums         a calculation that training texts show (memory too, of all calculations)
    sums_unseen  a calculation that they do not show    (generalisation)
    copying      what somebody said before              (induction: look back and copy)
    stories      who has the thing now                  (reading: follow it from hand to hand)
    """
    texts = {kind: [document.text for document in heldout if document.kind == kind] for kind in ("copying", "story")}
    shown = [calculation for calculation in every_calculation() if calculation not in set(UNSEEN_SUMS)]
    groups = {
        "facts": [_probe(f"the {attribute} of {country} is", fact(country, attribute)) for country, attribute in FACTS],
        "sums": [_sum_probe(calculation) for calculation in _spread(shown, most)],
        "sums_unseen": [_sum_probe(calculation) for calculation in UNSEEN_SUMS],
        "copying": [probe for text in texts["copying"] for probe in repeated_saying(text)][:most],
        "stories": [probe for text in texts["story"] for probe in last_holder(text)][:most],
    }
    for group, found in groups.items():
        for probe in found:
            if group != "sums_unseen":
                assert next_word_probabilities(probe["prompt"]) == {probe["answer"]: 1.0}, probe
    return groups | {"questions": [{"prompt": prompt} for prompt in single_questions(heldout)][:40]}


def every_calculation() -> list[tuple[int, str, int]]:
    numbers = range(LARGEST_NUMBER + 1)
    calculations = [(left, operation, right) for operation in ("plus", "minus") for left in numbers for right in numbers]
    return [calculation for calculation in calculations if 0 <= result(*calculation) <= LARGEST_NUMBER]


def _probe(prompt: str, answer: str) -> dict[str, str]:
    return {"prompt": prompt, "answer": answer}


def _sum_probe(calculation: tuple[int, str, int]) -> dict[str, str]:
    left, operation, right = calculation
    return _probe(f"{left} {operation} {right} is", str(result(left, operation, right)))


def _spread(items: list, count: int) -> list:
    """`count` items, evenly spaced."""
    return [items[i * len(items) // count] for i in range(count)]


def repeated_saying(text: str) -> list[dict[str, str]]:
    """The second and third word of the list, where it is said for the second time."""
    words = text.split()
    start = words.index(".") + 1  # of "leo says : ..."
    return [_probe(" ".join(words[:place]), words[place]) for place in (start + 4, start + 5)]


def last_holder(text: str) -> list[dict[str, str]]:
    """Whom a thing is with at the end, where that is a person, and not the one who had it first."""
    words = text.split()
    ends = [place + 1 for place, word in enumerate(words) if words[place - 1 : place + 1] == ["is", "with"]]
    return [
        _probe(" ".join(words[:place]), words[place])
        for place in ends[:1]
        if words[place] in NAMES and words[place] != words[2]
    ]


def single_questions(heldout: Sequence[Document]) -> list[str]:
    """The first question of each held-out question sheet, each once."""
    firsts = [document.text.split(" ?")[0] + " ?" for document in heldout if document.kind == "questions"]
    return list(dict.fromkeys(firsts))
