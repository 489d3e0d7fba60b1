"""How a verdict looks: HTML in a notebook and in nbgrader's feedback, plain text elsewhere.

Everything a student's process produced is escaped: it is text here, never markup.
"""

import sys
from html import escape

from autograder.judging.judge import CaseVerdict, Difference, Verdict

# Ink and paper come from the page (JupyterLab, Colab, nbgrader's feedback, light or dark); only accents are ours.
_GREEN, _RED, _AMBER, _GREY = "#1a8754", "#c8372d", "#a86400", "#7a7f87"
_FRAME = (
    "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:14px;line-height:1.5;max-width:54em;"
    "border:1px solid rgba(127,127,127,.35);border-left:4px solid {accent};border-radius:6px;"
    "padding:.75em 1em;margin:.4em 0"
)
# Of a <summary>: nbgrader's pages take its triangle away (Bootstrap makes it a block), and nobody sees that it opens.
FOLDED = "display:list-item;cursor:pointer"
_MONO = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12.5px"


def show(verdict: Verdict) -> None:
    """Display the report: HTML inside IPython with a front end, text elsewhere."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import display

        display({"text/html": to_html(verdict), "text/plain": to_text(verdict)}, raw=True)
    else:
        print(to_text(verdict))


def _first_look(verdict: Verdict) -> str:
    """Which answers to mend first, where this one rests on others that are not right."""
    if not verdict.shaky:
        return ""
    names = " and ".join(f"`{name}`" for name in verdict.shaky)
    have = "has not passed its check" if len(verdict.shaky) == 1 else "have not passed their checks"
    return f"Your answer calls {names}, which {have}: begin there. What is wrong there is wrong here too."


def to_line(verdict: Verdict) -> str:
    """The verdict in one line."""
    if verdict.unanswered:
        return f"{verdict.exercise} is not answered yet: write your code in the cell above, run it, then check again."
    if verdict.passed:
        return f"{verdict.exercise}: all {len(verdict.cases)} cases pass."
    passed = sum(case.passed for case in verdict.cases)
    return f"{verdict.exercise}: {passed} of {len(verdict.cases)} cases pass. The report above says what is wrong."


def to_text(verdict: Verdict, points: float | None = None) -> str:
    """The whole report as plain text."""
    lines = [_headline(verdict) + _points(verdict, points)]
    if verdict.problem:
        return "\n".join([*lines, f"  {verdict.problem}"])
    if verdict.unanswered:
        return "\n".join([*lines, "  Not answered yet: replace the line that raises NotImplementedError."])
    if verdict.mistake:
        lines.append(f"  Diagnosis: {verdict.hint}")
    if verdict.shaky:
        lines.append(f"  {_first_look(verdict)}")
    for case in verdict.cases:
        lines.append(f"  {'✓' if case.passed else '✗'} {case.sentence}")
        if case.problem:
            lines.append(f"      {case.problem}")
        for d in case.differences:
            lines += [f"      {d.name}: expected {d.expected}", f"      {' ' * len(d.name)}  got      {d.got}"]
            lines += [f"      {d.says}"] if d.says else []
        if case.diagnosis and not verdict.mistake:
            lines.append(f"      {'Perhaps' if case.guess else 'Diagnosis'}: {case.diagnosis}")
    if not verdict.passed:
        lines.append(f"  Where to look: the section “{verdict.section}”.")
    return "\n".join(lines)


def to_html(verdict: Verdict, points: float | None = None) -> str:
    """The whole report as one HTML element with inline styles and no script."""
    accent = _GREEN if verdict.passed else _GREY if verdict.unanswered else _RED
    parts = [_html_head(verdict, points, accent)]
    if verdict.problem:
        parts.append(f"<div>{escape(verdict.problem)}</div>")
    elif verdict.unanswered:
        parts.append(
            "<div>Write your code in the cell above in place of the line that raises "
            f"<code>NotImplementedError</code>, run that cell, then run this one again. It will be tried on "
            f"{len(verdict.cases)} cases:</div>"
        )
        parts.append("".join(f"<div style='color:{_GREY}'>○ {escape(case.sentence)}</div>" for case in verdict.cases))
    else:
        if verdict.mistake:
            parts.append(_html_diagnosis(verdict.hint))
        if verdict.shaky:
            parts.append(f"<div style='margin:.3em 0'>{escape(_first_look(verdict))}</div>")
        parts += _html_cases(verdict)
        if not verdict.passed:
            where = f"Where to look: the section “{escape(verdict.section)}”."
            parts.append(f"<div style='margin-top:.5em;color:{_GREY}'>{where}</div>")
    return f'<div style="{_FRAME.format(accent=accent)}">{"".join(parts)}</div>'


def progress_text(rows, predicted: dict[str, tuple[int, int]]) -> str:
    """The progress table as text."""
    lines, topic = [], None
    for row in rows:
        if row.topic != topic:
            topic = row.topic
            lines.append(f"{topic}  {_count(rows, topic)}{_predictions(predicted, topic)}")
        lines.append(f"  {_mark(row)} {row.exercise:<28} {_last(row)}")
    return "\n".join(lines) or "No exercises yet."


def progress_html(rows, predicted: dict[str, tuple[int, int]]) -> str:
    """The progress table as HTML."""
    parts, topic = [], None
    for row in rows:
        if row.topic != topic:
            topic = row.topic
            top = "margin-top:.6em;" if parts else ""
            parts.append(
                f"<div style='{top}font-weight:600'>{escape(topic)} "
                f"<span style='font-weight:400;color:{_GREY}'>{_count(rows, topic)}{_predictions(predicted, topic)}</span></div>"
            )
        color = {"✓": _GREEN, "◐": _AMBER}.get(_mark(row), _GREY)
        parts.append(
            f"<div style='display:inline-block;min-width:15em;margin-right:1em'>"
            f"<span style='color:{color}'>{_mark(row)}</span> <code>{escape(row.exercise)}</code> "
            f"<span style='color:{_GREY}'>{_last(row)}</span></div>"
        )
    return framed("".join(parts))


def framed(html: str) -> str:
    """What is no verdict, in a quiet frame."""
    return f'<div style="{_FRAME.format(accent=_GREY)}">{html}</div>'


def _count(rows, topic: str) -> str:
    chapter = [row for row in rows if row.topic == topic]
    return f"{sum(row.best == 1.0 for row in chapter)} of {len(chapter)} pass"


def _predictions(predicted: dict[str, tuple[int, int]], topic: str) -> str:
    seen, right = predicted.get(topic, (0, 0))
    return f", {right} of {seen} predictions came true" if seen else ""


def _mark(row) -> str:
    return "○" if row.best is None else "✓" if row.best == 1.0 else "◐"


def _last(row) -> str:
    if row.last is None:
        return ""
    if row.best == 1.0 and row.last < 1.0:
        return f"passed before, last try {row.last:.0%}"
    return "" if row.last == 1.0 else f"{row.last:.0%} of the cases"


def _headline(verdict: Verdict) -> str:
    if verdict.problem:
        return f"{verdict.exercise}: nothing to judge"
    if verdict.unanswered:
        return f"{verdict.exercise}: not answered yet"
    passed = sum(case.passed for case in verdict.cases)
    return f"{verdict.exercise}: {passed} of {len(verdict.cases)} cases pass"


def _points(verdict: Verdict, points: float | None) -> str:
    return "" if points is None else f" ({round(points * verdict.score, 2):g} of {points:g} points)"


def _html_head(verdict: Verdict, points: float | None, accent: str) -> str:
    name, rest = _headline(verdict).split(":", 1)
    sign = "✓" if verdict.passed else "○" if verdict.unanswered else "✗"
    return (
        f"<div style='font-size:15px;font-weight:600;margin-bottom:.35em'><span style='color:{accent}'>{sign}</span> "
        f'<span style="{_MONO};font-size:14px">{escape(name)}</span>'
        f"<span style='font-weight:400;color:{_GREY}'> · {escape(rest.strip() + _points(verdict, points))}</span></div>"
    )


def _html_diagnosis(hint: str, guess: bool = False) -> str:
    return (
        f"<div style='background:rgba(214,140,20,.13);border-radius:4px;padding:.45em .7em;margin:.3em 0 .5em'>"
        f"<span style='color:{_AMBER};font-weight:600'>{'Perhaps' if guess else 'Diagnosis'}</span> {escape(hint)}</div>"
    )


def _html_cases(verdict: Verdict) -> list[str]:
    """Each case as a line; the details of the first failure open, those of later ones folded away."""
    parts, told = [], False
    for case in verdict.cases:
        color, sign = (_GREEN, "✓") if case.passed else (_RED, "✗")
        parts.append(f"<div><span style='color:{color};font-weight:600'>{sign}</span> {escape(case.sentence)}</div>")
        if case.passed:
            continue
        inside = _html_details(case, explained=bool(verdict.mistake))
        if told:
            inside = f"<details><summary style='color:{_GREY};{FOLDED}'>what came</summary>{inside}</details>"
        told = True
        parts.append(f"<div style='margin:.1em 0 .4em 1.4em'>{inside}</div>")
    return parts


def _html_details(case: CaseVerdict, explained: bool) -> str:
    inside = f"<div>{escape(case.problem)}</div>" if case.problem else ""
    inside += "".join(map(_html_difference, case.differences))
    if case.diagnosis and not explained:
        inside += _html_diagnosis(case.diagnosis, case.guess)
    return inside


def _html_difference(d: Difference) -> str:
    def row(kind: str, value: str) -> str:
        return (
            f"<span style='color:{_GREY};font-size:13px'>{kind}</span>"
            f'<span style="{_MONO};overflow-wrap:anywhere;padding-top:1px">{escape(value)}</span>'
        )

    grid = "display:grid;grid-template-columns:max-content 1fr;gap:.1em .8em;align-items:baseline"
    name = f'<div style="{_MONO};color:{_GREY}">{escape(d.name)}</div>'
    says = f"<div>{escape(d.says)}</div>" if d.says else ""
    return f"{name}<div style='{grid}'>{row('expected', d.expected)}{row('got', d.got)}</div>{says}"
