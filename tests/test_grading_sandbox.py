"""The sandbox: how kernels begin and end in it, what it shows, and where there is none. Attacks: `test_attacks_in_kernels.py`."""

import errno
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import why_no_sandbox
from grading_chapter import RIGHT, TOPIC, Course, answered

from autograder.grading import provisioner
from autograder.grading.execute import sandbox_asked_for
from autograder.grading.provisioner import Server, read_connection
from autograder.grading.runner import kernel_environment
from autograder.grading.sandbox import PolicyRefused, SandboxRefused, doctor, places, seccomp, watch
from autograder.grading.sandbox import policy as policy_module
from autograder.grading.sandbox.enter import NOBODY
from autograder.grading.sandbox.policy import ROOT, Policy, course_policy

pytestmark = pytest.mark.timeout(900)
needed = pytest.mark.skipif(bool(why_no_sandbox()), reason=f"THE SANDBOX IS NOT TESTED: {why_no_sandbox()}")


# --- How kernels begin and end


@pytest.fixture(scope="module")
def server():
    one = Server(course_policy(memory_mb=600, files_mb=64, processes=64), kernel_environment())
    try:
        yield one
    finally:
        one.stop()


def below(process: int) -> list[int]:
    return watch.processes_below(process)


def wait_until(true, seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.05)
    return bool(true())


@needed
@pytest.mark.slow
def test_a_kernel_lives_as_long_as_somebody_holds_its_connection(server):
    with server.kernel() as line:
        connection = read_connection(line, 300)
        _, first, kernel = below(server.process.pid)  # with the guard
        for process in (first, kernel):
            users = re.search(r"^Uid:\s+(.*)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE).group(1).split()
            assert set(map(int, users)) == {NOBODY if os.geteuid() == 0 else os.geteuid()}
        folder = Path(connection["ip"]).parent
        assert len(list(folder.iterdir())) == 5
    assert wait_until(lambda: not below(server.process.pid)), "all of them went"
    assert not folder.exists()


@needed
@pytest.mark.slow
def test_with_its_guard_a_kernel_dies_and_with_the_warm_process_all_do(server):
    with server.kernel() as line:
        read_connection(line, 300)
        processes = below(server.process.pid)
        os.kill(processes[0], signal.SIGKILL)
        assert wait_until(lambda: not any(map(_lives, processes)))
    with server.kernel() as line:
        read_connection(line, 300)
        processes = below(server.process.pid)
        server.process.kill()
        assert wait_until(lambda: not any(map(_lives, processes)))
    with server.kernel() as line:  # another warm process stands in
        assert read_connection(line, 300)["transport"] == "ipc"


def _lives(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@needed
@pytest.mark.slow
def test_a_request_says_nothing_but_that_a_kernel_is_wanted(server):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.try_out()  # so that there is a warm process
        assert wait_until(lambda: not below(server.process.pid))
        wish = json.dumps({"policy": {"visible": ["/"], "memory_mb": 10**6}}).encode()
        socket.send_fds(server.channel, [wish[:16]], [theirs.fileno()])
        read_connection(ours, 300)
        _, _, kernel = below(server.process.pid)
        seen = Path(f"/proc/{kernel}/mountinfo").read_text()
        assert str(ROOT / "solutions") not in seen and "/home" not in seen


# --- What is asked for


@pytest.mark.parametrize("path", ["solutions", "solutions/01_pretraining", ".", "..", "classroom", "tests"])
def test_what_nobody_may_see_cannot_be_made_visible(path):
    with pytest.raises(PolicyRefused, match="must stay hidden"):
        course_policy(also=(str(ROOT / path),))


def test_a_home_is_not_shown_but_one_folder_in_it_may_be(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "toolkit").mkdir()
    with pytest.raises(PolicyRefused):
        course_policy(also=(str(tmp_path),))
    assert str(tmp_path / "toolkit") in course_policy(also=(str(tmp_path / "toolkit"),)).visible
    with pytest.raises(PolicyRefused):
        course_policy(also=(str(tmp_path),), held_back=(str(tmp_path / "gradebook.db"),))


def test_a_policy_survives_the_way_to_the_warm_process():
    policy = course_policy(memory_mb=5)
    assert Policy.from_json(json.loads(json.dumps(policy.as_json()))) == policy
    hidden = [str(ROOT / name) for name in ("solutions", "classroom", "tests", ".git")]
    assert not any(place.startswith(path) for path in policy.visible for place in hidden)
    assert any("keys" in path for path in policy.covered)


INSIDE = """
import json, os, sys
from autograder.grading.sandbox import Policy, enter

policy = Policy.from_json(json.loads(sys.argv[1]))
enter.begin()
if (first := os.fork()) == 0:
    enter.inside(policy)
    enter.seal()
    print(json.dumps({path: sorted(os.listdir(path)) for path in sys.argv[2:] if os.path.isdir(path)}), flush=True)
    os._exit(0)
os.waitpid(first, 0)
"""


@needed
def test_what_is_reached_by_a_link_is_there_under_both_names_and_covered_under_both(tmp_path):
    course = tmp_path / "disk" / "anna" / "course"
    for name in ("autograder", "solutions"):
        (course / name).mkdir(parents=True)
        (course / name / "a.py").touch()
    (tmp_path / "disk" / "bert").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    by_link = tmp_path / "home" / "anna" / "course"
    policy = Policy(visible=(str(by_link),), covered=(str(course / "solutions"),))
    asked = [str(place / name) for place in (course, by_link) for name in ("autograder", "solutions")]
    command = [sys.executable, "-c", INSIDE, json.dumps(policy.as_json()), *asked, str(tmp_path / "disk")]
    run = subprocess.run(command, env=kernel_environment(), capture_output=True, text=True, timeout=200)
    seen = dict(zip(asked, [["a.py"], []] * 2, strict=True))
    assert json.loads(run.stdout) == seen | {str(tmp_path / "disk"): ["anna"]}, run.stderr


def test_secrets_within_what_must_be_seen_are_covered(tmp_path, monkeypatch):
    """The environment is the checkout itself (`python -m venv .`), or the classroom lies below `data`."""
    for name in ("solutions", "data/class"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(policy_module, "_interpreter", lambda: [str(tmp_path)])
    policy = course_policy(held_back=(str(tmp_path / "data" / "class"),), root=tmp_path)
    assert {str(tmp_path / "solutions"), str(tmp_path / "data" / "class")} <= set(policy.covered)
    with pytest.raises(PolicyRefused, match="must see"):
        course_policy(held_back=(str(tmp_path / "data"),), root=tmp_path)


def test_packages_of_a_users_own_are_seen(tmp_path, monkeypatch):
    own = tmp_path / "lib" / "site-packages"
    own.mkdir(parents=True)
    monkeypatch.syspath_prepend(own)
    assert str(own) in course_policy().visible


def test_what_is_closed_to_others_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "site-packages" / "torch").mkdir(parents=True)
    policy = Policy(visible=(str(tmp_path / "site-packages"),))
    assert places.closed(policy) == ""
    monkeypatch.setattr(places.os, "access", lambda path, _: "torch" not in str(path))
    assert places.closed(policy).endswith("torch")


def test_only_two_words_say_whether_there_is_a_sandbox(monkeypatch):
    monkeypatch.delenv("COURSE_SANDBOX", raising=False)
    assert sandbox_asked_for()
    monkeypatch.setenv("COURSE_SANDBOX", "off")
    assert not sandbox_asked_for()
    monkeypatch.setenv("COURSE_SANDBOX", "false")
    with pytest.raises(ValueError, match=r"'on'.*or 'off'"):
        sandbox_asked_for()


def test_other_programs_find_the_kernels_by_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["jupyter_client.kernel_provisioners"][provisioner.NAME].split(":")
    assert getattr(importlib.import_module(module), name) is provisioner.SandboxProvisioner


# --- The filter of system calls, run by hand


def verdict(number: int, *arguments: int, machine: str = "x86_64", arch: int | None = None) -> int:
    """What the filter answers: 0 allowed, an errno, or -1 for the end of the process."""
    program = seccomp.program(machine)
    fields = {0: number, 4: seccomp.ARCHITECTURES[machine] if arch is None else arch}
    fields |= {16 + 8 * i: value & 0xFFFFFFFF for i, value in enumerate(arguments)}
    at = accumulator = 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == 0x20:
            accumulator = fields.get(constant, 0)
        elif code == 0x06:
            return {0x7FFF0000: 0, 0x80000000: -1}.get(constant, constant & 0xFFFF)
        else:
            true = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}
            at += yes if true[code] else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_refuses_what_it_names_and_nothing_that_is_needed(machine):
    which = list(seccomp.ARCHITECTURES).index(machine)
    for name, numbers in seccomp.REFUSED.items():
        if numbers[which] is not None:
            assert verdict(numbers[which], machine=machine) == errno.EPERM, name
    read = {"x86_64": 0, "aarch64": 63}[machine]
    assert verdict(read, 0, 0, 0, machine=machine) == 0
    assert verdict(read, machine=machine, arch=0x40000003) == -1, "32 bit"
    for number in (seccomp.NEWEST + 1, seccomp.X32 | 41, 0xFFFFFFFF):
        assert verdict(number, machine=machine) == errno.ENOSYS
    for call in (seccomp.SOCKET, seccomp.SOCKETPAIR):
        assert verdict(call[which], socket.AF_UNIX, 1, 0, machine=machine) == 0
        assert verdict(call[which], 16, 3, 0, machine=machine) == 0
        assert verdict(call[which], 16, 3, 9, machine=machine) == errno.EAFNOSUPPORT
        for family in (0, 2, 10, 17, 29, 31, 38, 40, 44):
            assert verdict(call[which], family, 1, 0, machine=machine) == errno.EAFNOSUPPORT
    thread, fork = 0x3D0F00, 0x1200011
    assert verdict(seccomp.CLONE[which], thread, machine=machine) == verdict(seccomp.CLONE[which], fork, machine=machine) == 0
    assert verdict(seccomp.CLONE[which], fork | 0x10000000, machine=machine) == errno.EPERM
    assert verdict(seccomp.CLONE3[which], machine=machine) == errno.ENOSYS
    assert verdict(seccomp.PRCTL[which], 4, machine=machine) == errno.EPERM
    assert verdict(seccomp.PRCTL[which], 15, machine=machine) == 0
    for level, option, answer in ((1, 7, errno.EPERM), (1, 33, errno.EPERM), (1, 13, 0), (1, 9, 0), (2, 7, 0), (41, 8, 0)):
        assert verdict(seccomp.SETSOCKOPT[which], 3, level, option, machine=machine) == answer


# --- What whoever grades is told


@needed
def test_the_doctor_says_that_this_machine_gives_a_sandbox(capsys):
    assert doctor.main() == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert said.startswith("yes a sandbox as ") and "NO" not in said.partition("Landlock")[0]


@pytest.mark.parametrize("system, name", [("darwin", "macOS"), ("win32", "Windows")])
def test_elsewhere_the_doctor_says_to_use_a_container(monkeypatch, capsys, system, name):
    monkeypatch.setattr(doctor.sys, "platform", system)
    assert doctor.main() == 1
    said = capsys.readouterr().out
    assert f"{name} has no namespaces" in said and "container" in said and "COURSE_SANDBOX=off" in said


def test_the_doctor_says_why_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "try_out", lambda user=None: "A submission cannot be given a user namespace (EPERM).")
    monkeypatch.setattr(doctor, "advice", lambda: "Do this.")
    assert doctor.main() == 1
    assert "cannot be given a user namespace (EPERM). Do this." in capsys.readouterr().out


FORBIDDING = """
import os, sys
from autograder.grading.sandbox import calls

user, group = os.geteuid(), os.getegid()
calls.unshare(calls.CLONE_NEWUSER)
for name, text in {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}.items():
    open(f"/proc/self/{name}", "w").write(text)
open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@needed
def test_where_namespaces_are_forbidden_the_doctor_says_so_and_how_to_do_without():
    command = [sys.executable, "-c", FORBIDDING, "-m", "autograder.cli", "doctor"]
    run = subprocess.run(command, env=kernel_environment(), capture_output=True, text=True, timeout=200)
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.match("NO +a sandbox.*A submission cannot be given .*max_user_namespaces is 0, which forbids it", run.stdout)
    assert "--Execute.sandbox=False" in run.stdout


def test_elsewhere_nobody_is_given_a_kernel(monkeypatch):
    for module in (provisioner, doctor):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform="darwin"))
    with pytest.raises(SandboxRefused, match="macOS has no namespaces"):
        Server(course_policy(), {}).try_out()


def test_where_there_is_no_c_library_the_modules_can_be_imported():
    """As on Windows, where whoever says that no sandbox is wanted grades without one."""
    code = "import sys; sys.platform = 'win32'\nimport ctypes; ctypes.CDLL = None\nimport autograder.grading.sandbox.calls as c"
    subprocess.run([sys.executable, "-S", "-c", code.replace("autograder.grading.sandbox.calls", "calls")],
                   cwd=ROOT / "autograder" / "grading" / "sandbox", check=True)  # fmt: skip


REFUSING = """
from autograder.grading import provisioner, sandbox

def refuse(*_):
    raise sandbox.SandboxRefused("A submission cannot be given a user namespace.")

provisioner.Server.try_out = refuse
"""


@pytest.mark.slow
def test_without_a_sandbox_nothing_is_graded_unless_it_was_asked_for(tmp_path):
    course = Course.make(tmp_path / "course")
    course.hand_in("anna", answered(course.release, **RIGHT))
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + REFUSING)
    said = course.nbgrader("autograde", TOPIC, rc=1, COURSE_SANDBOX="on")
    assert "Nothing was graded: there is no sandbox. A submission cannot be given a user namespace." in said
    assert not (course.root / "classroom" / "autograded" / "anna").exists()
    said = course.nbgrader("autograde", TOPIC, rc=1, COURSE_SANDBOX="of")
    assert "'on'" in said and "Nothing was graded" in said
    assert "COURSE_SANDBOX=off" in said and "--Execute.sandbox=False" in said
    said = course.nbgrader("autograde", TOPIC, COURSE_SANDBOX="off")
    assert "THERE IS NO SANDBOX" in said and "as you" in said
    assert (course.root / "classroom" / "autograded" / "anna").exists()
    assert "THERE IS NO SANDBOX" in course.nbgrader("autograde", TOPIC, "--force", "--Execute.sandbox=False", COURSE_SANDBOX="on")


def test_what_a_step_cannot_do_is_a_sentence():
    from autograder.grading.sandbox import enter

    def fails():
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with pytest.raises(SandboxRefused, match=r"cannot be given a user namespace \(Operation not permitted, EPERM\).*doctor"):
        enter._step("a user namespace", fails)
