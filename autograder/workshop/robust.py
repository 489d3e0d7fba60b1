"""`make robust 04`: do a chapter's claims hold with other luck, on other machines, in another dose?

    python -m autograder.workshop.robust [05_ppo or 05 ...] [--runs seed1,dose] [--jobs 2] [--keep FOLDER] [--from-record]

Runs a chapter five times (RUNS below) and holds each run's numbers against what tests/test_cNN_notebook.py asserts in
`claims(values)`. Every assertion is tried by itself, so that one which fails hides no other. The table shows, for each, in
how many runs it held, from where to where the numbers that it compares went, and how much room it left. Exit code 1: an
assertion failed, or a run did not come to its end.
"""

import argparse
import ast
import contextlib
import importlib.util
import json
import operator
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import nbformat

from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.record import FILE, WHOLE, digest_of, recordable, run, valid_record

TESTS = ROOT / "tests"
CELL_SECONDS = 90 * 60  # in the dose of a GPU, on a machine that does something else besides
SHOWN = 110  # columns of an assertion's text
FIGURES = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # in the notebook that is kept, to be looked at

# The chapters set the number of their threads themselves: in this run nobody does.
TWO_THREADS = """\
import torch
torch.set_num_threads(2)
torch.set_num_threads = lambda n: None
"""


class Kind(NamedTuple):
    """One kind of run: what is other than in a record, in words, and how."""

    words: str
    environment: dict[str, str]
    first: str = ""  # code before the chapter's
    alone: bool = False  # whether it wants all cores


RUNS = {
    "seed1": Kind("other seeds", {"COURSE_SEED": "1"}),
    "seed2": Kind("other seeds again", {"COURSE_SEED": "2"}),
    "dose": Kind("the dose of a GPU", {"COURSE_DOSE": "3"}),
    "path": Kind("another code path of the CPU", {"ATEN_CPU_CAPABILITY": "default"}),
    "threads": Kind(
        "two threads",
        {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
        TWO_THREADS,
        alone=True,
    ),
}
RECORD = "record"


# --- Runs


def run_kind(topic: str, name: str) -> dict:
    """One run: its values, files, minutes and GiB; or, where a cell raised, "failed": which and how."""
    kind = RUNS[name]
    environment = WHOLE | FIGURES | {"COURSE_SEED": "0"} | kind.environment
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = run(topic, Path(folder), environment, kind.first, CELL_SECONDS)
    except Exception as error:  # a check inside it, too little memory, an hour too many: the other runs go on
        return {"failed": what_failed(error), "minutes": (time.monotonic() - started) / 60}
    return {key: found[key] for key in ("values", "files", "minutes", "gib", "notebook")}


def what_failed(error: Exception) -> str:
    """Which cell, and how. nbclient's message holds the cell between two lines of dashes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    _, *rest = re.split(r"^-{10,}\n", text, flags=re.MULTILINE)
    cell = next((line.strip() for line in (rest[0] if rest else "").splitlines() if line.strip()), "")
    last = next((line for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)
    return f"in the cell that begins {cell!r}: {last}" if cell else f"{type(error).__name__}: {last}"


def kept(topic: str, name: str, keep: Path) -> dict | None:
    """A run that is there already; None where it is not, or where what it depends on has changed since."""
    try:
        found = json.loads((keep / topic / f"{name}.json").read_text(encoding="utf-8"))
        return found if found["digest"] == digest_of(topic, found["files"]) else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def keep_run(topic: str, name: str, found: dict, keep: Path) -> None:
    """Write a run down, at once or not at all, and its notebook beside it, to be looked at.

    One that failed is not kept: it is tried again.
    """
    if "failed" in found:
        return
    (keep / topic).mkdir(parents=True, exist_ok=True)
    nbformat.write(found["notebook"], keep / topic / f"{name}.ipynb")
    numbers = {key: value for key, value in found.items() if key != "notebook"}
    part = keep / topic / f"{name}.part"
    part.write_text(json.dumps(numbers | {"digest": digest_of(topic, found["files"])}, indent=1), encoding="utf-8")
    part.replace(keep / topic / f"{name}.json")


def runs_of(topic: str, names: list[str], jobs: int, keep: Path | None, say: Callable[[str], None]) -> dict[str, dict]:
    """The runs that are asked for, by name and in this order: those that are kept, and the others, `jobs` at a time."""
    found = {name: done for name in names if keep and (done := kept(topic, name, keep))}
    for name in found:
        say(f"{topic}, {name}: kept from before")

    def do(name: str) -> None:
        say(f"{topic}, {name} ({RUNS[name].words}): some minutes …")
        found[name] = run_kind(topic, name)
        if keep:
            keep_run(topic, name, found[name], keep)
        ended = f"failed {found[name]['failed']}" if "failed" in found[name] else "done"
        say(f"{topic}, {name}: {ended}, after {found[name]['minutes']:.1f} minutes")

    wanted = [name for name in names if name not in found]
    together = [name for name in wanted if jobs > 1 and not RUNS[name].alone]
    if together:
        pool = ThreadPoolExecutor(jobs)
        try:
            list(pool.map(do, together))
        finally:  # interrupted: those in progress are not waited for
            pool.shutdown(wait=False, cancel_futures=True)
    for name in wanted:
        if name not in found:
            do(name)
    return {name: found[name] for name in names}


# --- Assertions, one by one


OPERATORS: dict[type, tuple[str, Callable]] = {
    ast.Lt: ("<", operator.lt), ast.LtE: ("<=", operator.le), ast.Gt: (">", operator.gt), ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq), ast.NotEq: ("!=", operator.ne),
    ast.Is: ("is", operator.is_), ast.IsNot: ("is not", operator.is_not),
    ast.In: ("in", lambda a, b: a in b), ast.NotIn: ("not in", lambda a, b: a not in b),
}  # fmt: skip


@dataclass
class Comparison:
    """One comparison within an assertion: its operands as they are written, and what they were in each run."""

    texts: list[str]
    constant: list[bool]
    signs: list[str]
    functions: list[Callable]
    values: dict[str, list[list]] = field(default_factory=lambda: defaultdict(list))  # run -> [operands of one evaluation]

    def text(self) -> str:
        """As it is written."""
        return " ".join(part for pair in zip(self.texts, [*self.signs, ""]) for part in pair).strip()


@dataclass
class Assertion:
    """One assertion: its text, its message, its comparisons, and how each run fared."""

    text: str
    message: str = ""
    comparisons: list[Comparison] = field(default_factory=list)
    results: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    whole: dict[str, list] = field(default_factory=lambda: defaultdict(list))  # what it came to, where it compares nothing
    errors: dict[str, str] = field(default_factory=dict)

    def held(self, name: str) -> bool | None:
        """Whether it held in a run; None where the run did not come to it."""
        if name in self.errors:
            return False
        return all(self.results[name]) if self.results.get(name) else None


class _Taken(ast.NodeTransformer):
    """Turns assertions into calls that note what they compare, and how they fared, instead of raising.

    Everything is evaluated where it stood, as `lambda: …`, so that chains and `and` stop where they would.
    """

    def __init__(self) -> None:
        self.assertions: list[Assertion] = []

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        message = node.msg.value if isinstance(node.msg, ast.Constant) else ast.unparse(node.msg) if node.msg else ""
        self.assertions.append(Assertion(ast.unparse(node.test), str(message)))
        number = ast.Constant(len(self.assertions) - 1)
        return ast.Expr(_call("__hold__", number, _later(self.visit(node.test))))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if not self.assertions:
            return node
        operands = [node.left, *node.comparators]
        signs, functions = zip(*(OPERATORS[type(op)] for op in node.ops))
        number = len(self.assertions) - 1
        comparisons = self.assertions[number].comparisons
        constant = [not any(isinstance(part, ast.Name) for part in ast.walk(operand)) for operand in operands]
        comparisons.append(Comparison([ast.unparse(x) for x in operands], constant, list(signs), list(functions)))
        place = len(comparisons) - 1
        return _call("__compare__", ast.Constant(number), ast.Constant(place), *(_later(self.visit(x)) for x in operands))


class _Outside(ast.NodeTransformer):
    """Comparisons in statements that are not assertions stay as they are."""

    def __init__(self, taken: _Taken) -> None:
        self.taken = taken

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        return self.taken.visit_Assert(node)


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _later(expression: ast.expr) -> ast.Lambda:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(nothing, expression)


class Claims:
    """What a test file asserts of a chapter's numbers, to be tried on several runs."""

    def __init__(self, path: Path) -> None:
        functions = {node.name: node for node in _parsed(path).body if isinstance(node, ast.FunctionDef)}
        if "claims" not in functions:
            raise ValueError(f"{path} has no function `claims`.")
        taken = _Taken()
        asserting = [node for name, node in functions.items() if name == "claims" or _helps(node)]
        for function in asserting:
            texts = [ast.unparse(statement) for statement in function.body]
            body = [_Outside(taken).visit(statement) for statement in function.body]
            # A statement that fails takes with it only those that need what it would have named.
            function.body = [ast.Try([statement], [_noting(text)], [], []) for statement, text in zip(body, texts)]
        self.assertions = taken.assertions
        self._broken: list[Assertion] = []
        module = ast.fix_missing_locations(ast.Module(asserting, []))
        self._names: dict[str, Any] = dict(vars(_imported(path)))
        exec(compile(module, str(path), "exec"), self._names)

    def hold_against(self, name: str, values: dict) -> None:
        """Try all assertions on a run's numbers, and note what came under the run's name."""

        def hold(number: int, test: Callable) -> None:
            assertion = self.assertions[number]
            try:
                came = test()
                assertion.results[name].append(bool(came))
                assertion.whole[name].append(came)
            except Exception as error:
                assertion.errors.setdefault(name, f"{type(error).__name__}: {error}")

        def compare(number: int, place: int, *operands: Callable) -> bool:
            comparison = self.assertions[number].comparisons[place]
            row = [operands[0]()]
            comparison.values[name].append(row)
            for later, function in zip(operands[1:], comparison.functions):
                row.append(later())
                if not (came := function(row[-2], row[-1])):
                    return came
            return came

        def broke(text: str, error: Exception) -> None:
            known = next((other for other in self._broken if other.text == text), None)
            if known is None:
                self._broken.append(known := Assertion(text, "this statement itself failed"))
            known.errors[name] = f"{type(error).__name__}: {error}"

        self._names |= {"__hold__": hold, "__compare__": compare, "__broke__": broke}
        self._names["claims"](values)

    def all(self) -> list[Assertion]:
        """Every assertion, and every other statement that failed in some run."""
        return [*self.assertions, *self._broken]


def _helps(function: ast.FunctionDef) -> bool:
    """Whether it holds assertions for `claims`."""
    return not function.name.startswith("test_") and any(isinstance(node, ast.Assert) for node in ast.walk(function))


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _noting(text: str) -> ast.ExceptHandler:
    note = ast.Expr(_call("__broke__", ast.Constant(text.splitlines()[0]), ast.Name("error", ast.Load())))
    return ast.ExceptHandler(ast.Name("Exception", ast.Load()), "error", [note])


def _imported(path: Path):
    """The test file as a module: `claims` uses what it imports and defines."""
    spec = importlib.util.spec_from_file_location(f"claims_of_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(TESTS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TESTS))
    return module


# --- The table


def table(claims: Claims, runs: dict[str, dict]) -> str:
    """What every assertion compared over the runs, and where it failed; last, a line for each run."""
    finished = [name for name in runs if "failed" not in runs[name]]
    lines = []
    for number, assertion in enumerate(claims.all(), 1):
        held = [name for name in finished if assertion.held(name)]
        failed = [name for name in finished if assertion.held(name) is False]
        mark = f"FAILS in {', '.join(failed)}; holds" if failed else "holds"
        compared = [_of_comparison(comparison, bool(failed)) for comparison in assertion.comparisons]
        alone = len(compared) == 1 and assertion.comparisons[0].text() == assertion.text
        text = compared.pop() if alone else _short(assertion.text)
        lines.append(f"{number:>3}. {mark} in {len(held)} of {len(finished)}: {text}")
        if assertion.message:
            lines.append(f"       “{_short(assertion.message)}”")
        lines += [f"       {line}" for line in compared]
        if not assertion.comparisons and (numbers := _range(assertion.whole, finished)):
            lines.append(f"       it came to {numbers}")
        lines += [f"       {name}: {_short(text)}" for name, text in assertion.errors.items()]
    lines.append("")
    lines += [_of_run(name, found) for name, found in runs.items()]
    lines += [f"  measured the very same numbers: {' and '.join(same)}" for same in alike(runs)]
    return "\n".join(lines)


def failures(claims: Claims, runs: dict[str, dict]) -> list[str]:
    """What did not hold, a line each."""
    broken = [f"{name} did not come to its end" for name in runs if "failed" in runs[name]]
    for number, assertion in enumerate(claims.all(), 1):
        names = [name for name in runs if assertion.held(name) is False]
        broken += [f"assertion {number} in {', '.join(names)}: {_short(assertion.text)}"] if names else []
    return broken


def alike(runs: dict[str, dict]) -> list[list[str]]:
    """Runs that measured the same to the last digit: what was to differ between them made no difference."""
    groups = defaultdict(list)
    for name, found in runs.items():
        if "failed" not in found:
            groups[json.dumps(found["values"], sort_keys=True)].append(name)
    return [names for names in groups.values() if len(names) > 1]


def _of_comparison(comparison: Comparison, failed: bool) -> str:
    """`a [1.2 … 1.4] < b [1.6 … 1.9]`, and how near the nearest run came."""
    parts = []
    for place, text in enumerate(comparison.texts):
        numbers = {run: [row[place] for row in rows if len(row) > place] for run, rows in comparison.values.items()}
        spread = "" if comparison.constant[place] else _range(numbers, list(numbers))
        parts.append(_short(text, 60) + (f" [{spread}]" if spread else ""))
    written = " ".join(f"{part} {sign}".strip() for part, sign in zip(parts, [*comparison.signs, ""]))
    return written + _room(comparison, failed)


def _room(comparison: Comparison, failed: bool) -> str:
    """How far from failing the nearest run was, where numbers are ordered. (A comparison that did not hold where the
    assertion did, such as one in a list that is counted, says nothing of the kind.)
    """
    rooms = []
    for name, rows in comparison.values.items():
        for row in rows:
            for left, right, sign in zip(row, row[1:], comparison.signs):
                if sign in ("<", "<=", ">", ">=") and _is_number(left) and _is_number(right):
                    rooms.append(((right - left) * (1 if sign[0] == "<" else -1), name))
    least, name = min(rooms, default=(0, ""))
    return f"   room {_number(least)} ({name})" if rooms and (failed or least > 0) else ""


def _range(by_run: dict[str, list], names: list[str]) -> str:
    """`smallest … largest` of all numbers in it, lists of them included; "" where there are none."""
    numbers = [x for name in names for value in by_run.get(name, []) for x in _numbers(value)]
    if not numbers:
        return ""
    low, high = _number(min(numbers)), _number(max(numbers))
    return low if low == high else f"{low} … {high}"


def _numbers(value) -> Iterator[float]:
    if _is_number(value):
        yield value
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from _numbers(part)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(x: float) -> str:
    return str(x) if isinstance(x, int) else f"{x:.4g}"


def _of_run(name: str, found: dict) -> str:
    words = RUNS[name].words if name in RUNS else "as it was recorded"
    if "failed" in found:
        return f"  {name:<8} FAILED after {found['minutes']:.1f} minutes ({words}): {found['failed']}"
    return f"  {name:<8} {found['minutes']:>5.1f} minutes, {found['gib']:.2f} GiB ({words})"


def _short(text: str, columns: int = SHOWN) -> str:
    text = " ".join(text.split())
    return text if len(text) <= columns else text[: columns - 1] + "…"


# --- Seeds that no run shifts


def bare_seeds(topic: str) -> list[str]:
    """The calls of a chapter's code that seed something with a bare number: `make robust` cannot shift those."""
    found = []
    for cell in jupytext.read(SOLUTIONS / topic / f"{topic}.py").cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            if not isinstance(node, ast.Call):
                continue
            seeds = [keyword.value for keyword in node.keywords if keyword.arg in ("seed", "random_state")]
            if ast.unparse(node.func).rpartition(".")[2] in SEEDING:
                seeds += node.args[:1]
            if any(isinstance(seed, ast.Constant) and _is_number(seed.value) for seed in seeds):
                found.append(ast.unparse(node))
    return found


SEEDING = ("manual_seed", "manual_seed_all", "seed_all", "set_seed", "Random", "default_rng", "RandomState")


# --- The command


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make robust", description="Run chapters in several ways: do their claims hold?")
    parser.add_argument("topics", nargs="*", help="chapters, such as 05_ppo or 05; all when none is named")
    parser.add_argument("--runs", default=",".join(RUNS), help=f"some of {','.join(RUNS)}")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; each wants a core and about 2 GiB")
    parser.add_argument("--keep", type=Path, help="a folder for numbers and notebooks: runs that are there are not repeated")
    parser.add_argument("--from-record", action="store_true", help=f"the numbers of {FILE} as one more run")
    given = parser.parse_args(argv)
    topics = [topic for topic in recordable() if not given.topics or topic in given.topics or topic[:2] in given.topics]
    unknown = [name for name in given.topics if not any(name in (topic, topic[:2]) for topic in topics)]
    names = [name for name in given.runs.split(",") if name]
    if unknown:
        parser.error(f"no such chapter: {', '.join(unknown)}. There are: {', '.join(recordable())}.")
    if strange := [name for name in names if name not in RUNS]:
        parser.error(f"no such run: {', '.join(strange)}. There are: {', '.join(RUNS)}.")

    broken = []
    for topic in topics:
        claims = Claims(TESTS / f"test_c{topic[:2]}_notebook.py")
        if bare := bare_seeds(topic):
            print(f"{topic}: {len(bare)} seeds are the same in every run: {_short('; '.join(bare))}", flush=True)
        runs = {}
        if given.from_record:
            record = valid_record(topic)
            if record is None:
                print(f"{topic}: there is no valid record to compare with (make record)", flush=True)
            else:
                runs[RECORD] = record
        runs |= runs_of(topic, names, given.jobs, given.keep, lambda line: print(line, flush=True))
        for name, found in runs.items():
            if "failed" not in found:
                claims.hold_against(name, found["values"])
        print(f"\n{topic}\n{table(claims, runs)}\n", flush=True)
        broken += [f"{topic}: {line}" for line in failures(claims, runs)]
    said = ["What did not hold:", *(f"  {line}" for line in broken)] if broken else ["Every assertion held in every run."]
    print("\n".join(said))
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the threads of --jobs would first run their chapters to the end
        with contextlib.suppress(OSError):
            print("\nStopped. With --keep FOLDER the same command goes on after the runs that are done.", file=sys.stderr)
        os._exit(130)
