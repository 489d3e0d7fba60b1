"""Acceptance rules: how the data of one case is summarised before it is compared.

A rule turns raw data into a *summary*: named entries, each a value and, where the value is an estimate, its standard
error. Two summaries agree when every entry agrees, within float error for exact values and within Z standard errors
for estimates. The same comparison tells a right answer (agrees with the reference) from a recognised mistake (agrees
with that mistake).
"""

import functools
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from autograder.judging.compare import Entry, Summary

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


MOST = 5_000


def bounded(number, most: int = MOST) -> int:
    """A number in the evidence by which a rule allocates or loops. Raises ValueError beyond what any case of ours counts.

    Evidence comes from an untrusted process, which may claim anything.
    """
    number = int(number)
    if not 0 <= number <= most:
        raise ValueError(f"evidence that claims {number} of something")
    return number


def checksum(*inputs: np.ndarray) -> Summary:
    """An entry that is equal where the integer inputs were: draws made for other inputs prove nothing.

    Its name begins with an underscore, so it is compared and not shown.
    """
    content = b"".join(np.ascontiguousarray(a).astype(np.int64).tobytes() for a in inputs)
    return {"_inputs": Entry(f"{zlib.crc32(content):08x}")}


def facts(**found) -> Summary:
    """Entries that say yes or no; their names are read in the report."""
    return {name: Entry(bool(fact)) for name, fact in found.items()}


def bars(measure: Callable[[dict, float], Summary], bars_by_rule: Mapping[str, float]) -> None:
    """Make the bars of an open task available to its cases: the name of each rule, and the bar that it hands to `measure`."""
    for name, bar in bars_by_rule.items():
        RULES[name] = functools.partial(measure, bar=bar)


def reaches(what: str, measured: float, bar: float, *, lower_is_better: bool = False, digits: int = 3) -> Summary:
    """Of an open task: whether what the judge measured reaches a bar. A measurement that is no number reaches none."""
    reached = measured <= bar if lower_is_better else measured >= bar
    side = "at most" if lower_is_better else "at least"
    says = f"Measured: {what} {measured:.{digits}f}. This bar asks for {side} {bar:.{digits}f}."
    return {f"{what} {side} {bar:.{digits}f}": Entry(bool(reached), says=says)}


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
