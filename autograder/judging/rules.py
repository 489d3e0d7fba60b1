"""Acceptance rules: how the data of one case is summarised before it is compared.

A rule turns raw data into a *summary*: named entries, each a value and, where the value is an estimate, its standard
error. Two summaries agree when every entry agrees, within float error for exact values and within Z standard errors
for estimates. The same comparison tells a right answer (agrees with the reference) from a recognised mistake (agrees
with that mistake).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autograder.values import Other

Z = 6.0  # two-sided normal tail of 2e-9: a right answer is never rejected by chance


@dataclass(frozen=True)
class Entry:
    """One named value of a summary. stderr, of the value's shape, is None for exact values."""

    value: object
    stderr: np.ndarray | None = None


Summary = dict[str, Entry]
Rule = Callable[[dict], Summary]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Decorator: make a summary function available to cases under its name."""
    RULES[function.__name__] = function
    return function


@rule
def equal(data: dict) -> Summary:
    """The values themselves."""
    return {name: Entry(value) for name, value in data.items()}


@rule
def rates(data: dict) -> Summary:
    """Names ending in "_draws" hold 0/1 draws, one row a draw: their mean rate counts. Other names are exact."""
    return {
        name: _rate(value) if name.endswith("_draws") and _is_numeric(value) else Entry(value)
        for name, value in data.items()
    }


@rule
def means(data: dict) -> Summary:
    """Names ending in "_draws" hold real-valued draws, one row a draw: their mean counts. Other names are exact."""
    return {
        name: _mean(value) if name.endswith("_draws") and _is_numeric(value) else Entry(value)
        for name, value in data.items()
    }


def checksum(*inputs: np.ndarray) -> Summary:
    """An entry that is equal where the integer inputs were: draws made for other inputs prove nothing."""
    content = b"".join(np.ascontiguousarray(a).astype(np.int64).tobytes() for a in inputs)
    return {"inputs": Entry(f"{zlib.crc32(content):08x}")}


def facts(**found) -> Summary:
    """Entries that say yes or no; their names are read in the report."""
    return {name: Entry(bool(fact)) for name, fact in found.items()}


@np.errstate(all="ignore")
def _rate(draws: np.ndarray) -> Entry:
    n = max(len(draws), 1)
    rate = draws.astype(float).mean(axis=0) if len(draws) else np.zeros(draws.shape[1:])
    # Agresti–Coull: the standard error stays positive when no draw, or every draw, was a 1.
    smoothed = (rate * n + 2) / (n + 4)
    return Entry(rate, np.sqrt(smoothed * (1 - smoothed) / (n + 4)))


@np.errstate(all="ignore")
def _mean(draws: np.ndarray) -> Entry:
    draws = draws.astype(float)
    if len(draws) < 2:  # no standard error can be had from it, so it agrees with nothing
        return Entry(np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan))
    return Entry(draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(len(draws)) + 1e-12)


def _is_numeric(value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim >= 1


@np.errstate(all="ignore")
def entries_agree(got: Entry, want: Entry, rtol: float) -> bool:
    """Whether two entries of the same name say the same."""
    if want.stderr is not None:
        return _estimates_agree(got, want)
    if _is_number(want.value):
        return _is_number(got.value) and _close(_scalar(got.value), _scalar(want.value), rtol)
    if isinstance(want.value, np.ndarray):
        return _arrays_agree(got.value, want.value, rtol)
    if isinstance(want.value, list):
        return (
            isinstance(got.value, list)
            and len(got.value) == len(want.value)
            and all(entries_agree(Entry(g), Entry(w), rtol) for g, w in zip(got.value, want.value, strict=True))
        )
    if isinstance(want.value, Other) or isinstance(got.value, Other):
        return False
    return type(got.value) is type(want.value) and got.value == want.value


def _estimates_agree(got: Entry, want: Entry) -> bool:
    if got.stderr is None or np.shape(got.value) != np.shape(want.value):
        return False
    error = np.sqrt(np.square(got.stderr) + np.square(want.stderr))
    return bool(np.all(np.abs(np.asarray(got.value) - np.asarray(want.value)) <= Z * error))


def _arrays_agree(got, want: np.ndarray, rtol: float) -> bool:
    if isinstance(got, list) and not got and want.size == 0:
        return True
    if not isinstance(got, np.ndarray) or got.shape != want.shape:
        return False
    if exact(want):
        return exact(got) and bool(np.array_equal(got, want))
    return _close(got, want, rtol)


def exact(array: np.ndarray) -> bool:
    """Integers and booleans are compared exactly, floats with a tolerance."""
    return array.dtype.kind in "biu"


def _is_number(value) -> bool:
    """A number in any dress: Python's, or an array of one element without axes (or with axes of length one)."""
    return isinstance(value, (bool, int, float)) or (isinstance(value, np.ndarray) and value.size == 1)


def _scalar(value) -> float:
    try:
        return float(value.reshape(()).item()) if isinstance(value, np.ndarray) else float(value)
    except OverflowError:
        return float("inf")


def _close(got, want, rtol: float) -> bool:
    return bool(np.all(close_elements(got, want, rtol)))


def close_elements(got, want, rtol: float) -> np.ndarray:
    """Elementwise: equal up to float error. NaN equals NaN, an infinity equals itself.

    The absolute tolerance follows the largest expected magnitude: an element near zero among large ones carries their
    rounding error.
    """
    got, want = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
    finite = np.abs(want[np.isfinite(want)])
    atol = 0.1 * rtol * (finite.max() if finite.size else 0.0) + 1e-7 * min(1.0, rtol / 1e-4)
    return np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
