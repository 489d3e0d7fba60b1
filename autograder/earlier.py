"""`earlier`: what a reader wrote in a former chapter is called again instead of being written again.

    leave_one_out = earlier("leave_one_out_advantages", methods.leave_one_out_advantages)

An answer that passes its check in a notebook is kept as a file, `answers/NAME.py` beside the progress file, with the
imports and helpers that it needs. Nothing is graded from it.
"""

import inspect
import types
from collections.abc import Callable
from pathlib import Path

from autograder.evidence import in_grading
from autograder.exercise import find_exercise
from autograder.progress import folder

PLAIN = (bool, int, float, str, type(None))  # values that can be written down as they are


def earlier(name: str, otherwise: Callable) -> Callable:
    """The reader's own answer to the exercise `name`, where one has passed on this machine; else `otherwise`. Says which.

    In grading it is always `otherwise`: a later chapter's grade does not rest on an earlier chapter's answer.
    """
    chapter = find_exercise(name).topic
    if in_grading():
        return otherwise
    answer = load_answer(name)
    if answer is None:
        print(f"{name}: the course's own. Yours is used here once it has passed its check in {chapter}.")
        return otherwise
    print(f"{name}: yours, from {chapter}.")
    return answer


def load_answer(name: str) -> Callable | None:
    """The kept answer; None where there is none, or where it can no longer be loaded."""
    path = _path(name)
    try:
        namespace: dict = {"__name__": f"answers.{name}"}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
        answer = namespace.get(name)
        return answer if callable(answer) else None
    except Exception:  # the file is the reader's: whatever is wrong with it, the course's own does the work
        return None


def keep_answer(name: str, answer: Callable) -> None:
    """Keep an answer that passed, where it was written in a notebook and everything it names can be written down."""
    path = _path(name)
    if path is None or getattr(answer, "__module__", "") != "__main__":
        return
    try:
        text = as_module(name, answer)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except Exception:  # it is a convenience: the check itself has passed, and that is what counts
        pass


def as_module(name: str, answer: Callable) -> str:
    """The text of a module that defines the answer: imports, the helpers it calls, and itself. Annotations stay text.

    Raises ValueError for an answer that names something that cannot be written down, such as a tensor.
    """
    imports, pieces = [], []
    _gather(answer, imports, pieces, seen=set())
    text = "\n".join(["from __future__ import annotations", "", *dict.fromkeys(imports), "", *pieces])
    if answer.__name__ != name:
        text += f"\n{name} = {answer.__name__}\n"
    return text


def _gather(function: Callable, imports: list[str], pieces: list[str], seen: set[str]) -> None:
    """Add what `function` needs, and then its own source."""
    seen.add(function.__name__)
    for name in sorted(_names_of(function.__code__) & function.__globals__.keys()):
        value = function.__globals__[name]
        if name in seen:
            continue
        seen.add(name)
        if isinstance(value, types.ModuleType):
            imports.append(f"import {value.__name__} as {name}")
        elif isinstance(value, types.FunctionType) and value.__module__ == "__main__":
            _gather(value, imports, pieces, seen)
        elif isinstance(value, PLAIN):
            pieces.append(f"{name} = {value!r}")
        elif getattr(value, "__module__", "__main__") != "__main__":
            imports.append(f"from {value.__module__} import {value.__qualname__} as {name}")
        else:
            raise ValueError(f"{name} cannot be written down")
    pieces.append(f"{inspect.getsource(function)}\n")


def _names_of(code: types.CodeType) -> set[str]:
    """All global names that a function's code may look up, those of functions inside it too."""
    inner = [_names_of(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _path(name: str) -> Path | None:
    place = folder()
    return place and place / "answers" / f"{name}.py"
