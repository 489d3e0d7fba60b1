"""The instructor's side of the judge: reference solutions, mistakes and alternatives, read from `solutions/`.

The reference functions of a chapter are the cells of `solutions/NN_topic/NN_topic.py` that nbgrader marks as
solutions, run after the cells tagged "imports" (an answer may use those names and earlier answers, nothing else).
"""

import importlib.util
import json
import linecache
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType

from autograder.evidence import run_case, run_cases, watched_cases
from autograder.exercise import SIZES, Case, Exercise, exercises_of
from autograder.judging.compare import Entry, Summary
from autograder.judging.judge import KnownMistake, read_record, wrong_prints

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = ROOT / "solutions"


class ReferenceFailed(Exception):
    """The course's own solution failed: an error of the instructor's side, never a student's zero."""


class Reference:
    """The oracle that computes: it runs the reference, and the known mistakes, on the asked seeds."""

    def __init__(self, topic: str, solutions: Path = SOLUTIONS):
        self.topic = topic
        self.folder = solutions / topic
        if not (self.folder / f"{topic}.py").exists():
            raise ReferenceFailed(f"There is no chapter {topic!r} in {solutions}.")
        self._modules: dict[Path, ModuleType] = {}  # here and not for good: a file may be corrected, and read again
        self._summaries: dict[tuple[str, str, int], Summary] = {}
        self._records: dict[tuple[str, str, int], dict] = {}
        self._sizes: dict[tuple[str, str, int], int] = {}
        self._prints: dict[tuple[str, str, int], dict] = {}  # by exercise, mistake and seed

    @cached_property
    def notebook(self):
        """The chapter as an nbformat notebook, as it is written."""
        import jupytext

        return jupytext.read(self.folder / f"{self.topic}.py")

    @cached_property
    def functions(self) -> dict[str, Callable]:
        """Name of exercise -> reference function."""
        namespace: dict = {"__name__": f"reference_{self.topic}"}
        for number, cell in enumerate(self.notebook.cells):
            tags = cell.metadata.get("tags", [])
            if cell.cell_type == "code" and ("imports" in tags or is_solution(cell)):
                _run_source(cell.source, f"<{self.topic} cell {number}>", namespace)
        return {e.name: namespace[e.name] for e in exercises_of(self.topic) if e.name in namespace}

    @cached_property
    def points(self) -> dict[str, float]:
        """Name of exercise -> points its check cell declares."""
        return points_of(self.notebook)

    def mistake_functions(self, exercise: str) -> dict[str, Callable]:
        """Name -> wrong solution, in the order of the file."""
        return self._marked("mistakes*", "mistake_of", exercise)

    def second_references(self, exercise: str) -> dict[str, Callable]:
        """Name -> right solution in which the tables of mistakes change something."""
        return self._marked("mistakes*", "base_of", exercise)

    def alternative_functions(self, exercise: str) -> dict[str, Callable]:
        """Name -> correct solution of another shape."""
        return self._marked("alternatives*", "alternative_of", exercise)

    def expected(self, exercise: Exercise, case: Case, seed: int) -> Summary:
        """What the reference gives. Raises ReferenceFailed when it raises."""
        key = (exercise.name, case.name, seed)
        if key not in self._summaries:
            if exercise.name not in self.functions:
                raise ReferenceFailed(f"No solution cell of {self.topic} defines {exercise.name}.")
            raw = self._run(exercise, case, seed)
            record = read_record(case, raw)
            if record.summary is None:
                reason = f"{record.failure} {raw}"[:2000]
                raise ReferenceFailed(f"The reference of {exercise.name} fails on {case.name}, seed {seed}: {reason}")
            sizes = {SIZES: Entry(raw["sizes"])} if raw.get("sizes") else {}
            self._summaries[key] = record.summary | sizes
        return self._summaries[key]

    def _run(self, exercise: Exercise, case: Case, seed: int) -> dict:
        """The record of a case; one without a probe is seen while all others run."""
        key = (exercise.name, case.name, seed)
        if key not in self._records:
            if case.probe:
                found = [run_case(exercise, case, self.functions[exercise.name], seed)]
            else:
                records = [self._run(exercise, other, seed) for other in exercise.cases if other.probe]
                found = watched_cases(exercise, records, [seed])
            self._records |= {(exercise.name, record["case"], seed): record for record in found}
        return self._records[key]

    def evidence_size(self, exercise: Exercise, seeds: Sequence[int]) -> int:
        """Characters of the evidence that the reference gives."""
        if exercise.name not in self.functions:
            raise ReferenceFailed(f"No solution cell of {self.topic} defines {exercise.name}.")
        for case in exercise.cases:
            for seed in seeds:
                key = (exercise.name, case.name, seed)
                if key not in self._sizes:
                    self._sizes[key] = len(json.dumps(self._run(exercise, case, seed)))
        return sum(self._sizes[exercise.name, case.name, seed] for case in exercise.cases for seed in seeds)

    def mistakes(self, exercise: Exercise, seeds: Sequence[int]) -> list[KnownMistake]:
        """The known mistakes with the fingerprints of what they get wrong on `seeds`."""
        known = []
        for name, function in self.mistake_functions(exercise.name).items():
            prints = {}
            for seed in seeds:
                key = (exercise.name, name, seed)
                if key not in self._prints:
                    self._prints[key] = self._wrong_prints(exercise, function, seed)
                prints |= self._prints[key]
            known.append(KnownMistake(name, hint_of(function), prints))
        return known

    def _wrong_prints(self, exercise: Exercise, answer: Callable, seed: int) -> dict[tuple[str, int], dict]:
        cases = {case.name: case for case in exercise.cases}
        raw = self.records_of(exercise, answer, seed)
        records = {(r["case"], seed): read_record(cases[r["case"]], r) for r in raw}
        return wrong_prints(exercise, records, self)

    def records_of(self, exercise: Exercise, answer: Callable, seed: int) -> list[dict]:
        """The records of a mistake on one seed, of every case."""
        return run_cases(exercise, answer, [seed])

    def _module(self, path: Path) -> ModuleType:
        if path not in self._modules:
            self._modules[path] = _load_module(path)
        return self._modules[path]

    def _marked(self, files: str, attribute: str, exercise: str) -> dict[str, Callable]:
        paths = sorted(self.folder.glob(f"{files}.py"))
        if not paths:
            raise ReferenceFailed(f"There is no {files}.py in {self.folder}.")
        return {
            name: thing
            for path in paths
            for name, thing in vars(self._module(path)).items()
            if getattr(thing, attribute, None) == exercise
        }


def is_solution(cell) -> bool:
    """Whether nbgrader treats the cell as the student's."""
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def checked_exercise(cell) -> str | None:
    """The exercise that a check cell asks about, from its call check("name", …)."""
    found = re.search(r"""^\s*check\(\s*["'](\w+)["']""", cell.source, re.MULTILINE)
    return found.group(1) if found and cell.metadata.get("nbgrader", {}).get("grade") else None


def points_of(notebook) -> dict[str, float]:
    """Name of exercise -> points, over the check cells of a notebook."""
    return {
        name: cell.metadata["nbgrader"]["points"]
        for cell in notebook.cells
        if (name := checked_exercise(cell)) is not None
    }


def hint_of(function: Callable) -> str:
    """The docstring on one line."""
    return " ".join(function.__doc__.split())


def _run_source(source: str, name: str, namespace: dict) -> None:
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), namespace)


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
