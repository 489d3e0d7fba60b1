"""Runs inside the kernel, before a notebook's first cell: keeps what the checks stand on, and gives it back.

A notebook may do to its process what it likes: follow every line with `sys.settrace`, put something else in the place
of `random`, turn warnings into errors, close `sys.stdout`. None of that is an answer, so none of it may cost one. A
check cell calls `restore` first. This is fairness, not security: nothing that comes out of a kernel is believed.

What a cell did to torch's defaults (dtype, device, gradients) is undone case by case, in `autograder.evidence`.
"""

import operator
import os
import signal
import sys
import threading
import warnings
from types import FunctionType, ModuleType

# Modules whose public names are put back. Others keep what a notebook gave them.
MODULES = (
    "builtins collections copy ctypes dis faulthandler functools importlib inspect itertools json linecache math "
    "numpy numpy.random operator os random re select signal string struct threading time torch torch.linalg torch.nn "
    "torch.nn.functional torch.testing traceback types typing"
).split()
_set_trace, _set_profile = sys.settrace, sys.setprofile


class Keeper:
    """The state of this process as it was before the notebook changed it: modules from when they were first there."""

    def __init__(self):
        self.public: dict[str, dict] = {}  # of the modules above, their public names
        self.loaded: dict[str, ModuleType] = {}
        self.streams, self.path, self.limit = (sys.stdout, sys.stderr), list(sys.path), sys.getrecursionlimit()
        self.folder, self.filters = os.getcwd(), list(warnings.filters)
        self.finders, self.hooks = list(sys.meta_path), list(sys.path_hooks)
        self.course = {name: value for name, value in os.environ.items() if name.startswith("COURSE_")}
        self.grader = _all_of_the_grader()
        self.note_modules()

    def note_modules(self, *_) -> None:
        """Called after each cell: what that cell imported is kept as it found it."""
        for name in [*sys.modules]:
            if name not in self.loaded and name.partition(".")[0] != "autograder":
                self.loaded[name] = sys.modules[name]
                if name in MODULES:
                    self.public[name] = {k: v for k, v in vars(sys.modules[name]).items() if k[0] != "_"}

    def mend_streams(self, *_) -> None:
        """Called after each cell: the kernel flushes both streams then, and answers nobody where one is None."""
        if not all(callable(getattr(stream, "flush", None)) for stream in (sys.stdout, sys.stderr)):
            sys.stdout, sys.stderr = self.streams

    def restore(self) -> bool:
        """Give it all back. Returns whether the grader's own modules are as they were; else they must be imported anew."""
        _set_trace(None)
        _set_profile(None)
        for name, values in self.public.items():
            vars(self.loaded[name]).update(values)
        for name, module in self.loaded.items():
            if name in MODULES or sys.modules.get(name) is None:
                sys.modules[name] = module
        sys.stdout, sys.stderr = self.streams
        sys.path[:] = [*self.path, *(entry for entry in sys.path if entry not in self.path)]
        sys.meta_path[:], sys.path_hooks[:] = self.finders, self.hooks
        sys.setrecursionlimit(self.limit)
        threading.settrace(None)
        threading.setprofile(None)
        warnings.filters[:] = self.filters
        if "numpy" in self.loaded:
            self.loaded["numpy"].seterr(all="warn", under="ignore")  # numpy's own defaults
        os.environ.update(self.course)
        try:
            os.getcwd()
        except OSError:  # it was deleted, and may be the one that the kernel began in
            os.makedirs(self.folder, exist_ok=True)
            os.chdir(self.folder)
        for timer in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"):
            if hasattr(signal, timer):
                signal.setitimer(getattr(signal, timer), 0)
        now = _all_of_the_grader()
        return len(now) == len(self.grader) and all(map(operator.is_, now, self.grader))


def _all_of_the_grader() -> list:
    """The objects that its modules are made of, in order: functions with their code, classes with their members, tables with
    what they hold. To import it all anew for each check cell would take as long as most answers do.
    """
    found: list = []
    for name in sorted(name for name in sys.modules if name.partition(".")[0] == "autograder"):
        found += [sys.modules[name]]
        for key, value in [*vars(sys.modules[name]).items()]:
            if key[:2] != "__":
                found += [key, value, *_parts(value)]
    return found


def _parts(value) -> list:
    if isinstance(value, FunctionType):
        return [value.__code__, value.__defaults__, value.__kwdefaults__]
    if isinstance(value, dict):
        return [part for key, one in [*value.items()] for part in (key, one, *_members(one))]
    if isinstance(value, (list, tuple)):
        return [part for one in [*value] for part in (one, *_members(one))]
    return _members(value)


def _members(value) -> list:
    """Of a class of the grader's its attributes, of an object of such a class too, and of such objects in its lists."""
    found = []
    for key, one in _attributes(value):
        found += [key, one, *([one.__code__] if isinstance(one, FunctionType) else ())]
        for inner in one if isinstance(one, list) else ():
            found += [inner, *(part for pair in _attributes(inner) for part in pair)]
    return found


def _attributes(value) -> list[tuple[str, object]]:
    owner = value if isinstance(value, type) else type(value)
    if not owner.__module__.startswith("autograder") or not hasattr(value, "__dict__"):
        return []
    return [(key, one) for key, one in [*vars(value).items()] if key[:2] != "__" or key == "__init__"]


def start() -> None:
    """What the kernel's start-up file calls. `sys` holds the function because check cells import this package anew."""
    from IPython import get_ipython

    shell, keeper = get_ipython(), Keeper()
    sys._course_restore = keeper.restore
    shell.events.register("post_run_cell", keeper.note_modules)
    shell.events.register("post_run_cell", keeper.mend_streams)
    # `exit()` would end the kernel a moment later, in a cell that did nothing wrong: here it does nothing.
    shell.ask_exit = lambda: None
