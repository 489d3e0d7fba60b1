"""`make record`: run a chapter whole and keep what it measured, so that its claims can be tested without that run.

    python -m autograder.workshop.record [05_ppo or 05 ...]

Some minutes a chapter. `solutions/NN_topic/measured.py` names the numbers, `solutions/NN_topic/record.json` then holds
what they were, with minutes, memory, versions, and a digest of all that the run depended on: the chapter's code, the
modules and data files that it read, and the pins of what computes. A record is valid as long as the digest is the same;
the tests run a chapter without a valid record in full.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.release import chapters, source_notebook

FILE = "record.json"
CELL_SECONDS = 20 * 60
LIBRARIES = ("torch", "transformers", "trl", "peft", "numpy")
COMPUTING = (*LIBRARIES, "accelerate", "gguf", "safetensors", "tokenizers")  # packages on whose versions numbers depend

# As the tests run: one thread each, so that neither numbers nor minutes depend on how many cores there are.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "agg"}
WHOLE = {"COURSE_TIER": "cpu", "COURSE_DOSE": "1"}  # of a record

# Modules of the toolkit that only draw: no number depends on them, and every new chapter adds to them.
DRAWING = (
    "course/plots.py", "course/drawing.py", "course/drawings/*.py", "course/widgets.py", "course/quiet.py",
    "course/__init__.py", "data/__init__.py",
)  # fmt: skip

# Run before the chapter: notes which files are opened from then on.
NOTE_FILES = """\
import sys
files_opened = set()
sys.addaudithook(lambda event, given: files_opened.add(str(given[0])) if event == "open" else None)
"""

# Run after the chapter and its measured.py. ru_maxrss is in KiB on Linux, in bytes on macOS.
TELL = """
import json, resource, sys, time
files = files_opened | {str(getattr(module, "__file__", "")) for module in list(sys.modules.values())}
gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)
busy = time.process_time() / 60
print(json.dumps({"values": MEASURED, "gib": gib, "processor_minutes": busy, "files": sorted(files)}))
"""


def measured_by(topic: str) -> Path:
    """The code that gathers a chapter's numbers."""
    return SOLUTIONS / topic / "measured.py"


def execute(
    notebook, folder: Path, environment: dict[str, str] | None = None, cell_seconds: int = CELL_SECONDS
) -> nbformat.NotebookNode:
    """Run all cells in a fresh kernel, as JupyterLab would, in `folder`. Raises nbclient's errors."""
    paths = {"COURSE_PROGRESS_FILE": str(folder / "progress.json"), "PYTHONPATH": str(ROOT)}
    client = NotebookClient(notebook, timeout=cell_seconds, resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | ENVIRONMENT | paths | (environment or {}))
    return notebook


def run(
    topic: str, folder: Path, environment: dict[str, str] | None = None, first: str = "", cell_seconds: int = CELL_SECONDS
) -> dict:
    """Run a solved chapter in `folder`, which it may write to. environment: COURSE_DOSE and what else is to be set; first:
    code that runs before the chapter's.

    Returns "values" (of measured.py), "gib" (peak memory), "minutes", "processor_minutes", "files" (those of the repository
    that it read, as paths below its root) and "notebook", the chapter as it was executed.
    """
    notebook = source_notebook(topic, SOLUTIONS)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(NOTE_FILES + first))
    notebook.cells.append(nbformat.v4.new_code_cell(measured_by(topic).read_text(encoding="utf-8") + TELL))
    started = time.monotonic()
    execute(notebook, folder, environment, cell_seconds)
    minutes = (time.monotonic() - started) / 60
    printed = "".join(output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout")
    told = json.loads(printed.splitlines()[-1])
    notebook.cells = notebook.cells[1:-1]
    return told | {"minutes": minutes, "files": _of_the_repository(told["files"]), "notebook": notebook}


def _of_the_repository(files: list[str]) -> list[str]:
    """Of the files a run opened, those of course/ and data/ that its numbers depend on."""
    found = set()
    for name in files:
        path = Path(name)
        if path.is_absolute() and any(path.is_relative_to(ROOT / folder) for folder in ("course", "data")) and path.is_file():
            found.add(path)
            if path.is_relative_to(ROOT / "data" / "tokenizer"):  # its other files are opened where Python does not see it
                found |= set(path.parent.glob("*.json"))
    names = {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}
    return sorted(name for name in names if not _only_draws(name) and not name.endswith("/card.json"))


def _only_draws(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in DRAWING)


def digest_of(topic: str, files: list[str]) -> str:
    """A digest of a chapter's code, of the files it reads and of the pins of what computes; not of prose, docstrings and
    comments, nor of packages that draw, serve or grade.

    Raises FileNotFoundError where one of the files is gone.
    """
    cells = jupytext.read(SOLUTIONS / topic / f"{topic}.py").cells
    code = [_what_runs(cell.source) for cell in cells if cell.cell_type == "code"]
    read = {name: hashlib.sha256(_what_counts(ROOT / name)).hexdigest() for name in sorted(files)}
    measured = measured_by(topic).read_text(encoding="utf-8")
    return hashlib.sha256(json.dumps([code, measured, read, _pins()]).encode()).hexdigest()


def _pins() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return sorted(line for line in lines if line.partition("==")[0] in COMPUTING)


def _what_counts(path: Path) -> bytes:
    """What a run can depend on: of a module, its code; of another file, every byte."""
    return _what_runs(path.read_text(encoding="utf-8")).encode() if path.suffix == ".py" else path.read_bytes()


def _what_runs(source: str) -> str:
    """A cell or module without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def valid_record(topic: str) -> dict | None:
    """A chapter's record; None where there is none that can be read, or where what it depends on has changed since."""
    try:
        record = json.loads((SOLUTIONS / topic / FILE).read_text(encoding="utf-8"))
        return record if record["digest"] == digest_of(topic, record["files"]) else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def recordable() -> list[str]:
    """The chapters that measure something."""
    return [topic for topic in chapters() if measured_by(topic).exists()]


def make_record(topic: str) -> dict:
    """Run a chapter whole. Returns its record."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(topic, Path(folder), WHOLE)
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return {
        "topic": topic,
        "minutes": round(found["minutes"], 1),
        "processor_minutes": round(found["processor_minutes"], 1),
        "gib": round(found["gib"], 2),
        "versions": versions,
        "digest": digest_of(topic, found["files"]),
        "files": found["files"],
        "values": found["values"],
    }


def as_text(record: dict) -> str:
    """The record as a file: a line for every number or list that has a name, so that two records can be compared."""
    values = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in record["values"].items())
    rest = json.dumps({name: value for name, value in record.items() if name != "values"}, indent=1)
    return f'{rest.removesuffix("}").rstrip()},\n "values": {{\n{values}\n }}\n}}\n'


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make record", description="Run chapters whole and keep what they measured.")
    parser.add_argument("topics", nargs="*", help="chapters, such as 05_ppo or 05; all when none is named")
    asked = parser.parse_args(argv).topics
    chosen = [topic for topic in recordable() if not asked or topic in asked or topic[:2] in asked]
    unknown = [name for name in asked if not any(name in (topic, topic[:2]) for topic in chosen)]
    if unknown:
        parser.error(f"no such chapter to record: {', '.join(unknown)}. There are: {', '.join(recordable())}.")
    for topic in chosen:
        print(f"{topic}: some minutes …", flush=True)
        record = make_record(topic)
        (SOLUTIONS / topic / FILE).write_text(as_text(record), encoding="utf-8")
        print(f"{topic}: {record['minutes']} minutes, {record['gib']} GiB. Now see whether its claims hold: make test "
              f'PYTEST_ARGS="tests/test_c{topic[:2]}_notebook.py"')  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
