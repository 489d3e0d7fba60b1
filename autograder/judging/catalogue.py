"""How `solutions/NN_topic/mistakes*.py` and `alternatives*.py` are written.

A wrong solution that is one change in a right one is a row of a table:

    def gae(rewards, values, mask, gamma, lam):  # a second reference, written so that changes are easy to say
        ...

    changes("gae", gae, [
        ("minus_the_next_value", "The hint.", "+ gamma * v_next", "- gamma * v_next"),
    ])

One that is more than that is a function of its own, marked `@mistake("gae")`, whose docstring is the hint.
"""

import inspect
import linecache
import textwrap
from collections.abc import Callable, Sequence


def mistake(exercise: str) -> Callable:
    """Mark a function as a wrong solution of `exercise` that students write; its docstring is the hint they read."""
    return _mark("mistake_of", exercise)


def alternative(exercise: str) -> Callable:
    """Mark a function as a correct solution of `exercise` in another shape; its docstring says how it differs."""
    return _mark("alternative_of", exercise)


def changes(exercise: str, base: Callable, rows: Sequence[tuple[str, ...]]) -> None:
    """Put one mistake a row into the module of `base`, a right solution of `exercise`, which may call helpers beside it.

    A row is a name, the hint, and pairs of old and new text: the mistake is the source of `base` with each old text,
    which must stand in it exactly once, replaced by the new one, and the name for that of `base`. Raises ValueError for
    a row that cannot be applied, with what is wrong.
    """
    source = textwrap.dedent(inspect.getsource(base))
    namespace = base.__globals__
    base.base_of = exercise
    for name, hint, *texts in rows:
        if len(texts) < 2 or len(texts) % 2:
            raise ValueError(f"{name}: a row is a name, a hint, and pairs of old and new text")
        if name in namespace:
            raise ValueError(f"{name} is defined twice")
        changed = _replaced(source, name, dict(zip(texts[::2], texts[1::2], strict=True)))
        changed = changed.replace(f"def {base.__name__}(", f"def {name}(", 1)
        file = f"<{base.__module__}.{name}>"
        linecache.cache[file] = (len(changed), None, changed.splitlines(keepends=True), file)
        exec(compile(changed, file, "exec"), namespace)
        namespace[name].__doc__ = hint
        _mark("mistake_of", exercise)(namespace[name])


def _replaced(source: str, name: str, pairs: dict[str, str]) -> str:
    for old, new in pairs.items():
        found = source.count(old)
        if found != 1:
            raise ValueError(f"{name}: {old!r} stands {found} times in the second reference, not once:\n{source}")
        source = source.replace(old, new)
    return source


def _mark(attribute: str, exercise: str) -> Callable:
    def decorate(function: Callable) -> Callable:
        if not (function.__doc__ or "").strip():
            raise ValueError(f"{function.__name__} needs a docstring")
        setattr(function, attribute, exercise)
        return function

    return decorate
