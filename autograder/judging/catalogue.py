"""Decorators for `solutions/NN_topic/mistakes.py` and `alternatives.py`."""

from collections.abc import Callable


def mistake(exercise: str) -> Callable:
    """Mark a function as a wrong solution of `exercise` that students write; its docstring is the hint they read."""
    return _mark("mistake_of", exercise)


def alternative(exercise: str) -> Callable:
    """Mark a function as a correct solution of `exercise` in another shape; its docstring says how it differs."""
    return _mark("alternative_of", exercise)


def _mark(attribute: str, exercise: str) -> Callable:
    def decorate(function: Callable) -> Callable:
        if not (function.__doc__ or "").strip():
            raise ValueError(f"{function.__name__} needs a docstring")
        setattr(function, attribute, exercise)
        return function

    return decorate
