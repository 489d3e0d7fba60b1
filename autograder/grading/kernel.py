"""Runs inside the kernel, before a notebook's first cell: keeps what the checks stand on, and gives it back.

A notebook may do to its process what it likes: follow every line with `sys.settrace`, put something else in the place
of `random`, turn warnings into errors, close `sys.stdout`. None of that is an answer, so none of it may cost one. A
check cell calls `restore` first. This is fairness, not security: nothing that comes out of a kernel is believed.

What a cell did to torch's defaults (dtype, device, gradients) is undone case by case, in `autograder.evidence`.
"""

import os
import signal
import sys
import threading
import warnings
from types import ModuleType

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

    def restore(self) -> None:
        """Give it all back."""
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


def start() -> None:
    """What the kernel's start-up file calls. `sys` holds the function because check cells import this package anew."""
    from IPython import get_ipython

    shell, keeper = get_ipython(), Keeper()
    sys._course_restore = keeper.restore
    shell.events.register("post_run_cell", keeper.note_modules)
    shell.events.register("post_run_cell", keeper.mend_streams)
    # `exit()` would end the kernel a moment later, in a cell that did nothing wrong: here it does nothing.
    shell.ask_exit = lambda: None
