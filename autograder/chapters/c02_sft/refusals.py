"""Acceptance rules of chapter 02's data exercises: a refusal is known by its error, not by its wording.

The probes return the message of a ValueError (None if nothing was raised) under a name that ends with "_message", and
under the same name with "_length" and "_limit" two numbers that it should name, if there are any.
"""

import re

from autograder.judging.compare import Entry, Summary
from autograder.judging.rules import rule


@rule
def refusals(data: dict) -> Summary:
    """Messages become facts: was a ValueError raised, does it say why, does it name the limit and a length?

    All other values are exact, and so are the numbers, which must be those of the case.
    """
    summary: Summary = {}
    for name, value in data.items():
        if not name.endswith("_message"):
            summary[name] = Entry(value)
            continue
        what, message = name.removesuffix("_message"), value if isinstance(value, str) else ""
        facts = {"raises_a_ValueError": isinstance(value, str), "error_says_why": message.strip()}
        numbers = {int(digits) for digits in re.findall(r"\d+", message[:1000])}
        if f"{what}_limit" in data:
            facts["error_names_max_length"] = data[f"{what}_limit"] in numbers
            facts["error_names_the_length"] = data.get(f"{what}_length") in numbers
        summary |= {f"{what}_{fact}": Entry(bool(holds)) for fact, holds in facts.items()}
    return summary
