"""What is run in grading: the release, with the student's answers and own cells put into it.

Check cells, imports and prose come from the release, so a missing, copied or edited one costs nothing and a forged one
gains nothing. All metadata comes from the release too. Of the student's file only sources are taken: those of the
answer cells, and of cells that the release does not have.
"""

import ast
import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.grading.cells import DEMO, course_notes, coursedir_of, grade_id, is_check, is_demo, release_path
from autograder.grading.demos import definitions, names_used
from autograder.grading.harmless import harmless_attachments, harmless_markdown
from autograder.judging.reference import checked_exercise, is_solution

START = -1  # the place before the first cell
MANY_WORDS = 3  # a text of the student's own with fewer is no answer
# Markdown beyond these takes a page minutes to lay out: it is shown as plain text.
MAX_MARKS, MAX_LINES, MAX_FORMULAS = 4_000, 2_000, 100


class Rebuild(NbGraderPreprocessor):
    """nbgrader preprocessor, first of `Autograde.sanitize_preprocessors`."""

    def preprocess(self, nb: NotebookNode, resources: dict):
        names = resources["nbgrader"]
        release = nbformat.read(release_path(coursedir_of(self), names["assignment"], names["notebook"]), as_version=4)
        handed_in = course_notes(nb)
        rebuilt, repairs = rebuild(release, nb)
        notes = course_notes(rebuilt)
        notes.repairs = list(handed_in.get("repairs", [])) + repairs
        if handed_in.get("unreadable"):
            notes.unreadable = handed_in.unreadable
            notes.repairs = []
        for repair in notes.repairs or ([notes.unreadable] if "unreadable" in notes else []):
            self.log.warning("%s: %s", names["student"], repair)
        _say_so(rebuilt)
        return rebuilt, resources


def rebuild(release: NotebookNode, submitted: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """The release with the answers and own cells of `submitted`, and a sentence for each thing that was repaired.

    Answer cells are recognised by their grade_id; else by their cell id; else, where an editor stripped both, by the
    functions they define. Of several copies of an answer cell all run, in the student's order, so the last definition
    wins as it did for the student. Where an answer cell is missing or as released, the student's own cells are
    searched: a definition there is the answer, and a text there is one for a person to read.
    """
    matching = _Matching(release.cells, submitted.cells)
    notebook = new_notebook(metadata=_copy(release.metadata))
    notebook.metadata.pop("course", None)
    repairs: list[str] = []
    cells = [_own_cell(cell) for cell in matching.own_cells(START)]
    for place, cell in enumerate(release.cells):
        cells += _rebuilt(_copy(cell), place, matching, repairs)
        cells += [_own_cell(own) for own in matching.own_cells(place)]
    if not matching.finds_an_answer():
        repairs = ["None of this chapter's answer cells was found. Is it the notebook of another chapter?"]
    notebook.cells = _with_fresh_ids(cells)
    notebook.nbformat_minor = 5
    return notebook, repairs


def answers_among(release: NotebookNode, cells: list[NotebookNode]) -> int:
    """How many of the release's answer cells `cells` answer, in whatever way."""
    matching, answered = _Matching(release.cells, cells), 0
    for place, cell in enumerate(release.cells):
        if is_solution(cell):
            repairs: list[str] = []
            rebuilt = _answered(_copy(cell), place, matching.standing_for(place), matching, repairs)
            answered += rebuilt[0].source.strip() != cell.source.strip()
    return answered


@lru_cache(maxsize=4096)
def defined_names(source: str) -> frozenset[str]:
    """Names that a cell defines at its top level. Tolerant: magics are ignored, and what does not parse is scanned."""
    plain = re.sub(r"^[ \t]*[%!?].*$", "", source, flags=re.MULTILINE)
    try:
        tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset(re.findall(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", plain, re.MULTILINE))
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(names)


class _Matching:
    """Which cell of the release each submitted cell stands for: `place[i]` is an index into the release, or None.

    follows: of submitted cell i, the place of the release after which it comes.
    """

    def __init__(self, release: list, submitted: list):
        self.release, self.submitted = release, submitted
        self.place: list[int | None] = [None] * len(submitted)
        self._match_names()
        self._match_sources()
        self._match_ids()
        self._match_functions()
        self.follows = self._follow_landmarks()

    def standing_for(self, place: int) -> list[NotebookNode]:
        """The submitted cells that stand for the release's cell at `place`, in order."""
        return [cell for cell, p in zip(self.submitted, self.place, strict=True) if p == place]

    def finds_an_answer(self) -> bool:
        """Whether any submitted cell stands for an answer cell."""
        return any(p is not None and is_solution(self.release[p]) for p in self.place)

    def own_cells(self, place: int) -> Iterator[NotebookNode]:
        """The cells that are the student's own and follow the one at `place`."""
        return (cell for cell, follows in self._own() if follows == place)

    def own_definitions(self, place: int) -> list[tuple[NotebookNode, int]]:
        """Cells of the student's own that define what the answer cell at `place` should, with the places they follow.

        Those that are Python come last, and in the student's order.
        """
        cells = [(cell, follows) for cell, follows in self._own() if cell.cell_type == "code"]
        found = [one for one in cells if self._asked(place) & defined_names(one[0].source)]
        return sorted(found, key=lambda one: _is_python(one[0].source))

    def helpers_of(self, source: str, behind: int) -> list[NotebookNode]:
        """The student's own code cells behind a place that define what `source` uses, directly or through others."""
        cells = [cell for cell, follows in self._own() if cell.cell_type == "code" and follows >= behind]
        cells = [cell for cell in cells if cell.source != source]
        wanted, chosen = names_used(source), []
        while new := [c for c in cells if c not in chosen and wanted & defined_names(c.source)]:
            chosen += new
            wanted = wanted.union(*(names_used(cell.source) for cell in new))
        return [cell for cell in cells if cell in chosen]

    def own_texts(self, place: int) -> tuple[list[NotebookNode], bool]:
        """Texts of the student's own near the answer cell at `place`; and whether there are others that may be meant.

        Near is between the graded cell before and the one after. Others may be meant where they come later, or where
        the answer cell is not there at all.
        """
        graded = [p for p, cell in enumerate(self.release) if is_solution(cell) or is_check(cell)]
        before = max((p for p in graded if p < place), default=START)
        after = min((p for p in graded if p > place), default=len(self.release))
        texts = [(cell, follows) for cell, follows in self._own() if _is_text(cell)]
        near = [cell for cell, follows in texts if before <= follows < after]
        first = START if place not in self.place else before
        return near, any(follows >= first for _, follows in texts)

    def check_of(self, place: int) -> int:
        """The place of the first check cell behind an answer cell."""
        return min(
            (p for p, cell in enumerate(self.release) if p > place and is_check(cell)), default=len(self.release)
        )

    def _own(self) -> Iterator[tuple[NotebookNode, int]]:
        for cell, place, follows in zip(self.submitted, self.place, self.follows, strict=True):
            if place is None and cell.source.strip():
                yield cell, follows

    def _asked(self, place: int) -> frozenset[str]:
        """What the answer cell at `place` must define: the names that check cells ask for."""
        names = defined_names(self.release[place].source)
        return names & {checked_exercise(cell) for cell in self.release} or names

    def _match_names(self) -> None:
        places = {grade_id(cell): place for place, cell in enumerate(self.release) if grade_id(cell)}
        for i, cell in enumerate(self.submitted):
            self.place[i] = places.get(grade_id(cell))

    def _match_sources(self) -> None:
        """Same text, same cell, before ids are asked: those of unnamed cells shift where a release gains a cell.

        Also for editors that drop ids, and for copies of the release's cells.
        """
        places: dict[str, list[int]] = {}
        for place, cell in enumerate(self.release):
            if cell.source.strip():
                places.setdefault(cell.source.strip(), []).append(place)
        taken = set(self.place)
        for by_id in (True, False):
            for i, cell in enumerate(self.submitted):
                if self.place[i] is None and (same := places.get(cell.source.strip())):
                    if by_id:
                        same = [place for place in same if self.release[place].get("id") == cell.get("id")]
                    else:
                        same = [place for place in same if place not in taken] or same
                    if same:
                        self.place[i] = same[0]
                        taken.add(same[0])

    def _match_ids(self) -> None:
        """An edited cell is known by its id. Where the ids of unnamed cells shifted, by the lines that are left of it."""
        places = {cell.get("id"): place for place, cell in enumerate(self.release) if cell.get("id")}
        known = [(i, places[cell.get("id")]) for i, cell in enumerate(self.submitted) if cell.get("id") in places]
        shifted = any(
            self.place[i] not in (None, place)
            and self.release[place].source.strip() != self.submitted[i].source.strip()
            for i, place in known
        )
        taken = set(self.place)
        for i, place in known:
            if self.place[i] is not None:
                continue
            if shifted and not is_solution(self.release[place]):
                place = self._most_alike(self.submitted[i], taken)
            if place is not None and (is_solution(self.release[place]) or place not in taken):
                self.place[i] = place
                taken.add(place)

    def _most_alike(self, cell: NotebookNode, taken: set) -> int | None:
        """The place of an untaken cell that shares most lines with `cell`, if any does."""
        shared = {
            place: len(_lines(released) & _lines(cell))
            for place, released in enumerate(self.release)
            if place not in taken and not is_solution(released) and released.cell_type == cell.cell_type
        }
        place = max(shared, key=shared.__getitem__, default=None)
        return place if place is not None and shared[place] else None

    def _match_functions(self) -> None:
        for place, cell in enumerate(self.release):
            if is_solution(cell) and cell.cell_type == "code" and place not in self.place:
                wanted = defined_names(cell.source)
                for i, own in enumerate(self.submitted):
                    if self.place[i] is None and own.cell_type == "code" and wanted & defined_names(own.source):
                        self.place[i] = place

    def _follow_landmarks(self) -> list[int]:
        """For each submitted cell the nearest place before it, by cells that are in the release's order.

        A copy or a cell that was moved elsewhere is no landmark: as many cells as possible are, each behind the last.
        """
        ends: list[int] = []  # the place at which the best sequence of each length ends, and the cell there
        cells: list[int] = []
        before: dict[int, int | None] = {}
        for i, place in enumerate(self.place):
            if place is not None:
                at = bisect_left(ends, place)
                before[i] = cells[at - 1] if at else None
                ends[at:] = [place, *ends[at + 1 :]]
                cells[at:] = [i, *cells[at + 1 :]]
        landmarks, i = set(), cells[-1] if cells else None
        while i is not None:
            landmarks.add(i)
            i = before[i]
        follows, nearest = [], START
        for i, place in enumerate(self.place):
            nearest = place if i in landmarks else nearest
            follows.append(nearest)
        return follows

    def merged_into(self, place: int) -> NotebookNode | None:
        """The last answer cell that also defines what the cell at `place` should: two cells merged into one."""
        wanted = defined_names(self.release[place].source)
        holders = [
            cell
            for cell, p in zip(self.submitted, self.place, strict=True)
            if p not in (None, place)
            and is_solution(self.release[p])
            and cell.source.strip() != self.release[p].source.strip()
            and wanted & defined_names(cell.source)
        ]
        return holders[-1] if holders else None


def _rebuilt(cell: NotebookNode, place: int, matching: _Matching, repairs: list[str]) -> list[NotebookNode]:
    """The release's `cell` as it is to be run, and the student's versions that run after it."""
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    submitted = matching.standing_for(place)
    if is_solution(cell):
        return _answered(cell, place, submitted, matching, repairs)
    changed = [other for other in submitted if other.source.strip() != cell.source.strip()]
    if is_check(cell):
        if not submitted:
            repairs.append(f"The check cell `{grade_id(cell)}` was missing: it was put back.")
        elif len(changed) == len(submitted):
            repairs.append(f"The check cell `{grade_id(cell)}` had been changed: it was put back as it was.")
        return [cell]
    if cell.cell_type != "code" or not changed:
        return [cell]
    begins = f"The cell that begins `{_first_line(cell)}` is not as it was released"
    if is_demo(cell):
        versions = [_own_cell(other) for other in changed if definitions(other.source) - definitions(cell.source)]
        for version in versions:
            version.metadata.tags = [DEMO]
        if versions:
            repairs.append(
                f"{begins}. It is a demonstration: in grading only those of its imports, constants and functions "
                "are run that your other cells use, first as they were, then as you changed them."
            )
        return [cell, *versions]
    repairs.append(f"{begins}: it ran as it was, then as it was handed in.")
    return [cell, *(_own_cell(other) for other in changed if other.source.strip())]


def _answered(cell, place: int, submitted: list, matching: _Matching, repairs: list[str]) -> list[NotebookNode]:
    name = grade_id(cell)
    answers = [other for other in submitted if other.source.strip() != cell.source.strip()]
    if len(answers) > 1:
        repairs.append(f"There were {len(answers)} copies of the answer cell `{name}`: they ran one after the other.")
    if answers and not any(grade_id(other) == name or other.get("id") == cell.get("id") for other in submitted):
        repairs.append(f"The answer cell `{name}` had lost its name: it was recognised by the function it defines.")
    if not answers:
        state = "was as it was released" if submitted else "was missing"
        find = _definition_elsewhere if cell.cell_type == "code" else _text_elsewhere
        answers = find(cell, f"The answer cell `{name}` {state}", place, matching, repairs)
        if not answers and not submitted:
            repairs.append(f"The answer cell `{name}` was missing: it counts as not answered.")
    if not answers:
        return [cell]
    _take(cell, answers[0])
    return [cell, *map(_own_cell, answers[1:])]


def _definition_elsewhere(cell, state: str, place: int, matching: _Matching, repairs: list[str]) -> list[NotebookNode]:
    """The answer in another answer cell, or in the student's own cells with the helpers that come too late for it."""
    merged = matching.merged_into(place)
    if merged is not None:
        repairs.append(f"{state}; another cell answers it.")
        return [merged]
    own = matching.own_definitions(place)
    if not own:
        return []
    repairs.append(f"{state}, and a cell of your own defines what is asked for: it was taken as the answer.")
    if any(place <= follows < matching.check_of(place) for _, follows in own):
        return []  # it runs where it stands, before the check
    answer = own[-1][0]
    helpers = matching.helpers_of(answer.source, place)
    return [new_code_cell("\n\n".join(part.source for part in [*helpers, answer]))]


def _text_elsewhere(cell, state: str, place: int, matching: _Matching, repairs: list[str]) -> list[NotebookNode]:
    """A written answer in the student's own cells. In doubt the cell is changed, so that nbgrader asks a person."""
    near, others = matching.own_texts(place)
    if near:
        repairs.append(
            f"{state}, and a text of your own stands near it: it was taken as the answer, for a person to read."
        )
        return [_joined(near)]
    if others and matching.finds_an_answer():
        repairs.append(
            f"{state}, and there are texts of your own elsewhere: a person will see whether one is the answer."
        )
        note = "*Nothing was written here. The notebook holds texts of the student's own: is one of them the answer?*"
        return [new_markdown_cell(f"{cell.source}\n\n{note}")]
    return []


def _joined(texts: list[NotebookNode]) -> NotebookNode:
    """Several texts as one; each keeps its own pictures."""
    sources, attachments = [], {}
    for number, text in enumerate(texts, 1):
        source, own = text.source, text.get("attachments", {})
        for name in own:
            attachments[f"{number}-{name}"] = own[name]
            source = source.replace(f"attachment:{name}", f"attachment:{number}-{name}")
        sources.append(source)
    return new_markdown_cell("\n\n".join(sources), attachments=attachments)


def _take(cell: NotebookNode, answer: NotebookNode) -> None:
    """Put the student's source into an answer cell."""
    if cell.cell_type == "code":
        cell.source = answer.source
        return
    own = _own_cell(answer if answer.cell_type != "code" else new_raw_cell(answer.source))
    cell.source = own.source
    cell.pop("attachments", None)
    if "attachments" in own:
        cell.attachments = own.attachments


def _own_cell(cell: NotebookNode) -> NotebookNode:
    """A cell of the student's with nothing but its source (and images); its id is given later."""
    if cell.cell_type == "code":
        fresh = new_code_cell(cell.source)
    else:
        source, images = harmless_attachments(harmless_markdown(cell.source), cell.get("attachments", {}))
        if cell.cell_type == "raw" or _is_involved(cell.source):  # some templates put raw cells into a page as they are
            shown = [f"![{name}](attachment:{name})" for name in images]
            source = "\n".join(["\n".join("    " + line for line in source.splitlines()), *shown])
        fresh = new_markdown_cell(source)
        if images:
            fresh.attachments = images
    fresh.id = ""
    return fresh


def _with_fresh_ids(cells: list[NotebookNode]) -> list[NotebookNode]:
    used, number = {cell.id for cell in cells if cell.get("id")}, 0
    for cell in cells:
        while not cell.get("id"):
            number += 1
            if f"own-{number}" not in used:
                cell.id = f"own-{number}"
    return cells


def _say_so(notebook: NotebookNode) -> None:
    """A cell at the top that says what was repaired, or why there is nothing to grade."""
    notes = course_notes(notebook)
    if notes.get("unreadable"):
        text = f"**This submission could not be graded.** {notes.unreadable}"
    elif notes.repairs:
        text = "**Before it was graded, this notebook was repaired.**\n\n" + "\n".join(f"- {r}" for r in notes.repairs)
    else:
        return
    notebook.cells.insert(0, new_markdown_cell(harmless_markdown(text), id="repairs-of-the-grader"))


def _is_involved(text: str) -> bool:
    """Whether markdown is so long or so deeply nested that a page of it takes minutes."""
    marks = len(re.findall(r"[\[\]()*_`>$~!\\|]", text))
    return marks > MAX_MARKS or text.count("\n") > MAX_LINES or text.count("\\begin") > MAX_FORMULAS


def _is_text(cell: NotebookNode) -> bool:
    """Whether a cell of the student's own may be a written answer: prose, in a cell of whatever type, or an image."""
    if cell.cell_type == "code" and _is_python(cell.source) and defined_names(cell.source):
        return False
    if cell.cell_type == "code":
        comments = " ".join(re.findall(r"#(.*)", cell.source)) if _is_python(cell.source) else cell.source
        return len(comments.split()) >= MANY_WORDS
    return len(re.findall(r"\w+", cell.source)) >= MANY_WORDS or bool(cell.get("attachments"))


@lru_cache(maxsize=4096)
def _is_python(source: str) -> bool:
    try:
        ast.parse(re.sub(r"^[ \t]*[%!?].*$", "", source, flags=re.MULTILINE))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _lines(cell: NotebookNode) -> set[str]:
    return {line.strip() for line in cell.source.splitlines()} - {""}


def _first_line(cell: NotebookNode) -> str:
    return cell.source.strip().partition("\n")[0].replace("`", "'")[:60]


def _copy(node: NotebookNode) -> NotebookNode:
    return nbformat.from_dict(dict(node))
