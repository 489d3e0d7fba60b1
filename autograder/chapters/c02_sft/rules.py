"""Acceptance rules of chapter 02: what must hold of sampled answers, and how many rows a plan takes, found by the judge."""

import numpy as np

from autograder.chapters.c02_sft.planning import LENGTH
from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import bars, bounded, checksum, facts, rates, reaches, rule


@rule
def cold_answers(data: dict) -> Summary:
    """The answers at temperature 0, and whether those at nearly 0 are the same."""
    same = np.array_equal(data["at_zero"], data["nearly_zero"])
    return {"at_zero": Entry(data["at_zero"])} | facts(they_differ_at_nearly_zero=not same)


@rule
def drawn_answers(data: dict) -> Summary:
    """How often each token came, at two temperatures; rows with even numbers continue one prompt, odd ones another.

    at_half and at_two are (rows, 1).
    """
    summary = checksum(data["prompts"], np.asarray(data["vocab"]))
    for name in ("at_half", "at_two"):
        tokens = data[name]
        summary[f"shape_{name}"] = Entry(np.asarray(tokens.shape))
        if tokens.ndim != 2 or tokens.shape[1] != 1 or bounded(len(tokens)) * bounded(data["vocab"], 1000) == 0:
            continue
        alike = len(tokens) > 0 and bool((tokens == tokens[0]).all())
        counted = tokens[:2] if alike else tokens  # the same in all rows: one draw for each prompt
        hits = counted == np.arange(data["vocab"])  # (rows, vocab)
        draws = {f"after_prompt_{i + 1}_{name}_draws": hits[i::2] for i in (0, 1)}
        summary |= rates(draws) | facts(**{f"the_same_token_in_all_rows_{name}": alike})
    return summary


@rule
def repeatable_answers(data: dict) -> Summary:
    """Four runs: twice the same seed, then another, then once more the first run's generator. Each is (rows, new)."""
    first, again, other, more = (data[name] for name in ("first", "again", "with_another_seed", "once_more"))
    differ = (first != first[:1]).any()
    return checksum(data["prompts"]) | facts(
        rows_differ=differ,
        repeated_with_the_same_seed=np.array_equal(first, again),
        # One short row may come twice by chance, thirteen different ones do not.
        different_rows_repeated_with_another_seed=differ and np.array_equal(first, other),
        different_rows_repeated_by_a_generator_used_before=differ and np.array_equal(first, more),
    )


def what_is_wrong(lengths: np.ndarray, numbers: np.ndarray, sizes: np.ndarray) -> str:
    """Why a plan is none, as a sentence; nothing where it is one. numbers: of the examples, row after row of these sizes."""
    times = np.bincount(numbers[(numbers >= 0) & (numbers < len(lengths))], minlength=len(lengths))
    if len(numbers) > times.sum():
        return f"Your plan names an example that there is not: they are numbered from 0 to {len(lengths) - 1}."
    if (times == 0).any():
        return f"Your plan leaves out {(times == 0).sum()} of {len(lengths)} examples, such as number {times.argmin()}."
    if (times > 1).any():
        return f"Example {times.argmax()} stands in your plan {times.max()} times."
    for row in np.split(numbers, np.cumsum(sizes)[:-1]):
        if lengths[row].sum() > LENGTH:
            return f"A row of your plan holds {lengths[row].sum()} tokens; {LENGTH} have room."
    return ""


def _rows_of_a_plan(data: dict, bar: float) -> Summary:
    """Whether a plan has at most as many rows as the bar says, where it is a plan."""
    lengths, numbers, sizes = (np.asarray(data[name]).astype(np.int64) for name in ("lengths", "numbers", "sizes"))
    bounded(len(numbers)), bounded(len(sizes)), bounded(len(lengths))
    wrong = what_is_wrong(lengths, numbers, sizes) if (sizes >= 0).all() and sizes.sum() == len(numbers) else "No plan came."
    found = reaches("rows", len(sizes), bar, lower_is_better=True, digits=0)
    if wrong:
        found = {name: Entry(False, says=wrong) for name in found}
    return checksum(lengths) | found


bars(_rows_of_a_plan, {f"at_most_{bar}_rows": bar for bar in (135, 129, 124, 121)})
