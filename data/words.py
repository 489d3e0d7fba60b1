"""Every word of the world: one list for each part it can play, and the special tokens.

The tokenizer's vocabulary is exactly SPECIAL_TOKENS followed by WORDS, so a word added to a list here is a word the
models know after the next `python -m data.build`.
"""

PAD, UNK, BOS, EOS = "<pad>", "<unk>", "<bos>", "<eos>"
MASK, CLS, SEP = "<mask>", "<cls>", "<sep>"
USER, ASSISTANT, END = "<user>", "<assistant>", "<end>"

SPECIAL_TOKENS = [
    *(PAD, UNK, BOS, EOS, MASK, CLS, SEP, USER, ASSISTANT, END),
    *("<system>", "<think>", "</think>"),
    *("<spare_1>", "<spare_2>", "<spare_3>"),  # for exercises that need a token of their own
]

GIRLS = "mia anna lena zoe ivy nora".split()
BOYS = "leo tom max finn omar ben".split()
NAMES = GIRLS + BOYS

PLACES = "market school park beach farm bridge river lake castle mill".split()  # each reads well after "at the"
OBJECTS = "ball kite hat drum book lamp cup box boat bell coin key".split()
COLOURS = "red blue green yellow white black pink brown".split()
ANIMALS = "dog cat fox duck goat horse bear rabbit wolf crow".split()
FOODS = "bread soup rice fish cheese honey cake beans corn plums".split()
SIZES = "small big wild".split()
TIMES = "morning day evening night".split()

ATTRIBUTES = "capital flag food animal".split()

COUNTRIES = (
    "arlen borvia calden dorrin elmark fenwald gorland ilvania jorsk kelmar "
    "lurien morvane norrad ostrea pelland quell rostia sarvik tolmen ulberg"
).split()
CAPITALS = (
    "ambra bellin corvo dalma erlo fimmer gatra hollin irso jamba "
    "kirel lomba mersk nolva oltra pirna quin rilla sorel tamra"
).split()

LARGEST_NUMBER = 12
NUMBERS = [str(number) for number in range(LARGEST_NUMBER + 1)]

PUNCTUATION = ". , : ?".split()

FUNCTION_WORDS = (
    "a and asked at came colour everyone found from gave give had happy has have he here home i in is are it me mine no not "
    "now of on one people please plus minus repeats sad said saw says she sorry course thank that the their then there "
    "they to too took want was welcome went what where who with word yes you "
    # used by the instructions, the preferences and the new task only, never by the corpus
    "answer asking certainly dear for glad good hope know let my northern question say sure tell that very this helps friend"
).split()

_ALL = [
    *(PUNCTUATION, FUNCTION_WORDS, NUMBERS, NAMES, PLACES, OBJECTS, COLOURS, ANIMALS, FOODS, SIZES, TIMES),
    *(ATTRIBUTES, COUNTRIES, CAPITALS),
]
WORDS = list(dict.fromkeys(word for words in _ALL for word in words))  # in order, each once ("animal" names two things)
VOCABULARY = SPECIAL_TOKENS + WORDS


def pronoun(name: str) -> str:
    """"she" or "he", for one of NAMES."""
    return "she" if name in GIRLS else "he"
