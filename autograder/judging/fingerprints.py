"""Fingerprints: a few numbers by which an output is recognised, from which it cannot be rebuilt.

The answer key carries the fingerprints of the known mistakes, so that a student's notebook can name a mistake without
holding its code. A fingerprint is a summary of projections, and two of them are compared as summaries are.
"""

import zlib

import numpy as np

from autograder.judging.compare import RTOL, Entry, Summary, same
from autograder.values import Other

PROJECTIONS = 3
MOST_ITEMS = 64  # of a list; the length is kept too


def fingerprint(summary: Summary | None, error: str = "") -> dict:
    """JSON, of the summary of one case or of the error that the answer raised on it: by name a text, which says of what
    form the value is, and numbers (of an estimate: the numbers and their standard errors)."""
    if summary is None:
        return {"error": [error]}
    return {name: found for key, entry in summary.items() for name, found in _prints(key, entry)}


def agree(a: dict, b: dict, rtol: float = RTOL) -> bool:
    """Whether two fingerprints of the same case come from the same output."""
    if a.keys() != b.keys() or any(a[name][0] != b[name][0] for name in a):  # of another form
        return False
    one, other = _as_summary(a), _as_summary(b)
    return same(one, other, rtol) and same(other, one, rtol)  # neither may scatter so much more


def is_error(print_: dict) -> bool:
    """Whether the answer raised on this case."""
    return set(print_) == {"error"}


def _prints(name: str, entry: Entry):
    """(name, [form, numbers, standard errors]) of an entry; of a list, one for each item."""
    value = entry.value
    if isinstance(value, (bool, int, float)):
        value = np.asarray(float(value))
    if isinstance(value, list):
        yield name, [f"a list of {len(value)}"]
        for i, item in enumerate(value[:MOST_ITEMS]):
            yield from _prints(f"{name}[{i}]", Entry(item))
    elif not isinstance(value, np.ndarray):
        text = value.type if isinstance(value, Other) else str(value)
        yield name, [f"{type(value).__name__} {zlib.crc32(text.encode()):08x}"]
    elif entry.stderr is not None:
        yield name, [f"estimates {value.shape}", _floats(value), _floats(entry.stderr)]
    else:
        yield name, [_form(value), _projections(value)]


def _form(array: np.ndarray) -> str:
    """Shape, kind of numbers, and where NaN and infinities stand. A number alone may come in any dress."""
    dress = "" if array.size == 1 else f"{array.shape} {array.dtype.kind}"
    odd = np.where(np.isnan(array), 1, np.where(np.isposinf(array), 2, np.where(np.isneginf(array), 3, 0)))
    return f"{dress} {zlib.crc32(odd.astype(np.uint8).tobytes()):08x}" if odd.any() else dress


@np.errstate(all="ignore")
def _projections(array: np.ndarray) -> list[float]:
    """The scale and a few random projections of the values; NaN and infinities count as 0. One number is its own."""
    flat = array.astype(float).reshape(-1)
    flat = np.where(np.isfinite(flat), flat, 0.0)
    if flat.size <= 1:
        return _floats(flat)
    directions = np.random.default_rng(flat.size).standard_normal((PROJECTIONS, flat.size))
    return _floats([np.abs(flat).max(), *(directions @ flat / np.sqrt(flat.size))])


def _floats(array) -> list[float]:
    return [float(f"{x:.7g}") for x in np.asarray(array, dtype=float).reshape(-1)]


def _as_summary(print_: dict) -> Summary:
    """The numbers; the forms are not in it."""
    summary: Summary = {}
    for name, (_, *numbers) in print_.items():
        if numbers:
            value, *error = (np.asarray(x, dtype=float) for x in numbers)
            summary[name] = Entry(value, error[0] if error else None)
    return summary
