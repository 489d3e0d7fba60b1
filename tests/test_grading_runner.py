"""One notebook in one kernel: what a cell may do to itself and not to the rest."""

import logging

import nbformat
import pytest
import torch  # noqa: F401 - before a child process is forked, as in a kernel
from jupyter_client.kernelspec import NoSuchKernel
from nbformat.v4 import new_code_cell, new_notebook

from autograder.evidence import collect
from autograder.exercise import find_exercise
from autograder.grading import runner
from autograder.grading.kernel import Keeper
from autograder.grading.runner import Limits, kernel_environment, run_notebook
from autograder.limits import Limits as CaseLimits
from autograder.limits import stream

LOG = logging.getLogger(__name__)
CHECK = {"nbgrader": {"grade": True, "solution": False, "grade_id": "check", "points": 1}}
SEND = (
    "k = get_ipython().kernel\n"
    "send = lambda kind, content: k.session.send(k.iopub_socket, kind, content, parent=k.get_parent()) and None\n"
)


def run(*cells, **limits):
    """Run sources, or (source, metadata), and return what each cell showed, as one text a cell."""
    notebook = new_notebook(
        cells=[new_code_cell(c) if isinstance(c, str) else new_code_cell(c[0], metadata=c[1]) for c in cells]
    )
    chosen = {"cell_seconds": 3, "check_seconds": 3, "memory_mb": 1500} | limits
    run_notebook(notebook, kernel_environment(), Limits(**chosen), LOG, {"check": (7, 8)})
    return [" | ".join(map(_shown, cell.outputs)) for cell in notebook.cells]


def _shown(output) -> str:
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return output.text if output.output_type == "stream" else str(output.data)


def test_cells_that_kill_hang_and_hoard_cost_only_themselves(monkeypatch):
    monkeypatch.setattr(runner, "INTERRUPT_SECONDS", 2)
    shown = run(
        "a = [1]; print('once')",
        ("a.append('from a check cell')", CHECK),
        "import os; os._exit(1)",
        "a.append(2); print(a)",
        "while True: pass",
        "print(a)",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        "hoard = []\nwhile True: hoard.append(bytearray(10**9))",
        "print(a, 'at the end')",
        cell_seconds=8,  # where the machine is busy, three pass before an allocation fails
    )
    assert shown[0] == "once\n"
    assert "ended the Python process" in shown[2]
    assert shown[3] == "[1, 2]\n", "the cells before were run again, without the check cell"
    assert "endless loop" in shown[4]
    assert shown[5] == "[1, 2]\n"
    assert "could not be interrupted" in shown[6]
    assert "MemoryError" in shown[7]
    assert shown[8] == "[1, 2] at the end\n"


def test_kernels_that_die_too_often_are_not_started_again():
    shown = run("import os; os._exit(1)", "import os; os._exit(1)", "print('never')", restarts=1)
    assert "ended the Python process" in shown[1]
    assert "not run" in shown[2]


def test_after_the_notebooks_time_no_cell_is_begun():
    shown = run("print('never')", notebook_seconds=0)
    assert "used up the time" in shown[0]


def test_what_the_kernel_sees_and_what_it_says(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("SOMETHING_ELSE", "private")
    monkeypatch.setenv("COURSE_CASE_SECONDS", "5")
    shown = run(
        "import os; e = os.environ\nprint('HF_TOKEN' in e, 'SOMETHING_ELSE' in e, e['COURSE_CASE_SECONDS'])",
        "print(os.environ.get('COURSE_GRADING_SEEDS'), os.environ['OMP_NUM_THREADS'], os.listdir('.'))",
        ("raise SystemExit('a demonstration')", {"tags": ["demo"]}),
        "print('half a pair: \\ud83d')",
        "from IPython.display import display, clear_output\nh = display('old', display_id=True); h.update('new')",
        "print('before'); clear_output(); print('after')",
        "print('before'); clear_output(wait=True); print('after')",
        SEND + "send('stream', {'name': 'evil', 'text': 'text'})",
        "send('execute_result', {'execution_count': '<b>', 'data': {'text/plain': '5'}, 'metadata': {'x': 1}})",
        "send('display_data', {'data': 5}); send('error', {}); send('status', {}); send('nonsense', {'transient': 5})",
        "send('update_display_data', {'transient': {'display_id': []}, 'data': {}})",
        "for i in range(10**5): print('x' * 100)",
        "print('end')",
    )
    assert shown[0] == "False False 5\n"
    assert shown[1] == "None 1 ['.ipython']\n"
    assert "not run in grading" in shown[2]
    assert shown[4] == "{'text/plain': \"'new'\"}"
    assert shown[5] == "after\n"
    assert shown[6] == "after\n"
    assert shown[7] == "text"
    assert shown[8] == "{'text/plain': '5'}"
    assert shown[9:11] == ["", ""]
    assert shown[11].count("x") == 10**7
    assert shown[12] == "end\n"


def test_output_is_bounded(monkeypatch):
    monkeypatch.setattr(runner, "MAX_OUTPUT", 10_000)
    shown = run("for i in range(10**4): print('x' * 100, flush=True)", "print('end')")
    assert len(shown[0]) <= 10_000
    assert shown[1] == "end\n"


def test_what_a_notebook_did_to_check_is_undone_before_a_check_cell():
    shown = run(
        "import autograder.check, autograder\nfrom autograder import check",
        "def cheat(*_): print('cheated')\ncheck = autograder.check = autograder.check.check = cheat",
        "check('mean_loss', 0)",
        ("print(check.__module__)", CHECK),
    )
    assert shown[2:] == ["cheated\n", "autograder.check\n"]


WHERE = """
import os
from autograder import check
kernel = os.getpid()
where = lambda: 1 / 0 if os.getpid() == kernel else int("apart")
"""


@pytest.mark.parametrize(
    "trouble, says",
    [
        ("while True: pass", "did not finish within 1 seconds"),
        ("import signal; signal.setitimer(signal.ITIMER_REAL, 0)\n    while True: pass", "did not finish within 1 seconds"),
        ("os._exit(3)", "ended the Python process (exit code 3)"),
        ("os.abort()", "crashed the Python process (SIGABRT)"),
    ],
)
def test_a_check_cells_cases_run_in_the_kernel_until_one_ends_it_and_apart_from_then_on(monkeypatch, trouble, says):
    monkeypatch.setenv("COURSE_CASE_SECONDS", "1")
    monkeypatch.setattr(runner, "INTERRUPT_SECONDS", 1)
    shown = run(
        WHERE,
        ("check('mean_loss', lambda losses: where())", CHECK),
        f"def mean_loss(losses):\n    {trouble}",
        ("check('mean_loss', mean_loss)", CHECK),
        ("check('mean_loss', lambda losses: where())", CHECK),
        "print('at the end')",
        check_seconds=60,
    )
    assert "ZeroDivisionError" in shown[1] and "apart" not in shown[1]
    assert says in shown[3] and "Stopped" not in shown[3]
    assert "ZeroDivisionError" not in shown[4] and "apart" in shown[4]
    assert shown[5] == "at the end\n"


def test_of_demonstrations_what_is_used_is_run_also_after_a_kernel_died():
    demo = {"tags": ["demo"]}
    shown = run(
        ("import math\nfrom statistics import mean\nPAD = 3\nprint('long')\nlate = [print(i) for i in range(9)]", demo),
        ("UNUSED = 1\nprint('long')", demo),
        "def answer(): return math.floor(2.5) + PAD\nprint(answer())",
        "import os; os._exit(1)",
        "print(answer(), 'me' + 'an' in globals(), 'UN' + 'USED' in globals())",
    )
    assert "only defined what your cells use: math, PAD)" in shown[0]
    assert "it is not run in grading" in shown[1]
    assert shown[2] == "5\n"
    assert shown[4] == "5 False False\n"


# What a notebook may do to its process, and an answer is right all the same.
BREAKAGES = [
    "import sys\ndef t(frame, *_): assert frame.f_code.co_name != 'mean_loss'\nsys.settrace(t)",
    "import sys\ndef t(frame, *_): assert frame.f_code.co_name != 'mean_loss'\nsys.setprofile(t)",
    "import random\nfor name in [n for n in vars(random) if n[0] != '_']: delattr(random, name)",
    "import sys, types\nsys.modules['random'] = sys.modules['numpy'] = types.ModuleType('mine')",
    "import sys\nfor name in [m for m in sys.modules if m.partition('.')[0] in ('torch', 'numpy')]: del sys.modules[name]",
    "import torch\ntorch.as_tensor = torch.equal = torch.is_tensor = torch.Tensor = torch.default_generator = None",
    "import builtins\nbuiltins.len = builtins.sorted = builtins.isinstance = lambda *_: 1 / 0",
    "import json, os\njson.dumps = os.fork = None",
    "import warnings, torch\nwarnings.simplefilter('error')\nclean = torch.Tensor.mean",
    "import sys\nsys.setrecursionlimit(150)",
    "import os, tempfile\nos.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())",
]
RIGHT = """
def mean_loss(losses):
    import os, random, warnings
    warnings.warn("what a library might say")
    deep = lambda n: n and deep(n - 1)
    random.random(), os.getcwd(), deep(200)
    return losses.mean()
"""


def evidence_after(breakage: str) -> dict:
    """What a right answer gives in a child process that was broken and restored."""

    def broken_and_restored():
        namespace: dict = {}
        exec(RIGHT, namespace)
        keeper = Keeper()
        exec(breakage, {})
        keeper.restore()
        yield collect(find_exercise("mean_loss"), namespace["mean_loss"], [7])

    (message,) = stream(broken_and_restored, CaseLimits())
    return message


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_a_notebook_does_to_its_process_costs_no_answer(breakage):
    evidence = evidence_after(breakage)
    assert evidence == evidence_after("")
    assert all("data" in record for record in evidence["records"])


def test_a_check_cell_gives_its_process_back_what_the_notebook_took():
    """In a kernel: what was imported after its start is kept too, and check cells find it as it was."""
    shown = run(
        "import fractions, random, statistics, sys\nimport numpy",
        "del random.random\nsys.modules['numpy'] = sys.modules['statistics'] = None\nsys.settrace(lambda *_: None)\n"
        "import os, signal\nos.environ.clear(); signal.setitimer(signal.ITIMER_REAL, 600)",
        (
            "import numpy.random, statistics\nprint(random.random() < 1, sys.gettrace(), os.environ['COURSE_GRADING_SEEDS'])\n"
            "print(signal.getitimer(signal.ITIMER_REAL))",
            CHECK,
        ),
    )
    assert shown[2] == "True None 7,8\n(0.0, 0.0)\n"


def test_exit_costs_no_later_cell():
    shown = run(
        "a = 1",
        "exit()",
        "import time; time.sleep(1.5); print(a)",
        "quit",
        "%exit",
        "import time; time.sleep(1.5); print(a)",
    )
    assert shown[2] == shown[5] == "1\n"


def test_a_negative_execution_count_is_not_written_down():
    send = SEND + "send('execute_input', {'code': '', 'execution_count': -5})"
    notebook = new_notebook(cells=[new_code_cell(send), new_code_cell("1")])
    run_notebook(notebook, kernel_environment(), Limits(), LOG)
    nbformat.validate(notebook)
    assert all(cell.execution_count >= 0 for cell in notebook.cells)


def test_a_kernel_that_cannot_be_started_is_no_fault_of_the_notebook():
    kernel = {"name": "no-such-kernel", "display_name": "None"}
    notebook = new_notebook(cells=[new_code_cell("1")], metadata={"kernelspec": kernel})
    with pytest.raises(NoSuchKernel):
        run_notebook(notebook, kernel_environment(), Limits(), LOG)
