"""Reading what was handed in, whatever state it is in.

From a submission grading needs three things of each cell: its type, its source, and the name by which the release
knows it. So nothing here asks whether a file is a valid notebook: it takes what it finds, saves the complete cells of
a file that was cut off, and where there is nothing to save it says why in a sentence. Files are only read, only regular
ones, and never through a link; all that is read is bounded.
"""

import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_notebook

from autograder.grading.cells import course_notes
from autograder.grading.nodes import new_cell

MAX_BYTES = 100_000_000  # of a file
MAX_THINGS = 8_000_000  # lists, dictionaries, members: each takes up to a hundred bytes of memory
MAX_CELLS = 2_000
MAX_SOURCE = 1_000_000  # characters of a cell
MAX_SOURCES = 5_000_000  # characters of all cells
MAX_FILES = 2_000  # looked at in a submission's folder
MAX_READ = 20  # notebooks of one submission that are read, to find the answered one
_CELL_BEGINS = re.compile(r'\{\s*"(?:cell_type|attachments|id)"\s*:')
MAX_BROKEN = 200  # cells that cannot be read before the search for whole ones ends
MAX_SEARCHED = 500_000_000  # characters read again and again in that search
_KINDS = {"code": "code", "markdown": "markdown", "heading": "markdown", "raw": "raw"}  # as files call them, and what they are
# What editors and Macs lay beside a notebook: copies for themselves, and files of the right name that hold no notebook.
_NOT_HANDED_IN = (".ipynb_checkpoints", "__MACOSX")

Answers = Callable[[list[NotebookNode]], int]  # how many answers of the chapter there are among cells


class Unreadable(Exception):
    """There is nothing to grade; the message is a sentence for the student."""


def read_submission(folder: Path, name: str, answers: Answers | None = None) -> NotebookNode:
    """The notebook `name` in a submission's folder, as plain cells.

    answers: counts the answers among cells, so that of several notebooks an answered one is chosen.
    `metadata.course` holds what had to be repaired, and `unreadable`, a sentence, where there is nothing to grade.
    """
    notebook, repairs = new_notebook(), []
    notes = course_notes(notebook)
    try:
        notebook.cells = _chosen(folder, name, answers, repairs)
    except Unreadable as reason:
        notes.unreadable = str(reason)
    except OSError as error:
        notes.unreadable = f"What was handed in could not be read: {error.strerror or type(error).__name__}."
    notes.repairs = repairs
    return notebook


@dataclass(frozen=True)
class _File:
    """A file that may be the notebook. place: its path as the student knows it; read: gives its content."""

    place: str
    modified: float
    read: Callable[[], bytes]


@dataclass
class _Read:
    """A file that was read: its cells, what was repaired, and how many answers are in it."""

    file: _File
    cells: list[NotebookNode]
    repairs: list[str]
    answers: int


def _chosen(folder: Path, name: str, answers: Answers | None, repairs: list[str]) -> list[NotebookNode]:
    """The cells of the notebook that is meant: of that name and answered, or else the one with the most answers."""
    for part in (folder, folder.parent):
        if part.is_symlink():
            raise Unreadable(f"The folder {part.name} is a link to another one. Hand in the notebook itself.")
    wanted, others = f"{name}.ipynb", _notebooks_in(folder)
    named = next((file for file in others if file.place == wanted), None)
    others = sorted((file for file in others if file is not named), key=lambda file: -file.modified)
    read, reasons = [], _why_not_a_file(folder / wanted) if named is None else []
    for file in [*filter(None, [named]), *others][:MAX_READ]:
        said: list[str] = []
        try:
            cells = cells_of(file.read(), Path(file.place).name, said)
        except Unreadable as reason:
            reasons.append(str(reason))
            continue
        read.append(_Read(file, cells, said, answers(cells) if answers else 1))
        if file is named and read[0].answers:
            break
    if not read:
        missing = f"No notebook was handed in: a file called {wanted} was expected."
        raise Unreadable(reasons[0] if reasons else missing)
    best = max(read, key=lambda one: one.answers)  # of equals the first: the one of that name, then the newest
    repairs += [_why_chosen(best, read, wanted, named, reasons)] if best.file is not named else []
    if best.file is named and others:
        repairs.append(f"Beside `{wanted}` lay {_listed([f.place for f in others])}: only `{wanted}` was graded.")
    repairs += best.repairs
    return best.cells


def _why_chosen(best: _Read, read: list[_Read], wanted: str, named: _File | None, reasons: list[str]) -> str:
    said = f"The notebook handed in is called `{_shown(best.file.place)}`; it was read as `{wanted}`"
    if named is not None and read[0].file is named:
        return f"{said}, because the one of that name holds no answers."
    if reasons and len(read) == 1:
        return f"{said}, because what else was there could not be read: {reasons[0]}"
    if len(read) > 1:
        return f"{said}: of {len(read)} notebooks it holds the most answers, or is the newest of those that do."
    return f"{said}."


def _why_not_a_file(path: Path) -> list[str]:
    """What lies in the notebook's place instead of a regular file, as a sentence."""
    if path.is_symlink():
        return [f"{path.name} is a link to another file. Hand in the notebook itself."]
    if path.is_dir():
        return [f"{path.name} is a folder, and no notebook is in it. Hand in the notebook itself."]
    if path.exists():
        return [f"{path.name} is not a regular file. Hand in the notebook itself."]
    return []


def _notebooks_in(folder: Path) -> list[_File]:
    """The files that may be notebooks, in the folder, in folders in it, and in zip files."""
    found = []
    for path in _regular_files(folder):
        place = path.relative_to(folder).as_posix()
        if not _is_handed_in(place):
            continue
        if ".ipynb" in path.name:
            found.append(_File(place, path.stat().st_mtime, lambda path=path: read_regular(path)))
        elif path.suffix.lower() == ".zip":
            found += _in_zip(path, place)
    return found


def _regular_files(folder: Path) -> Iterator[Path]:
    seen = 0
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in _NOT_HANDED_IN)
        for name in sorted(names):
            seen += 1
            if seen > MAX_FILES:
                return
            path = Path(place, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _in_zip(path: Path, place: str) -> Iterator[_File]:
    """The notebooks in a zip file; none where it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()[:MAX_FILES]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return
    for member in members:
        if ".ipynb" in member.filename and not member.is_dir() and _is_handed_in(member.filename):
            yield _File(f"{place}/{member.filename}", path.stat().st_mtime, lambda member=member: _unzip(path, member))


def _unzip(path: Path, member: zipfile.ZipInfo) -> bytes:
    name = Path(member.filename).name
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return _bounded(file.read(MAX_BYTES + 1), name)
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise Unreadable(f"{name} could not be taken out of {path.name}: the zip file is damaged or locked.") from error


def _is_handed_in(place: str) -> bool:
    parts = Path(place).parts
    return not parts[-1].startswith("._") and not any(part in _NOT_HANDED_IN for part in parts)


def read_regular(path: Path) -> bytes:
    """The content of a regular file that is no link. Raises Unreadable; waits for nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable(f"{path.name} is not a regular file. Hand in the notebook itself.")
            return _bounded(file.read(MAX_BYTES + 1), path.name)
    except OSError as error:
        raise Unreadable(f"{path.name} could not be read: {error.strerror or type(error).__name__}.") from error


def _bounded(content: bytes, name: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise Unreadable(f"{name} is larger than {MAX_BYTES // 10**6} MB. Clear its outputs and hand it in again.")
    return content


def cells_of(content: bytes, name: str, repairs: list[str]) -> list[NotebookNode]:
    """The cells of a notebook file. Appends to `repairs`; raises Unreadable."""
    text = decode(content, repairs)
    if not text.strip():
        raise Unreadable(f"{name} is empty.")
    if sum(text.count(mark) for mark in "[{,:") > MAX_THINGS:
        raise Unreadable(f"{name} holds far more than a notebook does. Clear its outputs and hand it in again.")
    try:
        found = _cells_of(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        found = salvage(text)
        if found:
            repairs.append(f"The file was damaged or cut off: {len(found)} complete cells were saved from it.")
    if len(found) > MAX_CELLS:
        repairs.append(f"The notebook has {len(found):,} cells: of these the first {MAX_CELLS:,} were read.")
    cells = [cell for raw in found[:MAX_CELLS] if (cell := _plain_cell(raw)) is not None]
    if not cells:
        raise Unreadable(f"{name} is not a notebook, or no complete cell is left in it.")
    return _not_too_long(cells, repairs)


def _not_too_long(cells: list[NotebookNode], repairs: list[str]) -> list[NotebookNode]:
    kept, length = [], 0
    for cell in cells:
        if len(cell.source) > MAX_SOURCE or length + len(cell.source) > MAX_SOURCES:
            begins = cell.source.strip()[:60].partition("\n")[0].replace("`", "'")
            repairs.append(
                f"The cell that begins `{begins}` was left out: a cell may have {MAX_SOURCE:,} characters, "
                f"and all cells together {MAX_SOURCES:,}."
            )
            continue
        length += len(cell.source)
        kept.append(cell)
    return kept


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
    cells, position, broken, searched = [], start.end(), 0, 0
    while broken < MAX_BROKEN and searched < MAX_SEARCHED and (opening := text.find("{", position)) >= 0:
        try:
            cell, position = decoder.raw_decode(text, opening)
        except (ValueError, RecursionError):
            broken += 1
            searched += len(text) - opening  # a string without an end is read to the end of the file
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
    known = isinstance(raw, dict) and isinstance(raw.get("cell_type"), str) and raw["cell_type"] in _KINDS
    return known and ("source" in raw or "input" in raw)


def _plain_cell(raw) -> NotebookNode | None:
    """The cell with its source, its grade_id, its id and its attachments, and nothing else."""
    if not _is_cell(raw):
        return None
    cell = new_cell(_KINDS[raw["cell_type"]], _text(raw.get("source", raw.get("input", ""))))
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


def _shown(place: str) -> str:
    """A path as something that a sentence can hold."""
    return "".join(c if c.isprintable() else "?" for c in place.encode("utf-8", "replace").decode()).replace("`", "'")[
        :120
    ]


def _listed(places: list[str]) -> str:
    named = ", ".join(f"`{_shown(place)}`" for place in places[:3])
    return named + (f" and {len(places) - 3} more" if len(places) > 3 else "")
