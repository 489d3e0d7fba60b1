"""Hostile and broken submissions to the tiny chapter, each with what its answers are worth and what must be said of it.

A maker is given the course and its student's name, and returns a notebook, the bytes of a file, or None where it laid down
files itself. What stands in `test_grading_class.py` (a class with one damage of each common kind) is not here again.
"""

import codecs
import io
import json
import os
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from grading_chapter import RIGHT, SEEDS, TOPIC, Course, answered, cell_of
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from autograder.evidence import MIME, PUBLIC_SEEDS
from autograder.grading import kept

XSS = "<script>alert('student')</script><img src=x onerror=alert(1)>"
NO_POINTS = "def double(x):\n    return x - 1"  # wrong in every case
NAME = f"{TOPIC}.ipynb"
BOTH, SHOUT, DOUBLE, NOTHING = RIGHT, {"shout": RIGHT["shout"]}, {"double": RIGHT["double"]}, {}
JUDGED = "A number is doubled."  # what every judged page says


@dataclass(frozen=True)
class Submission:
    """worth: the answers in it that are right and have to count, or None where the folder must be refused; says: what must
    stand on its page, or in the log of the command where it has none.
    """

    name: str
    kind: str
    does: str
    make: Callable
    worth: dict[str, str] | None
    says: str
    student: str


SUBMISSIONS: list[Submission] = []
KINDS: list[str] = []


def submission(kind: str, worth: dict | None, says: str = JUDGED, student: str = ""):
    """Decorator: a maker becomes a submission. student: its folder's name, where that is what is odd."""

    def add(make):
        if kind not in KINDS:
            KINDS.append(kind)
        folder = student or f"{KINDS.index(kind)}-{make.__name__}"
        SUBMISSIONS.append(Submission(make.__name__, kind, make.__doc__, make, worth, says, folder))
        return make

    return add


def clean(kind: str) -> str:
    """The student who hands in what is right, and is graded after all others of a kind."""
    return f"{KINDS.index(kind)}-zz-clean"


def with_cell(course: Course, code: str, where: int = 2, **answers: str):
    """A submission with a cell of the student's own early in it."""
    notebook = answered(course.release, **(RIGHT | answers))
    notebook.cells.insert(where, new_code_cell(code))
    return notebook


def evidence(seeds=SEEDS) -> dict:
    """What a right answer to `double` gives on some seeds."""
    of = {"a_number": lambda seed: 2 * (seed + 0.5), "zero": lambda _: 0.0}
    records = [
        {"case": case, "seed": seed, "sizes": {}, "data": {"double": {"float": repr(value(seed))}}}
        for case, value in of.items()
        for seed in seeds
    ]
    return {"version": 1, "exercise": "double", "uses": [], "records": records}


def in_the_check_of_double(code: str) -> str:
    """A cell after which the check cell of `double` does something else, though nobody changed its text."""
    swap = f"[line.replace('check(\"double\", double)', {code!r}) for line in lines]"
    return f"get_ipython().input_transformers_post.append(lambda lines: {swap})"


def around_the_check_of_double(event: str, code: str) -> str:
    """A cell after which something runs with the check cell of `double`."""
    body = "\n".join(f"        {line}" for line in code.splitlines())
    return (
        "seen = []\ndef hook(info=None):\n"
        "    if 'check(\"double\"' in str(getattr(info, 'raw_cell', getattr(getattr(info, 'info', 0), 'raw_cell', ''))):\n"
        f"{body}\nget_ipython().events.register({event!r}, hook)\n"
        f"from IPython.display import display, clear_output\nMIME = {MIME!r}"
    )


# --- Forged results: with the seeds of this very grading, where a route must not count at all; else with guessed ones

FORGED = "forged results"


@submission(FORGED, SHOUT)
def display_in_the_answer(course, student):
    """Shows right evidence in the answer's own cell, with the seeds that this class is graded on."""
    forged = f"{NO_POINTS}\nfrom IPython.display import display\ndisplay({{{MIME!r}: {evidence()!r}}}, raw=True)"
    return answered(course.release, double=forged, shout=RIGHT["shout"])


@submission(FORGED, SHOUT, "It was not run.")
def another_check_call(course, student):
    """Lets the check cell show evidence for guessed seeds in the place of calling `check`."""
    show = f"__import__('IPython').display.display({{{MIME!r}: {evidence(PUBLIC_SEEDS)!r}}}, raw=True)"
    return with_cell(course, in_the_check_of_double(show), double=NO_POINTS)


@submission(FORGED, SHOUT, "emitted 2 results")
def a_second_output(course, student):
    """Shows right evidence beside the true one."""
    hook = around_the_check_of_double("pre_run_cell", f"display({{MIME: {evidence()!r}}}, raw=True)")
    return with_cell(course, hook, double=NO_POINTS)


@submission(FORGED, SHOUT)
def an_update_of_a_display(course, student):
    """Shows something harmless, and makes right evidence of it while the check cell runs."""
    hook = around_the_check_of_double("post_run_cell", f"display({{MIME: {evidence()!r}}}, raw=True, display_id='d', update=True)")
    return with_cell(course, f"{hook}\ndisplay({{'text/plain': 'x'}}, raw=True, display_id='d')", double=NO_POINTS)


@submission(FORGED, SHOUT, "It was not run.")
def cleared_and_shown_anew(course, student):
    """Clears the true evidence away, and shows some for guessed seeds."""
    hook = around_the_check_of_double("post_run_cell", f"clear_output()\ndisplay({{MIME: {evidence(PUBLIC_SEEDS)!r}}}, raw=True)")
    return with_cell(course, hook, double=NO_POINTS)


@submission(FORGED, SHOUT, "emitted 2 results")
def over_the_own_socket(course, student):
    """Sends right evidence over the kernel's own socket, as its own messages go."""
    sends = (
        "kernel = get_ipython().kernel\n"
        f"kernel.session.send(kernel.iopub_socket, 'execute_result', {{'data': {{MIME: {evidence()!r}}}, 'metadata': {{}},"
        " 'execution_count': 1}, parent=kernel.get_parent(), ident=b'x')"
    )
    return with_cell(course, around_the_check_of_double("pre_run_cell", sends), double=NO_POINTS)


@submission(FORGED, SHOUT)
def a_judged_cell(course, student):
    """Shows what a judged cell holds: the report, the number, and evidence as it is kept for a re-judge."""
    report = {"text/html": "<b>4 of 4 points</b>", "text/plain": "4.0", kept.MIME: kept.pack(evidence())}
    shown = f"display({report!r}, raw=True)\nget_ipython().displayhook(4.0)\ndisplay({{'text/plain': '4.0'}}, raw=True)"
    return with_cell(course, around_the_check_of_double("pre_run_cell", shown), double=NO_POINTS)


@submission(FORGED, SHOUT)
def no_cases(course, student):
    """Takes the cases out of the exercise right before it is checked."""
    code = in_the_check_of_double("tiny_probes.double.cases.clear(); check('double', double)")
    return with_cell(course, code, double=NO_POINTS)


@submission(FORGED, SHOUT)
def everything_patched(course, student):
    """Patches every comparison, the evidence's modules, `sys.modules` and the import of anything."""
    code = (
        "import sys, types, torch, math, autograder, autograder.check, autograder.evidence, autograder.values, unittest.mock\n"
        "torch.testing.assert_close = torch.allclose = torch.equal = math.isclose = lambda *_, **__: True\n"
        "for name in [n for n in sys.modules if n.startswith('autograder')]: sys.modules[name] = unittest.mock.MagicMock()\n"
        "class Finder:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('autograder.judging'): raise ImportError('nothing is judged here')\n"
        "sys.meta_path.insert(0, Finder())"
    )
    return with_cell(course, code, double=NO_POINTS)


@submission(FORGED, SHOUT)
def the_reference_and_the_neighbour(course, student):
    """Answers from the reference, a neighbour's notebook, the gradebook or the seeds, wherever they can be read."""
    places = [f"{course.root}/solutions/{TOPIC}/{TOPIC}.py", f"{course.root}/classroom/submitted/0-zz-clean/{TOPIC}/{NAME}"]
    code = (
        "def double(x):\n"
        f"    for path in {places!r}:\n        try:\n            if 'double' in open(path).read(): return 2 * x\n"
        "        except OSError: pass\n"
        "    try:\n        import solutions\n        return 2 * x\n    except ImportError: pass\n    return x - 1"
    )
    return answered(course.release, double=code, shout=RIGHT["shout"])


# Ends the kernel, so that the cases are then run in processes of their own.
APART = "    import os\n    if not os.environ['COURSE_GRADING_APART']: os._exit(1)\n"


@submission(FORGED, SHOUT, "disturbed the channel")
def lines_into_the_pipe(course, student):
    """Writes into every pipe it has, one of which carries the records of its cases."""
    code = (
        f"def double(x):\n{APART}    import stat\n    for file in range(3, 100):\n        try:\n"
        "            if stat.S_ISFIFO(os.fstat(file).st_mode): os.write(file, b'{\"case\": \\n end')\n"
        "        except OSError: pass\n    return x - 1"
    )
    return answered(course.release, double=code, shout=RIGHT["shout"])


@submission(FORGED, SHOUT)
def equal_to_everything(course, student):
    """Returns an object that says it equals whatever it is compared with."""
    code = (
        "class Yes(float):\n    __eq__ = lambda *_: True\n    __hash__ = float.__hash__\n    shape = dtype = None\n"
        "    __array__ = lambda self, *_, **__: 1 / 0\n    __sub__ = __rsub__ = __abs__ = lambda *_: 0.0\n"
        "def double(x): return Yes(x - 1)"
    )
    return answered(course.release, double=code, shout=RIGHT["shout"])


# --- Evidence of no form

NO_FORM = "evidence of no form"


def shown_as_evidence(course, value: str):
    """A submission whose check cell of `double` shows the evidence of a right answer with one value exchanged."""
    code = (
        f"import json\nforged = {evidence()!r}\n"
        f"for record in forged['records']: record['data'] = {{'double': {value}}}\n"
        "def show(): __import__('IPython').display.display({" + repr(MIME) + ": forged}, raw=True)\n"
        f"{in_the_check_of_double('show()')}"
    )
    return with_cell(course, code, double=NO_POINTS)


@submission(NO_FORM, SHOUT, "cannot be compared")
def a_shape_of_millions(course, student):
    """Claims an array of no rows and a thousand million columns."""
    return shown_as_evidence(course, "{'array': {'dtype': 'float64', 'shape': [0, 2**30], 'data': ''}}")


@submission(NO_FORM, SHOUT, "cannot be compared")
def a_list_in_a_list(course, student):
    """Claims a value a hundred lists deep."""
    return shown_as_evidence(course, "eval(\"{'list': [\" * 50 + '0' + ']}' * 50)")


@submission(NO_FORM, SHOUT)
def no_number(course, student):
    """Claims numbers that are none: NaN, infinity, more digits than a float holds."""
    return shown_as_evidence(course, "{'float': 'nan'} if record['case'] == 'zero' else {'int': '9' * 200}")


@submission(NO_FORM, SHOUT, "cannot be compared")
def an_integer_of_a_million_digits(course, student):
    """Claims an integer that takes minutes to read."""
    return shown_as_evidence(course, "{'int': '9' * 20_000}")


@submission(NO_FORM, SHOUT, "too large")
def evidence_of_5_mb(course, student):
    """Shows far more than the case asks for."""
    return shown_as_evidence(course, "{'text': 'x' * 1_000_000}")


@submission(NO_FORM, SHOUT, "is not evidence of this course's check")
def evidence_that_is_a_list(course, student):
    """Shows a list in the place of evidence."""
    show = f"__import__('IPython').display.display({{{MIME!r}: [1, None, {{}}]}}, raw=True)"
    return with_cell(course, in_the_check_of_double(show), double=NO_POINTS)


@submission(NO_FORM, SHOUT, "could not be read")
def a_message_too_deep_to_be_read(course, student):
    """Sends a message nested deeper than can be read, past the library that would not write it."""
    code = (
        "def deep():\n    session = get_ipython().kernel.session\n    pack = session.pack\n"
        "    session.pack = lambda thing: b'[' * 100_000 + b']' * 100_000 if 'data' in thing else pack(thing)\n"
        "    __import__('IPython').display.display({'text/plain': 'x'}, raw=True)\n    session.pack = pack\n"
    )
    return with_cell(course, code + in_the_check_of_double("deep()"), double=NO_POINTS)


@submission(NO_FORM, SHOUT)
def values_that_are_no_data(course, student):
    """Returns a list that holds itself, a huge view of one number, and a thing that cannot be shown."""
    code = (
        "import torch\nclass Bad:\n    def __repr__(self): raise SystemExit\n"
        "def double(x):\n    loop = []\n    loop.append(loop)\n"
        "    return loop if x == 0 else torch.zeros(1).expand(10**9) if x < 12 else Bad()"
    )
    return answered(course.release, double=code, shout=RIGHT["shout"])


# --- Cells that are not as they were released

CELLS = "cells that are not as released"


@submission(CELLS, BOTH, "2 copies of the answer cell")
def the_same_name_twice(course, student):
    """Two cells bear the name of one answer, the second of them right."""
    notebook = answered(course.release, **(RIGHT | {"double": NO_POINTS}))
    again = nbformat.from_dict(cell_of(notebook, "double"))
    again.id, again.source = "again", RIGHT["double"]
    notebook.cells.insert(notebook.cells.index(cell_of(notebook, "double")) + 1, again)
    return notebook


@submission(CELLS, BOTH, "recognised by the function")
def other_names(course, student):
    """Every cell is renamed, and bears the name of another chapter's cell."""
    notebook = answered(course.release, **RIGHT)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"renamed{number}"
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.grade_id = f"dpo_loss_{number}"
    return notebook


@submission(CELLS, BOTH)
def in_reverse(course, student):
    """The cells come in reverse order."""
    notebook = answered(course.release, **RIGHT)
    notebook.cells.reverse()
    return notebook


@submission(CELLS, BOTH)
def graded_cells_of_its_own(course, student):
    """Cells of the student's own are marked as graded, each worth a hundred points, and show a full score."""
    notebook = answered(course.release, **RIGHT)
    for number in range(5):
        marks = {"grade": True, "solution": False, "locked": True, "grade_id": f"extra{number}", "points": 100, "schema_version": 3}
        notebook.cells.append(new_code_cell("100.0", id=f"extra{number}", metadata={"nbgrader": marks}))
    return notebook


@submission(CELLS, BOTH)
def other_points_and_versions(course, student):
    """Points, versions, checksums and locks of all cells are changed."""
    notebook = answered(course.release, **RIGHT)
    for number, cell in enumerate(notebook.cells):
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader |= {"points": 99, "schema_version": (0, 1, 99, "x")[number % 4], "checksum": 7, "locked": False}
            cell.metadata.nbgrader |= {"grade": True, "solution": True, "task": True}
    return notebook


@submission(CELLS, DOUBLE, "had been changed")
def a_check_cell_that_always_passes(course, student):
    """The check cell is a number, and the answer is missing."""
    notebook = answered(course.release, **DOUBLE)
    cell_of(notebook, "shout_check").source = "3.0"
    return notebook


@submission(CELLS, BOTH)
def tags_that_skip(course, student):
    """Every cell has tags that skip it, hide it, or let it raise."""
    notebook = answered(course.release, **RIGHT)
    for cell in notebook.cells:
        cell.metadata.tags = ["skip-execution", "raises-exception", "remove_cell", "demo", "parameters"]
    return notebook


@submission(CELLS, BOTH)
def answers_turned_into_text(course, student):
    """The answers are in text cells, as after a wrong key."""
    notebook = answered(course.release, **RIGHT)
    for name in RIGHT:
        cell = cell_of(notebook, name)
        notebook.cells[notebook.cells.index(cell)] = new_markdown_cell(cell.source, id=cell.id, metadata=cell.metadata)
    return notebook


@submission(CELLS, DOUBLE, "null bytes")
def a_null_byte(course, student):
    """An answer holds a null byte, which is no Python."""
    return answered(course.release, **(RIGHT | {"shout": RIGHT["shout"] + "\0"}))


@submission(CELLS, DOUBLE, "invalid non-printable character U+00A0")
def spaces_that_do_not_break(course, student):
    """An answer is indented with non-breaking spaces, as after copying it from a page."""
    return answered(course.release, **(RIGHT | {"shout": "def shout(text):\n\u00a0\u00a0\u00a0\u00a0return text.upper()"}))


@submission(CELLS, DOUBLE, "U+FEFF")
def a_mark_at_the_beginning(course, student):
    """An answer begins with a byte order mark, as after copying it from a file."""
    return answered(course.release, **(RIGHT | {"shout": "\ufeff" + RIGHT["shout"]}))


@submission(CELLS, BOTH)
def another_kernel(course, student):
    """The notebook asks for a kernel that is none, and for a language that is not Python."""
    notebook = answered(course.release, **RIGHT)
    notebook.metadata.kernelspec = {"name": "../../bash", "display_name": XSS, "language": "bash"}
    notebook.metadata.language_info = {"name": "R", "nbconvert_exporter": "os.system"}
    return notebook


# --- Files that are damaged, or rewritten by an editor

FILES = "files damaged or rewritten"


def as_bytes(course, **answers: str) -> bytes:
    return nbformat.writes(answered(course.release, **(answers or RIGHT))).encode()


@submission(FILES, NOTHING, "is not a notebook")
def inside_a_list(course, student):
    """The notebook is the only element of a list."""
    return b"[" + as_bytes(course) + b"]"


@submission(FILES, NOTHING, "is not a notebook")
def a_zip_by_another_name(course, student):
    """A zip file is called .ipynb."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, as_bytes(course))
    return file.getvalue()


@submission(FILES, NOTHING, "is not a notebook")
def null_bytes(course, student):
    """A file of null bytes, as after a full disk."""
    return bytes(100_000)


@submission(FILES, BOTH, "not UTF-8")
def latin_1(course, student):
    """A file in Latin-1, with accents in it."""
    notebook = answered(course.release, **RIGHT)
    notebook.cells.insert(0, new_markdown_cell("Élève: Zoë Müller"))
    return json.dumps(notebook, ensure_ascii=False).encode("latin-1")


@submission(FILES, BOTH)
def lines_without_end(course, student):
    """Answers without names behind 400,000 empty lines."""
    notebook = answered(course.release, **(RIGHT | {"shout": "\n" * 400_000 + RIGHT["shout"]}))
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    return notebook


@submission(FILES, BOTH)
def marks_without_end(course, student):
    """Text cells of 100,000 nested brackets, stars, quotes and formulas."""
    notebook = answered(course.release, **RIGHT)
    notebook.cells += [new_markdown_cell(marks) for marks in ("[" * 100_000, "**a" * 30_000, "> " * 50_000, "$\\begin{a}" * 9_000)]
    return notebook


@submission(FILES, NOTHING, "is not a notebook")
def broken_json_of_20_mb(course, student):
    """20 MB that begin like a notebook and never end."""
    return b'{"cells": [' + b'{"id": "' * 2_500_000


@submission(FILES, NOTHING, "is not a notebook")
def nested_without_end(course, student):
    """Lists in lists, deeper than can be read."""
    return b'{"cells": ' + b"[" * 200_000


@submission(FILES, DOUBLE, "complete cells were saved")
def marks_of_a_merge(course, student):
    """A version control system left its marks in the middle of an answer."""
    return as_bytes(course).replace(b"def shout(text):", b'def sh\n<<<<<<< HEAD\n"out(text):')


@submission(FILES, BOTH, "3,0")
def cells_without_end(course, student):
    """Thousands of cells behind those of the chapter."""
    notebook = answered(course.release, **RIGHT)
    notebook.cells += [new_code_cell("", id=f"n{number}") for number in range(3_000)]
    return notebook


@submission(FILES, BOTH)
def format_3(course, student):
    """The format of ten years ago."""
    old = [
        {"cell_type": "code", "input": cell.source, "outputs": [], "language": "python", "metadata": {}}
        if cell.cell_type == "code"
        else {"cell_type": "markdown", "source": cell.source, "metadata": {}}
        for cell in answered(course.release, **RIGHT).cells
    ]
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": old}], "metadata": {"name": ""}}).encode()


def rewritten(course, change: Callable) -> bytes:
    notebook = json.loads(as_bytes(course))
    for number, cell in enumerate(notebook["cells"]):
        change(cell, number)
    return json.dumps(notebook).encode()


@submission(FILES, BOTH)
def by_colab(course, student):
    """As Colab writes it: ids moved into the metadata, outputs and forms added."""

    def change(cell, number):
        cell["metadata"] = cell["metadata"] | {"id": cell.pop("id"), "colab": {"base_uri": "x"}, "outputId": "f", "cellView": "form"}

    return rewritten(course, change)


@submission(FILES, BOTH)
def by_vs_code(course, student):
    """As VS Code writes it: sources as lists of lines, languages, no metadata but its own."""

    def change(cell, number):
        cell["source"] = cell["source"] if isinstance(cell["source"], list) else cell["source"].splitlines(keepends=True)
        cell["metadata"] = {"vscode": {"languageId": "python"}}

    return codecs.BOM_UTF8 + rewritten(course, change).replace(b"\\n", b"\\r\\n")


@submission(FILES, BOTH)
def by_kaggle(course, student):
    """As Kaggle writes it: new ids, its own numbers, no names."""

    def change(cell, number):
        cell["id"], cell["metadata"] = f"{number:08x}", {"_uuid": "8f2839f25d086af7", "trusted": True, "execution": {}}

    return rewritten(course, change)


# --- What lies in the folder, and what the folder is called

FOLDERS = "what is handed in, and under which name"


def place(course, student) -> Path:
    folder = course.root / "classroom" / "submitted" / student / TOPIC
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@submission(FOLDERS, NOTHING, "is a link")
def a_link_to_the_solutions(course, student):
    """The notebook is a link to the instructor's."""
    (place(course, student) / NAME).symlink_to(course.root / "solutions" / TOPIC / NAME)


@submission(FOLDERS, NOTHING, "is a link")
def a_link_to_a_neighbour(course, student):
    """The notebook is a link to a neighbour's."""
    (place(course, student) / NAME).symlink_to(f"../../0-zz-clean/{TOPIC}/{NAME}")


@submission(FOLDERS, NOTHING, "is not a regular file")
def a_socket(course, student):
    """A socket lies in the notebook's place."""
    here = os.getcwd()
    os.chdir(place(course, student))  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(NAME)
    finally:
        os.chdir(here)


@submission(FOLDERS, BOTH, "is called")
def a_zip_that_climbs(course, student):
    """A zip file whose members' names lead out of the folder, over the instructor's files."""
    with zipfile.ZipFile(place(course, student) / "all.zip", "w") as archive:
        archive.writestr(f"../../../../solutions/{TOPIC}/{NAME}", as_bytes(course))
        archive.writestr("/etc/cron.d/x.ipynb", "{}")


@submission(FOLDERS, NOTHING, "larger than")
def a_zip_that_grows(course, student):
    """A zip file of 150 kB that holds 150 MB."""
    with zipfile.ZipFile(place(course, student) / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, bytes(150_000_000))


@submission(FOLDERS, BOTH)
def files_of_our_names(course, student):
    """Beside the notebook lie files that a program might import or read, links and pipes among them."""
    folder = place(course, student)
    for name in ("tiny_probes.py", "random.py", "torch.py", "sitecustomize.py", "nbgrader_config.py", "autograder.py", "x.pth"):
        (folder / name).write_text("raise SystemExit('a file of the student must not be read')")
    (folder / "timestamp.txt").symlink_to("/etc/passwd")
    os.mkfifo(folder / "submission_secret.txt")
    return answered(course.release, **RIGHT)


def plain(course, student):
    """A right submission in a folder with an odd name."""
    return answered(course.release, **RIGHT)


for _number, (_name, _graded) in enumerate(
    {
        "O'Neill, Zoë (2) [x] {y}": True, "4-ünï çødé 東京": True, "4-$(reboot);|`x`": True, "4-" + "n" * 120: True,
        "4-" + "n" * 150: False, "4-line\nbreak": False, "4-<b>bold": False, ".hidden": False, "4-star*": False, " 4-space": False,
    }.items()
):  # fmt: skip
    _says = JUDGED if _graded else f"The folder {_name!a} in"
    _make = lambda course, student: plain(course, student)  # noqa: E731 - each has a name of its own
    _make.__name__, _make.__doc__ = f"named_{_number}", f"A right submission in a folder called {_name[:30]!r}."
    submission(FOLDERS, BOTH if _graded else None, _says, student=_name)(_make)


# --- State left behind: it is no answer, so it must cost none

STATE = "state left behind"


def leaving(name: str, does: str, code: str, where: int = 2) -> None:
    """A submission that is right and has one cell that leaves its process in some state."""

    def make(course, student):
        return with_cell(course, code, where)

    make.__name__, make.__doc__ = name, does
    submission(STATE, BOTH)(make)


leaving("dtype_and_device", "Sets another default dtype and device.",
        "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.set_default_device('meta')\ntorch.set_grad_enabled(False)")  # fmt: skip
leaving("torch_deleted", "Deletes torch, in part and as a whole.",
        "import sys, torch\ntorch.tensor = torch.nn = torch.manual_seed = None\nfor n in [n for n in sys.modules if n.startswith('torch')]: del sys.modules[n]")  # fmt: skip
leaving("random_broken", "Puts other things in the place of random, json, copy and math.",
        "import random, json, copy, math\nrandom.seed = random.random = json.dumps = copy.deepcopy = math.floor = 5")  # fmt: skip
leaving("exit_after_an_answer", "Ends its session behind the first answer.",
        "exit()\nquit()\nget_ipython().ask_exit()\nraise SystemExit(1)", 5)  # fmt: skip
leaving("streams_closed", "Closes its output, in Python and below.",
        "import os, sys\nsys.stdout.close()\nsys.stderr = None\nos.close(1)\nos.close(2)\nprint = None")  # fmt: skip
leaving("signals_and_timers", "Ignores signals, and sets timers that raise.",
        "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nsignal.signal(signal.SIGPIPE, signal.SIG_IGN)\n"
        "def ring(*_): raise RuntimeError('a timer')\n"
        "for s, t in ((signal.SIGALRM, signal.ITIMER_REAL), (signal.SIGVTALRM, signal.ITIMER_VIRTUAL), (signal.SIGPROF, signal.ITIMER_PROF)):\n"
        "    signal.signal(s, ring); signal.setitimer(t, 0.5, 0.05)")  # fmt: skip
leaving("negative_count", "Counts its cells below nought.", "get_ipython().execution_count = -5")
leaving("environment_and_folder", "Clears the environment, and deletes the folder it is in.",
        "import os, shutil\nos.environ.clear()\nshutil.rmtree(os.getcwd(), ignore_errors=True)\nos.environ['COURSE_GRADING_SEEDS'] = '1,2,3'")  # fmt: skip
leaving("traced_and_strict", "Traces every line, turns warnings into errors, and allows no recursion.",
        "import sys, warnings, threading\nwarnings.simplefilter('error')\nsys.setrecursionlimit(120)\nsys.setprofile(lambda *_: None)\n"
        "threading.settrace(lambda *_: 1 / 0)\nsys.settrace(lambda *_: None)")  # fmt: skip
leaving("names_taken", "Gives the names that the check cell uses to other things.",
        "check = display = print = len = str = sys = os = 5")  # fmt: skip


# --- Markup and scripts

MARKUP = "scripts and markup"


@submission(MARKUP, SHOUT, "&lt;script&gt;")
def in_a_message(course, student):
    """Raises errors whose type and message are markup."""
    code = f"def double(x):\n    raise type({XSS!r}, (Exception,), {{}})({XSS!r})"
    return answered(course.release, double=code, shout=RIGHT["shout"])


@submission(MARKUP, DOUBLE, "&lt;script&gt;")
def in_a_value(course, student):
    """Returns markup where text is asked for."""
    return answered(course.release, double=RIGHT["double"], shout=f"def shout(text):\n    return {XSS!r}")


@submission(MARKUP, BOTH)
def in_outputs(course, student):
    """Shows markup of every kind that a page may hold."""
    kinds = ("text/html", "text/markdown", "text/latex", "image/svg+xml", "application/javascript", "application/vnd.plotly.v1+json")
    code = "from IPython.display import display\nimport sys\n" + "".join(f"display({{{kind!r}: {XSS!r}}}, raw=True)\n" for kind in kinds)
    return with_cell(course, code + f"print({XSS!r})\nprint({XSS!r}, file=sys.stderr)\nraise ValueError({XSS!r})")


@submission(MARKUP, BOTH)
def in_texts(course, student):
    """Writes markup, links that run, and pictures that are none, in texts of every kind."""
    texts = [XSS, f"[x](javascript:alert(1)) ![x](data:text/html,{XSS})", r"$\href{javascript:alert(1)}{x}$", f"~~~mermaid\n{XSS}\n~~~"]
    notebook = answered(course.release, **RIGHT, essay=f"An essay in markup. {XSS}")
    drawing = {"a.svg": {"image/svg+xml": XSS}}
    notebook.cells += [new_markdown_cell(text) for text in texts] + [new_raw_cell(XSS)]
    notebook.cells.append(new_markdown_cell("![](attachment:a.svg)", attachments=drawing))
    return notebook


@submission(MARKUP, BOTH, "is called")
def in_the_name_of_the_file(course, student):
    """The notebook's name is markup."""
    (place(course, student) / "<img src=x onerror=alert(1)>.ipynb").write_bytes(as_bytes(course))


@submission(MARKUP, BOTH, "is not as it was released")
def in_what_is_repaired(course, student):
    """A cell of the release is changed to markup, which the list of repairs names."""
    notebook = answered(course.release, **RIGHT)
    notebook.cells[1].source = f"# {XSS} `[x](javascript:alert(1))`\n{notebook.cells[1].source}"
    return notebook


# --- Answers that take too much

TOO_MUCH = "answers that take too much"


@submission(TOO_MUCH, SHOUT, "endless loop")
def for_ever_in_c(course, student):
    """Counts for ever inside C, where no interrupt is seen."""
    return answered(course.release, double="import itertools\ndef double(x): return sum(itertools.count())", shout=RIGHT["shout"])


@submission(TOO_MUCH, SHOUT, "memory")
def all_the_memory(course, student):
    """Asks for a million million bytes."""
    return answered(course.release, double="def double(x): return len(bytearray(10**12))", shout=RIGHT["shout"])


@submission(TOO_MUCH, SHOUT, "crashed the Python process")
def a_crash(course, student):
    """Reads the memory at address 0."""
    return answered(course.release, double="import ctypes\ndef double(x): return ctypes.string_at(0)", shout=RIGHT["shout"])


@submission(TOO_MUCH, SHOUT, "ended the Python process")
def the_parent_killed(course, student):
    """Kills the process that waits for its result."""
    code = f"def double(x):\n{APART}    os.kill(os.getppid(), 9)"
    return answered(course.release, double=code, shout=RIGHT["shout"])


@submission(TOO_MUCH, SHOUT, "too large")
def a_flood(course, student):
    """Returns twenty thousand lines, and prints as many."""
    code = "def double(x):\n    for _ in range(20_000): print('flood')\n    return ['line'] * 20_000"
    return answered(course.release, double=code, shout=RIGHT["shout"])


@submission(TOO_MUCH, BOTH)
def sockets_spoiled(course, student):
    """Writes rubbish into the kernel's own sockets behind the last answer: what was before it counts."""
    code = (
        "import os, socket\nfor f in map(int, os.listdir('/proc/self/fd')):\n    try:\n        one = socket.socket(fileno=os.dup(f))\n"
        "        one.setblocking(False); one.send(b'\\xff' * 100_000)\n    except OSError: pass"
    )
    notebook = answered(course.release, **RIGHT)
    notebook.cells.append(new_code_cell(code))
    return notebook
