"""Kernels from the warm process, for `jupyter_client`: the kernel provisioner "course-sandbox".

A program that starts kernels by jupyter_client's manager gets sandboxed ones by this name. The grader's own kernels take
their policy from `use`, which the grader calls; other programs get the course's.
"""

import asyncio
import atexit
import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import lru_cache
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.provisioning import KernelProvisionerBase, KernelProvisionerFactory

from autograder.grading.sandbox import Policy, SandboxRefused, doctor
from autograder.grading.sandbox.policy import course_policy

NAME = "course-sandbox"
START_SECONDS = 300.0  # for the warm process: the first import after a restart of the machine may be slow


class Server:
    """A warm process with its policy, started when the first kernel is asked for and again where it died.

    environment: all that the kernels will see of one. Nothing that is secret may be in it, since a process can always
    read what it was started with.
    """

    def __init__(self, policy: Policy, environment: dict[str, str]):
        self.policy, self.environment = policy, environment
        self.process: subprocess.Popen | None = None
        self.channel: socket.socket | None = None
        self._asking = threading.Lock()  # a cluster's worker runs several notebooks, each in a thread

    def kernel(self) -> socket.socket:
        """The connection of a new kernel."""
        ours, theirs = socket.socketpair()
        with theirs, self._asking:
            try:
                self.start()
                socket.send_fds(self.channel, [b"kernel"], [theirs.fileno()])
            except OSError:  # it was killed since
                self.stop()
                self.start()
                socket.send_fds(self.channel, [b"kernel"], [theirs.fileno()])
        return ours

    def try_out(self) -> None:
        """Start a kernel and end it. Raises SandboxRefused where this machine gives none."""
        with self.kernel() as line:
            read_connection(line, START_SECONDS)

    def start(self) -> None:
        """Start it, where it does not live. Its imports take seconds: the first kernel waits for them."""
        if self._lives():
            return
        if not sys.platform.startswith("linux"):
            raise SandboxRefused(doctor.why_none())
        self.stop()
        self.channel, theirs = socket.socketpair()
        command = [sys.executable, "-m", "autograder.grading.forkserver", str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(
                [*command, json.dumps(self.policy.as_json())],
                env=self.environment,
                pass_fds=[theirs.fileno()],
                cwd="/",
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _lives(self) -> bool:
        """Asked of the channel, over which nothing ever comes but its end: a process that was forked from the one that
        started the server is no parent of it, and may use it too.
        """
        return self.channel is not None and not select.select([self.channel], [], [], 0)[0]

    def stop(self) -> None:
        """End it and all its kernels."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.process.kill()
            self.process.wait()
            self.process = None


@lru_cache
def _server(policy: Policy, environment: tuple[tuple[str, str], ...]) -> Server:
    server = Server(policy, dict(environment))
    atexit.register(server.stop)
    return server


def server_for(policy: Policy, environment: dict[str, str]) -> Server:
    """The warm process for a policy and an environment: the same for the same ones, however many kernels."""
    return _server(policy, tuple(sorted(environment.items())))


def use(manager, server: Server) -> None:
    """Let a kernel manager take its kernel from `server`."""
    manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": NAME, "config": {}}
    manager.course_server = server
    # Where an installation is older than this file its list of provisioners lacks the name.
    group = KernelProvisionerFactory.GROUP_NAME
    entry = EntryPoint(NAME, f"{__name__}:SandboxProvisioner", group)
    KernelProvisionerFactory.instance(parent=manager.parent).provisioners.setdefault(NAME, entry)


class SandboxProvisioner(KernelProvisionerBase):
    """One kernel of a warm process. `ended_by` says which limit ended it: 'memory', 'processes', or ''."""

    line: socket.socket | None = None
    code: int | None = None
    ended_by = ""

    @property
    def has_process(self) -> bool:
        return self.line is not None

    async def poll(self) -> int | None:
        if self.line is not None and self.code is None:
            self._listen()
        return self.code if self.line is not None else 0

    async def wait(self) -> int | None:
        while await self.poll() is None:
            await asyncio.sleep(0.01)
        if self.line is not None:
            self.line.close()
            self.line = None
        return self.code

    async def send_signal(self, signum: int) -> None:
        if self.line is None:
            return
        if signum == signal.SIGINT:
            with contextlib.suppress(OSError):
                self.line.sendall(b"I")
        elif signum != 0:
            await self.kill()

    async def kill(self, restart: bool = False) -> None:
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.shutdown(socket.SHUT_WR)

    async def terminate(self, restart: bool = False) -> None:
        await self.kill()

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """No command: a kernel of the warm process is no program that is started."""
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any):
        server = getattr(self.parent, "course_server", None)
        if server is None:
            from autograder.grading.runner import kernel_environment

            server = server_for(course_policy(), kernel_environment())
        self.line, self.code, self.ended_by, self._pending = server.kernel(), None, "", b""
        loop = asyncio.get_running_loop()
        try:
            self.connection_info = await loop.run_in_executor(None, read_connection, self.line, START_SECONDS)
        except BaseException:
            self.line.close()
            self.line = None
            raise
        self.line.setblocking(False)
        return self.connection_info

    async def cleanup(self, restart: bool = False) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

    def _listen(self) -> None:
        try:
            piece = self.line.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._pending += piece
        if b"\n" in self._pending:
            news = json.loads(self._pending.partition(b"\n")[0])
            self.code, self.ended_by = news.get("ended", -signal.SIGKILL), news.get("why", "")
        elif not piece:  # the guard itself is gone
            self.code = -signal.SIGKILL


def read_connection(line: socket.socket, seconds: float) -> dict:
    """What the guard says first. Raises SandboxRefused where there is no kernel."""
    line.settimeout(seconds)
    said = b""
    try:
        while not said.endswith(b"\n"):
            piece = line.recv(65536)
            if not piece:
                raise SandboxRefused("The warm process of the kernels ended while it started one.")
            said += piece
    except TimeoutError:
        raise SandboxRefused(f"No kernel was there after {seconds:g} seconds.") from None
    news = json.loads(said)
    if "refused" in news:
        raise SandboxRefused(news["refused"])
    return news["connection"] | {"key": news["connection"]["key"].encode()}
