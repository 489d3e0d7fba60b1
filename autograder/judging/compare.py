"""When two values say the same. It is the only comparison there is: of an answer with the expected one, of an answer with
a known mistake (through fingerprints), and of one answer key with another.
"""

from dataclasses import dataclass

import numpy as np

from autograder.values import Other

Z = 6.0  # two-sided normal tail of 2e-9: a right answer is never rejected by chance
MOST_SCATTER = 4.0  # times the expected standard error: an estimate that scatters more would agree with anything
RTOL = 1e-4  # of values that float error may separate


@dataclass(frozen=True)
class Entry:
    """One named value of a summary.

    stderr, of the value's shape, is None for exact values; says: what is told of it where it is not as expected, if the rule
    knows better than the numbers.
    """

    value: object
    stderr: np.ndarray | None = None
    says: str = ""


Summary = dict[str, Entry]
MISSING = Entry(Other("nothing", ""))  # what stands for an entry that a summary lacks


def differing(got: Summary, want: Summary, rtol: float = RTOL) -> list[str]:
    """The names of the entries in which a summary is not as expected."""
    return [name for name, entry in want.items() if not entries_agree(got.get(name, MISSING), entry, rtol)]


def same(got: Summary, want: Summary, rtol: float = RTOL) -> bool:
    """Whether no entry of a summary is other than expected."""
    return all(entries_agree(got.get(name, MISSING), entry, rtol) for name, entry in want.items())


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


@np.errstate(all="ignore")
def _estimates_agree(got: Entry, want: Entry) -> bool:
    if got.stderr is None or np.shape(got.value) != np.shape(want.value):
        return False
    got_error, want_error = np.asarray(got.stderr), np.asarray(want.stderr)
    usual = np.sqrt(np.mean(np.square(want_error))) if want_error.size else 0.0
    if np.any(got_error > MOST_SCATTER * (want_error + usual)):
        return False
    error = np.sqrt(np.square(got_error) + np.square(want_error))
    return bool(np.all(np.abs(np.asarray(got.value) - np.asarray(want.value)) <= Z * error))


def _arrays_agree(got, want: np.ndarray, rtol: float) -> bool:
    if isinstance(got, list) and not got and want.size == 0:
        return True
    if not isinstance(got, np.ndarray) or got.shape != want.shape:
        return False
    if want.ndim and kind(got) != kind(want):
        return False
    if exact(want):
        return exact(got) and bool(np.array_equal(got, want))
    return _close(got, want, rtol)


def exact(array: np.ndarray) -> bool:
    """Integers and booleans are compared exactly, floats with a tolerance."""
    return array.dtype.kind in "biu"


def kind(array: np.ndarray) -> str:
    """Of an array's numbers: "boolean", "integer" or "floating-point"."""
    return {"b": "boolean", "i": "integer", "u": "integer"}.get(array.dtype.kind, "floating-point")


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
    finite, size = np.isfinite(want), np.abs(want)
    atol = 0.1 * rtol * size.max(where=finite, initial=0.0) + 1e-7 * min(1.0, rtol / 1e-4)
    # np.isclose does the same, and takes several times as long for the few numbers that are compared here.
    with np.errstate(all="ignore"):
        near = (np.abs(got - want) <= atol + rtol * size) & finite
    return near | (got == want) | (np.isnan(got) & np.isnan(want))
