"""Containers of this machine that run notebooks, made of an image that the instructor names.

    docker build -f autograder/handbook/Containerfile -t course .
    autograder grade 01_pretraining --image course

A container has no network, no rights, nothing of this machine's files, and a limit on memory and processes. With a sandbox
for each submission inside it, it runs one submission after the other; without (`--no-sandbox`) one, and is gone then.
"""

import contextlib
import json
import os
import queue
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable

from nbgrader.converters import NbGraderException

from autograder.grading.fleet.classrun import TRIES, WANT
from autograder.grading.fleet.contained import version
from autograder.grading.fleet.elsewhere import Elsewhere

ENGINES = ("podman", "docker")  # the first that is installed, where none is named
START_SECONDS = 180
MOST_CHARACTERS = 300_000_000  # of an answer; a notebook's outputs are smaller by far
BESIDE_MB = 2048  # what the container has beyond a kernel's limit: the processes that start kernels
COMMAND = ("python", "-m", "autograder.grading.fleet.contained")
WALLS = (
    "--rm", "--interactive", "--pull=never", "--network=none", "--read-only", "--cap-drop=ALL",
    "--security-opt=no-new-privileges", "--user=65534:65534", "--env=HOME=/tmp", "--env=PYTHONDONTWRITEBYTECODE=1",
)  # fmt: skip
# A sandbox inside is made of user namespaces with a /proc of their own, which these engines' profiles else forbid.
ROOM_FOR_A_SANDBOX = {
    "podman": ("--security-opt=seccomp=unconfined", "--security-opt=unmask=ALL", "--security-opt=label=disable"),
    "docker": (
        "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined", "--security-opt=apparmor=unconfined",
    ),
}  # fmt: skip
NO_ENGINE = "No container can be started: there is neither {engines} here. Install one, or name it: --engine PATH."
OTHER_VERSION = (
    "The image {image} holds another version of the course than this checkout. Build it again: "
    "{engine} build -f autograder/handbook/Containerfile -t {image} ."
)
NO_SANDBOX = (
    "In a container of {image} no submission can have a sandbox of its own: {why} With --no-sandbox each submission gets a "
    "container of its own instead; that is slower, and the container is then the only wall."
)


class ContainerDied(Exception):
    """A container ended before it answered."""


class ContainersDied(Exception):
    """So many containers ended with a submission as are tried."""

    sentence = f"{TRIES} containers that ran it died, {WANT}"


class RunFailed(Exception):
    """The grader's part inside a container failed."""

    def __init__(self, said: str):
        super().__init__(said)
        self.sentence = f"The grader failed on it in its container ({said[:300]})"


class Container:
    """One that is running, and what is said to it."""

    def __init__(self, engine: str, image: str, options: tuple[str, ...]):
        """Raises ContainerDied, with what the engine said, where none can be started."""
        self.engine, self.name = engine, f"course-{secrets.token_hex(8)}"
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, which lives as long as the container
        self._process = subprocess.Popen(
            [engine, "run", f"--name={self.name}", *options, image, *COMMAND],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, encoding="utf-8",
            start_new_session=True,
        )  # fmt: skip
        self.greeting = self._answer(START_SECONDS)

    def run(self, notebook: str, plan: str) -> str:
        """What the cells gave. Raises ContainerDied, RunFailed."""
        limits = json.loads(plan)["limits"]
        seconds = 2 * limits["notebook_seconds"] + limits["check_seconds"] + START_SECONDS  # it keeps its limits itself
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"notebook": notebook, "plan": plan}) + "\n")
            self._process.stdin.flush()
        answer = self._answer(seconds)
        if not isinstance(answer.get("gave"), str):
            raise RunFailed(str(answer.get("error", "it gave nothing")))
        return answer["gave"]

    def end(self) -> None:
        """At once. One that this process leaves behind ends by itself: nothing comes any more."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([self.engine, "rm", "--force", self.name], capture_output=True, timeout=60)
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()

    def _answer(self, seconds: float) -> dict:
        watch = threading.Timer(seconds, self._process.kill)
        watch.start()
        try:
            answer = json.loads(self._process.stdout.readline(MOST_CHARACTERS))
            if isinstance(answer, dict):
                return answer
        except (ValueError, RecursionError, OSError):  # cut off, or nothing at all
            pass
        finally:
            watch.cancel()
        said = self._last_words()
        self.end()
        raise ContainerDied(said)

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._said.seek(0)
        lines = self._said.read()[-4000:].decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


class ContainerWorkers(Elsewhere):
    """So many containers at a time."""

    def __init__(self, opened: Callable, image: str, count: int, here: int, engine: str, sandbox: bool, limits: dict):
        """engine: a command, '' for what there is. sandbox: whether submissions get one inside. limits: memory_mb, files_mb and
        processes of a kernel. Raises NbGraderException where the image gives no container, or not what was asked for.
        """
        self.image, self.sandbox = image, sandbox
        self.engine = engine or _engine()
        self.options = options(self.engine, sandbox, **limits)
        self._count = count
        self._free: queue.SimpleQueue[Container | None] = queue.SimpleQueue()
        self._started: set[Container] = set()
        super().__init__(opened, here)
        try:
            self._free.put(self._first())
        except NbGraderException:
            self.close()
            raise
        for _ in range(count - 1):
            self._free.put(None)

    def slots(self) -> int:
        """As many as were asked for."""
        return self._count

    def run_all(self, student: str, notebooks: dict[str, tuple[str, str]]) -> dict[str, str]:
        """Raises ContainersDied, RunFailed."""
        container = self._free.get()
        try:
            gave = {}
            for name, (notebook, plan) in notebooks.items():
                for left in reversed(range(TRIES)):
                    try:
                        container = container or self._start()
                        gave[name] = container.run(notebook, plan)
                        break
                    except ContainerDied:
                        container = None
                        if not left:
                            raise ContainersDied from None
            return gave
        finally:
            if container and not self.sandbox:
                self._end(container)
                container = None
            self._free.put(container)

    def close(self) -> None:
        """End them all."""
        super().close()
        for container in list(self._started):
            self._end(container)

    def _start(self) -> Container:
        container = Container(self.engine, self.image, self.options)
        self._started.add(container)
        return container

    def _end(self, container: Container) -> None:
        self._started.discard(container)
        container.end()

    def _first(self) -> Container:
        """One to begin with, of which it is known that it is what was asked for."""
        try:
            first = self._start()
        except (ContainerDied, OSError) as error:
            raise NbGraderException(f"No container of {self.image} can be started with {self.engine}: {error}") from None
        if first.greeting.get("version") != version():
            raise NbGraderException(OTHER_VERSION.format(image=self.image, engine=self.engine))
        if self.sandbox and (why := first.greeting.get("no_sandbox")):
            raise NbGraderException(NO_SANDBOX.format(image=self.image, why=why))
        return first


def options(engine: str, sandbox: bool, memory_mb: int, files_mb: int, processes: int) -> tuple[str, ...]:
    """What a container is started with."""
    memory = memory_mb + BESIDE_MB
    room = ROOM_FOR_A_SANDBOX["podman" if "podman" in os.path.basename(engine) else "docker"]
    limits = (
        f"--memory={memory}m", f"--memory-swap={memory}m", f"--pids-limit={processes + 256}", "--shm-size=64m",
        f"--tmpfs=/tmp:rw,nosuid,nodev,mode=1777,size={files_mb + 64}m",
    )  # fmt: skip
    return (*WALLS, *limits, *(room if sandbox else ()))


def _engine() -> str:
    found = next(filter(None, map(shutil.which, ENGINES)), None)
    if not found:
        raise NbGraderException(NO_ENGINE.format(engines=" nor ".join(ENGINES)))
    return found
