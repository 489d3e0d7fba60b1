"""The report as one page of HTML: no script, nothing from elsewhere, and all that comes from students escaped."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from importlib.resources import files

from autograder.grading.classreport import count
from autograder.grading.classreport.alike import Alike
from autograder.grading.classreport.count import Count, Looks, Resting, Scores, TaskCounts, Unnamed
from autograder.grading.classreport.gather import Class
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, STUDENT_ERROR, SUBMISSION_ERROR

MANY_MISTAKES, MANY_PEOPLE, MANY_SENTENCES, CASES = 12, 8, 3, 2  # more are folded away, or only counted
GROUPS = {
    "passed": "all points",
    "partly": "some",
    "nothing": "none",
    "unanswered": "not answered",
    "waiting": "waits for a person",
}
SECTIONS = {
    "scores": "Scores",
    "exercises": "Exercises",
    "mistakes": "Mistakes made most",
    "resting": "Answers that rest on wrong ones",
    "looks": "Who needs a look by hand",
    "alike": "Nearly identical answers",
}
TILES = {GRADED: "good", STUDENT_ERROR: "warn", SUBMISSION_ERROR: "warn", INFRASTRUCTURE_ERROR: "bad"}
STATES_EXPLAINED = (
    "Student error: graded, and a cell of it crashed, hung or gave no result. Submission error: the file could not be read. "
    "Infrastructure error: the grader failed, which is never a zero."
)
PROVES_NOTHING = (
    "Alike answers to short exercises prove nothing: there are few ways to write five lines, and the same lecture, the same "
    "book or an evening of work together lead to the same code. What the reference, the known mistakes and many of the "
    "class share is left out here, and so are names, comments and layout. Read the answers side by side, and ask, before "
    "you conclude anything."
)


def to_html(found: Class, alike: list[Alike], made: datetime) -> str:
    """The whole page. made: when."""
    looks, unnamed = count.looks(found), count.unnamed(found)
    parts = [
        _head(found, looks, count.scores(found)),
        _scores(count.scores(found), found),
        _tasks(count.tasks(found)),
        _mistakes(count.mistakes(found), len(count.read(found.submissions))),
        _resting(count.resting(found)),
        _looks(looks, unnamed, found.absent),
        _alike(alike),
        f"<footer>Made {made:%d %B %Y, %H:%M} from the gradebook and the judged notebooks of <code>{escape(found.topic)}"
        "</code>. This page names students: it is for those who teach. The examples of code name nobody.</footer>",
    ]
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(found.title)}: the class</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body>\n</html>\n"
    )


def _section(name: str) -> str:
    return f'<h2 id="{name}">{SECTIONS[name]}</h2>'


def _head(found: Class, looks: Looks, scores: Scores | None) -> str:
    counts = count.states(found)
    middle = "–" if scores is None else f"{scores.middle:.0%}"
    tiles = [("main", len(found.submissions), "handed in"), ("main", middle, "median score")]
    tiles += [(TILES[state] if number else "", number, state) for state, number in counts.items()]
    waiting = len({student for students in looks.waiting.values() for student in students})
    tiles += [("warn", waiting, "wait for a person")] if waiting else []
    shown = "".join(f'<div class="tile {kind}"><b class="number">{number}</b>{name}</div>' for kind, number, name in tiles)
    places = "".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())
    return (
        f'<header><p class="kicker">The class in <code>{escape(found.topic)}</code></p><h1>{escape(found.title)}</h1>'
        f'<div class="tiles">{shown}</div><p class="soft states">{STATES_EXPLAINED}</p><nav>{places}</nav></header>'
    )


def _scores(scores: Scores | None, found: Class) -> str:
    if scores is None:
        return f"{_section('scores')}<p>No submission has a score yet.</p>"
    most = max(scores.bins)
    columns = "".join(
        f'<div class="column"><span class="number">{number or ""}</span>'
        f'{_bar(number / most)}</div>'
        for number in scores.bins
    )
    width = 100 // len(scores.bins)
    labels = "".join(f"<span>{width * i}–{width * (i + 1)}</span>" for i in range(len(scores.bins)))
    said = (
        f"Half of the class has between {scores.lower:.0%} and {scores.upper:.0%} of the {found.points:g} points; "
        f"the median is {scores.middle:.0%}."
    )
    left_out = len(found.submissions) - scores.count
    if left_out:
        said += f" Left out: {left_out} of {len(found.submissions)}, which could not be read or were not graded."
    if any(answer.waits for one in found.submissions for answer in one.answers.values()):
        said += " An answer that waits for a person counts as nothing until then."
    alt = ", ".join(f"{width * i} to {width * (i + 1)} percent: {n}" for i, n in enumerate(scores.bins))
    return (
        f'{_section("scores")}<p>{said}</p><div role="img" aria-label="{alt}"><div class="columns">{columns}</div>'
        f'<div class="axis">{labels}</div></div><p class="soft">Percent of all points; above each bar, how many.</p>'
    )


def _bar(share: float) -> str:
    return f'<div class="bar" style="height:{100 * share:.1f}%"></div>' if share else ""


def _tasks(tasks: list[TaskCounts]) -> str:
    used = [name for name in GROUPS if any(getattr(one, name) for one in tasks)]
    legend = "".join(f'<span><i class="{name}"></i>{GROUPS[name]}</span>' for name in used)
    timed = any(one.seconds is not None for one in tasks)
    head = '<th>exercise</th><th class="optional">points</th><th></th><th>pass</th><th>mean share</th>'
    head += '<th class="optional">check takes</th>' if timed else ""
    rows = "".join(f"<tr>{_task(one, timed)}</tr>" for one in tasks)
    return (
        f"{_section('exercises')}<p>What became of the answers of those whose notebook could be read. Who has all points passes; "
        "the mean share is that of the points.</p>"
        f'<div class="legend">{legend}</div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _task(one: TaskCounts, timed: bool) -> str:
    total = one.count or 1
    pieces, said = "", []
    for name, label in GROUPS.items():
        number = getattr(one, name)
        if number:
            shown = number if number / total >= 0.07 else ""
            pieces += f'<span class="{name}" style="flex:{number}" title="{label}: {number}">{shown}</span>'
            said.append(f"{label}: {number}")
    judged = one.count - one.waiting
    passed = f"{one.passed / judged:.0%}" if judged else "–"
    share = "–" if one.share is None else f"{one.share:.0%}"
    cells = (
        f"<td><code>{escape(one.task.name)}</code>{' <span class=soft>written</span>' if one.task.written else ''}</td>"
        f'<td class="number optional">{one.task.points:g}</td>'
        f'<td class="wide"><div class="stack" role="img" aria-label="{", ".join(said)}">{pieces}</div></td>'
        f'<td class="number">{passed}</td><td class="number">{share}</td>'
    )
    if timed:
        slowest = f' title="the slowest: {one.slowest:.1f} s"' if one.slowest is not None else ""
        seconds = "–" if one.seconds is None else f"{one.seconds:.1f} s"
        cells += f'<td class="number optional"{slowest}>{seconds}</td>'
    return cells


def _mistakes(mistakes: list[Count], of: int) -> str:
    if not mistakes:
        return f"{_section('mistakes')}<p>No known mistake was recognised in {of} submissions.</p>"
    most = mistakes[0].count
    shown = [_mistake(one, most, opened=i == 0) for i, one in enumerate(mistakes)]
    first, rest = "".join(shown[:MANY_MISTAKES]), "".join(shown[MANY_MISTAKES:])
    if rest:
        rest = f"<details><summary>{len(shown) - MANY_MISTAKES} more mistakes</summary>{rest}</details>"
    return (
        f"{_section('mistakes')}<p>How many of {of} made it, and the hint they read. The examples are as the class "
        f"wrote them, without comments; if you show one, nobody is named.</p>{first}{rest}"
    )


def _mistake(one: Count, most: int, opened: bool) -> str:
    examples = ""
    for example in one.examples:
        many = f"{example.count} wrote it like this" if example.count > 1 else "one wrote it like this"
        examples += f'<p class="tag">{many}</p><pre>{escape(example.code)}</pre>'
    if examples:
        word = "example" if len(one.examples) == 1 else "examples"
        examples = f"<details{' open' if opened else ''}><summary>{word} of code</summary>{examples}</details>"
    return (
        f'<div class="mistake"><div><div class="count number">{one.count}</div>'
        f'<div class="meter"><i style="width:{100 * one.count / most:.0f}%"></i></div></div>'
        f"<div><h3><code>{escape(one.exercise)}</code> <span class=soft>{escape(one.mistake.replace('_', ' '))}</span></h3>"
        f'<div class="hint">{escape(one.hint)}</div>{examples}</div></div>'
    )


def _resting(resting: list[Resting]) -> str:
    if not resting:
        return f"{_section('resting')}<p>None.</p>"
    rows = "".join(
        f"<li><code>{escape(one.exercise)}</code>: {_of(one.failing, 'answer fails', 'answers fail')}, and "
        f"{one.count} of these {'calls' if one.count == 1 else 'call'} a wrong <code>{escape(one.on)}</code>.</li>"
        for one in resting
    )
    return (
        f"{_section('resting')}<p>They may be right themselves: what they call is not. Begin "
        f"there when you talk about it.</p><ul>{rows}</ul>"
    )


def _looks(looks: Looks, unnamed: list[Unnamed], absent: list[str]) -> str:
    blocks = [
        _look("bad", looks.lost, "Not graded", "The grader failed; nothing was recorded, and it is no zero. "
              "Grade or judge these again."),
        _unnamed(unnamed),
        _look("warn", looks.unreadable, "Could not be read", "They have a zero for now. Ask for the file again."),
        _waiting(looks.waiting),
        _look("warn", looks.stopped, "Crashed, hung or gave no result",
              "Graded: what came before and after counts. Where many stand here, look at the exercise."),
        _look("", looks.repaired, "Repaired before grading", "Graded. Read these where a score surprises you."),
    ]  # fmt: skip
    if absent:
        blocks.append(
            f'<div class="look"><h3>{len(absent)} handed in nothing</h3>{_folded(_people(absent), len(absent))}</div>'
        )
    shown = "".join(filter(None, blocks)) or "<p>Nobody: everything was read, run and judged.</p>"
    return f"{_section('looks')}{shown}"


def _look(kind: str, told: Mapping[str, list[str]], title: str, what: str) -> str:
    if not told:
        return ""
    people = "".join(f"<dt>{escape(who)}</dt><dd>{_sentences(sentences)}</dd>" for who, sentences in told.items())
    inside = _folded(f"<dl>{people}</dl>", len(told))
    return f'<div class="look {kind}"><h3>{title}: {len(told)}</h3><p class="soft">{what}</p>{inside}</div>'


def _sentences(sentences: list[str]) -> str:
    first, rest = ("<br>".join(map(_said, part)) for part in (sentences[:MANY_SENTENCES], sentences[MANY_SENTENCES:]))
    more = f"<details><summary>{len(sentences) - MANY_SENTENCES} more</summary>{rest}</details>" if rest else ""
    return first + more


def _said(sentence: str) -> str:
    """A sentence of the grader's, with names of cells and files in their own letters."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))


def _waiting(waiting: Mapping[str, list[str]]) -> str:
    blocks = "".join(
        f"<p><code>{escape(task)}</code>: {_of(len(students), 'answer', 'answers')}</p>"
        + _folded(_people(students), len(students))
        for task, students in waiting.items()
    )
    if not blocks:
        return ""
    where = "<code>nbgrader formgrader</code> shows them one after the other."
    return f'<div class="look warn"><h3>Answers that wait for a person</h3><p class="soft">{where}</p>{blocks}</div>'


def _unnamed(unnamed: list[Unnamed]) -> str:
    if not unnamed:
        return ""
    return (
        '<div class="look bad"><h3>Failures that many share and nobody can name</h3><p class="soft">Either a mistake that '
        "the course does not know yet, or a fault of the check or of what the exercise says. Read one of these answers "
        f"first: a fault here costs many their points.</p>{''.join(map(_unnamed_one, unnamed))}</div>"
    )


def _unnamed_one(one: Unnamed) -> str:
    cases = ""
    for case in one.cases[:CASES]:
        same = "all of them" if case.alike == case.count else f"{case.alike} of them"
        came = f", {same} alike: <code>{escape(case.came)}</code>" if case.alike > 1 and case.came else ""
        cases += f"<li>“{escape(case.sentence)}” fails in {case.count}{came}</li>"
    more = len(one.cases) - CASES
    cases += f"<li>{_of(more, 'more case fails', 'more cases fail')} in many</li>" if more > 0 else ""
    who = _folded(_people(one.students), len(one.students))
    return f"<p><code>{escape(one.exercise)}</code>: {len(one.students)} of {one.answered} answers</p><ul>{cases}</ul>{who}"


def _alike(alike: list[Alike]) -> str:
    if not alike:
        return (
            f"{_section('alike')}<p>No two submissions share much that most of the class does not have too.</p>"
        )
    rows = "".join(
        f"<li><b>{', '.join(map(escape, group.students))}</b>: {group.share:.0%} of what is unusual in their answers is the "
        f"same, in {', '.join(f'<code>{escape(name)}</code>' for name in group.exercises)}.</li>"
        for group in alike
    )
    return f"{_section('alike')}<p>{PROVES_NOTHING}</p><ul>{rows}</ul>"


def _people(students: Iterable[str]) -> str:
    return f"<p>{', '.join(map(escape, students))}</p>"


def _folded(html: str, people: int) -> str:
    return html if people <= MANY_PEOPLE else f"<details><summary>all {people}</summary>{html}</details>"


def _of(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
