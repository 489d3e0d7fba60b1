"""The grader. A student needs two names from it: `check` and `progress`."""

from autograder import found_first

found_first.install()  # before anything else is imported, here or in the notebook

from autograder.check import CheckFailed, check  # noqa: E402
from autograder.progress import progress  # noqa: E402

__all__ = ["CheckFailed", "check", "progress"]
