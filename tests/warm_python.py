"""Python programs in forks of one process that has imported what they import: most of a program's time is importing torch.

    run([sys.executable, "-m", "nbgrader", ...], cwd=..., env=..., stdout=...)     as `subprocess.run`
    start(...)                                                                     as `subprocess.Popen`

A program finds its arguments, environment, folder and files as a new Python would, but modules are there already. The warm
process of the kernels, which a grader starts, is such a fork too. What has to be seen of a new Python (the README's
commands, the formgrader, what the sandbox hides) is tested with one.

    python warm_python.py FOLDER      the warm process, which listens in FOLDER until its standard input closes
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DEVNULL, PIPE, STDOUT, TimeoutExpired = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT, subprocess.TimeoutExpired
ROOT = Path(__file__).resolve().parent.parent
WARM = (
    "nbgrader.apps.nbgraderapp nbgrader.apps.autogradeapp nbgrader.apps.generateassignmentapp nbgrader.apps.generatefeedbackapp "
    "nbgrader.apps.exportapp nbgrader.converters nbgrader.exchange.default nbconvert.exporters sqlalchemy.dialects.sqlite "
    "autograder.grading.converter autograder.grading.export autograder.grading.harmless "
    "autograder.judging.reference"
).split()


class Program:
    """A program in a fork, with the part of `subprocess.Popen` that is needed. It ends where this object's owner does."""

    stdin = stdout = stderr = None

    def __init__(self, address: str, command: list[str], env, cwd, files: dict[int, int]):
        """files: number in the program -> number here."""
        self.args, self.returncode = command, None
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.line.connect(address)
        asked = {"arguments": command[1:], "env": dict(env), "cwd": str(cwd), "files": list(files)}
        socket.send_fds(self.line, [json.dumps(asked).encode()], list(files.values()))
        self.pid = json.loads(self.line.recv(100))

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one."""
        if self.returncode is None:
            if not select.select([self.line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = json.loads(self.line.recv(100) or b"-9")
            self.line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, where it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def run(command, cwd, env, stdout, stderr=STDOUT, text=False, timeout=None) -> subprocess.CompletedProcess:
    """As `subprocess.run`, for a Python that runs this checkout's code. stdout: an open file, or PIPE; stderr goes there too."""
    assert stderr == STDOUT
    if not _can_be_warm(command, env):
        return subprocess.run(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr, text=text, timeout=timeout)
    with tempfile.TemporaryFile() if stdout == PIPE else contextlib.nullcontext(stdout) as out:
        program = Program(_warm_process(), command, env, cwd, {1: out.fileno()})
        try:
            code = program.wait(timeout)
        finally:
            program.kill()
        if stdout != PIPE:
            return subprocess.CompletedProcess(command, code)
        out.seek(0)
        said = out.read()
    return subprocess.CompletedProcess(command, code, said.decode() if text else said)


def start(command, cwd, env, stdout) -> "Program | subprocess.Popen":
    """The same without waiting. It ends with this process at the latest. stdout: an open file; stderr goes there too."""
    if not _can_be_warm(command, env):
        return subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=STDOUT)
    return Program(_warm_process(), command, env, cwd, {1: stdout.fileno()})


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """For as long as this block takes, the kernels that `jupyter_client` starts are forks too."""
    from jupyter_client import launcher

    new = launcher.Popen

    def start(command, env, cwd, **rest):
        if not _can_be_warm(command, env):
            return new(command, env=env, cwd=cwd, **rest)
        env = {name: value for name, value in env.items() if name != "JPY_PARENT_PID"}  # its parent is another
        with open(os.devnull, "w") as nothing:
            program = Program(_warm_process(), command, env, cwd, {1: nothing.fileno()})
            program.stdin = nothing  # its user closes it
        return program

    launcher.Popen = start
    try:
        yield
    finally:
        launcher.Popen = new


def _can_be_warm(command, env) -> bool:
    """Whether a command is a Python that runs this checkout's code. Elsewhere than on Linux a fork is not to be trusted."""
    first = Path(env.get("PYTHONPATH", "").split(os.pathsep)[0] or "/")
    return sys.platform.startswith("linux") and command[0] == sys.executable and first.resolve() == ROOT


@cache
def _warm_process() -> str:
    """Start it, once. Its address."""
    folder = tempfile.mkdtemp(prefix="warm-")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, __file__, folder],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,  # it closes when this process ends, however it does
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    atexit.register(process.communicate)  # wait for it
    assert process.stdout.readline() == b"ready\n"
    return f"{folder}/s"


# --- The warm process


def main(folder: str) -> None:
    """Serve until nobody holds the standard input; a fork leaves this function to become a program."""
    from autograder.exercise import load_exercises
    from autograder.grading.forkserver import WARM as KERNELS

    for module in (*WARM, *KERNELS):
        importlib.import_module(module)

    load_exercises()
    gc.collect()
    gc.freeze()
    address = f"{folder}/s"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen(16)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([0, listening], [], [])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            os.unlink(address)
            os.rmdir(folder)
            return
        line, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            if asked := _keep(line):
                _become(address, *asked)
            os._exit(0)
        line.close()


def _keep(line: socket.socket):
    """Fork the program and tell how it ends. Returns what was asked, in the program; () in its keeper."""
    message, ancillary, _, _ = line.recvmsg(2**20, socket.CMSG_SPACE(64))
    files = [number for _, _, data in ancillary for number in array.array("i", data)]
    ready, tell = os.pipe()
    program = os.fork()
    if program == 0:
        line.close()
        os.setsid()  # before anybody knows its number: who does may signal its group
        os.close(tell)
        os.close(ready)
        return json.loads(message), files
    for number in (*files, tell):
        os.close(number)
    os.read(ready, 1)
    line.send(json.dumps(program).encode())
    if line in select.select([line, os.pidfd_open(program)], [], [])[0]:  # whoever asked has gone
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, signal.SIGKILL)
    _, status = os.waitpid(program, 0)
    with contextlib.suppress(OSError):  # nobody listens any more
        line.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    return ()


def _become(address: str, asked: dict, files: list[int]) -> None:
    """Run the program as a new Python would, and end as it ends."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    held = [os.dup2(number, 500 + place) for place, number in enumerate(files)]
    os.closerange(3, 500)
    for number, file in zip(asked["files"], held, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.dup2(1, 2)
    own = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    tempfile.tempdir = None
    arguments = asked["arguments"]
    first = os.getcwd() if arguments[0] == "-m" else os.path.dirname(os.path.abspath(arguments[0]))
    theirs = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [first, *theirs, *(path for path in sys.path[1:] if path not in own)]
    importlib.invalidate_caches()
    _warm_kernels_from(address)
    code = 1
    try:
        if arguments[0] == "-m":
            sys.argv = [arguments[1], *arguments[2:]]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without taking a thousand modules apart


def _warm_kernels_from(address: str) -> None:
    """Let what a grader starts as the warm process of its kernels be a fork of this one too."""
    from autograder.grading import provisioner

    class Subprocess:
        DEVNULL, TimeoutExpired = DEVNULL, TimeoutExpired

        @staticmethod
        def Popen(command, env, pass_fds, cwd, **_):
            return Program(address, command, env, cwd, {number: number for number in pass_fds} | {1: 1})

    provisioner.subprocess = Subprocess


if __name__ == "__main__":
    main(sys.argv[1])
