"""`course` and `data` are found where this package lies, whatever lies beside a student's notebook.

Python looks beside the notebook first, so a student's own `data.py` would take the place of ours there, and a chapter
would end in an error about a name that nobody misspelt. Names that nobody uses would do as well, but `from course import
data` is what a reader should read.
"""

import sys
import warnings
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
OURS = ("course", "data")


class FoundFirst(MetaPathFinder):
    """Finds the packages of the course beside this one, before any other finder is asked."""

    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, [str(HERE)], target) if path is None and name in OURS else None


def install() -> None:
    """Put the finder first, once, and put aside what was imported under one of our names, with a warning."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != FoundFirst.__name__]
    sys.meta_path.insert(0, FoundFirst())
    for name in OURS:
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in sys.modules and (file is None or not Path(file).resolve().is_relative_to(HERE / name)):
            for loaded in [m for m in sys.modules if m.partition(".")[0] == name]:
                del sys.modules[loaded]
            warnings.warn(
                f"Your own `{name}` ({file or 'a module without a file'}) has the name of a package of this course. From "
                f"here on, `import {name}` finds the course's. Give your file another name, then restart the kernel.",
                stacklevel=2,
            )
