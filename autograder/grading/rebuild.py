"""What is run in grading: the release, with the student's answers and own cells put into it.

Check cells, imports and prose come from the release, so a missing, copied or edited one costs nothing and a forged one
gains nothing. All metadata comes from the release too. Of the student's file only sources are taken: those of the
answer cells, and of cells that the release does not have.
"""

import ast
import re
from collections.abc import Iterator

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.grading.cells import course_notes, coursedir_of, grade_id, is_check, is_demo, release_path
from autograder.grading.harmless import harmless_attachments, harmless_markdown
from autograder.judging.reference import is_solution

START = -1  # the place before the first cell


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
    wins as it did for the student. A missing answer cell is the release's unanswered one.
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


def defined_names(source: str) -> set[str]:
    """Names that a cell defines at its top level. Tolerant: magics are ignored, and what does not parse is scanned."""
    plain = re.sub(r"^\s*[%!?].*$", "", source, flags=re.MULTILINE)
    try:
        tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(re.findall(r"^(?:async\s+)?(?:def|class)\s+(\w+)", plain, re.MULTILINE))
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


class _Matching:
    """Which cell of the release each submitted cell stands for: `place[i]` is an index into the release, or None."""

    def __init__(self, release: list, submitted: list):
        self.release, self.submitted = release, submitted
        self.place: list[int | None] = [None] * len(submitted)
        self._match(grade_id)
        self._match(lambda cell: cell.get("id"))
        self._match_sources()
        self._match_functions()

    def standing_for(self, place: int) -> list[NotebookNode]:
        """The submitted cells that stand for the release's cell at `place`, in order."""
        return [cell for cell, p in zip(self.submitted, self.place, strict=True) if p == place]

    def finds_an_answer(self) -> bool:
        """Whether any submitted cell stands for an answer cell."""
        return any(p is not None and is_solution(self.release[p]) for p in self.place)

    def own_cells(self, place: int) -> Iterator[NotebookNode]:
        """The cells that are the student's own and follow the one at `place`, the nearest the release has too."""
        nearest, seen = START, set()
        for cell, p in zip(self.submitted, self.place, strict=True):
            if p is None:
                if nearest == place and cell.source.strip():
                    yield cell
            elif p not in seen:  # a copy, wherever it was put, is no landmark
                nearest = p
                seen.add(p)

    def _match(self, name_of) -> None:
        places = {name_of(cell): place for place, cell in enumerate(self.release) if name_of(cell)}
        for i, cell in enumerate(self.submitted):
            if self.place[i] is None:
                self.place[i] = places.get(name_of(cell))

    def _match_sources(self) -> None:
        """Same text, same cell: for editors that drop ids, and for copies of the release's cells."""
        places: dict[str, list[int]] = {}
        for place, cell in enumerate(self.release):
            if cell.source.strip():
                places.setdefault(cell.source.strip(), []).append(place)
        for i, cell in enumerate(self.submitted):
            if self.place[i] is None and (same := places.get(cell.source.strip())):
                untaken = [place for place in same if place not in self.place]
                self.place[i] = untaken[0] if untaken else same[0]

    def _match_functions(self) -> None:
        for place, cell in enumerate(self.release):
            if is_solution(cell) and cell.cell_type == "code" and place not in self.place:
                wanted = defined_names(cell.source)
                for i, own in enumerate(self.submitted):
                    if self.place[i] is None and own.cell_type == "code" and wanted & defined_names(own.source):
                        self.place[i] = place

    def merged_into(self, place: int) -> NotebookNode | None:
        """The last answer cell that also defines what the cell at `place` should: two cells merged into one."""
        wanted = defined_names(self.release[place].source)
        holders = [
            cell
            for cell, p in zip(self.submitted, self.place, strict=True)
            if p is not None and is_solution(self.release[p]) and wanted & defined_names(cell.source)
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
    if cell.cell_type != "code" or is_demo(cell) or not changed:
        return [cell]
    repairs.append(f"You changed the cell that begins `{_first_line(cell)}`: it ran as it was, then as you changed it.")
    return [cell, *(_own_cell(other) for other in changed if other.source.strip())]


def _answered(cell, place: int, submitted: list, matching: _Matching, repairs: list[str]) -> list[NotebookNode]:
    name = grade_id(cell)
    answers = [other for other in submitted if other.source.strip() != cell.source.strip()]
    if not submitted:
        merged = matching.merged_into(place) if cell.cell_type == "code" else None
        if merged is None:
            repairs.append(f"The answer cell `{name}` was missing: it counts as not answered.")
            return [cell]
        repairs.append(f"The answer cell `{name}` was missing; another cell answers it.")
        answers = [merged]
    if not answers:
        return [cell]
    if len(answers) > 1:
        repairs.append(f"There were {len(answers)} copies of the answer cell `{name}`: they ran one after the other.")
    _take(cell, answers[0])
    if submitted and not any(grade_id(other) or other.get("id") == cell.get("id") for other in submitted):
        repairs.append(f"The answer cell `{name}` had lost its name: it was recognised by the function it defines.")
    return [cell, *map(_own_cell, answers[1:])]


def _take(cell: NotebookNode, answer: NotebookNode) -> None:
    """Put the student's source into an answer cell."""
    if cell.cell_type == "code":
        cell.source = answer.source
        return
    own = _own_cell(answer)
    cell.source = own.source
    cell.pop("attachments", None)
    if "attachments" in own:
        cell.attachments = own.attachments


def _own_cell(cell: NotebookNode) -> NotebookNode:
    """A cell of the student's with nothing but its source (and images); its id is given later."""
    if cell.cell_type == "code":
        fresh = new_code_cell(cell.source)
    elif cell.cell_type == "raw":  # some templates put raw cells into a page as they are
        fresh = new_markdown_cell("\n".join("    " + line for line in harmless_markdown(cell.source).splitlines()))
    else:
        source, images = harmless_attachments(harmless_markdown(cell.source), cell.get("attachments", {}))
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


def _first_line(cell: NotebookNode) -> str:
    return cell.source.strip().partition("\n")[0].replace("`", "'")[:60]


def _copy(node: NotebookNode) -> NotebookNode:
    return nbformat.from_dict(dict(node))
