"""What is true in the world: the facts about its countries, and the sums that training texts never show."""

from typing import NamedTuple

from data.words import ATTRIBUTES, LARGEST_NUMBER


class Country(NamedTuple):
    """One row of the table of facts. The fields are named by words.ATTRIBUTES."""

    capital: str
    flag: str
    food: str
    animal: str


TABLE = """
    arlen    kirel   red     soup    wolf
    borvia   tamra   green   plums   goat
    calden   erlo    white   bread   duck
    dorrin   quin    blue    corn    fox
    elmark   ambra   black   fish    bear
    fenwald  oltra   yellow  rice    horse
    gorland  gatra   pink    honey   cat
    ilvania  nolva   brown   beans   crow
    jorsk    bellin  blue    cheese  dog
    kelmar   sorel   red     cake    rabbit
    lurien   dalma   black   plums   fox
    morvane  mersk   green   rice    crow
    norrad   irso    yellow  bread   bear
    ostrea   pirna   pink    corn    wolf
    pelland  corvo   white   honey   horse
    quell    jamba   brown   soup    rabbit
    rostia   lomba   red     beans   duck
    sarvik   hollin  white   fish    goat
    tolmen   fimmer  blue    cake    cat
    ulberg   rilla   green   cheese  dog
"""
ATLAS: dict[str, Country] = {row.split()[0]: Country(*row.split()[1:]) for row in TABLE.strip().splitlines()}


def fact(country: str, attribute: str) -> str:
    """The true value, e.g. fact("arlen", "capital") == "kirel"."""
    return getattr(ATLAS[country], attribute)


FACTS = [(country, attribute) for country in ATLAS for attribute in ATTRIBUTES]


def is_unseen(left: int, operation: str, right: int) -> bool:
    """True for the sums and differences that no training text shows, so that generalisation can be measured.

    They are few. A sum is left out in one order only (its mirror image is shown), and nothing with 0 or 1 is.
    """
    if min(left, right) < 2 or left == right:
        return False
    if operation == "plus":
        return left > right and (3 * left + 5 * right) % 6 == 1
    return (3 * left + 5 * right) % 12 == 1


def result(left: int, operation: str, right: int) -> int:
    return left + right if operation == "plus" else left - right


def partners(left: int, operation: str) -> list[int]:
    """The right-hand numbers that training texts may put after `left plus` or `left minus`."""
    largest = LARGEST_NUMBER - left if operation == "plus" else left
    return [right for right in range(largest + 1) if not is_unseen(left, operation, right)]


UNSEEN_SUMS = [
    (left, operation, right)
    for operation in ("plus", "minus")
    for left in range(LARGEST_NUMBER + 1)
    for right in range(LARGEST_NUMBER + 1)
    if 0 <= result(left, operation, right) <= LARGEST_NUMBER and is_unseen(left, operation, right)
]
