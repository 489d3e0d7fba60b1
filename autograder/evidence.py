"""Evidence: what an answer returned on the probes of an exercise, before anybody judges it.

{"version": 1, "exercise": "causal_lm_loss", "uses": ["make_labels"], "records": [
    {"case": "ordinary_batch", "seed": 1, "data": {"loss": {"float": "3.25"}}},
    {"case": "a_batch_of_one", "seed": 1, "error": {"type": "ValueError", "message": "...", "line": "..."}},
    {"case": "huge_logits", "seed": 1, "stopped": {"reason": "time", "sentence": "..."}}]}
"""

import dis
import importlib
import inspect
import linecache
import os
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType

from autograder.exercise import ARGUMENTS_STAY, RESULTS_ARE_NEW, SIZES, Case, Exercise, Unexpected, exercises_of
from autograder.limits import CAN_END, Limits, Stopped, bounded_here, stream
from autograder.values import encode
from autograder.watching import Seen, watched

STUB = "Replace this line with your answer."  # what an answer cell raises before it is written
MIME = "application/vnd.course.evidence+json"
VERSION = 1
PUBLIC_SEEDS = (1, 2, 3)  # of the checks in a student's notebook; grading draws fresh ones
GRADING = "COURSE_GRADING"  # the environment variable that says that a kernel is the grader's
GRADING_SEEDS = "COURSE_GRADING_SEEDS"  # the one that holds the seeds, in a check cell alone
APART = "COURSE_GRADING_APART"  # the one that says that cases are to be run in processes of their own
STALLS_ALLOWED = 3  # cases of one exercise that may hang before the rest is not tried


def in_grading() -> bool:
    """Whether this process is a kernel of the grader's, where nothing is shown, kept or judged."""
    return bool(os.environ.get(GRADING) or os.environ.get(GRADING_SEEDS))


def collect(exercise: Exercise, answer: Callable, seeds: Sequence[int]) -> dict:
    """Run every case on every seed in this process."""
    return _evidence(exercise, answer, run_cases(exercise, answer, seeds))


def collect_quickly(exercise: Exercise, answer: Callable, seeds: Sequence[int], limits: Limits) -> dict:
    """As `collect`, as in a student's own notebook, except that this process ends where all of it takes longer than `limits`
    gives one case. Who grades then asks for `collect_limited` in a new process: a fork for each check cell would cost more
    than most answers do.
    """
    if not CAN_END:
        return collect(exercise, answer, seeds)
    _load_needs(exercise)
    with bounded_here(limits):
        return collect(exercise, answer, seeds)


def collect_limited(exercise: Exercise, answer: Callable, seeds: Sequence[int], limits: Limits) -> dict:
    """The same in forked children with limits: a case that hangs or dies costs that case, the others still run."""
    _load_needs(exercise)  # here, not in every child
    todo = [(case, seed) for case in exercise.cases if case.probe for seed in seeds]
    records, stalls = [], 0
    while todo:
        started = todo

        def run_all(started=started) -> Iterator[dict]:
            for case, seed in started:
                yield run_case(exercise, case, answer, seed)

        stopped = None
        for message in stream(run_all, limits):
            if isinstance(message, Stopped):
                stopped = message
            else:
                records.append(message)
                todo = todo[1:]
        if stopped is None:
            break
        killer, seed = todo[0]
        records.append(_stopped(killer, seed, stopped.reason, stopped.sentence))
        stalls += stopped.reason == "time"
        todo = [item for item in todo[1:] if item[0] is not killer]  # it failed: its other seeds need no trial
        if stalls >= STALLS_ALLOWED:
            records += [_stopped(case, s, "time", "not run: the cases before it used up the time.") for case, s in todo]
            break
    return _evidence(exercise, answer, records + watched_cases(exercise, records, seeds))


def _load_needs(exercise: Exercise) -> None:
    """A slow import must not use up an answer's time."""
    for module in exercise.needs:
        with suppress(ImportError):
            importlib.import_module(module)


def run_cases(exercise: Exercise, answer: Callable, seeds: Sequence[int]) -> list[dict]:
    """The records of every case on every seed."""
    tried = [case for case in exercise.cases if case.probe]
    records = [run_case(exercise, case, answer, seed) for case in tried for seed in seeds]
    return records + watched_cases(exercise, records, seeds)


def run_case(exercise: Exercise, case: Case, answer: Callable, seed: int) -> dict:
    """One record. Whatever the answer raises becomes data, with the student's own line."""
    record, seen = {"case": case.name, "seed": seed}, Seen()
    _seed_everything(seed)
    try:
        with _ordinary_torch():
            data = case.probe(watched(answer, seen, exercise.trains), seed)
            record["seen"] = seen.as_data()
            record["sizes"] = data.get(SIZES, {})  # the judge takes them from the reference's record alone
            return record | {"data": {name: encode(value) for name, value in data.items() if name[0] != "_"}}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: an answer that calls exit() is wrong, not the end of the check
        if _is_out_of_memory(error):
            sentence = "it asked for more memory than an answer may use."
            return record | {"stopped": {"reason": "memory", "sentence": sentence}}
        return record | {"seen": seen.as_data(), "error": _describe(error, answer)}


def watched_cases(exercise: Exercise, records: list[dict], seeds: Sequence[int]) -> list[dict]:
    """The records of the cases without a probe, from what was seen while the others ran."""
    wanted = {ARGUMENTS_STAY.name: "changed", RESULTS_ARE_NEW.name: "shared"}
    names = [case.name for case in exercise.cases if not case.probe]
    by_seed = {seed: [record for record in records if record["seed"] == seed] for seed in seeds}
    return [_watched_case(name, wanted[name], by_seed[seed], seed) for name in names for seed in seeds]


def _watched_case(name: str, how: str, records: list[dict], seed: int) -> dict:
    found = {"case": name, "seed": seed}
    for record in records:
        if arguments := record.get("seen", {}).get(how):
            return found | {"spoiled": {"how": how, "arguments": arguments, "case": record["case"]}}
    if any(record.get("seen", {}).get("finished") for record in records):
        return found | {"data": {how: encode("")}}
    failed = next((r for r in records if "error" in r or "stopped" in r), {})
    return found | {kind: failed[kind] for kind in ("error", "stopped") if kind in failed}


@contextmanager
def _ordinary_torch() -> Iterator[None]:
    """torch as a probe expects it, whatever the notebook has set: float32, on the CPU, with gradients."""
    import torch

    dtype, device, grad = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    elsewhere = device.type != "cpu"
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    if elsewhere:
        torch.set_default_device(None)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if elsewhere:
            torch.set_default_device(device)


def answers_used(exercise: Exercise, answer: Callable) -> list[str]:
    """The chapter's other exercises that an answer calls by name, itself or through helpers defined beside it."""
    others = [e.name for e in exercises_of(exercise.topic) if e is not exercise]
    used, seen, todo = set(), set(), [answer]
    while todo:
        function = todo.pop()
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        todo.append(vars(function).get("__wrapped__"))
        for name in _names_in(function.__code__):
            thing = function.__globals__.get(name)
            if name in others and callable(thing):
                used.add(name)
            elif isinstance(thing, FunctionType) and thing.__globals__ is function.__globals__:
                todo.append(thing)
    return [name for name in others if name in used]


def _names_in(code: CodeType) -> set[str]:
    """The global names that a function's code loads, in functions inside it too."""
    loaded = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return loaded.union(*(_names_in(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _evidence(exercise: Exercise, answer: Callable, records: list[dict]) -> dict:
    uses = answers_used(exercise, answer)
    return {"version": VERSION, "exercise": exercise.name, "uses": uses, "records": records}


def _stopped(case: Case, seed: int, reason: str, sentence: str) -> dict:
    return {"case": case.name, "seed": seed, "stopped": {"reason": reason, "sentence": sentence}}


def _seed_everything(seed: int) -> None:
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would also note a stack trace for each device


def _is_out_of_memory(error: BaseException) -> bool:
    # torch raises a RuntimeError where memory ends.
    said = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "allocate memory" in said or "out of memory" in said


def _describe(error: BaseException, answer: Callable) -> dict:
    described = {"type": type(error).__name__, "message": str(error)[:500], "line": "", "number": 0}
    if isinstance(error, Unexpected):
        return described
    # torch raises NotImplementedError too; not answered yet is what the stub says.
    described["unanswered"] = isinstance(error, NotImplementedError) and str(error) == STUB
    file = _file_of(answer)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):  # the innermost line the student wrote
        if frame.filename == file:
            line = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
            return described | {"line": line[:200], "number": frame.lineno or 0}
    return described


def _file_of(answer: Callable) -> str | None:
    try:
        return inspect.unwrap(answer).__code__.co_filename
    except (AttributeError, ValueError):
        return None
