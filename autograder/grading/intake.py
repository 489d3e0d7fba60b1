"""Reading what was handed in, whatever state it is in.

From a submission grading needs three things of each cell: its type, its source, and the name by which the release
knows it. So nothing here asks whether a file is a valid notebook: it takes what it finds, saves the complete cells of
a file that was cut off, and where there is nothing to save it says why in a sentence. The file itself is only read.
"""

import json
import re
from pathlib import Path

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from autograder.grading.cells import course_notes

MAX_BYTES = 200_000_000
_CELL_BEGINS = re.compile(r'\{\s*"(?:cell_type|attachments|id)"\s*:')
MAX_BROKEN = 200  # cells that cannot be read before the search for whole ones ends
_MAKERS = {
    "code": new_code_cell,
    "markdown": new_markdown_cell,
    "heading": new_markdown_cell,
    "raw": new_raw_cell,
}


class Unreadable(Exception):
    """There is nothing to grade; the message is a sentence for the student."""


def read_submission(folder: Path, name: str) -> NotebookNode:
    """The notebook `name` in a submission's folder, as plain cells.

    `metadata.course` holds what had to be repaired, and `unreadable`, a sentence, where there is nothing to grade.
    """
    notebook, repairs = new_notebook(), []
    notes = course_notes(notebook)
    try:
        path = find_notebook(folder, name, repairs)
        notebook.cells = read_cells(path, repairs)
    except Unreadable as reason:
        notes.unreadable = str(reason)
    notes.repairs = repairs
    return notebook


def find_notebook(folder: Path, name: str, repairs: list[str]) -> Path:
    """The file that is meant by notebook `name`: itself, or else the newest other notebook handed in."""
    wanted = folder / f"{name}.ipynb"
    if wanted.is_symlink():
        raise Unreadable(f"{wanted.name} is a link to another file. Hand in the notebook itself.")
    if wanted.exists():
        return wanted
    others = [
        path
        for path in sorted(folder.rglob("*"))
        if ".ipynb" in path.name and path.is_file() and not path.is_symlink() and ".ipynb_checkpoints" not in path.parts
    ]
    if not others:
        raise Unreadable(f"No notebook was handed in: a file called {wanted.name} was expected.")
    newest = max(others, key=lambda path: path.stat().st_mtime)
    repairs.append(f"The notebook handed in is called `{newest.name}`; it was read as `{wanted.name}`.")
    return newest


def read_cells(path: Path, repairs: list[str]) -> list[NotebookNode]:
    """The cells of a notebook file. Appends to `repairs`; raises Unreadable."""
    if path.stat().st_size > MAX_BYTES:
        raise Unreadable(f"{path.name} is larger than {MAX_BYTES // 10**6} MB. Clear its outputs and hand it in again.")
    text = decode(path.read_bytes(), repairs)
    if not text.strip():
        raise Unreadable(f"{path.name} is empty.")
    try:
        found = _cells_of(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        found = salvage(text)
        if found:
            repairs.append(f"The file was damaged or cut off: {len(found)} complete cells were saved from it.")
    cells = [cell for raw in found if (cell := _plain_cell(raw)) is not None]
    if not cells:
        raise Unreadable(f"{path.name} is not a notebook, or no complete cell is left in it.")
    return cells


def decode(content: bytes, repairs: list[str]) -> str:
    """The text of a file that should be UTF-8."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
    repairs.append("The file is not UTF-8 text: it was read as Latin-1, so accents may look odd.")
    return content.decode("latin-1")


def salvage(text: str) -> list:
    """The complete cell objects of a notebook whose JSON is broken."""
    start = re.search(r'"cells"\s*:\s*\[', text)
    if start is None:
        return []
    decoder = json.JSONDecoder(strict=False)
    cells, position, broken = [], start.end(), 0
    while broken < MAX_BROKEN and (opening := text.find("{", position)) >= 0:
        try:
            cell, position = decoder.raw_decode(text, opening)
        except (ValueError, RecursionError):
            broken += 1
            following = _CELL_BEGINS.search(text, opening + 1)
            if following is None:
                break
            position = following.start()
        else:
            cells.append(cell)
            if re.match(r"\s*\]", text[position : position + 200]):
                break
    return [cell for cell in cells if _is_cell(cell)]


def _cells_of(content) -> list:
    """The raw cells of a notebook in any version of the format."""
    if not isinstance(content, dict):
        return []
    if isinstance(content.get("cells"), list):
        return content["cells"]
    sheets = content.get("worksheets")  # format 3
    if not isinstance(sheets, list):
        return []
    cells = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    return [cell for group in cells if isinstance(group, list) for cell in group]


def _is_cell(raw) -> bool:
    known = isinstance(raw, dict) and isinstance(raw.get("cell_type"), str) and raw["cell_type"] in _MAKERS
    return known and ("source" in raw or "input" in raw)


def _plain_cell(raw) -> NotebookNode | None:
    """The cell with its source, its grade_id, its id and its attachments, and nothing else."""
    if not _is_cell(raw):
        return None
    cell = _MAKERS[raw["cell_type"]](source=_text(raw.get("source", raw.get("input", ""))))
    metadata = raw["metadata"] if isinstance(raw.get("metadata"), dict) else {}
    marks = metadata.get("nbgrader")
    if isinstance(marks, dict) and isinstance(marks.get("grade_id"), str):
        cell.metadata.nbgrader = NotebookNode(grade_id=marks["grade_id"])
    known_as = raw.get("id", metadata.get("id"))  # Colab keeps the id in the metadata
    if isinstance(known_as, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", known_as):
        cell.id = known_as
    if cell.cell_type == "markdown" and isinstance(raw.get("attachments"), dict):
        cell.attachments = raw["attachments"]
    return cell


def _text(source) -> str:
    """A source in either of its two forms; half surrogate pairs, which cannot be written to a file, become '?'."""
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source.encode("utf-8", "replace").decode() if isinstance(source, str) else ""
