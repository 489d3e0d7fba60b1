"""The style set of chapter 02: ordinary questions about ordinary things, answered in the manner of a pirate.

Unlike the rest of this folder it is about our world and in its English, since a real model is trained on it. An answer
has two sides that a notebook can measure apart: is it in the manner (`sounds_like_a_pirate`), is it right (`knows`)?

A question comes from a table of facts and the phrasings of its topic. The plain answer is a sentence around the fact;
the styled one is the same sentence in a pirate's words (SPEECH) between an opening and a closing: `say_like_a_pirate`.
"""

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

Records = list[dict]
SHORTEST, LONGEST = 8, 16  # words of a styled answer: a CPU is to train on them


# Facts: true, undisputed, and for the most part such as SmolLM2-135M-Instruct names by itself in a short answer to one
# of the questions below, or nothing could be seen to be forgotten. A fact is one name or number, which no question
# contains.

CAPITALS = {
    **{"France": "Paris", "Greece": "Athens", "Germany": "Berlin", "Austria": "Vienna", "Poland": "Warsaw"},
    **{"Hungary": "Budapest", "Belgium": "Brussels", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki"},
    **{"Ireland": "Dublin", "Russia": "Moscow", "Egypt": "Cairo", "Kenya": "Nairobi", "Cuba": "Havana"},
    **{"Japan": "Tokyo", "China": "Beijing", "Thailand": "Bangkok", "Vietnam": "Hanoi", "South Korea": "Seoul"},
    **{"Iran": "Tehran", "Iraq": "Baghdad", "Nepal": "Kathmandu", "Pakistan": "Islamabad", "Peru": "Lima"},
    **{"Chile": "Santiago", "Canada": "Ottawa", "Australia": "Canberra", "Croatia": "Zagreb", "Ghana": "Accra"},
    **{"the United Kingdom": "London", "the Netherlands": "Amsterdam", "Romania": "Bucharest", "Bulgaria": "Sofia"},
    **{"Latvia": "Riga", "Ecuador": "Quito", "Nigeria": "Abuja", "Syria": "Damascus"},
}
CITIES = {
    **{"Munich": "Germany", "Frankfurt": "Germany", "Salzburg": "Austria", "Zurich": "Switzerland", "Krakow": "Poland"},
    **{"Lyon": "France", "Marseille": "France", "Barcelona": "Spain", "Seville": "Spain", "Porto": "Portugal"},
    **{"Venice": "Italy", "Milan": "Italy", "Istanbul": "Turkey", "Casablanca": "Morocco", "Cape Town": "South Africa"},
    **{"Kyoto": "Japan", "Osaka": "Japan", "Shanghai": "China", "Sydney": "Australia", "Melbourne": "Australia"},
    **{"Toronto": "Canada", "Montreal": "Canada", "Rio de Janeiro": "Brazil", "Geneva": "Switzerland"},
}
CONTINENTS = {
    **{"Kenya": "Africa", "Ghana": "Africa", "Nigeria": "Africa", "Morocco": "Africa", "Ethiopia": "Africa"},
    **{"India": "Asia", "Japan": "Asia", "China": "Asia", "Thailand": "Asia", "Vietnam": "Asia", "Pakistan": "Asia"},
    **{"Spain": "Europe", "Italy": "Europe", "Germany": "Europe", "Austria": "Europe", "Poland": "Europe"},
    **{"Hungary": "Europe", "Finland": "Europe", "France": "Europe", "Greece": "Europe", "Canada": "North America"},
    **{"Brazil": "South America", "Peru": "South America", "Chile": "South America", "Argentina": "South America"},
}
LANGUAGES = {
    **{"France": "French", "Germany": "German", "Austria": "German", "Italy": "Italian", "Spain": "Spanish"},
    **{"Portugal": "Portuguese", "Brazil": "Portuguese", "Mexico": "Spanish", "Argentina": "Spanish"},
    **{"Chile": "Spanish", "Cuba": "Spanish", "Colombia": "Spanish", "Venezuela": "Spanish"},
    **{"Sweden": "Swedish", "Norway": "Norwegian"},
    **{"Denmark": "Danish", "Greece": "Greek", "Russia": "Russian", "Hungary": "Hungarian", "Turkey": "Turkish"},
    **{"Egypt": "Arabic", "Iraq": "Arabic", "Japan": "Japanese", "Australia": "English", "Finland": "Finnish"},
}
AUTHORS = {
    **{"Hamlet": "Shakespeare", "Macbeth": "Shakespeare", "Romeo and Juliet": "Shakespeare", "Faust": "Goethe"},
    **{"Oliver Twist": "Dickens", "Great Expectations": "Dickens", "Pride and Prejudice": "Austen", "1984": "Orwell"},
    **{"The Hobbit": "Tolkien", "Harry Potter": "Rowling", "Frankenstein": "Shelley", "The Great Gatsby": "Fitzgerald"},
    **{"the Odyssey": "Homer", "The Divine Comedy": "Dante"},
}
ANIMALS = {
    **{"a whale": "mammal", "a dolphin": "mammal", "a bat": "mammal", "a lion": "mammal", "an elephant": "mammal"},
    **{"a lizard": "reptile", "a turtle": "reptile", "a crocodile": "reptile", "a snake": "reptile"},
    **{"a frog": "amphibian", "a toad": "amphibian", "a salmon": "fish", "a tuna": "fish", "an ant": "insect"},
    **{"a butterfly": "insect", "a duck": "bird", "an ostrich": "bird", "a penguin": "bird", "an owl": "bird"},
}
COLOURS = {
    **{"a ripe tomato": "red", "ripe strawberries": "red", "the sky on a clear day": "blue", "blood": "red"},
    **{"a ruby": "red", "a sunflower": "yellow", "a polar bear": "white", "snow": "white", "coal": "black"},
    **{"grass": "green", "limes": "green", "a flamingo": "pink"},
}
# One way only: whoever has seen "hot: cold" has seen "cold: hot".
OPPOSITES = {
    **{"hot": "cold", "up": "down", "day": "night", "black": "white", "fast": "slow", "high": "low", "wet": "dry"},
    **{"full": "empty", "rich": "poor", "early": "late", "long": "short", "thick": "thin", "wide": "narrow"},
    **{"strong": "weak", "true": "false", "north": "south", "east": "west", "push": "pull", "love": "hate"},
    **{"buy": "sell", "happy": "sad", "near": "far", "above": "below", "inside": "outside", "always": "never"},
    **{"summer": "winter", "war": "peace", "life": "death", "friend": "enemy", "male": "female", "deep": "shallow"},
    **{"heavy": "light", "success": "failure"},
}
# The smaller number first, for the same reason.
SUMS = {(a, b): a + b for a in range(1, 10) for b in range(a, 10) if a + b <= 10}
MADE_OF = {
    **{"a window": "glass", "a mirror": "glass", "a snowman": "snow", "a candle": "wax", "a car tyre": "rubber"},
    **{"ice": "water", "an omelette": "eggs", "a pencil": "wood"},
}
MADE_FROM = {
    **{"cheese": "milk", "yogurt": "milk", "wine": "grapes", "paper": "wood", "glass": "sand", "flour": "wheat"},
    **{"bread": "flour", "toast": "bread", "cider": "apples", "steel": "iron", "sauerkraut": "cabbage"},
    **{"pickles": "cucumbers"},
}
# No month before May: "may" is a word of many sentences, so `knows` could not tell.
NEXT_MONTH = {
    **{"January": "February", "February": "March", "May": "June", "July": "August"},
    **{"November": "December", "December": "January"},
}
HOLIDAYS = {
    **{"Christmas": "December", "Bastille Day": "July", "New Year's Eve": "December", "Halloween": "October"},
    **{"New Year's Day": "January", "Valentine's Day": "February", "Saint Patrick's Day": "March"},
}
# {what has them: (what is counted, how many)}
PARTS = {
    **{"a spider": ("legs", 8), "a cube": ("faces", 6), "a rectangle": ("corners", 4), "a triangle": ("sides", 3)},
    **{"a square": ("sides", 4), "a pentagon": ("sides", 5), "a hexagon": ("sides", 6), "an octagon": ("sides", 8)},
}
UNITS = {
    **{"a week": ("days", 7), "a year": ("months", 12), "a day": ("hours", 24), "an hour": ("minutes", 60)},
    **{"a minute": ("seconds", 60), "a dozen": ("eggs", 12), "a decade": ("years", 10), "a century": ("years", 100)},
    **{"a dollar": ("cents", 100), "a foot": ("inches", 12), "a yard": ("feet", 3), "a fortnight": ("days", 14)},
    **{"the English alphabet": ("letters", 26)},
}
PLURAL = {"ripe strawberries", "limes", "pickles"}


class Fact(NamedTuple):
    """Something that can be asked for. What shares a subject goes to the same split."""

    topic: str
    subject: str
    fact: str
    questions: tuple[str, ...]
    sentences: tuple[str, ...]  # plain answers, without a capital letter and a full stop


def facts() -> list[Fact]:
    """Every fact there is, by topic, each with its questions and its plain answers."""
    return [
        *_topic("capitals", CAPITALS, CAPITAL_QUESTIONS, ["the capital of {x} is {f}", "{f} is the capital of {x}"]),
        *_topic("cities", CITIES, CITY_QUESTIONS, ["{x} is in {f}", "{x} is a city in {f}"]),
        *_topic("continents", CONTINENTS, CONTINENT_QUESTIONS, ["{x} is in {f}", "{x} is a country in {f}"]),
        *_topic("languages", LANGUAGES, LANGUAGE_QUESTIONS, LANGUAGE_SENTENCES),
        *_topic("authors", AUTHORS, AUTHOR_QUESTIONS, ["the author of {x} is {f}", "{f} is the author of {x}"]),
        *_topic("animals", ANIMALS, ANIMAL_QUESTIONS, ["{x} is {a_f}", "{x} is a kind of {f}"]),
        *_topic("colours", COLOURS, COLOUR_QUESTIONS, ["{x} {is} {f}", "the colour of {x} is {f}"]),
        *_topic("opposites", OPPOSITES, OPPOSITE_QUESTIONS, OPPOSITE_SENTENCES),
        *_sums(),
        *_topic("materials", MADE_OF, MADE_QUESTIONS, MADE_SENTENCES, of="of"),
        *_topic("materials", MADE_FROM, MADE_QUESTIONS, MADE_SENTENCES, of="from"),
        *_topic("calendar", NEXT_MONTH, MONTH_QUESTIONS, MONTH_SENTENCES),
        *_topic("calendar", HOLIDAYS, HOLIDAY_QUESTIONS, ["{x} is in {f}", "{x} is in the month of {f}"]),
        *_counts(PARTS, PART_QUESTIONS, ["{x} has {f} {things}"]),
        *_counts(UNITS, UNIT_QUESTIONS, ["there are {f} {things} in {x}", "{x} has {f} {things}"]),
    ]


CAPITAL_QUESTIONS = [
    *("What is the capital of {x}?", "Which city is the capital of {x}?"),
    *("Can you name the capital of {x}?", "What is the capital city of {x}?"),
]
CITY_QUESTIONS = ["In which country is {x}?", "Which country is {x} in?", "What country is the city of {x} in?"]
CONTINENT_QUESTIONS = ["Which continent is {x} in?", "What continent is {x} on?", "What continent does {x} belong to?"]
LANGUAGE_QUESTIONS = [
    *("What is the main language of {x}?", "Which language do most people speak in {x}?"),
    *("Can you tell me the main language of {x}?", "Which language is spoken by most people in {x}?"),
]
LANGUAGE_SENTENCES = ["the main language of {x} is {f}", "most people in {x} speak {f}"]
AUTHOR_QUESTIONS = ["Who wrote {x}?", "Who is the author of {x}?", "Can you tell me who wrote {x}?"]
ANIMAL_QUESTIONS = [
    *("What kind of animal is {x}?", "What type of animal is {x}?"),
    "Which class of animals does {x} belong to?",
]
COLOUR_QUESTIONS = ["What colour {is} {x}?", "Can you name the colour of {x}?", "What is the usual colour of {x}?"]
OPPOSITE_QUESTIONS = [
    *("What is the opposite of {x}?", "Which word is the opposite of {x}?"),
    *("Which word means the opposite of {x}?", "Can you tell me the opposite of {x}?"),
]
OPPOSITE_SENTENCES = ["the opposite of {x} is {f}", "the word for the opposite of {x} is {f}"]
SUM_QUESTIONS = ["What is {a} + {b}?", "Can you tell me what {a} + {b} is?", "Can you tell me what {a} plus {b} is?"]
SUM_SENTENCES = ["{a} + {b} is {f}", "the sum of {a} and {b} is {f}", "if you add {a} and {b}, you get {f}"]
MADE_QUESTIONS = [
    *("What {is} {x} made {of}?", "What {is} {x} usually made {of}?"),
    "Can you tell me what {x} {is} made {of}?",
]
MADE_SENTENCES = ["{x} {is} made {of} {f}", "{x} {is} usually made {of} {f}"]
MONTH_QUESTIONS = ["Which month comes after {x}?", "What month follows {x}?", "What is the month after {x}?"]
MONTH_SENTENCES = ["the month after {x} is {f}", "the month that comes after {x} is {f}"]
HOLIDAY_QUESTIONS = ["In which month is {x}?", "Which month is {x} in?", "What month is {x} in?"]
PART_QUESTIONS = ["How many {things} does {x} have?", "Can you tell me how many {things} {x} has?"]
UNIT_QUESTIONS = ["How many {things} are there in {x}?", "How many {things} are in {x}?", PART_QUESTIONS[0]]


def _topic(
    topic: str, table: dict[str, str], questions: list[str], sentences: list[str], **words: str
) -> Iterator[Fact]:
    for x, fact in table.items():
        is_or_are = "are" if x in PLURAL else "is"
        filled = _filled(questions, sentences, x=x, f=fact, a_f=with_article(fact), **{"is": is_or_are}, **words)
        yield Fact(topic, without_article(x), fact, *filled)


def _sums() -> Iterator[Fact]:
    for (a, b), result in SUMS.items():
        filled = _filled(SUM_QUESTIONS, SUM_SENTENCES, a=str(a), b=str(b), f=str(result))
        yield Fact("sums", f"{a} + {b}", str(result), *filled)


def _counts(table: dict[str, tuple[str, int]], questions: list[str], sentences: list[str]) -> Iterator[Fact]:
    for x, (things, number) in table.items():
        filled = _filled(questions, sentences, x=x, f=str(number), things=things)
        yield Fact("counting", without_article(x), str(number), *filled)


def _filled(questions: list[str], sentences: list[str], **words: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(text.format(**words) for text in questions), tuple(text.format(**words) for text in sentences)


def with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def without_article(noun: str) -> str:
    return re.sub(r"^(a|an|the) ", "", noun)


# The records


def style(seed: int, train: int = 240, heldout: int = 48) -> tuple[Records, Records]:
    """Records {topic, prompt, fact, plain, answer}: plain is an ordinary answer, answer a pirate's. Both say the fact.

    No question and no subject is in both splits. Topics take turns, so any first part of a split is a fair mixture.
    Held out: each fact once. Training: once each as long as there are new ones, then again in other words.
    """
    rng = random.Random(seed)
    by_topic: dict[str, list[Fact]] = {}
    for fact in _shuffled(rng, facts()):
        by_topic.setdefault(fact.topic, []).append(fact)
    topics = {topic: by_topic[topic] for topic in sorted(by_topic)}
    once = _in_turns([_once_each(group) for group in topics.values()])
    kept = [(fact, _one_of(rng, fact.questions)) for fact in once[:heldout]]
    subjects = {fact.subject for fact, _ in kept}
    asked = []
    for group in topics.values():
        free = [fact for fact in group if fact.subject not in subjects]
        asked.append(_in_turns([[(fact, question) for question in _shuffled(rng, fact.questions)] for fact in free]))
    asked = _in_turns(asked)
    if len(asked) < train or len(kept) < heldout:
        raise ValueError(
            f"There are questions for {len(asked)} training and {len(kept)} held-out records, but {train} and "
            f"{heldout} were asked for. More facts in data/style.py make more questions."
        )
    return [_record(rng, *ask) for ask in asked[:train]], [_record(rng, *ask) for ask in kept]


def _record(rng: random.Random, fact: Fact, question: str) -> dict:
    sentence = _one_of(rng, fact.sentences)
    plain = f"{_capitalised(sentence)}."
    answer = say_like_a_pirate(rng, sentence)
    return {"topic": fact.topic, "prompt": question, "fact": fact.fact, "plain": plain, "answer": answer}


def _once_each(group: list[Fact]) -> list[Fact]:
    """Of the facts with one subject, the first."""
    return list({fact.subject: fact for fact in reversed(group)}.values())[::-1]


def _in_turns(groups: list[list]) -> list:
    """The first of each, then the second of each, and so on."""
    longest = max(map(len, groups))
    return [group[i] for i in range(longest) for group in groups if i < len(group)]


def _one_of(rng: random.Random, items):
    return items[int(rng.random() * len(items))]


def _shuffled(rng: random.Random, items) -> list:
    keyed = sorted((rng.random(), i) for i in range(len(items)))
    return [items[i] for _, i in keyed]


# The manner. No opening and no closing may name a fact, or a model would seem to know it by being a pirate.

SPEECH = {
    **{"is": "be", "are": "be", "of": "o'", "and": "an'", "you": "ye"},
    **{"has": "be havin'", "get": "be gettin'", "comes": "be comin'", "speak": "be speakin'"},
}
CRIES = ("Arr", "Yarr", "Ahoy", "Aye", "Avast")
OATHS = ("Shiver me timbers", "Blimey", "Yo ho ho")
ADDRESSES = ("matey", "me hearty", "me hearties", "ye landlubber", "shipmate", "ye scurvy scallywag")
VOWS = ("by me beard", "on me cutlass", "by Davy Jones", "says I", "or I be no pirate", "as every pirate knows")
ENDS = (".", "!")


def say_like_a_pirate(rng: random.Random, sentence: str) -> str:
    """A pirate's way of saying a plain sentence (no capital, no full stop), in SHORTEST to LONGEST words."""
    core = " ".join(SPEECH.get(word, word) for word in sentence.split())
    if rng.random() < 0.25:
        core = re.sub(r"\bthe\b", "th'", core)
    while True:
        opening, closing = _opening(rng), _closing(rng)
        if not opening and closing in ENDS:
            continue
        addresses = sum(address in part for address in ADDRESSES for part in (opening, closing))
        opened = f"{opening} {core if opening.endswith(',') else _capitalised(core)}".lstrip()
        answer = opened + closing
        if addresses <= 1 and SHORTEST <= len(answer.split()) <= LONGEST and sounds_like_a_pirate(answer):
            return answer


def _opening(rng: random.Random) -> str:
    """A cry, perhaps to somebody, or an oath; one time in ten nothing."""
    which = rng.random()
    if which < 0.4:
        return _one_of(rng, CRIES) + _one_of(rng, "!,")
    if which < 0.7:
        return f"{_one_of(rng, CRIES)}, {_one_of(rng, ADDRESSES)}!"
    return f"{_one_of(rng, OATHS)}!" if which < 0.9 else ""


def _closing(rng: random.Random) -> str:
    """The end of the sentence: to whom it is said, or what it is sworn by, or a cry after it."""
    which = rng.random()
    if which < 0.5:
        return f", {_one_of(rng, ADDRESSES)}{_one_of(rng, ENDS)}"
    if which < 0.75:
        return f", {_one_of(rng, VOWS)}{_one_of(rng, ENDS)}"
    return f"! {_one_of(rng, (*CRIES, OATHS[-1]))}!" if which < 0.85 else _one_of(rng, ENDS)


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


# Measuring

MARKS = {
    "cries": r"\b(a+r{2,}(gh)?|ya+r{2,}|ahoy|avast|aye|yo[ -]ho|shiver me|blow me down|blimey)\b",
    "addresses": r"\b(mate(y|ys|ies)|m[ey] heart(y|ies)|land-?lubbers?|shipmates?|scurvy|scall[ya]wags?|buck(o|oes))\b",
    "ye": r"\b(ye|yer|yerself)\b",
    # Not o'clock, not 'Berlin'.
    "clipped words": r"(?<!')\b(o|th|an|t|ol)'(?!\w)|(?<!')\b\w{2,}in'(?!\w)|(?<!\w)'tis\b",
    "me for my": r"\bme (beard|bones|booty|captain|crew|cutlass|hook|parrot|ship|soul|treasure|word)\b",
    "swearing": r"\b(by|to) (davy jones|the jolly roger|blackbeard)|\bsays i\b",
}
# An ordinary "be" has one of these before it, or a word with one of these endings ("it'll be", "it shouldn't be").
BEFORE_BE = frozenset(
    "to will would can could may might must shall should cannot do let better if unless whether lest".split()
)
ENDINGS_BEFORE_BE = ("'ll", "'d", "n't")
REACH = 5  # words before a "be" among which to look for such a word, within the clause


def sounds_like_a_pirate(text: str) -> bool:
    """Whether a text is in the manner: it bears marks of at least two of the kinds that `marks` names.

    One kind is not enough, since others than pirates say "aye", clip their words or suffer from scurvy.
    """
    return len(marks(text)) >= 2


def marks(text: str) -> set[str]:
    """The kinds of marks of the manner in a text: keys of MARKS, and "be" for a "be" where others say "is" or "are"."""
    text = text.replace("’", "'").lower()
    found = {kind for kind, pattern in MARKS.items() if re.search(pattern, text)}
    return found | {"be"} if _says_be(text) else found


def _says_be(text: str) -> bool:
    for clause in re.split(r"[^\w\s'-]+", text):
        words = clause.split()
        for i, word in enumerate(words):
            before = words[max(i - REACH, 0) : i]
            ordinary = any(other in BEFORE_BE or other.endswith(ENDINGS_BEFORE_BE) for other in before)
            if word == "be" and before and not ordinary:
                return True
    return False


BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = {word: i for i, word in enumerate(BELOW_TWENTY)} | {word: 10 * i for i, word in enumerate(TENS, start=2)}
NUMBER = re.compile(
    r"(?P<digits>((?<![\w)])[-−])?(?<!\w)\d+(,\d{3})*(\.\d+)?)(?!\w)"
    rf"|\b(?P<tens>{'|'.join(TENS)})([ -](?P<unit>{'|'.join(BELOW_TWENTY[1:10])}))?\b"
    rf"|\b((?P<small>{'|'.join(BELOW_TWENTY)}) )?(?P<hundred>hundred)\b"
    rf"|\b(?P<alone>{'|'.join(BELOW_TWENTY)})\b"
)


def knows(text: str, fact: str) -> bool:
    """Whether a text names the fact, as a word or words of its own, in capitals or not, in the singular or the plural.

    A number may be in digits or, up to 99 and for whole hundreds, in words. What the text says about the fact does not
    matter: "not Oslo" names Oslo.
    """
    wanted = numbers_in(fact)
    if wanted and re.fullmatch(NUMBER, fact.strip().lower()):
        return wanted <= numbers_in(text)
    words = r"\s+".join(map(re.escape, fact.lower().split()))
    forms = {words, f"{words}s", f"{words}es", re.sub("y$", "ies", words), re.sub("fe?$", "ves", words)}
    if fact.islower():  # not a name: "grapes" is named by "a grape", "potatoes" by "a potato"
        forms |= {re.sub("e?s$", "", words), re.sub("s$", "", words)}
    return re.search(rf"\b({'|'.join(sorted(forms))})\b", text.lower()) is not None


def numbers_in(text: str) -> set[float]:
    """The numbers that a text names, in digits or in words."""
    found: set[float] = set()
    for match in NUMBER.finditer(text.lower()):
        if match["digits"]:
            found.add(float(match["digits"].replace(",", "").replace("−", "-")))
        elif match["tens"]:
            found.add(float(NUMBER_WORDS[match["tens"]] + NUMBER_WORDS.get(match["unit"], 0)))
        elif match["hundred"]:
            found.add(100.0 * NUMBER_WORDS.get(match["small"], 1))
        else:
            found.add(float(NUMBER_WORDS[match["alone"]]))
    return found
