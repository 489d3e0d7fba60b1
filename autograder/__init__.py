"""The grader. A student needs two names from it: `check` and `progress`."""

from autograder.check import CheckFailed, check
from autograder.progress import progress

__all__ = ["CheckFailed", "check", "progress"]
