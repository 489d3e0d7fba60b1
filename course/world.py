"""What the generated world could have written itself, and what it could not."""

from data.pen import Impossible
from data.words import COLOURS, EOS
from data.world import next_word_probabilities, score

__all__ = ["COLOURS", "is_possible", "possible_words"]


def is_possible(text: str) -> bool:
    """Whether the world could write a document that begins with this text, or that is this text, where it ends with <eos>."""
    try:
        if text.split()[-1:] == [EOS]:
            score(text.removesuffix(EOS).strip())
        else:
            next_word_probabilities(text)
    except Impossible:
        return False
    except ValueError:  # the text is a finished document, and goes on no further
        return True
    return True


def possible_words(text: str) -> int:
    """How many words of a text stand before the first one that the world could not have written there; all, if none."""
    words = text.split()
    low, high = 0, len(words)  # the beginnings of `low` words are possible, those beyond `high` are not
    while low < high:
        middle = (low + high + 1) // 2
        if is_possible(" ".join(words[:middle])):
            low = middle
        else:
            high = middle - 1
    return low
