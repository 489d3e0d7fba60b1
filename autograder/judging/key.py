"""The answer key: the oracle of a student's notebook. Outputs of the reference on the public seeds, as data.

autograder/judging/keys/NN_topic.json.gz
{"topic": …, "seeds": [1, 2, 3], "exercises": {name: {
    "points": 4, "expected": {case: {seed: summary}}, "mistakes": [{"name", "hint", "prints": {case: {seed: …}}}]}}}
"""

import gzip
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from autograder.evidence import PUBLIC_SEEDS
from autograder.exercise import SIZES, Case, Exercise, exercises_of
from autograder.judging import fingerprints
from autograder.judging.compare import Entry, Summary, differing
from autograder.judging.judge import KnownMistake, Oracle
from autograder.values import decode, encode

KEYS = Path(__file__).resolve().parent / "keys"
SUFFIX = ".json.gz"


class KeyMissing(Exception):
    """There is no answer key for a chapter, or it does not know an exercise."""


class AnswerKey:
    """The oracle that remembers."""

    def __init__(self, content: dict):
        self.content = content
        self.seeds = tuple(content["seeds"])

    @property
    def points(self) -> dict[str, float]:
        """Name of exercise -> points."""
        return {name: exercise["points"] for name, exercise in self.content["exercises"].items()}

    def expected(self, exercise: Exercise, case: Case, seed: int) -> Summary:
        """What the reference gave at release. Raises KeyMissing for a case or seed that the key does not hold."""
        try:
            stored = self._of(exercise)["expected"][case.name][str(seed)]
        except KeyError:
            raise KeyMissing(
                f"The answer key knows no case {case.name!r} of {exercise.name} with seed {seed}: the course's files "
                "are of different versions. Install the course again."
            ) from None
        return {name: _unpack(name, value) for name, value in stored.items()}

    def mistakes(self, exercise: Exercise, seeds: Sequence[int]) -> list[KnownMistake]:
        """The known mistakes with their fingerprints on the public seeds."""
        return [
            KnownMistake(
                m["name"],
                m["hint"],
                {(case, int(seed)): p for case, by_seed in m["prints"].items() for seed, p in by_seed.items()},
            )
            for m in self._of(exercise)["mistakes"]
        ]

    def _of(self, exercise: Exercise) -> dict:
        try:
            return self.content["exercises"][exercise.name]
        except KeyError:
            raise KeyMissing(
                f"The answer key of {exercise.topic} does not know {exercise.name}. Install the course again."
            ) from None


@lru_cache
def load_key(topic: str) -> AnswerKey:
    """The key shipped with the course. Raises KeyMissing with what to do."""
    path = key_path(topic, KEYS)
    if not path.exists():
        known = ", ".join(topics_with_key(KEYS)) or "none"
        raise KeyMissing(f"There is no answer key for the chapter {topic!r} (known chapters: {known}).")
    return AnswerKey(read_key(path))


def key_path(topic: str, keys: Path) -> Path:
    """Where the key of a chapter stands below `keys`."""
    return keys / f"{topic}{SUFFIX}"


def topics_with_key(keys: Path) -> list[str]:
    """The chapters that have a key below `keys`, by number."""
    return sorted(path.name.removesuffix(SUFFIX) for path in keys.glob(f"*{SUFFIX}"))


def read_key(path: Path) -> dict:
    """The content of a key's file."""
    return json.loads(gzip.decompress(path.read_bytes()))


def write_key(content: dict, path: Path) -> None:
    """Write a key's file. The same content gives the same bytes: no time and no name go into it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(text.encode())


def build_key(topic: str, reference, seeds: Sequence[int] = PUBLIC_SEEDS) -> dict:
    """The content of a key, from a `Reference`: JSON-serialisable."""
    exercises = {}
    for exercise in exercises_of(topic):
        exercises[exercise.name] = {
            "points": reference.points.get(exercise.name, 0),
            "expected": {
                case.name: {str(seed): _pack_summary(reference, exercise, case, seed) for seed in seeds}
                for case in exercise.cases
            },
            "mistakes": [] if exercise.open else [_pack_mistake(m) for m in reference.mistakes(exercise, seeds)],
        }
    return {"topic": topic, "seeds": list(seeds), "exercises": exercises}


def same_key(a: dict, b: dict) -> bool:
    """Whether two keys say the same, up to float error between machines."""
    try:
        if any(a[name] != b[name] for name in ("topic", "seeds")) or a["exercises"].keys() != b["exercises"].keys():
            return False
        return all(_same_exercise(exercise, b["exercises"][name]) for name, exercise in a["exercises"].items())
    except (KeyError, TypeError, ValueError):  # one of them is of another form: an older version wrote it
        return False


def _same_exercise(a: dict, b: dict) -> bool:
    if a["points"] != b["points"] or a["expected"].keys() != b["expected"].keys() or len(a["mistakes"]) != len(b["mistakes"]):
        return False
    return all(_same_by_seed(a["expected"][case], b["expected"][case], _summaries_agree) for case in a["expected"]) and all(
        _same_mistake(one, other) for one, other in zip(a["mistakes"], b["mistakes"], strict=True)
    )


def _same_mistake(a: dict, b: dict) -> bool:
    if (a["name"], a["hint"]) != (b["name"], b["hint"]) or a["prints"].keys() != b["prints"].keys():
        return False
    return all(_same_by_seed(a["prints"][case], b["prints"][case], fingerprints.agree) for case in a["prints"])


def _same_by_seed(a: dict, b: dict, agree) -> bool:
    return a.keys() == b.keys() and all(agree(a[seed], b[seed]) for seed in a)


def _summaries_agree(a: dict, b: dict) -> bool:
    one, other = ({name: _unpack(name, value) for name, value in packed.items()} for packed in (a, b))
    sizes = [summary.pop(SIZES, Entry(None)).value for summary in (one, other)]
    return one.keys() == other.keys() and sizes[0] == sizes[1] and not differing(one, other)


def _pack_summary(oracle: Oracle, exercise: Exercise, case: Case, seed: int) -> dict:
    summary = oracle.expected(exercise, case, seed)
    return {name: _pack(name, entry) for name, entry in summary.items()}


def _pack(name: str, entry: Entry) -> dict:
    if name == SIZES:
        return {"sizes": entry.value}
    packed = {"value": encode(entry.value)}
    return packed if entry.stderr is None else packed | {"stderr": encode(entry.stderr)}


def _unpack(name: str, packed: dict) -> Entry:
    if name == SIZES:
        return Entry(packed["sizes"])
    return Entry(decode(packed["value"]), decode(packed["stderr"]) if "stderr" in packed else None)


def _pack_mistake(mistake: KnownMistake) -> dict:
    prints: dict[str, dict] = {}
    for (case, seed), print_ in mistake.prints.items():
        prints.setdefault(case, {})[str(seed)] = print_
    return {"name": mistake.name, "hint": mistake.hint, "prints": prints}
