"""Runs inside the kernel, before a notebook's first cell: keeps what the checks stand on, and gives it back.

A notebook may do to its process what it likes: follow every line with `sys.settrace`, put something else in the place
of `random`, turn warnings into errors, close `sys.stdout`. None of that is an answer, so none of it may cost one. A
check cell calls `restore` first. This is fairness, not security: nothing that comes out of a kernel is believed.

What a cell did to torch's defaults (dtype, device, gradients) is undone case by case, in `autograder.evidence`.
"""

import builtins
import contextlib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable

# Modules whose public names are put back. Others keep what a notebook gave them.
MODULES = (
    "builtins collections copy ctypes dis faulthandler functools importlib inspect itertools json linecache math "
    "numpy numpy.random operator os random re select signal string struct threading time torch torch.linalg torch.nn "
    "torch.nn.functional torch.testing traceback types typing"
).split()


def keep() -> Callable[[], None]:
    """Note the state of this process. The function returned restores it, as often as it is called."""
    modules = {name: importlib.import_module(name) for name in MODULES}
    public = {name: {k: v for k, v in vars(m).items() if k[0] != "_"} for name, m in modules.items()}
    public["builtins"] = {k: v for k, v in vars(builtins).items() if k != "_"}  # `_` is the last cell's value
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] != "autograder"}
    numpy = modules["numpy"]
    streams, path, limit, folder = (sys.stdout, sys.stderr), list(sys.path), sys.getrecursionlimit(), os.getcwd()
    filters, errors = list(warnings.filters), numpy.geterr()
    course = {name: value for name, value in os.environ.items() if name.startswith("COURSE_")}
    set_trace, set_profile, set_limit = sys.settrace, sys.setprofile, sys.setrecursionlimit
    silence = contextlib.suppress

    def restore() -> None:
        set_trace(None)
        set_profile(None)
        for name, values in public.items():
            vars(modules[name]).update(values)
        for name, module in loaded.items():
            if sys.modules.get(name) is None or name in modules:
                sys.modules[name] = module
        sys.stdout, sys.stderr = streams
        sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
        set_limit(limit)
        threading.settrace(None)
        threading.setprofile(None)
        warnings.filters[:] = filters
        numpy.seterr(**errors)
        os.environ.update(course)
        with silence(OSError):
            os.chdir(folder)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    return restore


def ignore_exit() -> None:
    """`exit()` and `quit()` end the kernel a moment later, in a cell that did nothing wrong: here they do nothing."""
    from IPython import get_ipython

    get_ipython().ask_exit = lambda: None


def start() -> None:
    """What the kernel's start-up file calls. `sys` holds the function because check cells import this package anew."""
    sys._course_restore = keep()
    ignore_exit()
