"""The command `autograder`: what a student can do without a notebook.

autograder check 01_pretraining answers.py [--only causal_lm_loss] [--json]
autograder progress [01_pretraining]

For instructors, in a checkout of the course:

autograder doctor
autograder prepare 01_pretraining
autograder grade 01_pretraining
autograder rejudge 01_pretraining [--student NAME]
autograder report 01_pretraining [--into FOLDER] [--text]
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autograder.check import judge_with_key
from autograder.evidence import PUBLIC_SEEDS, collect_limited
from autograder.exercise import Exercise, UnknownExercise, exercises_of
from autograder.judging.judge import Verdict, judge_evidence, note_shaky
from autograder.judging.key import KEYS, KeyMissing, load_key, topics_with_key
from autograder.judging.report import to_text
from autograder.limits import Limits, Stopped, stream
from autograder.progress import passing, progress, record

LOADING_SECONDS = 120.0  # for a file whose own top level computes something


class BadFile(Exception):
    """The file cannot be checked; the message says why."""


def check_file(topic: str, path: Path, limits: Limits, only: Sequence[str] = ()) -> list[Verdict]:
    """Judge a Python file that defines a chapter's functions, one verdict an exercise; `only`: these exercises.

    The file runs in a child process, each exercise in a child of that. Raises BadFile when it cannot be loaded, and
    UnknownExercise for a name in `only` that the chapter does not have.
    """
    load_key(topic)
    import torch  # noqa: F401 - loaded here once, so that no limit counts it

    exercises = _chosen(topic, only)
    source = _read_source(path)

    def answer_all() -> Iterator[dict]:
        try:
            namespace = _load(source, path)
        except BaseException as error:  # SystemExit too
            yield {"loading": f"{type(error).__name__}: {error}{_line_of(error, path)}"}
            return
        yield {"loaded": True}
        for exercise in exercises:
            if callable(namespace.get(exercise.name)):
                yield collect_limited(exercise, namespace[exercise.name], PUBLIC_SEEDS, limits)
            else:
                yield {"missing": exercise.name}

    # An exercise is bounded inside; the bound out here catches what ends the whole process.
    outer = Limits(max(LOADING_SECONDS, 10 * limits.seconds), limits.memory_mb + 1024)
    verdicts: list[Verdict] = []
    for message in stream(answer_all, outer):
        if isinstance(message, Stopped):
            if not verdicts:
                raise BadFile(f"{path} was stopped while it was loaded: {message.sentence}")
            verdicts.append(_no_evidence(exercises[len(verdicts)].name, f"It was stopped: {message.sentence}"))
        elif "loading" in message:
            raise BadFile(f"{path} cannot be loaded. {message['loading']}")
        elif "missing" in message:
            verdicts.append(_no_evidence(message["missing"], f"{path.name} defines no function {message['missing']}."))
        elif "exercise" in message:
            verdicts.append(judge_with_key(message))
    return verdicts + [_no_evidence(e.name, "It was not run.") for e in exercises[len(verdicts) :]]


def _chosen(topic: str, only: Sequence[str]) -> list[Exercise]:
    """The chapter's exercises, in its order: all, or those named."""
    exercises = exercises_of(topic)
    names = [exercise.name for exercise in exercises]
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise UnknownExercise(f"{topic} has no exercise {name!r}.{meant} It has: {', '.join(names)}.")
    return [exercise for exercise in exercises if not only or exercise.name in only]


def as_json(topic: str, path: Path, verdicts: list[Verdict]) -> dict:
    """The verdicts as JSON data; score and points are in points."""
    points = load_key(topic).points
    return {
        "topic": topic,
        "file": str(path),
        "passed": all(v.passed for v in verdicts),
        "score": round(sum(points[v.exercise] * v.score for v in verdicts), 2),
        "points": sum(points[v.exercise] for v in verdicts),
        "exercises": [
            {
                "name": v.exercise,
                "score": round(points[v.exercise] * v.score, 2),
                "points": points[v.exercise],
                "problem": v.problem,
                "diagnosis": v.hint,
                "cases": [
                    {
                        "name": c.name,
                        "passed": c.passed,
                        "diagnosis": c.diagnosis,
                        "mistake": c.mistake,
                        "problem": c.problem,
                        "differences": [vars(d) for d in c.differences],
                    }
                    for c in v.cases
                ],
            }
            for v in verdicts
        ],
    }


def _no_evidence(name: str, problem: str) -> Verdict:
    return judge_evidence(name, None, None, (), problem=problem)


def _read_source(path: Path) -> str:
    if path.suffix == ".ipynb":
        raise BadFile(f"{path} is a notebook; this command checks a Python file. Run the notebook's check cells.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadFile(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path} cannot be read as UTF-8 text: {error}") from None


def _load(source: str, path: Path) -> dict:
    sys.path.insert(0, str(path.resolve().parent))
    namespace = {"__name__": path.stem, "__file__": str(path.resolve())}
    exec(compile(source, str(path.resolve()), "exec"), namespace)
    return namespace


def _line_of(error: BaseException, path: Path) -> str:
    number = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.resolve()):
            number = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {number})" if number else ""


def _check(arguments) -> int:
    try:
        verdicts = check_file(arguments.topic, arguments.file, Limits.from_environment(), arguments.only)
    except (BadFile, KeyMissing, UnknownExercise) as error:
        if arguments.json:
            print(json.dumps({"error": str(error)}))
        else:
            print(error, file=sys.stderr)
        return 2
    note_shaky(verdicts, passing() if arguments.only else ())  # what is not checked now may have passed before
    for verdict in verdicts:
        record(verdict)
    result = as_json(arguments.topic, arguments.file, verdicts)
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False, indent=1))
    else:
        print("\n\n".join(to_text(v, result["exercises"][i]["points"]) for i, v in enumerate(verdicts)))
        print(f"\n{result['score']:g} of {result['points']:g} points")
    return 0 if result["passed"] else 1


def _progress(arguments) -> int:
    print(progress(arguments.topic))
    return 0


NEEDS_A_CHECKOUT = "This command is for instructors. It needs a checkout of the course, set up by `make setup`; missing here: "


class NotInstalled(Exception):
    """A command for instructors was given where only a student's part is installed; the message says what is missing."""


@contextmanager
def _from_a_checkout() -> Iterator[None]:
    """Imports of what students do not install. Raises NotInstalled."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotInstalled(NEEDS_A_CHECKOUT + f"{error.name}.") from None


def _rejudge(arguments: list[str]) -> int:
    with _from_a_checkout():
        from autograder.grading.rejudge import main
    return main(arguments)


def _grade(arguments: list[str]) -> int:
    with _from_a_checkout():
        from autograder.grading.fleet.grade import main
    return main(arguments)


def _report(arguments: list[str]) -> int:
    with _from_a_checkout():
        from autograder.grading.classreport.command import main
    return main(arguments)


def _prepare(arguments) -> int:
    with _from_a_checkout():
        from autograder.workshop.prepare import main
    return main(arguments.topics)


def _doctor(arguments) -> int:
    from autograder.grading.sandbox.doctor import main

    return main()


WITH_NBGRADERS_OPTIONS = {  # so that each reads its own arguments
    "grade": (_grade, "grade a class, several submissions at once"),
    "rejudge": (_rejudge, "judge the executed class again, running nothing"),
    "report": (_report, "the class on one page, and its scores as CSV"),
}


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit code 0: everything passes; 1: something does not; 2: it could not be checked."""
    parser = argparse.ArgumentParser(prog="autograder", description="Check answers to the course's exercises.")
    commands = parser.add_subparsers(dest="command", required=True)
    topics = ", ".join(topics_with_key(KEYS))
    check = commands.add_parser("check", help="judge a Python file that defines a chapter's functions")
    check.add_argument("topic", help=f"the chapter: {topics}")
    check.add_argument("file", type=Path)
    check.add_argument("--only", metavar="NAME", nargs="+", action="extend", default=[], help="these exercises alone")
    check.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    check.set_defaults(run=_check)
    shown = commands.add_parser("progress", help="which exercises pass so far")
    shown.add_argument("topic", nargs="?", help="one chapter only")
    shown.set_defaults(run=_progress)
    doctor = commands.add_parser("doctor", help="instructors: which sandbox this machine can give submissions")
    doctor.set_defaults(run=_doctor)
    prepare = commands.add_parser("prepare", help="instructors: make chapters ready for nbgrader to grade")
    prepare.add_argument("topics", nargs="+", metavar="topic")
    prepare.set_defaults(run=_prepare)
    for name, (_, says) in WITH_NBGRADERS_OPTIONS.items():
        commands.add_parser(name, help=f"instructors: {says}", add_help=False)
    said = sys.argv[1:] if argv is None else argv
    try:
        if said and said[0] in WITH_NBGRADERS_OPTIONS:
            return WITH_NBGRADERS_OPTIONS[said[0]][0](said[1:])
        arguments = parser.parse_args(said)
        return arguments.run(arguments)
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
