"""The grader. A student needs five names from it: `check`, `predict` and `reveal`, `earlier`, and `progress`."""

from autograder import found_first

found_first.install()  # before anything else is imported, here or in the notebook

from autograder.check import CheckFailed, check  # noqa: E402
from autograder.earlier import earlier  # noqa: E402
from autograder.predict import predict, reveal  # noqa: E402
from autograder.progress import progress  # noqa: E402

__all__ = ["CheckFailed", "check", "earlier", "predict", "progress", "reveal"]
