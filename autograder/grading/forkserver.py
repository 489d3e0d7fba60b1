"""One warm process, whose forks are the kernels: each enters its sandbox before it reads a line of a student's.

    python -m autograder.grading.forkserver CHANNEL POLICY      started by `provisioner.Server`

Most of a kernel's start is importing torch and transformers, the same for each student. Here it is done once. A request
comes as one message over CHANNEL, a socket that this process inherited and nothing else can reach, and brings the end of a
connection. What the kernel may do is POLICY, which was given when this process started: a request cannot say it.

Over its connection a kernel's life is told (lines of JSON) and held:

    < {"connection": {...}}   the kernel listens: what a client needs to know
    < {"refused": "..."}      there is no sandbox, so there is no kernel
    < {"ended": -9, "why": "memory"}
    > I                       interrupt it
      closed                  whoever asked has gone, or is done: the sandbox ends, with all that is in it

Three processes: the *guard* stays outside, watches and holds the connection; *first* is the first process of the sandbox,
does no work, and with it all others end; the *kernel* is the first's child.
"""

import array
import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import uuid

from autograder.grading.sandbox import Policy, SandboxRefused, calls, enter
from autograder.grading.sandbox.places import HOME, WORK, closed
from autograder.grading.sandbox.watch import SECONDS, Watched

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")  # their ports are 1 to 5: the ends of the sockets' names
# What a chapter's cells and the kernel itself import. What is not here is imported by each student's kernel again.
WARM = (
    "ipykernel.kernelapp ipykernel.zmqshell IPython.core.completerlib matplotlib_inline.backend_inline "
    "torch numpy matplotlib.pyplot transformers peft tokenizers safetensors.torch"
).split()
_BACKLOG = 16


def main() -> None:
    """Import, then fork for each request until the other end of the channel closes."""
    channel, policy = socket.socket(fileno=int(sys.argv[1])), Policy.from_json(json.loads(sys.argv[2]))
    # Ctrl-C is for the grader. Where that ends, however it does, the channel closes: a signal at its death (PDEATHSIG)
    # would come too early, when the one thread ends that started this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _warm_up()
    folder = tempfile.mkdtemp(prefix="kernels-")
    try:
        _serve(channel, policy, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _warm_up() -> None:
    from autograder import check  # noqa: F401 - with all that it needs
    from autograder.exercise import load_exercises

    needed = {module for exercise in load_exercises().values() for module in exercise.needs}
    for module in (*WARM, *sorted(needed)):
        with contextlib.suppress(Exception):  # what fails here fails, or not, in the cell that imports it
            importlib.import_module(module)
    _compute_once()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy the pages of everything that is here


def _compute_once() -> None:
    """What torch does at its first operations, without making a thread."""
    import torch

    torch.set_num_threads(1)
    x = torch.ones(4, 4, requires_grad=True)
    (torch.nn.functional.softmax(x @ x, -1).log().sum()).backward()  # starts autograd's own machinery


def _serve(channel: socket.socket, policy: Policy, folder: str) -> None:
    number = 0
    while True:
        ready, _, _ = select.select([channel], [], [], 1.0)
        _reap()
        if not ready:
            continue
        message, ancillary, _, _ = channel.recvmsg(16, socket.CMSG_SPACE(4))
        if not message:
            return
        number += 1
        for _, _, data in ancillary:
            (connection,) = array.array("i", data)
            if os.fork() == 0:
                _guard(channel, connection, policy, os.path.join(folder, str(number)))
            os.close(connection)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


# --- The guard


def _guard(channel: socket.socket, connection: int, policy: Policy, folder: str) -> None:
    """Never returns."""
    line = socket.socket(fileno=connection)
    try:
        calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        channel.close()
        os.mkdir(folder, 0o700)
        _guard_kernel(line, policy, folder)
    except SandboxRefused as error:
        _tell(line, refused=str(error))
    except Exception as error:
        _tell(line, refused=f"The kernel could not be started ({type(error).__name__}: {error}).")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def _guard_kernel(line: socket.socket, policy: Policy, folder: str) -> None:
    connection = {
        "transport": "ipc",
        "ip": os.path.join(folder, "k"),
        "key": uuid.uuid4().hex,
        "signature_scheme": "hmac-sha256",
        "kernel_name": "python3",
    } | {f"{name}_port": port for port, name in enumerate(CHANNELS, 1)}
    listening = [_listen(f"{connection['ip']}-{port}") for port in range(1, len(CHANNELS) + 1)]
    news, tell = os.pipe()
    enter.begin()
    first = os.fork()
    if first == 0:
        line.close()
        os.close(news)
        _first(policy, connection, [one.detach() for one in listening], tell)
    os.close(tell)
    for one in listening:
        one.close()
    try:
        with os.fdopen(news) as told:
            if problem := told.read():  # nothing but an end is good news
                raise SandboxRefused(problem)
        watched = Watched(first, policy.memory_mb, policy.processes)
        _tell(line, connection=connection)
        why = _watch(line, first, watched)
    finally:
        os.kill(first, signal.SIGKILL)  # and with it, by the system's hand, all that is in its namespace
        _, status = os.waitpid(first, 0)
    _tell(line, ended=os.waitstatus_to_exitcode(status), why=why)


def _listen(path: str) -> socket.socket:
    """A socket bound out here: the kernel inherits it, and sees nothing of the folder it lies in."""
    one = socket.socket(socket.AF_UNIX)
    one.bind(path)
    one.listen(_BACKLOG)
    return one


def _watch(line: socket.socket, first: int, watched: Watched) -> str:
    """Until the kernel ends or nobody wants it: '', or which limit it passed."""
    ended = os.pidfd_open(first)
    look = time.monotonic()
    while True:
        ready, _, _ = select.select([line, ended], [], [], max(0.0, look - time.monotonic()))
        if ended in ready:
            return ""
        if line in ready:
            asked = _receive(line)
            if not asked:
                return ""
            os.kill(first, signal.SIGUSR1)  # which passes it on: it knows the kernel's number
        if time.monotonic() >= look:
            if why := watched.exceeded():
                return why
            look = time.monotonic() + SECONDS


def _receive(line: socket.socket) -> bytes:
    try:
        return line.recv(1)
    except OSError:
        return b""


def _tell(line: socket.socket, **news) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        line.sendall(json.dumps(news).encode() + b"\n")


# --- The first process of the sandbox


def _first(policy: Policy, connection: dict, listening: list[int], tell: int) -> None:
    """Never returns. Ends as the kernel ends."""
    code = 1
    try:
        # PID 1 gets no signal that it has no handler for, but by a handler inherited from Python it would.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        enter.inside(policy)
        calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)  # here: becoming another user took it away
        kernel = os.fork()
        if kernel == 0:
            _kernel(policy, connection, listening, tell)
        enter.seal(dumpable=False)  # a student's process is of the same user, and could write to its memory
        signal.signal(signal.SIGUSR1, lambda *_: _interrupt(kernel))
        for file in (*listening, tell):
            os.close(file)
        code = _wait_for(kernel)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(tell, str(error).encode())
    finally:
        os._exit(code)


def _interrupt(kernel: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(kernel, signal.SIGINT)


def _wait_for(kernel: int) -> int:
    """The kernel's exit code; what others leave behind is cleared away meanwhile."""
    while True:
        process, status = os.waitpid(-1, 0)
        if process == kernel:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


# --- The kernel


def _kernel(policy: Policy, connection: dict, listening: list[int], tell: int) -> None:
    """Never returns."""
    code = 1
    try:
        enter.seal()
        if path := closed(policy):
            raise SandboxRefused(f"{path} is closed to other users than its own, so that nothing can be imported from it.")
        os.setpgid(0, 0)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _only_these_files(listening, tell)
        os.chdir(WORK)
        os.environ.update(HOME=HOME, TMPDIR="/tmp", IPYTHONDIR=f"{HOME}/.ipython", MPLCONFIGDIR=f"{HOME}/.matplotlib")
        os.environ["COURSE_PROGRESS_FILE"] = f"{HOME}/progress.json"
        tempfile.tempdir = None
        importlib.invalidate_caches()  # what lies in a folder may be less than it was outside
        _own_randomness()
        app = _application(connection, listening)
        os.close(tell)
        app.start()
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(tell, f"The kernel could not be started ({type(error).__name__}: {error}).".encode())
    finally:
        os._exit(code)


def _only_these_files(listening: list[int], tell: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    kept = {0, 1, 2, tell, *listening}
    for file in map(int, os.listdir("/proc/self/fd")):
        if file not in kept:
            with contextlib.suppress(OSError):
                os.close(file)


def _own_randomness() -> None:
    """Two forks of one process would draw the same; `random` sees to it itself."""
    import numpy

    numpy.random.seed()


def _application(connection: dict, listening: list[int]):
    """An IPython kernel that listens on sockets it was born with."""
    import zmq
    from ipykernel import kernelapp

    files = {f"{connection['ip']}-{port}": file for port, file in enumerate(listening, 1)}

    def bind(its_socket, ip: str, port: int) -> int:
        path = f"{ip}-{port}"
        its_socket.setsockopt(zmq.USE_FD, files[path])
        its_socket.bind(f"ipc://{path}")
        return port

    class Heartbeat(kernelapp.Heartbeat):
        def _try_bind_socket(self):
            return bind(self.socket, self.ip, self.port)

    class Kernel(kernelapp.IPKernelApp):
        def _try_bind_socket(self, s, port):
            return bind(s, self.ip, port)

        def init_connection_file(self):
            """There is no file: what it would hold is known."""
            self.load_connection_info(connection)

        def write_connection_file(self, **_):
            pass

        def cleanup_connection_file(self):
            pass

        def init_control(self, context):
            super().init_control(context)
            if hasattr(self, "debug_shell_socket") and self.debug_shell_socket is not None:
                # It would look for its peer by a name that is not there, for ever, and no debugger will come.
                with contextlib.suppress(zmq.ZMQError):
                    self.debug_shell_socket.disconnect(self.shell_socket.getsockopt(zmq.LAST_ENDPOINT))

    kernelapp.Heartbeat = Heartbeat
    app = Kernel.instance()
    app.config.HistoryManager.enabled = False
    app.config.HistoryManager.hist_file = ":memory:"
    app.exec_lines = ["__import__('autograder.grading.kernel', fromlist=['start']).start()"]
    app.initialize([])
    return app


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
