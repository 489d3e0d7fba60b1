"""Fingerprints: a few numbers by which an output is recognised, from which it cannot be rebuilt.

The answer key carries the fingerprints of the known mistakes, so that a student's notebook can name a mistake without
holding its code. Two fingerprints of one case agree when the outputs agree within float error (estimates: within
their standard errors).
"""

import zlib

import numpy as np

from autograder.judging.rules import Entry, Summary, Z
from autograder.values import Other

PROJECTIONS = 3


@np.errstate(all="ignore")
def fingerprint(summary: Summary | None, error: str | None = None) -> dict:
    """JSON: of the summary of one case, or of the type of the error that the answer raised on it."""
    if summary is None:
        return {"error": error or ""}
    return {name: _of_entry(entry) for name, entry in summary.items()}


@np.errstate(all="ignore")
def agree(a: dict, b: dict) -> bool:
    """Whether two fingerprints of the same case come from the same output."""
    if is_error(a) or is_error(b):
        return a == b
    return a.keys() == b.keys() and all(_entries_agree(a[name], b[name]) for name in a)


def is_error(print_: dict) -> bool:
    """Whether the answer raised on this case."""
    return set(print_) == {"error"}


def _of_entry(entry: Entry) -> dict:
    value = entry.value
    if isinstance(value, (bool, int, float)):
        value = np.asarray(float(value))
    if isinstance(value, np.ndarray):
        numbers = value.astype(float)
        if entry.stderr is not None:
            return {"shape": list(numbers.shape), "mean": _floats(numbers), "stderr": _floats(entry.stderr)}
        shape = [] if numbers.size == 1 else list(numbers.shape)
        return {"shape": shape, "odd": _odd_ones(numbers), "numbers": _project(numbers)}
    if isinstance(value, list):
        return {"items": [_of_entry(Entry(item)) for item in value[:64]], "length": len(value)}
    text = f"{value.type}" if isinstance(value, Other) else str(value)
    return {"text": zlib.crc32(text.encode()), "type": type(value).__name__}


def _odd_ones(numbers: np.ndarray) -> list[int]:
    return [int(np.isnan(numbers).sum()), int(np.isposinf(numbers).sum()), int(np.isneginf(numbers).sum())]


def _project(numbers: np.ndarray) -> list[float]:
    """The scale and a few random projections of the values, in order; odd values count as 0."""
    flat = np.nan_to_num(numbers.reshape(-1), nan=0.0, posinf=0.0, neginf=0.0)
    if not flat.size:
        return []
    directions = np.random.default_rng(flat.size).standard_normal((PROJECTIONS, flat.size))
    scale = float(np.abs(flat).max())
    return [scale, *_floats(directions @ flat / np.sqrt(flat.size))]


def _floats(array) -> list[float]:
    return [float(f"{x:.7g}") for x in np.asarray(array, dtype=float).reshape(-1)]


def _entries_agree(a: dict, b: dict) -> bool:
    if a.keys() != b.keys():
        return False
    if "items" in a:
        return a["length"] == b["length"] and all(
            _entries_agree(x, y) for x, y in zip(a["items"], b["items"], strict=True)
        )
    if "text" in a:
        return a == b
    if a["shape"] != b["shape"]:
        return False
    if "mean" in a:
        error = np.sqrt(np.square(a["stderr"]) + np.square(b["stderr"]))
        return bool(np.all(np.abs(np.subtract(a["mean"], b["mean"])) <= Z * error))
    if a["odd"] != b["odd"] or len(a["numbers"]) != len(b["numbers"]):
        return False
    scale = max([abs(x) for x in a["numbers"]] + [0.0])
    return bool(np.allclose(a["numbers"], b["numbers"], rtol=2e-4, atol=1e-4 * scale + 1e-8))
