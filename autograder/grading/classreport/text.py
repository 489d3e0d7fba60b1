"""The mistakes of the class as text."""

import textwrap

from autograder.grading.classreport.count import Count


def to_text(counts: list[Count], submissions: int) -> str:
    """The table, with the hint the students read under each mistake."""
    if not counts:
        return f"No known mistake was recognised in {submissions} submissions."
    width = max(len(c.exercise) for c in counts)
    lines = [f"Mistakes in {submissions} submissions:"]
    for c in counts:
        lines.append(f"{c.count:4d}  {c.exercise:<{width}}  {c.mistake}")
        lines += textwrap.wrap(c.hint, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines)
