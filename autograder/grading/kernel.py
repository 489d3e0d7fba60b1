"""Runs inside the kernel, before a notebook's first cell: keeps what the checks stand on, and gives it back.

A notebook may do to its process what it likes: follow every line with `sys.settrace`, put something else in the place
of `random`, turn warnings into errors, close `sys.stdout`. None of that is an answer, so none of it may cost one. A
check cell calls `restore` first. This is fairness, not security: nothing that comes out of a kernel is believed.

What a cell did to torch's defaults (dtype, device, gradients) is undone case by case, in `autograder.evidence`.
"""

import itertools
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
        self.grader = _Grader()
        self.seen: tuple = ()  # how many modules there were when they were noted, and the last of them
        self.note_modules()

    def note_modules(self, *_) -> None:
        """Called after each cell: what that cell imported is kept as it found it."""
        if self.seen == _modules_now():
            return
        for name in [*sys.modules]:
            if name not in self.loaded and name.partition(".")[0] != "autograder":
                self.loaded[name] = sys.modules[name]
                if name in MODULES:
                    self.public[name] = {k: v for k, v in vars(sys.modules[name]).items() if k[0] != "_"}
        self.seen = _modules_now()

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
        return self.grader.is_whole()


def _modules_now() -> tuple[int, str]:
    return len(sys.modules), next(reversed(sys.modules))


class _Grader:
    """The objects that the grader's modules are made of: functions with their code, classes and objects with their members,
    tables with what they hold. To import it all anew for each check cell would take as long as most answers do.

    What is looked at for each check cell is looked at by C, not by Python, of which this is most of the time.
    """

    def __init__(self):
        self.modules = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == "autograder"}
        self.tables: list[tuple] = []  # each with its keys and its values
        self.lists: list[tuple] = []  # each with what is in it
        self.functions: list[FunctionType] = []
        self._known: set[int] = set()
        for module in self.modules.values():
            self._note_table(vars(module))
        self.parts = [[getter(function) for function in self.functions] for getter in _PARTS]

    def is_whole(self) -> bool:
        """Whether each is where it was, and nothing is there beside."""
        return (
            sum(name.partition(".")[0] == "autograder" for name in [*sys.modules]) == len(self.modules)
            and all(sys.modules.get(name) is module for name, module in self.modules.items())
            and all(_same_table(*kept) for kept in self.tables)
            and all(len(now) == len(then) and all(map(operator.is_, now, then)) for now, then in self.lists)
            and all(all(map(operator.is_, map(get, self.functions), then)) for get, then in zip(_PARTS, self.parts, strict=True))
        )

    def _note(self, value) -> None:
        if id(value) in self._known:
            return
        self._known.add(id(value))
        if isinstance(value, FunctionType):
            self.functions.append(value)
        elif type(value) is dict:
            self._note_table(value)
        elif type(value) in (list, tuple):
            self.lists.append((value, tuple(value)))
            for one in value:
                self._note(one)
        elif _is_the_graders(value):
            self._note_table(vars(value))

    def _note_table(self, table) -> None:
        self.tables.append((table, tuple(table), tuple(table.values())))
        for key, value in [*table.items()]:
            if str(key)[:2] != "__" or key == "__init__":
                self._note(value)


_PARTS = tuple(map(operator.attrgetter, ("__code__", "__defaults__", "__kwdefaults__")))


def _is_the_graders(value) -> bool:
    owner = value if isinstance(value, type) else type(value)
    return str(owner.__module__).startswith("autograder") and hasattr(value, "__dict__")


def _same_table(table, keys: tuple, values: tuple) -> bool:
    """Python itself adds to some, under names of its own."""
    there = all(map(operator.is_, table.values(), values)) and all(map(operator.is_, table, keys))
    return there and all(str(key)[:2] == "__" for key in itertools.islice(table, len(keys), None)) and len(table) >= len(keys)


def start() -> None:
    """What the kernel's start-up file calls. `sys` holds the function because check cells import this package anew."""
    from IPython import get_ipython

    shell, keeper = get_ipython(), Keeper()
    sys._course_restore = keeper.restore
    shell.events.register("post_run_cell", keeper.note_modules)
    shell.events.register("post_run_cell", keeper.mend_streams)
    # `exit()` would end the kernel a moment later, in a cell that did nothing wrong: here it does nothing.
    shell.ask_exit = lambda: None
