"""Runs the attacks of `tests/attacks` in sandboxed kernels, and says what came of each: `python attack_runner.py FOLDER`.

FOLDER is made into a course's folder with things to steal. Each attack knows where they are (TARGETS): what it may not
reach must be out of reach for who knows all. Prints one JSON object: attack -> what its cells showed. It is a program of
its own so that the tests can run it as root and as an ordinary user.
"""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nbformat.v4 import new_code_cell, new_notebook

from autograder.grading import runner
from autograder.grading.provisioner import Server
from autograder.grading.runner import Limits, kernel_environment, run_notebook
from autograder.grading.sandbox.policy import course_policy

ATTACKS = Path(__file__).resolve().parent / "attacks"
ROOT = ATTACKS.parents[1]
SECRET, SEED = "hunter2-of-the-instructor", "918273645"
MARK = f"left-by-{os.getpid()}"[:15]  # as long as a process's name can be; others run attacks at the same time
MEMORY_MB, FILES_MB, PROCESSES = 600, 64, 64
CHECK = {"nbgrader": {"grade": True, "solution": False, "grade_id": "check", "points": 1}}
PRELUDE = """
TARGETS, SECRET, SEED, MARK = {targets!r}, {secret!r}, {seed!r}, {mark!r}

def found(what):
    print("REACHED", what)

def attempt(what, do):
    try:
        result = do()
    except (NameError, TypeError, AttributeError, LookupError) as error:
        print("WRONG", what, type(error).__name__, error)  # a slip in the attack must not look like a refusal
        return
    except BaseException:
        return
    if result is not None:
        found(what)
"""
# What the next student's kernel shows of the one before.
AFTER = """
import builtins, os, random, re, sys, torch
left = [m for m in (torch, builtins, sys) if hasattr(m, "left_behind")]
files = [f"{top}/{name}" for place in ("/tmp", "/dev/shm") for top, _, names in os.walk(place) for name in names]
files = [name for name in files if re.search(r"/(left_behind[^/]*|full[0-9]+)$", name)]  # a checkout may lie in /tmp
comms = [open(f"/proc/{p}/comm").read().strip() for p in os.listdir("/proc") if p.isdigit()]
print(left, files, torch.get_default_dtype(), "LEFT_BEHIND" in os.environ, [c for c in comms if c == "THE MARK"])
""".replace("THE MARK", MARK)
CLEAN = "[] [] torch.float32 False []\n"
# What must happen -> the sentence that has to be there; '' where nothing happened that needs one.
MUST = {
    "find nothing": "",
    "leave nothing behind": "",
    "be bounded by 64 MB": "",
    "be cut": "",
    "harm itself alone": "",
    "be stopped for memory": "used more than .* of memory",
    "be stopped for time": "did not finish within [0-9]+ seconds",
    "end its own process alone": "ended the Python process",
    "be stopped, or fail": "this cell ended the Python process|too many processes|of memory|did not finish|^$",
}


@dataclass(frozen=True)
class Attack:
    """An attack as its docstring says: what it does, its kind (a row of the table), what must happen, seconds it is given."""

    name: str
    source: str
    does: str
    kind: str
    must: str
    seconds: int


def attacks() -> dict[str, Attack]:
    """All of the folder, by name. Raises ValueError for one that does not say what it has to."""
    found = {}
    for path in sorted(ATTACKS.glob("*.py")):
        source = path.read_text()
        said = re.match(r'"""([A-Z].*[.?])\n\nkind: (\S.*)\nmust: (\S.*)\n(?:seconds: ([0-9]+)\n)?', source)
        if said is None or said.group(3) not in MUST:
            raise ValueError(f"{path} has to begin with a sentence, `kind:` and `must:`, which is one of {[*MUST]}.")
        found[path.stem] = Attack(path.stem, source, *said.groups()[:3], seconds=int(said.group(4) or 60))
    return found


def make_targets(folder: Path) -> dict:
    """Things to steal, to change and to kill, all of which this user may read and write."""
    folder.mkdir(parents=True, exist_ok=True)
    neighbour = folder / "classroom" / "submitted" / "neighbour"
    neighbour.mkdir(parents=True)
    for path in (neighbour / "answer.ipynb", folder / "classroom" / "gradebook.db", folder / "home.txt", folder / "key"):
        path.write_text(f"not for students {SECRET}")
    (folder / "solutions").mkdir()
    (folder / "solutions" / "mistakes.py").write_text("answer = 42")
    port = socket.create_server(("127.0.0.1", 0))
    abstract, named = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    name = f"grader-{os.getpid()}"
    abstract.bind("\0" + name)
    named.bind(str(folder / "s"))
    for one in (abstract, named):
        one.listen(1)
    make_targets.kept = (port, abstract, named)
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3000)"])
    make_targets.bystander = bystander
    return {
        "checkout": str(ROOT),
        "solutions": str(folder / "solutions"),
        "classroom": str(folder / "classroom"),
        "gradebook": str(folder / "classroom" / "gradebook.db"),
        "neighbour": str(neighbour),
        "home_file": str(folder / "home.txt"),
        "private_file": str(folder / "key"),
        "shadow": "/etc/shadow",
        "port": port.getsockname()[1],
        "abstract": name,
        "socket": str(folder / "s"),
        "grader": os.getpid(),
        "bystander": bystander.pid,
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
    }


def states_of(folder: Path) -> dict[str, str]:
    """What an attack could have changed: every file of the folder, and the course's code."""
    seen = {str(path): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
    code = [path for path in sorted((ROOT / "autograder").rglob("*")) if "__pycache__" not in str(path)]
    # A folder is there or not: its time changes whenever another test is the first to import something from it.
    return seen | {str(path): str(path.stat().st_mtime_ns) if path.is_file() else "a folder" for path in code}


def named(mark: str) -> list[int]:
    """The processes of this machine that call themselves so."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{process}/comm").read_text().strip() == mark:
                found.append(int(process))
        except OSError:
            pass
    return found


def run(server: Server, prelude: str, attack: str, seconds: int = 60) -> list:
    """What an attack's cell and two behind it showed, and how many characters of it all were kept."""
    cells = [new_code_cell(prelude), new_code_cell(attack), new_code_cell("print('alive')")]
    check = f"print(__import__('os').environ['COURSE_GRADING_SEEDS'] == {SEED!r})"
    notebook = new_notebook(cells=[*cells, new_code_cell(check, metadata=CHECK)])
    limits = Limits(cell_seconds=seconds, check_seconds=8, memory_mb=MEMORY_MB, restarts=1)
    run_notebook(notebook, kernel_environment(), limits, logging.getLogger(), {"check": (int(SEED),)}, server)
    kept = sum(len(str(cell.outputs)) for cell in notebook.cells)
    return [*(_shown(cell.outputs) for cell in notebook.cells[1:]), kept]


def _shown(outputs: list) -> str:
    texts = [f"{o.ename}: {o.evalue}\n" if o.output_type == "error" else o.get("text", str(o.get("data", ""))) for o in outputs]
    whole = "".join(texts)
    return whole if len(whole) < 5000 else f"{whole[:2000]} ({len(whole)} characters)"


def run_all(folder: Path, only: list[str]) -> dict:
    """Attack -> what came of it: `shown` by its cell and the two behind, how many characters were `kept`, what was `changed`
    or `left`, what the `next` kernel shows, whether the `bystander` lives.
    """
    os.environ["HF_TOKEN"] = os.environ["INSTRUCTORS_PASSWORD"] = SECRET
    runner.INTERRUPT_SECONDS = 3  # the loops that hear no interrupt are many here
    targets, outcome = make_targets(folder), {}
    before = states_of(folder)
    policy = course_policy(held_back=(str(folder),), memory_mb=MEMORY_MB, files_mb=FILES_MB, processes=PROCESSES)
    server = Server(policy, kernel_environment())
    server.try_out()
    prelude = PRELUDE.format(targets=targets, secret=SECRET, seed=SEED, mark=MARK)
    try:
        for name, attack in attacks().items():
            if only and name not in only:
                continue
            started = time.monotonic()
            *shown, kept = run(server, prelude, attack.source, attack.seconds)
            after = states_of(folder)
            outcome[name] = {
                "shown": shown,
                "kept": kept,
                "changed": [name for name in before | after if before.get(name) != after.get(name)],
                "left": named(MARK),
                "next": run(server, "", AFTER)[0],
                "bystander": make_targets.bystander.poll() is None,
            }
            print(name, round(time.monotonic() - started, 1), "s", file=sys.stderr, flush=True)
    finally:
        server.stop()
        make_targets.bystander.send_signal(signal.SIGKILL)
        make_targets.bystander.wait()
    return {"user": os.geteuid(), "attacks": outcome}


if __name__ == "__main__":
    print(json.dumps(run_all(Path(sys.argv[1]), sys.argv[2:])))
