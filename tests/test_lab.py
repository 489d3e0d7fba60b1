"""`make lab` serves JupyterLab with the course: started as a reader starts it, asked over its REST API."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import pytest
import websocket

from autograder.workshop.release import chapters

STARTING_SECONDS = 120
NOTEBOOKS = chapters()


@dataclass
class Lab:
    """A running server."""

    address: str
    token: str

    def ask(self, path: str, method: str = "GET", body: dict | None = None) -> dict | str:
        """The answer of the server: JSON where it is JSON, else text."""
        request = urllib.request.Request(
            f"http://{self.address}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return json.loads(text) if path.startswith("api/") and text else text


def free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    port, token = free_port(), uuid.uuid4().hex
    options = [
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
    ]
    # The environment that runs these tests is the one to serve from: make shall not set up another.
    here = ["--old-file=.venv/.set-up", f"BIN={Path(sys.executable).parent}"]
    command = ["make", *here, "lab", f"LAB_ARGS={' '.join(options)}"]
    log = tmp_path_factory.mktemp("lab") / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen(
            command,
            cwd=root,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
    try:
        running = Lab(f"127.0.0.1:{port}", token)
        wait_until_it_answers(running, server, log)
        yield running
    finally:
        stop(server)


def wait_until_it_answers(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            lab.ask("api/status")
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"make lab did not serve within {STARTING_SECONDS} s. It said:\n{log.read_text()[-3000:]}")


def stop(server: subprocess.Popen) -> None:
    """End make, the server and, through the server, its kernels."""
    for signal_, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(server.pid, signal_)
            server.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


@pytest.mark.parametrize("topic", NOTEBOOKS)
def test_it_serves_the_notebooks(lab: Lab, topic: str) -> None:
    served = lab.ask(f"api/contents/course/{topic}/{topic}.ipynb")
    assert served["type"] == "notebook"
    cells = served["content"]["cells"]
    assert cells[0]["source"].startswith("# "), "the first cell is the title"
    assert any("check(" in cell["source"] for cell in cells if cell["cell_type"] == "code")


def test_it_opens_on_the_first_chapter(root: Path, lab: Lab) -> None:
    """The page that `make lab` sends the reader to, and that it is JupyterLab's."""
    with urllib.request.urlopen(f"http://{lab.address}/?token={lab.token}", timeout=60) as answer:
        page = answer.read().decode()
        assert answer.url.split("?")[0].endswith("/lab/tree/course/00_start_here/00_start_here.ipynb")
    assert "JupyterLab" in page


INSTRUCTORS = {"assignment-list", "course-list", "create-assignment", "formgrader", "menu"}  # of nbgrader's plugins


def test_a_student_sees_no_panel_for_instructors(lab: Lab) -> None:
    """JupyterLab reads from its page which plugins not to start. The button that validates a notebook stays."""
    page = lab.ask("lab")
    told = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    left_out = json.loads(told.group(1))["disabledExtensions"]
    assert set(left_out) == {f"@jupyter/nbgrader:{name}" for name in INSTRUCTORS}


def test_nbgraders_plugins_are_those_that_are_known() -> None:
    """A newer nbgrader may bring a panel with a new name."""
    code = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "@jupyter" / "nbgrader" / "static"
    found = {n for path in code.glob("*.js") for n in re.findall(r'"@jupyter/nbgrader:([a-z-]+)"', path.read_text())}
    if not code.exists():
        pytest.skip("nbgrader's extension is not installed in this environment")
    assert found == INSTRUCTORS | {"validate-assignment"}


def test_nobody_is_asked_about_news(lab: Lab) -> None:
    told = json.loads(lab.ask("lab/api/settings/@jupyterlab/apputils-extension:notification"))
    assert "fetchNews" in told["schema"]["properties"]
    defaults = {name: told["schema"]["properties"][name]["default"] for name in ("fetchNews", "checkForUpdates")}
    assert defaults == {"fetchNews": "false", "checkForUpdates": False}


@pytest.mark.parametrize("role, leaves_out", [([], True), (["ROLE=instructor"], False)])
def test_an_instructor_has_them_all(root: Path, role: list[str], leaves_out: bool) -> None:
    command = ["make", "--dry-run", "--old-file=.venv/.set-up", "lab", *role]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert ("app_settings_dir" in said.stdout) == leaves_out


def test_its_kernel_is_this_environment_and_finds_the_course(lab: Lab) -> None:
    session = lab.ask(
        "api/sessions",
        method="POST",
        body={
            "path": "course/00_start_here/00_start_here.ipynb",
            "name": "00_start_here.ipynb",
            "type": "notebook",
            "kernel": {"name": "python3"},
        },
    )
    try:
        seen = value_in_kernel(
            lab,
            session["kernel"]["id"],
            "import sys, os, course, autograder, data",
            "[sys.prefix, os.path.basename(os.getcwd()), course.__file__]",
        )
        prefix, folder, course = json.loads(seen.replace("'", '"'))
        assert Path(prefix) == Path(sys.prefix)
        assert folder == "00_start_here", "a kernel runs beside its notebook"
        assert Path(course).name == "__init__.py"
    finally:
        lab.ask(f"api/sessions/{session['id']}", method="DELETE")


def value_in_kernel(lab: Lab, kernel: str, code: str, expression: str, seconds: float = 60) -> str:
    """Run code in a kernel of the server, as JupyterLab does; return the repr of an expression after it."""
    message_id = uuid.uuid4().hex
    kind = {"msg_id": message_id, "msg_type": "execute_request"}
    message = {
        "header": kind | {"username": "", "session": "", "version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "content": {"code": code, "silent": False, "user_expressions": {"value": expression}},
    }
    channel = websocket.create_connection(
        f"ws://{lab.address}/api/kernels/{kernel}/channels",
        timeout=seconds,
        header=[f"Authorization: token {lab.token}"],
    )
    try:
        channel.send(json.dumps(message))
        while True:
            answer = json.loads(channel.recv())
            if answer["msg_type"] == "execute_reply" and answer["parent_header"].get("msg_id") == message_id:
                break
    finally:
        channel.close()
    content = answer["content"]
    assert content["status"] == "ok", content
    value = content["user_expressions"]["value"]
    assert value["status"] == "ok", value
    return value["data"]["text/plain"]
