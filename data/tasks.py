"""The sets that later chapters train on: instructions (02), demonstrations and preferences (03-06), and a new task (07).

Each function returns the records of one set and its held-out companion; all are plain dictionaries of text and numbers.
"""

import random

from data.pen import WritingPen
from data.questions import ONE_WORD, Question, about_fact, about_sum, ask_reading, fact_questions, understand
from data.stories import unfinished_story
from data.truth import ATLAS, UNSEEN_SUMS, partners
from data.utility import CLOSINGS, OPENINGS, preference_probability, utility
from data.words import ATTRIBUTES, COLOURS, LARGEST_NUMBER, OBJECTS

Records = list[dict]

# Facts that no instruction asks for, so that what fine-tuning elicits without showing can be measured.
NEVER_ASKED = [(country, ATTRIBUTES[i % 4]) for i, country in enumerate(list(ATLAS)[::2])]
STYLES = ("full", "short")


def instructions(seed: int, train: int = 8000, reading_heldout: int = 100) -> tuple[Records, Records]:
    """Question-answer records {kind, style, prompt, answer}; 50 % reading, 20 % sums, 30 % facts.

    Held out are the kinds "reading" (new stories), "sums" (asked for in one word; no training record asks them, the corpus
    shows them) and "facts" (asked in training in another form or style). Three more kinds ask for what no training record
    showed: "sums_in_full" (the held-out sums as sentences), "sums_unseen" (not even in the corpus) and
    "facts_never_asked".
    """
    rng = random.Random(seed)
    asked, kept = _split_sums(rng)
    facts_asked, facts_kept, facts_never = _split_facts()
    heldout = [_instruction("sums", about_sum(*calculation), "short") for calculation in kept]
    heldout += [_instruction("sums_in_full", about_sum(*calculation), "full") for calculation in kept]
    heldout += [_instruction("sums_unseen", about_sum(*unseen), STYLES[i % 2]) for i, unseen in enumerate(UNSEEN_SUMS)]
    heldout += [_instruction("facts", question, style) for question, style in facts_kept]
    heldout += [_instruction("facts_never_asked", question, style) for question, style in facts_never]
    seen: set[str] = set()
    heldout += [_read(rng, seen) for _ in range(reading_heldout)]
    records = []
    for _ in range(train):
        which = rng.random()
        if which < 0.50:
            records.append(_read(rng, seen))
        elif which < 0.70:
            records.append(_instruction("sums", about_sum(*_one_of(rng, asked)), _one_of(rng, STYLES)))
        else:
            records.append(_instruction("facts", *_one_of(rng, facts_asked)))
    return records, heldout


def _one_of(rng: random.Random, items):
    return items[int(rng.random() * len(items))]


def _split_sums(rng: random.Random, kept: int = 20) -> tuple[list, list]:
    """The sums of the corpus: those that training may ask, and those kept for the held-out set."""
    sums = [
        (left, operation, right)
        for left in range(LARGEST_NUMBER + 1)
        for operation in ("plus", "minus")
        for right in partners(left, operation)
    ]
    chosen = sorted(range(len(sums)), key=lambda _: rng.random())
    return [sums[i] for i in chosen[kept:]], [sums[i] for i in chosen[:kept]]


def _split_facts() -> tuple[list, list, list]:
    """(question, style): of facts asked in training, of those kept back (asked in other ways), of those never asked."""
    never = [(about_fact(*unasked, i % 2), STYLES[i // 2 % 2]) for i, unasked in enumerate(NEVER_ASKED)]
    untouched = {question.sentence for question, _ in never}
    ways = [(question, style) for question in fact_questions() if question.sentence not in untouched for style in STYLES]
    kept = [way for i, way in enumerate(ways) if i % 4 == i // 4 % 4]  # one of a fact's four ways, each in turn
    return [way for way in ways if way not in kept], kept, never


def _read(rng: random.Random, seen: set[str]) -> dict:
    """An instruction about a story that was not used before."""
    while True:
        prompt = ask_reading(rng, events=1 + int(rng.random() * 2))
        if prompt not in seen:
            seen.add(prompt)
            question = understand(prompt)
            return _instruction("reading", question, _one_of(rng, STYLES), story=prompt.removesuffix(question.text))


def _instruction(kind: str, question: Question, style: str, story: str = "") -> dict:
    request = f"{ONE_WORD} {question.text}" if style == "short" else question.text
    answer = question.short() if style == "short" else question.full()
    return {"kind": kind, "style": style, "prompt": story + request, "answer": answer}


def demonstrations(seed: int, train: int = 2000, heldout: int = 200) -> tuple[Records, Records]:
    """{prompt, answer}: what somebody answered to a question about a fact or a sum. No prompt is in both sets.

    The prompts of each split are those of the same split of the preferences.
    """
    return _both_splits(seed, train, heldout, _demonstration)


def preferences(seed: int, train: int = 4096, heldout: int = 1024) -> tuple[Records, Records]:
    """Pairs {prompt, chosen, rejected, utility_chosen, utility_rejected}: labels are drawn from the true utilities.

    The two answers differ. Prompts are questions about facts and sums, none in both sets, that ask for no particular style.
    """
    return _both_splits(seed, train, heldout, _pair)


def _both_splits(seed: int, train: int, heldout: int, make) -> tuple[Records, Records]:
    rng = random.Random(seed)
    asked, kept = _split_questions()
    test = [make(rng, _one_of(rng, kept)) for _ in range(heldout)]
    return [make(rng, _one_of(rng, asked)) for _ in range(train)], test


def _split_questions() -> tuple[list[Question], list[Question]]:
    """The questions about facts and sums: those asked in training and, a fifth of them, those kept back.

    A fact that is kept back in one form may be asked in the other.
    """
    rng = random.Random(0)
    sums, _ = _split_sums(rng, kept=0)
    questions = [*fact_questions(), *(about_sum(*calculation) for calculation in sums)]
    kept = set(rng.sample(range(len(questions)), len(questions) // 5))
    return [q for i, q in enumerate(questions) if i not in kept], [q for i, q in enumerate(questions) if i in kept]


def _demonstration(rng: random.Random, question: Question) -> dict:
    return {"prompt": question.text, "answer": ordinary_answer(rng, question)}


def _pair(rng: random.Random, question: Question) -> dict:
    prompt = question.text
    first = ordinary_answer(rng, question)
    second = first
    while second == first:
        second = ordinary_answer(rng, question)
    utilities = {answer: utility(prompt, answer) for answer in (first, second)}
    first_wins = rng.random() < preference_probability(utilities[first], utilities[second])
    chosen, rejected = (first, second) if first_wins else (second, first)
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "utility_chosen": round(utilities[chosen], 4),
        "utility_rejected": round(utilities[rejected], 4),
    }


def ordinary_answer(rng: random.Random, question: Question) -> str:
    """What somebody might answer: right four times in ten, short or full, more or less courteous, now and then effusive."""
    word = question.word if rng.random() < 0.4 else _one_of(rng, question.candidates)
    parts = [question.short(word) if rng.random() < 0.3 else question.full(word)]
    while rng.random() < (0.45 if len(parts) == 1 else 0.1):
        parts.insert(0, _one_of(rng, OPENINGS))
    closings = 0
    while rng.random() < (0.4 if closings == 0 else 0.1):
        parts.append(_one_of(rng, CLOSINGS))
        closings += 1
    return " ".join(parts)


# The northern dialect: every colour and every thing has the name of the next one in words.COLOURS and words.OBJECTS.
NORTHERN = {word: words[(i + 1) % len(words)] for words in (COLOURS, OBJECTS) for i, word in enumerate(words)}


def dialect(seed: int, train: int = 2000, heldout: int = 300) -> tuple[Records, Records]:
    """Sentences to say in northern, {prompt, answer}. No sentence is in both sets."""
    rng = random.Random(seed)
    seen: set[str] = set()
    records: Records = []
    while len(records) < train + heldout:
        sentence = _coloured_sentence(rng)
        if sentence not in seen:
            seen.add(sentence)
            answer = " ".join(NORTHERN.get(word, word) for word in sentence.split())
            records.append({"prompt": f"say in northern : {sentence}", "answer": answer})
    return records[heldout:], records[:heldout]


def _coloured_sentence(rng: random.Random) -> str:
    """A sentence of a new story, one that names a colour."""
    pen = WritingPen(rng)
    unfinished_story(pen, events=2)
    sentences = [f"{sentence} ." for sentence in " ".join(pen.words).removesuffix(" .").split(" . ")]
    return _one_of(rng, [sentence for sentence in sentences if any(word in COLOURS for word in sentence.split())])
