"""The style set: true facts, correct English on both sides, disjoint splits, and metrics that tell the sides apart."""

import calendar
import re
from collections import Counter
from pathlib import Path

import pytest

from course.data import load_jsonl
from data import build, style
from data.style import facts, knows, marks, numbers_in, sounds_like_a_pirate

TRAIN, HELDOUT = load_jsonl("style_train"), load_jsonl("style_heldout")
RECORDS = TRAIN + HELDOUT
FACTS = facts()
TOPICS = {fact.topic for fact in FACTS}
SENTENCES = [(fact, sentence) for fact in FACTS for sentence in fact.sentences]
ROOT = Path(__file__).resolve().parents[1]


def fact_of(record: dict) -> style.Fact:
    (found,) = [fact for fact in FACTS if record["prompt"] in fact.questions]
    return found


# The records


def test_the_same_seed_writes_the_same_records_and_another_seed_others():
    assert style.style(build.SEEDS["style"]) == (TRAIN, HELDOUT)
    assert style.style(7) == style.style(7) != (TRAIN, HELDOUT)


@pytest.mark.parametrize("seed", [build.SEEDS["style"], 11, 12])
def test_splits_share_no_question_and_no_subject(seed):
    train, heldout = style.style(seed)
    assert (len(train), len(heldout)) == (240, 48)
    prompts = [record["prompt"] for record in train + heldout]
    assert len(set(prompts)) == len(prompts)
    subjects = [{fact_of(record).subject for record in split} for split in (train, heldout)]
    assert not subjects[0] & subjects[1]


def test_what_shares_a_subject_is_kept_together():
    by_subject = Counter((fact.subject, fact.topic) for fact in FACTS)
    shared = {subject for subject, topic in by_subject if topic != "capitals"} & set(style.CAPITALS)
    assert len(shared) > 10  # a country is asked for its capital, its continent and its language
    # The other way round would give a fact away: hot is the opposite of cold, so cold is of hot.
    assert not set(style.OPPOSITES) & set(style.OPPOSITES.values())
    assert len({frozenset(pair) for pair in style.SUMS}) == len(style.SUMS)


def test_every_topic_is_in_both_splits_and_in_any_first_part_of_them():
    for split in (TRAIN, HELDOUT):
        for count in (len(TOPICS), len(split)):
            topics = Counter(record["topic"] for record in split[:count])
            assert set(topics) == TOPICS
            assert max(topics.values()) <= count / 10 + 1
    kept = [fact_of(record) for record in HELDOUT]
    assert len({(fact.topic, fact.subject) for fact in kept}) == len(kept)


def test_too_many_records_are_refused():
    with pytest.raises(ValueError, match="5000 and 48 were asked for"):
        style.style(1, train=5000)


def test_questions_and_answers_belong_to_the_same_fact_which_both_answers_name_unchanged():
    for record in RECORDS:
        fact = fact_of(record)
        assert record["topic"] == fact.topic and record["fact"] == fact.fact
        assert record["plain"] in {f"{sentence[0].upper()}{sentence[1:]}." for sentence in fact.sentences}
        for side in ("plain", "answer"):
            assert re.search(rf"\b{fact.fact}\b", record[side]), record
            assert knows(record[side], fact.fact), record


def test_answers_are_short():
    for record in RECORDS:
        assert style.SHORTEST <= len(record["answer"].split()) <= style.LONGEST
        assert len(record["plain"].split()) < style.LONGEST


def test_manners_are_many():
    openings = Counter(re.match(r"[^!,]*", record["answer"])[0] for record in TRAIN)
    assert {*style.CRIES, *style.OATHS} <= set(openings)
    assert max(openings.values()) < len(TRAIN) / 4
    said = " ".join(record["answer"] for record in TRAIN)
    parts = (*style.ADDRESSES, *style.VOWS, " be ", " o' ", " th' ", " an' ", "ye be gettin'")
    assert all(part in said for part in parts)
    assert len({record["answer"] for record in RECORDS}) == len(RECORDS)


# Truth


def test_sums_are_right():
    asked = [record for record in RECORDS if record["topic"] == "sums"]
    for record in asked:
        left, right = map(int, re.findall(r"\d+", record["prompt"]))
        assert record["fact"] == str(left + right)


def test_months_follow_one_another():
    months = list(calendar.month_name)[1:]
    following = {month: months[(i + 1) % 12] for i, month in enumerate(months)}
    assert style.NEXT_MONTH.items() < following.items() and set(style.HOLIDAYS.values()) <= set(months)


def test_cities_are_no_capitals_and_countries_no_cities():
    countries = set(style.CAPITALS) | set(style.CONTINENTS) | set(style.LANGUAGES)
    assert not set(style.CITIES) & (countries | set(style.CAPITALS.values()))
    assert set(style.CITIES.values()) <= countries | {"Switzerland", "South Africa"}


def test_units_agree_with_one_another():
    count = {unit: number for unit, (_, number) in style.UNITS.items()}
    assert count["a century"] == 10 * count["a decade"] and count["a fortnight"] == 2 * count["a week"]
    assert (count["an hour"], count["a minute"], count["a day"], count["a year"]) == (60, 60, 24, 12)
    sides = {"a triangle": 3, "a square": 4, "a pentagon": 5, "a hexagon": 6, "an octagon": 8}
    assert {shape: style.PARTS[shape][1] for shape in sides} == sides


def test_one_question_has_one_answer():
    answers = Counter(question for fact in FACTS for question in fact.questions)
    assert set(answers.values()) == {1}
    for table in (style.CAPITALS, style.OPPOSITES):
        assert len(set(table.values())) == len(table)


def test_nothing_but_the_fact_itself_names_the_fact():
    """Or a model would seem to know by repeating the question, or by being a pirate."""
    manner = [*style.CRIES, *style.OATHS, *style.ADDRESSES, *style.VOWS, *style.SPEECH.values()]
    for fact in FACTS:
        for text in (*fact.questions, *manner):
            assert not knows(text, fact.fact), (text, fact.fact)
    for fact, sentence in SENTENCES:
        rest = re.sub(rf"\b{fact.fact}\b", "...", sentence)
        assert not knows(rest, fact.fact), sentence


# English

# Sounds, not letters: "an hour" and "a unit". No word of the tables begins with such a "u" or "one".
WRONG_ARTICLE = re.compile(r"\b(a (?=[aeiou]|hour)|an (?![aeiou]|hour))", re.IGNORECASE)


def test_the_check_of_articles_can_fail():
    assert WRONG_ARTICLE.search("A apple") and WRONG_ARTICLE.search("an key") and WRONG_ARTICLE.search("a hour")
    assert not WRONG_ARTICLE.search("an apple, a key, an hour, Havana is")


def test_grammar():
    questions = [(fact, question) for fact in FACTS for question in fact.questions]
    for fact, text in [*questions, *SENTENCES]:
        assert not WRONG_ARTICLE.search(text), text
        assert not re.search(r"  |[{}]|\b(\w+) \1\b", text), text
        if fact.subject in style.PLURAL:
            assert not re.search(rf"\bis {fact.subject}\b|(?<!colour of ){fact.subject} is\b", text), text
    assert all(question[0].isupper() and question.endswith("?") for _, question in questions)
    assert any("are ripe strawberries" in question for _, question in questions)
    assert any("an amphibian" in sentence for _, sentence in SENTENCES)


def test_plain_answers_and_styled_ones_are_sentences():
    for record in RECORDS:
        for text in (record["plain"], record["answer"]):
            assert text[0].isupper() or text[0].isdigit()
            assert text[-1] in ".!" and not re.search(r"\s[,.!]|[,.!]{2}|  |,$", text), text
            assert all(part[0].isupper() or part[0].isdigit() for part in re.split(r"[.!] ", text)), text
        assert not WRONG_ARTICLE.search(record["plain"]) and not WRONG_ARTICLE.search(record["answer"])
        assert not re.search(r"\b(is|are|you|your)\b", record["answer"], re.IGNORECASE), record["answer"]
        assert "  " not in record["answer"] and record["answer"].count(", ") <= 3


def test_plurals_are_listed():
    """Whatever is asked for with "is" is singular: no entry ends in s, but for mass nouns and those on the list."""
    nouns = [*style.COLOURS, *style.MADE_OF, *style.MADE_FROM, *style.ANIMALS]
    singular_in_s = {"grass", "glass"}
    assert {noun for noun in nouns if noun.endswith("s")} - singular_in_s == style.PLURAL


# Is it in the manner?


def test_every_answer_is_in_the_manner_and_no_plain_text_is():
    for record in RECORDS:
        assert sounds_like_a_pirate(record["answer"]), record
        assert not marks(record["plain"]), record
        assert not marks(record["prompt"]), record


@pytest.mark.parametrize(
    "text",
    [
        "Arr, matey! The capital of France is Paris.",
        "Ahoy there, the capital o’ France be Paris.",
        "ARRR! ye be lookin' for Paris",
        "Aye, that be a fine question. Paris it be.",
        "Avast ye! Tis the city of Paris.",
        "The capital be Paris, me hearties.",
        "Shiver me timbers, I be not knowin' that!",
        "Yarr! I don't know, ye landlubber.",
        "Paris, by me beard! Th' finest port.",
    ],
)
def test_what_a_model_may_write_is_recognised(text):
    assert sounds_like_a_pirate(text), marks(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The capital of France is Paris.",
        "To be or not to be, that is the question.",
        "It could be at ten o'clock, and it won't be any later than that; I'll be there.",
        "Be careful: these may well be wrong, and should under no circumstances be used.",
        "Mr O'Brien told me that the boys' team, the hosts' guests and Berlin's mayor would be late.",
        "The word 'begin' and the letter 'o' are in the list.",
        "Pirates hid their treasure, the captain drank rum, and the crew suffered from scurvy.",
        "His shipmates gave me bread and fish.",
        "Those in favour say aye.",
        "O come, all ye faithful.",
        "We were rockin' an' rollin' all night.",
        "I asked that it be done, whether it be hard or easy.",
        "Arrange the array; the barrier is narrow and the mate of a bird is near me.",
        "Thank you! I'm happy to help. As an AI language model, I do not have feelings.",
    ],
)
def test_ordinary_prose_is_not_in_the_manner(text):
    assert not sounds_like_a_pirate(text), marks(text)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "data/README.md", "data/tasks.py", "course/data.py"])
def test_long_prose_is_not_in_the_manner(name):
    text = (ROOT / name).read_text()
    assert len(text) > 2000
    assert not sounds_like_a_pirate(text), marks(text)


def test_marks_are_named():
    assert marks("Arr! The capital o' France be Paris, matey.") == {"cries", "clipped words", "be", "addresses"}
    assert marks("Paris, ye say, by me beard") == {"ye", "me for my"}
    assert marks("It may be Paris, says I") == {"swearing"}


# Does it name the fact?


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("Arr! It be OSLO, matey.", "Oslo"),
        ("buenos  aires", "Buenos Aires"),
        ("Oslo's harbour", "Oslo"),
        ("There be four.", "4"),
        ("4.", "4"),
        ("3+1=4", "4"),
        ("A spider has eight legs", "8"),
        ("8", "eight"),
        ("It has twenty-six letters", "26"),
        ("Twenty six!", "26"),
        ("sixty seconds", "60"),
        ("one hundred cents", "100"),
        ("a hundred cents", "100"),
        ("an eight-legged beast", "8"),
        ("They are called puppies", "puppy"),
        ("Kittens!", "kitten"),
        ("calves", "calf"),
        ("a grape", "grapes"),
        ("from potato", "potatoes"),
    ],
)
def test_a_named_fact_is_found(text, fact):
    assert knows(text, fact)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "Oslo"),
        ("Bergen", "Oslo"),
        ("the scattered", "red"),
        ("delightful", "light"),
        ("Pari", "Paris"),
        ("14", "4"),
        ("fourteen", "4"),
        ("forty", "4"),
        ("twenty-four", "4"),
        ("twenty four", "20"),
        ("4.5", "4"),
        ("-4", "4"),
        ("4th", "4"),
        ("1,004", "4"),
        ("six hundred", "6"),
        ("before", "4"),
    ],
)
def test_what_is_not_named_is_not_found(text, fact):
    assert not knows(text, fact)


def test_numbers_are_read():
    assert numbers_in("3 minus 10 is -7, 1,200.5 and 10-3, thirty-one, two") == {3, 10, -7, 1200.5, 31, 2}
    assert numbers_in("no one, someone, often, weight") == {1}  # the pronoun is not told from the number
