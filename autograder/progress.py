"""Which exercises pass and what was predicted, kept for the student in one local file.

The file is `progress.json` in `~/.training-language-models`, or where COURSE_PROGRESS_FILE points. It is a
convenience: nothing is graded from it, and a file that cannot be read or written never stops a check. In grading it
is not shown: the file there is that of whoever grades.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from autograder.evidence import in_grading
from autograder.judging.judge import Verdict

IN_GRADING = "Progress is not shown in grading: it is kept on the machine where the checks were run."

PREDICTIONS = "predictions"  # the entry of the file that is no exercise

_of_this_process: dict[str, dict[str, float]] = {}  # where the home cannot be written, it is all there is
_predicted: dict[str, dict[str, str]] = {}


@dataclass(frozen=True)
class Row:
    """Of one exercise: the best and the last share of cases passed, None where it was never checked."""

    topic: str
    exercise: str
    best: float | None
    last: float | None


class Progress:
    """The rows, shown as a table in a notebook and as text elsewhere; or a sentence that says why there are none.

    predicted: for each chapter, of how many predictions one has seen the outcome, and how many of them came true.
    """

    def __init__(self, rows: list[Row], sentence: str = "", predicted: dict[str, tuple[int, int]] | None = None):
        self.rows, self.sentence, self.predicted = rows, sentence, predicted or {}

    def __repr__(self) -> str:
        from autograder.judging.report import progress_text

        return self.sentence or progress_text(self.rows, self.predicted)

    def _repr_html_(self) -> str:
        from autograder.judging.report import progress_html

        return self.sentence or progress_html(self.rows, self.predicted)


def progress(topic: str | None = None) -> Progress:
    """Your progress over the whole course, or over one chapter such as "01_pretraining"."""
    from autograder.exercise import load_exercises

    if in_grading():
        return Progress([], IN_GRADING)
    kept = _read()
    rows = []
    for name, exercise in load_exercises().items():
        if topic in (None, exercise.topic):
            entry = kept.get(name, {})
            rows.append(Row(exercise.topic, name, entry.get("best"), entry.get("last")))
    return Progress(rows, predicted=_predictions_seen(topic))


def record(verdict: Verdict) -> None:
    """Keep the outcome of a check."""
    kept = _read()
    best = kept.get(verdict.exercise, {}).get("best") or 0.0
    kept[verdict.exercise] = _of_this_process[verdict.exercise] = {"best": max(best, verdict.score), "last": verdict.score}
    _write(kept)


def keep_prediction(name: str, topic: str, **what: str) -> None:
    """Keep what was said of a prediction, or what came."""
    kept = _read()
    entry = {"topic": topic} | prediction(name) | what
    kept.setdefault(PREDICTIONS, {})[name] = _predicted[name] = entry
    _write(kept)


def prediction(name: str) -> dict[str, str]:
    """What is kept of a prediction: "topic", "said", and "came" once it was seen. Empty where nothing is."""
    return _predicted.get(name) or _read().get(PREDICTIONS, {}).get(name, {})


def _predictions_seen(topic: str | None) -> dict[str, tuple[int, int]]:
    seen: dict[str, list[bool]] = {}
    for entry in (_read().get(PREDICTIONS, {}) | _predicted).values():
        if entry.get("came") and topic in (None, entry.get("topic")):
            seen.setdefault(entry["topic"], []).append(entry.get("said") == entry["came"])
    return {chapter: (len(right), sum(right)) for chapter, right in seen.items()}


def folder() -> Path | None:
    """The folder of the file, where a student's other things are kept; None where there is no home."""
    path = _path()
    return path and path.parent


def _write(kept: dict) -> None:
    try:
        path = _path()
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        unfinished.replace(path)
    except OSError:
        pass  # a read-only home: the check itself matters more than its memory


def passing() -> set[str]:
    """The exercises whose last check passed."""
    return {name for name, entry in (_read() | _of_this_process).items() if entry.get("last") == 1.0}


def _read() -> dict:
    path = _path()
    if path is None:
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        read = {name: _shares(entry) for name, entry in kept.items() if isinstance(entry, dict) and name != PREDICTIONS}
        predictions = kept.get(PREDICTIONS)
        return read | {PREDICTIONS: _entries_of_text(predictions)} if isinstance(predictions, dict) else read
    except (OSError, ValueError, AttributeError):
        return {}


def _shares(entry: dict) -> dict[str, float]:
    """What can be used of an entry: shares between 0 and 1."""
    return {key: x for key in ("best", "last") if isinstance(x := entry.get(key), (int, float)) and 0 <= x <= 1}


def _entries_of_text(predictions: dict) -> dict[str, dict[str, str]]:
    """What can be used of the predictions: entries that hold text and name their chapter."""
    entries = {name: entry for name, entry in predictions.items() if isinstance(entry, dict)}
    texts = {name: {k: v for k, v in entry.items() if isinstance(v, str)} for name, entry in entries.items()}
    return {name: entry for name, entry in texts.items() if "topic" in entry}


def _path() -> Path | None:
    """Where the file is kept; None where this user has no home, as in a container that does not know the user."""
    if place := os.environ.get("COURSE_PROGRESS_FILE"):
        return Path(place)
    try:
        return Path.home() / ".training-language-models" / "progress.json"
    except RuntimeError:
        return None
