"""Predict, then run: a reader commits to an answer before a cell shows what happens.

    predict("more_context", "b")                                  # the reader's choice
    reveal("more_context", "a" if best_n < 6 else "b", best=best_n)  # after the cell that shows it: what came in this run

Nothing is graded. The choice is kept in the progress file, and the explanation is told only to who has chosen. Its texts
are written in `solutions/NN_topic/predictions.py` and shipped packed, so that nobody reads them by accident:

    PREDICTIONS = {
        "more_context": {
            "choices": {"a": "From which thought one comes to say a, and where it leads.", "b": "…"},
            "why": "What came and why, with {best:.2f} from the call; or a dict: choice that came -> text.",
        },
    }
"""

import difflib
import gzip
import json
import re
import sys
from functools import lru_cache
from html import escape
from pathlib import Path

from autograder.evidence import in_grading
from autograder.progress import keep_prediction, prediction

PACKED = Path(__file__).resolve().parent / "judging" / "keys" / "predictions"
SUFFIX = ".json.gz"


class UnknownPrediction(Exception):
    """The name given to `predict` is no question of this course."""


def predict(name: str, choice: str = "") -> None:
    """Keep the reader's choice. What was chosen before the outcome was seen stays.

    Raises UnknownPrediction for a name that no chapter has.
    """
    question = _find(name)
    if in_grading():
        return
    letters, kept = list(question["choices"]), prediction(name)
    chosen = str(choice).strip().lower()
    if kept.get("came"):
        _say(f"You chose **{kept['said']}** before you saw what came, and that stays.")
    elif not chosen:
        _say(f"Write {_either(letters)} between the quotation marks and run this cell. Then read on.")
    elif chosen not in letters:
        _say(f"There is no choice “{chosen}” here. Write {_either(letters)}.")
    else:
        keep_prediction(name, question["topic"], said=chosen)
        _say(f"Kept: **{chosen}**. Now see what happens.")


def reveal(name: str, came: str, **numbers) -> None:
    """Say what came in this run, why, and from which thought each choice comes; to who has not chosen, only where to choose.

    came: the choice that is right by the numbers of this run; numbers: what the texts name in braces. Raises
    UnknownPrediction, KeyError for a number that a text names and the call lacks, ValueError for a choice that there is not.
    """
    question = _find(name)
    if came not in question["choices"]:
        raise ValueError(f"{name}: {came!r} came, which is none of the choices {', '.join(question['choices'])}.")
    why = question["why"] if isinstance(question["why"], str) else question["why"][came]
    why = why.format(**numbers)
    thoughts = {letter: thought.format(**numbers) for letter, thought in question["choices"].items()}
    if in_grading():
        return
    kept = prediction(name)
    said = kept.get("said")
    if not said:
        _say("You have not chosen yet. Go back to **Predict**, choose, and run this cell again: then it explains what came.")
        return
    keep_prediction(name, question["topic"], came=kept.get("came", came))
    begins = "As you predicted" if said == came else f"You chose **{said}**. In this run it was **{came}**"
    _say(f"{begins}. {why}", *(f"**{letter}** {thought}" for letter, thought in thoughts.items()))


def load_predictions() -> dict[str, dict]:
    """All questions of the course by name, each with its "topic"."""
    return dict(_packed(PACKED))


def pack(topic: str, predictions: dict[str, dict], folder: Path = PACKED) -> None:
    """Write the questions of a chapter as a student's installation holds them. Raises ValueError for one without its texts."""
    for name, question in predictions.items():
        lacks = {"choices", "why"} - question.keys()
        if lacks or len(question["choices"]) < 2:
            raise ValueError(f"The prediction {name!r} of {topic} needs at least two choices, and why.")
        if isinstance(question["why"], dict) and question["why"].keys() != question["choices"].keys():
            raise ValueError(f"The prediction {name!r} of {topic} explains other choices than it offers.")
    content = json.dumps({name: question | {"topic": topic} for name, question in predictions.items()}, indent=1)
    path = folder / f"{topic}{SUFFIX}"
    if path.exists() and gzip.decompress(path.read_bytes()).decode() == content:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode(), mtime=0))
    _packed.cache_clear()


@lru_cache
def _packed(folder: Path) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        found |= json.loads(gzip.decompress(path.read_bytes()))
    return found


def _find(name: str) -> dict:
    known = load_predictions()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownPrediction(f"There is no prediction called {name!r}.{hint}")
    return known[name]


def _either(letters: list[str]) -> str:
    return f"{', '.join(letters[:-1])} or {letters[-1]}"


def _say(*paragraphs: str) -> None:
    """Show paragraphs, in which **bold** and `code` are marked as in Markdown."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import display

        from autograder.judging.report import framed

        display({"text/html": framed(_as_html(paragraphs)), "text/plain": "\n".join(paragraphs)}, raw=True)
    else:
        print("\n".join(paragraphs))


def _as_html(paragraphs: tuple[str, ...]) -> str:
    texts = [re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text, quote=False)) for text in paragraphs]
    texts = [re.sub(r"`(.+?)`", r"<code>\1</code>", text) for text in texts]
    return "".join(f"<div style='margin:.25em 0'>{text}</div>" for text in texts)
