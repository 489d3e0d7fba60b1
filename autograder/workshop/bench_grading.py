"""How many submissions a minute: `autograder grade` against `nbgrader autograde` as it comes, on the same submissions.

    make bench-grading [ARGS="00_start_here 05_ppo --students 40"]

All answers are right, so that both run all of it; neither runs long demonstrations. A small and a larger class are graded
by each, in turn, in the same run: the difference is what one more submission takes, the rest is the start, once a class.
Where the rest goes is measured apart: the answers with the probes that call them in a process that is warm, and the whole
chapter by a kernel's own clock.
"""

import argparse
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import torch
from nbformat.v4 import new_code_cell

from autograder.evidence import collect
from autograder.exercise import exercises_of
from autograder.grading import kept
from autograder.grading.cells import grade_id, is_check
from autograder.grading.execute import draw_seeds
from autograder.grading.fleet.local import cores
from autograder.grading.provisioner import Server
from autograder.grading.runner import Limits, kernel_environment, run_notebook
from autograder.grading.sandbox.policy import course_policy
from autograder.judging.reference import ROOT, SOLUTIONS, Reference
from autograder.workshop.release import source_notebook, tool_environment

STOCK_CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "stock"
c.CourseDirectory.source_directory = "source"
c.Execute.skip_cells_with_tag = "demo"
c.Execute.timeout = 600
"""
CLOCK = """
import resource
_own, _children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
print(_own.ru_utime + _own.ru_stime + _children.ru_utime + _children.ru_stime)
"""
FEW, STOCK_MORE = 2, 8


def bench_grading(topics: list[str], students: int = 30) -> list[str]:
    """Lines of text: for each chapter seconds a submission of each, their ratios, and where ours go."""
    return [line for topic in topics for line in _bench(topic, students)]


def _bench(topic: str, students: int) -> list[str]:
    solved = source_notebook(topic, SOLUTIONS)
    ways = {
        "stock nbgrader autograde": (_stock, STOCK_MORE),
        "autograder grade, 1 worker": (lambda *a: _ours(*a, "--workers=1"), STOCK_MORE),
        "autograder grade": (_ours, students),
    }
    more, start = {}, {}
    for name, (way, many) in ways.items():
        taken = {count: way(topic, solved, count) for count in (FEW, many)}
        more[name] = (taken[many] - taken[FEW]) / (many - FEW)
        start[name] = max(0.0, taken[FEW] - FEW * more[name])
    stock, _, ours = more
    lines = [f"grading {topic} on {cores()} cores:"]
    for name in more:
        class_of_100 = (start[stock] + 100 * more[stock]) / (start[name] + 100 * more[name])
        lines.append(
            f"  {name + ':':<28} {more[name]:6.2f} s a submission, {start[name]:5.1f} s to start; "
            f"ratio {more[stock] / more[name]:5.1f}, for a class of 100 with the start {class_of_100:5.1f}"
        )
    own, (kernel, empty) = _answers(topic), _kernel(topic)
    whole = more[ours] * cores()
    parts = {
        "answers, and the probes that call them": own,
        "a kernel's start": empty,
        "its other cells, and what a check cell takes": kernel - empty - own,
        "reading, judging, recording, and waiting": whole - kernel,
    }
    lines.append(f"  of {whole:.2f} s of processors for each of our submissions:")
    lines += [f"    {seconds:6.2f} s, {seconds / whole:4.0%}  {what}" for what, seconds in parts.items()]
    return [*lines, _rejudged(topic, solved, students)]


def _stock(topic: str, solved, students: int) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _make_class(topic, solved, folder, students)
        (folder / "nbgrader_config.py").write_text(STOCK_CONFIG)
        _run(folder, folder, "nbgrader", "generate_assignment", topic)
        return _run(folder, folder, "nbgrader", "autograde", topic)


def _ours(topic: str, solved, students: int, *options: str) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        return _graded(topic, solved, students, Path(scratch), *options)


def _graded(topic: str, solved, students: int, folder: Path, *options: str) -> float:
    _make_class(topic, solved, folder, students)
    elsewhere = [f"--CourseDirectory.{kind}_directory={folder / kind}" for kind in ("source", "release")]
    _run(ROOT, folder, "nbgrader", "generate_assignment", topic, *elsewhere)
    return _run(ROOT, folder, "autograder.cli", "grade", topic, *options)


def _rejudged(topic: str, solved, students: int) -> str:
    """A class judged again from what was kept of it, and how much that is."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _graded(topic, solved, students, folder)
        few, all_of_them = (
            _run(ROOT, folder, "autograder.cli", "grade", topic, "--rejudge", f"--student={who}") for who in ("student[01]", "*")
        )
        notebook = nbformat.read(folder / "autograded" / "student0" / topic / f"{topic}.ipynb", as_version=4)
    evidence = [o.data.get(kept.MIME, "") for c in notebook.cells if is_check(c) for o in c.outputs if "data" in o]
    each = (all_of_them - few) / (students - FEW)
    return (
        f"  judged again: {each:.3f} s a submission, {few + (500 - FEW) * each:.0f} s for 500, "
        f"from {sum(map(len, evidence)) / 1000:.0f} KB each"
    )


def _make_class(topic: str, solved, folder: Path, students: int) -> None:
    places = [folder / "source" / topic, *(folder / "submitted" / f"student{i}" / topic for i in range(students))]
    for place in places:
        place.mkdir(parents=True)
        nbformat.write(solved, place / f"{topic}.ipynb")


def _run(cwd: Path, classroom: Path, module: str, *arguments: str) -> float:
    """Wall seconds of one command, its start included."""
    started = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=tool_environment() | {"COURSE_CLASSROOM": str(classroom)},
    )
    if run.returncode:
        raise SystemExit(f"{module} {arguments[0]} failed:\n{(run.stdout + run.stderr)[-3000:]}")
    return time.perf_counter() - started


def _answers(topic: str) -> float:
    """Processor seconds of right answers, tried on as many seeds as in grading, where they have been called before."""
    torch.set_num_threads(1)  # as kernels have
    functions = Reference(topic, SOLUTIONS).functions
    taken = 0.0
    for exercise in exercises_of(topic):
        collect(exercise, functions[exercise.name], draw_seeds("warm", exercise.name)[:1])
        started = time.process_time()
        collect(exercise, functions[exercise.name], draw_seeds("bench", exercise.name))
        taken += time.process_time() - started
    return taken


def _kernel(topic: str, times: int = 3) -> tuple[float, float]:
    """Processor seconds of a sandboxed kernel with the chapter's cells, and of one with no cells."""
    server = Server(course_policy(), kernel_environment())
    server.try_out()
    full, empty = [], []
    for _ in range(times):
        for found, cells in ((full, True), (empty, False)):
            notebook = source_notebook(topic, SOLUTIONS)
            notebook.cells = [*(notebook.cells if cells else ()), new_code_cell(CLOCK)]
            seeds = {grade_id(c): draw_seeds("bench", grade_id(c)) for c in notebook.cells if is_check(c)}
            run_notebook(notebook, kernel_environment(), Limits(), logging.getLogger(), seeds, server)
            found.append(float(notebook.cells[-1].outputs[0].text.split()[-1]))
    server.stop()
    return statistics.median(full), statistics.median(empty)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench-grading", description="Measure grading, and print ratios.")
    parser.add_argument("topics", nargs="*", default=["00_start_here", "05_ppo"], metavar="chapter")
    parser.add_argument("--students", type=int, default=30)
    arguments = parser.parse_args()
    for topic in arguments.topics:
        for line in bench_grading([topic], arguments.students):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
